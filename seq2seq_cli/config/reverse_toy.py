"""Every option of `seq2seq reverse-toy`, once."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from seq2seq_cli.config.model import AttentionConfig, NoAttention
from seq2seq_cli.config.sections import (
    Count,
    DeviceName,
    Positive,
    Section,
    Seed,
    Size,
    Whole,
    check_number,
    mistake,
    shown,
)
from seq2seq_cli.config.training import ConstantForcing, TeacherForcingConfig
from seq2seq_cli.errors import did_you_mean

MAX_LENGTH = 100
MAX_DIGITS = 1000


class Lengths(NamedTuple):
    """Lengths of sequences, both ends included."""

    shortest: int
    longest: int

    def as_range(self) -> range:
        """Each of them."""
        return range(self.shortest, self.longest + 1)

    def __str__(self) -> str:
        few = self.shortest == self.longest
        return str(self.shortest) if few else f"{self.shortest}-{self.longest}"


def _lengths(value: Any) -> Any:
    """`3` or `2-10`, from YAML or the command line."""
    if isinstance(value, Lengths):
        return value
    found = re.fullmatch(r" *([0-9]{1,9}) *(?:- *([0-9]{1,9}) *)?", str(value))
    if not found:
        raise mistake(f"must be a length, say 3, or a range, say 2-10, not {shown(value)}")
    shortest, longest = int(found[1]), int(found[2] or found[1])
    if shortest > longest:
        raise mistake(f"the range {value} ends before it begins")
    if shortest < 1 or longest > MAX_LENGTH:
        raise mistake(f"lengths go from 1 to {MAX_LENGTH}, not {value}")
    return Lengths(shortest, longest)


NUMBERS_SWEEP_LENGTH = Lengths(1, 6)
"""Lengths that a sweep of numbers trains on, unless it is told others."""


def _known_task(value: Any) -> Any:
    if value not in ("numbers", "symbols"):
        close = did_you_mean(str(value), ("numbers", "symbols"))
        raise mistake(f"must be one of numbers, symbols, not {shown(value)}{close}")
    return value


def _ratio_or_schedule(value: Any) -> Any:
    """A number alone is a constant ratio."""
    if isinstance(value, dict | Section):
        return value
    check_number(value, "kind and what goes with it")
    return {"kind": "constant", "ratio": value}


def _name_or_attention(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


LengthRange = Annotated[Lengths, BeforeValidator(_lengths)]


class ReverseToyConfig(Section):
    """What both tasks have in common."""

    task: str
    hidden_size: Size
    """Cells of the encoder's and of the decoder's LSTM."""
    length: LengthRange
    """Lengths trained on: N or A-B."""
    steps: Count
    """Optimizer updates."""
    learning_rate: Positive
    """Adam's, at its highest: it rises quickly and then falls along half a cosine."""
    test_length: LengthRange | None = None
    """Lengths tested on; null: those trained on."""
    digits: Annotated[Whole, Field(ge=2, le=MAX_DIGITS)] = 10
    """Sequences are made of the numbers from 0 up to, not including, this one."""
    pairs: Annotated[Whole, Field(ge=1, le=1_000_000)] = 50_000
    """Training sequences, as many of each length; where there are fewer, they repeat."""
    batch_size: Annotated[Whole, Field(ge=1, le=100_000)] = 100
    """Sequences in a batch."""
    gradient_clip_norm: Positive | None = 1.0
    """Gradients with a larger global norm are scaled down to it; null: never."""
    teacher_forcing: Annotated[TeacherForcingConfig, BeforeValidator(_ratio_or_schedule)] = (
        ConstantForcing()
    )
    """A ratio, or a schedule as in training.teacher_forcing."""
    seed: Seed = 1
    """Decides the sequences, the first weights and the batches."""
    device: DeviceName = "auto"
    """auto, cpu, cuda, cuda:1, mps."""

    @property
    def tested_lengths(self) -> Lengths:
        return self.test_length or self.length


class NumbersConfig(ReverseToyConfig):
    """One float a step, as the toy was first published."""

    task: Annotated[Literal["numbers"], BeforeValidator(_known_task)] = "numbers"
    """Digits as floats, or as symbols with embeddings and a softmax."""
    hidden_size: Size = 16
    length: LengthRange = Lengths(3, 3)
    steps: Count = 6000
    learning_rate: Positive = 0.01


class SymbolsConfig(ReverseToyConfig):
    """Embeddings and a softmax: the translation model, its trainer and its search."""

    task: Annotated[Literal["symbols"], BeforeValidator(_known_task)] = "symbols"
    """Digits as floats, or as symbols with embeddings and a softmax."""
    hidden_size: Size = 96
    length: LengthRange = Lengths(2, 10)
    steps: Count = 4000
    learning_rate: Positive = 0.005
    embedding_dim: Size = 32
    """Size of a symbol's vector."""
    num_layers: Annotated[Whole, Field(ge=1, le=64)] = 1
    """Depth of both LSTMs."""
    bidirectional: bool = False
    """Read the source in both directions."""
    attention: Annotated[AttentionConfig, BeforeValidator(_name_or_attention)] = NoAttention()
    """A kind, or a mapping as in model.decoder.attention."""
    reverse_source: bool = False
    """Read the source backwards, which makes the task copying."""

    @model_validator(mode="after")
    def _dot_compares_one_size(self) -> SymbolsConfig:
        if self.attention.kind == "dot" and self.bidirectional:
            raise mistake(
                "dot compares vectors of one size, and an encoder of two directions has twice the "
                "decoder's; general and additive fit any sizes",
                "attention",
            )
        return self


TASKS: dict[str, type[NumbersConfig] | type[SymbolsConfig]] = {
    "numbers": NumbersConfig,
    "symbols": SymbolsConfig,
}
