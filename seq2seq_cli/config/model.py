"""Sizes and parts of the network."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Tag, model_validator

from seq2seq_cli.config.sections import (
    FilePath,
    Positive,
    Section,
    Size,
    Whole,
    by_kind,
    check_number,
    mistake,
)

_Rate = Annotated[float, Field(ge=0.0, lt=1.0)]


class _Stack(Section):
    embedding_dim: Size = 256
    """Size of a word vector."""
    hidden_size: Size = 512
    """Size of the LSTM's state; in the encoder, for each direction."""
    num_layers: Annotated[Whole, Field(ge=1, le=64)] = 2
    """Depth."""
    residual: bool = False
    """Add a layer's input to its output, from the second layer on (He et al. 2016)."""

    @model_validator(mode="after")
    def _residual_has_layers(self) -> _Stack:
        if self.residual and self.num_layers == 1:
            raise mistake("residual goes from the second layer on, and num_layers is 1")
        return self


class EncoderConfig(_Stack):
    bidirectional: bool = False
    """Read every layer's input in both directions."""

    @property
    def output_size(self) -> int:
        """Of a layer's output and state, its directions side by side."""
        return self.hidden_size * (2 if self.bidirectional else 1)


class NoAttention(Section):
    kind: Literal["none"] = "none"
    """The decoder knows the source by the encoder's last state alone (Sutskever et al. 2014)."""


class _Attention(Section):
    kind: str
    place: Literal["before", "input_feeding", "deep", "every_layer"] = "deep"
    """`before`: the context found with the last state joins the step's input (Bahdanau et al.
    2015). `input_feeding`: attention after the LSTM, its output joins the next step's input (Luong
    et al. 2015). `deep`: from the bottom layer's output, for the layers above and the output layer
    (Wu et al. 2016); fastest, since no step waits for attention at the one before. `every_layer`:
    likewise, and each layer above looks again, for the next one and at last the output layer."""
    word_vectors: bool = False
    """The source's word vectors, weighted as the encoder's outputs are, are part of the context
    (after the lexical model of Nguyen & Chiang 2018)."""


class DotAttention(_Attention):
    kind: Literal["dot"] = "dot"
    """Scores are h . m (Luong et al. 2015): decoder and encoder need one size."""


class GeneralAttention(_Attention):
    kind: Literal["general"] = "general"
    """Scores are h . W m (Luong et al. 2015)."""


class AdditiveAttention(_Attention):
    kind: Literal["additive"] = "additive"
    """Scores are v . tanh(U h + W m) (Bahdanau et al. 2015)."""


AttentionConfig = Annotated[
    Annotated[NoAttention, Tag("none")]
    | Annotated[DotAttention, Tag("dot")]
    | Annotated[GeneralAttention, Tag("general")]
    | Annotated[AdditiveAttention, Tag("additive")],
    by_kind("none"),
]


class DecoderConfig(_Stack):
    attention: AttentionConfig = NoAttention()
    """How each step looks back at the source."""


class DropoutConfig(Section):
    embedding: _Rate = 0.3
    """Of the elements of word vectors."""
    hidden: _Rate = 0.3
    """Of what one LSTM layer hands to the next."""
    output: _Rate = 0.0
    """Of what the output layer reads."""
    word: _Rate = 0.0
    """Of whole word vectors, on both sides."""
    variational: bool = False
    """Drop the same elements at every step of a sentence (Gal & Ghahramani 2016)."""


def _one_rate(value: Any) -> Any:
    """A number alone is the rate of the two usual places."""
    if isinstance(value, dict | DropoutConfig):
        return value
    check_number(value, "embedding, hidden, output, word, variational")
    return {"embedding": value, "hidden": value}


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
    dropout: Annotated[DropoutConfig, BeforeValidator(_one_rate)] = DropoutConfig()
    """Rates by place; one number is that of `embedding` and `hidden`, a place not named has its own
    default."""
    layer_norm: bool = False
    """Normalise every LSTM layer's output (Ba et al. 2016)."""
    tied_embeddings: Literal["none", "target", "all"] = "none"
    """One matrix for `target` word vectors and output layer (Press & Wolf 2017), or for those of
    the source too: `all`."""
    fixnorm: bool = False
    """Give all rows of the output layer one length, which is learned, so that no frequent token
    wins by a long vector (after Nguyen & Chiang 2018)."""
    init: InitConfig = UniformInit()
    """How weights start."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> ModelConfig:
        encoder, decoder = self.encoder, self.decoder
        if decoder.attention.kind == "dot" and encoder.output_size != decoder.hidden_size:
            directions = " in each of two directions" if encoder.bidirectional else ""
            raise mistake(
                f"dot compares vectors of one size: decoder.hidden_size is {decoder.hidden_size}, "
                f"and the encoder has {encoder.hidden_size}{directions}; general and additive "
                "fit any sizes",
                "model.decoder.attention.kind",
            )
        if self.tied_embeddings == "all" and encoder.embedding_dim != decoder.embedding_dim:
            raise mistake(
                f"all needs one size: encoder.embedding_dim is {encoder.embedding_dim}, "
                f"decoder.embedding_dim {decoder.embedding_dim}",
                "model.tied_embeddings",
            )
        return self


class PretrainedConfig(Section):
    source: FilePath | None = None
    """A file of word vectors in the text format of word2vec, GloVe or fastText, for the source."""
    target: FilePath | None = None
    """The same for the target; the source's too where `tied_embeddings` is `all`."""


class TrainedModelConfig(ModelConfig):
    """The model as training begins it; a translator has no need of the files named here."""

    pretrained: PretrainedConfig = PretrainedConfig()
    """Word vectors to begin with."""

    @model_validator(mode="after")
    def _one_matrix_one_file(self) -> TrainedModelConfig:
        if self.tied_embeddings == "all" and self.pretrained.source is not None:
            raise mistake(
                "tied_embeddings: all has one matrix for both sides, and it begins with "
                "pretrained.target",
                "model.pretrained.source",
            )
        return self
