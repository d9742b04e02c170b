"""Every option of a config, once: its name, type, default, bounds and meaning.

`config_file.py` reads these from YAML and writes them back. A section is immutable; a key that is
not listed here is refused. Numbers and booleans may arrive as YAML text ("1e-4"): the type of the
field decides, so that `target: no` stays Norwegian.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from seq2seq_cli.config.data import DataConfig, TextConfig
from seq2seq_cli.config.model import ModelConfig, TrainedModelConfig
from seq2seq_cli.config.sections import DeviceName, Section, Seed, Whole, mistake
from seq2seq_cli.config.training import TrainingConfig, ValidationConfig

SCORING_BATCH_SIZE = 64
"""Sentence pairs that are scored at a time, unless asked otherwise."""
DECODING_HYPOTHESES = 640
"""As many sentences are translated at a time, unless asked otherwise, as have this many hypotheses:
with fewer rows a product takes longer for each."""
DECODING_TOKENS = 10_000
"""They have no more source tokens than this, for the sake of memory."""


class DecodingConfig(Section):
    beam_size: Annotated[Whole, Field(ge=1, le=10_000)] = 5
    """Hypotheses kept for each sentence; 1: greedy search."""
    length_penalty: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0
    """Hypotheses are ranked by score / length ^ length_penalty; 0: by score."""
    no_repeat_ngram_size: Annotated[Whole, Field(ge=0, le=1000)] = 0
    """No n tokens in a row come twice in a translation; 0: they may."""
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

    @model_validator(mode="after")
    def _one_matrix_one_vocabulary(self) -> TranslatorConfig:
        if self.model.tied_embeddings == "all" and not self.data.vocabulary.shared:
            raise mistake("all needs data.vocabulary.shared: true", "model.tied_embeddings")
        return self


class Config(TranslatorConfig):
    """A training run."""

    data: DataConfig
    """Corpus, text and tokens."""
    model: TrainedModelConfig = TrainedModelConfig()
    """Sizes and parts of the network."""
    seed: Seed = 1
    """Decides every random draw, together with epoch, batch and purpose."""
    device: DeviceName = "auto"
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

    @model_validator(mode="after")
    def _r_drop_has_dropout(self) -> Config:
        model, rates = self.model, self.model.dropout
        has_between = max(model.encoder.num_layers, model.decoder.num_layers) > 1
        dropped = rates.embedding, rates.output, rates.word, rates.hidden if has_between else 0.0
        if self.training.r_drop and not any(dropped):
            raise mistake(
                "compares what two dropout masks let through, and model.dropout is 0 everywhere"
                + (" but between layers, of which there is one" if rates.hidden else ""),
                "training.r_drop",
            )
        return self

    def for_translator(self) -> TranslatorConfig:
        """The part that goes into the model file."""
        data = {key: getattr(self.data, key) for key in TextConfig.model_fields}
        model = {key: getattr(self.model, key) for key in ModelConfig.model_fields}
        return TranslatorConfig(
            name=self.name,
            data=TextConfig(**data),
            model=ModelConfig(**model),
            decoding=self.decoding,
        )
