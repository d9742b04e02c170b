"""Every option of a config, once: its name, type, default, bounds and meaning.

`config_file.py` reads these from YAML and writes them back. A section is immutable; a key that is
not listed here is refused. Numbers and booleans may arrive as YAML text ("1e-4"): the type of the
field decides, so that `target: no` stays Norwegian.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from seq2seq_cli.config.data import DataConfig, TextConfig
from seq2seq_cli.config.model import ModelConfig
from seq2seq_cli.config.sections import Section, Whole, mistake
from seq2seq_cli.config.training import TrainingConfig, ValidationConfig

DECODING_BATCH_SIZE = 32
"""Sentences that are translated or scored at a time, unless asked otherwise."""


class DecodingConfig(Section):
    max_length_ratio: Annotated[float, Field(gt=0.0, le=100.0)] = 2.0
    """Longest translation, in tokens for each token of the source (10 are always allowed)."""


class TranslatorConfig(Section):
    """The part that a model file carries: no paths, nothing about how it was trained."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.+-]*$", max_length=200)] = "model"
    """Name of the run: it is kept in `runs/<name>`. Unset: the file's own name."""
    data: TextConfig
    """Text and tokens."""
    model: ModelConfig = ModelConfig()
    """Sizes and parts of the network."""
    decoding: DecodingConfig = DecodingConfig()
    """How translations are searched for."""


class Config(TranslatorConfig):
    """A training run."""

    data: DataConfig
    """Corpus, text and tokens."""
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = 1
    """Decides every random draw, together with epoch, batch and purpose."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products in training; weights stay in float32."""
    training: TrainingConfig = TrainingConfig()
    """How the weights are learned."""
    validation: ValidationConfig = ValidationConfig()
    """When to look at the validation data, and what counts as better."""

    @model_validator(mode="after")
    def _metric_has_data(self) -> Config:
        if self.data.valid == "none" and self.validation.metric != "train_loss":
            raise mistake(
                "must be train_loss where there is no validation data (data.valid: none)",
                "validation.metric",
            )
        return self

    def for_translator(self) -> TranslatorConfig:
        """The part that goes into the model file."""
        data = {key: getattr(self.data, key) for key in TextConfig.model_fields}
        return TranslatorConfig(
            name=self.name, data=TextConfig(**data), model=self.model, decoding=self.decoding
        )
