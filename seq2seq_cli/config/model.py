"""Sizes and parts of the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag

from seq2seq_cli.config.sections import Positive, Section, Size, Whole, by_kind


class EncoderConfig(Section):
    embedding_dim: Size = 256
    """Size of a source word vector."""
    hidden_size: Size = 512
    """Size of the LSTM's state, for each direction."""
    num_layers: Annotated[Whole, Field(ge=1, le=64)] = 2
    """Depth."""
    bidirectional: bool = False
    """Read every layer's input in both directions."""


class DecoderConfig(Section):
    embedding_dim: Size = 256
    """Size of a target word vector."""
    hidden_size: Size = 512
    """Size of the LSTM's state."""
    num_layers: Annotated[Whole, Field(ge=1, le=64)] = 2
    """Depth."""


class UniformInit(Section):
    kind: Literal["uniform"] = "uniform"
    """Every weight and bias drawn from U(-scale, scale), as in the 2014 paper."""
    scale: Positive = 0.08
    """Half the width of the interval."""


class NormalInit(Section):
    kind: Literal["normal"] = "normal"
    """Weights drawn from N(0, std^2); biases 0."""
    std: Positive = 0.01
    """Standard deviation."""


class XavierInit(Section):
    kind: Literal["xavier"] = "xavier"
    """Matrices Xavier-uniform (each LSTM gate by itself), embeddings N(0, 1/dim); biases 0."""


InitConfig = Annotated[
    Annotated[UniformInit, Tag("uniform")]
    | Annotated[NormalInit, Tag("normal")]
    | Annotated[XavierInit, Tag("xavier")],
    by_kind("uniform"),
]


class ModelConfig(Section):
    encoder: EncoderConfig = EncoderConfig()
    """Reads the source."""
    decoder: DecoderConfig = DecoderConfig()
    """Writes the target."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3
    """On embeddings and between LSTM layers."""
    init: InitConfig = UniformInit()
    """How weights start."""
