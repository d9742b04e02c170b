"""Every option of a config, once: its name, type, default, bounds and meaning.

`config_file.py` reads these from YAML and writes them back. A section is immutable; a key that is
not listed here is refused. Numbers and booleans may arrive as YAML text ("1e-4"): the type of the
field decides, so that `target: no` stays Norwegian.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping in the config: unknown keys refused, no infinities, immutable.

    A section with nothing in it (`training:` alone on its line) has its defaults.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            key: value
            for key, value in values.items()
            if value is not None
            or key not in fields
            or not isinstance(fields[key].default, Section)
        }


def _whole_number(value: object) -> object:
    """Let people write 1e5 where a whole number is meant."""
    if not isinstance(value, str):
        return value
    try:
        return int(value)  # exact, where a float is not
    except ValueError:
        pass
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else value


def _file_name(value: object) -> object:
    """Refuse what no system takes as a path, before it is opened."""
    if isinstance(value, str) and (not value or "\0" in value or not _is_encodable(value)):
        raise _mistake("must be the path of a file")
    return value


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _by_kind(default: str) -> Discriminator:
    """Choose a section by its `kind`; without one, the default kind's keys are meant."""

    def kind(value: Any) -> str | None:
        if isinstance(value, dict):
            found = value.get("kind", default)
            return found if isinstance(found, str) else str(found)
        return getattr(value, "kind", None)

    return Discriminator(kind)


Whole = Annotated[int, BeforeValidator(_whole_number)]
Count = Annotated[Whole, Field(ge=1, le=1_000_000_000)]
Size = Annotated[Whole, Field(ge=1, le=65_536)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


# ---------------------------------------------------------------- data


class WhitespaceTokenizer(Section):
    kind: Literal["whitespace"] = "whitespace"
    """Tokens are what stands between white space."""
    lowercase: bool = False
    """Lower-case the text first."""


class WordsTokenizer(Section):
    kind: Literal["words"] = "words"
    """Unicode words and punctuation marks, each a token."""
    lowercase: bool = False
    """Lower-case the text first."""


class BpeTokenizer(Section):
    kind: Literal["bpe"] = "bpe"
    """Byte-pair subwords, learned on the training data (sentencepiece)."""
    size: Annotated[Whole, Field(ge=8, le=256_000)] = 8000
    """Number of subwords to learn."""
    lowercase: bool = False
    """Lower-case the text first."""


class UnigramTokenizer(Section):
    kind: Literal["unigram"] = "unigram"
    """Unigram language-model subwords, learned on the training data (sentencepiece)."""
    size: Annotated[Whole, Field(ge=8, le=256_000)] = 8000
    """Number of subwords to learn."""
    lowercase: bool = False
    """Lower-case the text first."""


TokenizerConfig = Annotated[
    Annotated[WhitespaceTokenizer, Tag("whitespace")]
    | Annotated[WordsTokenizer, Tag("words")]
    | Annotated[BpeTokenizer, Tag("bpe")]
    | Annotated[UnigramTokenizer, Tag("unigram")],
    _by_kind("words"),
]


class VocabularyConfig(Section):
    max_size: Count | None = None
    """Keep the most frequent tokens only, this many; `<pad> <unk> <sos> <eos>` come on top."""
    min_freq: Count = 1
    """Keep tokens seen at least this often in the training data."""
    shared: bool = False
    """One vocabulary (and one learned tokenizer) for both languages."""


class TextConfig(Section):
    """What a translator must know about text; it travels in the model file."""

    source: Annotated[str, Field(min_length=1, max_length=35)] | None = None
    """Language code of the source; a named corpus needs it."""
    target: Annotated[str, Field(min_length=1, max_length=35)] | None = None
    """Language code of the target; a named corpus needs it."""
    tokenizer: TokenizerConfig = WordsTokenizer()
    """How text becomes tokens."""
    vocabulary: VocabularyConfig = VocabularyConfig()
    """Which tokens get a number of their own."""
    max_length: Count = 100
    """Tokens. Longer training pairs are dropped and counted, longer inputs are cut and flagged."""
    reverse_source: bool = False
    """Read the source backwards (Sutskever et al. 2014); `<sos>` stays first, `<eos>` last."""


FilePath = Annotated[Path, BeforeValidator(_file_name)]


class ParallelFiles(Section):
    source: FilePath
    """One sentence a line."""
    target: FilePath
    """Its translation, on the same line."""


class Columns(Section):
    source: Annotated[str, Field(min_length=1)]
    """Name of the source column."""
    target: Annotated[str, Field(min_length=1)]
    """Name of the target column."""


def _table_or_files(value: Any) -> str:
    return "files" if isinstance(value, dict | ParallelFiles) else "table"


TextPairs = Annotated[
    Annotated[FilePath, Tag("table")] | Annotated[ParallelFiles, Tag("files")],
    Discriminator(_table_or_files),
]


DECODING_BATCH_SIZE = 32
"""Sentences that are translated or scored at a time, unless asked otherwise."""

CORPUS_LANGUAGES = {"phrasebook": ("de", "en"), "multi30k": ("de", "en", "fr", "cs")}
"""The named corpora, and the languages each of them has."""


class DataConfig(TextConfig):
    """Where the text comes from, and what a translator must know about it."""

    dataset: Literal["phrasebook", "multi30k"] | None = None
    """A named corpus; or else name files."""
    train: TextPairs | None = None
    """A .csv or .tsv table, or {source: FILE, target: FILE}; any of them may end in .gz."""
    valid: TextPairs | None = None
    """Pairs to validate on, given like `train`."""
    test: TextPairs | None = None
    """Pairs for `evaluate`; training never looks at them."""
    columns: Columns | None = None
    """Which columns of the tables hold source and target."""

    @model_validator(mode="after")
    def _one_origin(self) -> DataConfig:
        if self.dataset and (self.train or self.valid or self.test or self.columns):
            raise _mistake("name a dataset, or files of your own, not both")
        if not self.dataset and not self.train:
            raise _mistake("needs a `dataset` (phrasebook, multi30k) or `train` files")
        if self.dataset:
            languages = CORPUS_LANGUAGES[self.dataset]
            sides = {self.source, self.target}
            if len(sides) != 2 or not sides <= {*languages}:
                raise _mistake(
                    f"`source` and `target` must be two of the languages of {self.dataset}: "
                    f"{', '.join(languages)}"
                )
        if self.train and not self.valid:
            raise _mistake("needs `valid`: pairs to validate on, given like `train`")
        if self.columns and not any(
            isinstance(place, Path) for place in (self.train, self.valid, self.test)
        ):
            raise _mistake("`columns` is for tables, and here are none")
        return self

    @model_validator(mode="before")
    @classmethod
    def _an_origin(cls, data: Any) -> Any:
        if data is None:
            raise _mistake("needs a `dataset` (phrasebook, multi30k) or `train` files")
        return data


def _mistake(text: str) -> PydanticCustomError:
    return PydanticCustomError("mistake", "{text}", {"text": text})


# ---------------------------------------------------------------- model


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
    _by_kind("uniform"),
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


# ---------------------------------------------------------------- training


class AdamConfig(Section):
    kind: Literal["adam"] = "adam"
    """Kingma & Ba 2015."""
    learning_rate: Positive = 0.001
    """Step size."""


class AdamWConfig(Section):
    kind: Literal["adamw"] = "adamw"
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    learning_rate: Positive = 0.001
    """Step size."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    """Share of each weight taken off per step, times the learning rate."""


class SgdConfig(Section):
    kind: Literal["sgd"] = "sgd"
    """Plain gradient descent."""
    learning_rate: Positive = 0.7
    """Step size."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the last update that carries on."""


OptimizerConfig = Annotated[
    Annotated[AdamConfig, Tag("adam")]
    | Annotated[AdamWConfig, Tag("adamw")]
    | Annotated[SgdConfig, Tag("sgd")],
    _by_kind("adam"),
]


class ConstantRate(Section):
    kind: Literal["constant"] = "constant"
    """The optimizer's learning rate throughout."""


class PlateauRate(Section):
    kind: Literal["plateau"] = "plateau"
    """Multiply the rate by `factor` when the validation metric stops improving."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """What to multiply by."""
    patience: Annotated[Whole, Field(ge=0)] = 1
    """Validations without improvement that are let pass first."""


class CosineRate(Section):
    kind: Literal["cosine"] = "cosine"
    """Linear warm-up, then half a cosine down over the planned steps."""
    warmup_steps: Annotated[Whole, Field(ge=0)] = 200
    """Steps from 0 to the full rate."""
    final_ratio: Fraction = 0.0
    """Share of the full rate left at the end."""


LearningRateScheduleConfig = Annotated[
    Annotated[ConstantRate, Tag("constant")]
    | Annotated[PlateauRate, Tag("plateau")]
    | Annotated[CosineRate, Tag("cosine")],
    _by_kind("constant"),
]


class ConstantForcing(Section):
    kind: Literal["constant"] = "constant"
    """The same ratio throughout."""
    ratio: Fraction = 1.0
    """Probability, at each target step of a batch, of feeding the true token."""


class LinearForcing(Section):
    kind: Literal["linear"] = "linear"
    """From `start` to `end` in equal parts over the planned steps."""
    start: Fraction = 1.0
    """Probability of feeding the true token at the first step."""
    end: Fraction = 0.5
    """The same at the last step."""


TeacherForcingConfig = Annotated[
    Annotated[ConstantForcing, Tag("constant")] | Annotated[LinearForcing, Tag("linear")],
    _by_kind("constant"),
]


class TrainingConfig(Section):
    epochs: Count | None = 10
    """Passes over the training data; null: until `max_steps` or `max_minutes`."""
    max_steps: Count | None = None
    """Optimizer updates at most."""
    max_minutes: Positive | None = None
    """Minutes at most; what depends on the planned steps does not follow the clock."""
    batch_size: Count = 128
    """Sentence pairs, or padded tokens of the larger side, in a batch."""
    batch_unit: Literal["sentences", "tokens"] = "sentences"
    """What `batch_size` counts."""
    optimizer: OptimizerConfig = AdamConfig()
    """How gradients become updates."""
    learning_rate_schedule: LearningRateScheduleConfig = ConstantRate()
    """How the learning rate changes."""
    teacher_forcing: TeacherForcingConfig = ConstantForcing()
    """How often the decoder is fed the true token instead of its own."""
    gradient_clip_norm: Positive | None = 1.0
    """Gradients with a larger global norm are scaled down to it; null: never."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the probability spread evenly over the vocabulary; training lines show that loss."""
    log_every: Count = 10
    """Steps between two log lines."""
    save_every: Count = 500
    """Steps between two saves of last/."""

    @model_validator(mode="after")
    def _ends(self) -> TrainingConfig:
        if self.epochs is None and self.max_steps is None and self.max_minutes is None:
            raise _mistake("needs one of epochs, max_steps, max_minutes: when to stop")
        schedules = self.learning_rate_schedule.kind, self.teacher_forcing.kind
        if self.epochs is None and self.max_steps is None and {"cosine", "linear"} & {*schedules}:
            raise _mistake(
                "a cosine or linear schedule needs epochs or max_steps to end at, "
                "max_minutes alone does not say where that is"
            )
        return self


def _epoch_or_steps(value: Any) -> Any:
    if value == "epoch":
        return value
    steps = _whole_number(value)
    if isinstance(steps, str) and steps.isdecimal():
        steps = int(steps)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise _mistake("must be `epoch` or a number of steps")
    return steps


class ValidationConfig(Section):
    every: Annotated[Literal["epoch"] | int, BeforeValidator(_epoch_or_steps)] = "epoch"
    """`epoch`, or a number of steps."""
    metric: Literal["loss", "free_running_loss", "bleu"] = "loss"
    """What decides which model is best; losses are better lower, BLEU higher."""
    patience: Count | None = None
    """Stop after this many validations in a row without a new best; null: never."""


class DecodingConfig(Section):
    max_length_ratio: Annotated[float, Field(gt=0.0, le=100.0)] = 2.0
    """Longest translation, in tokens for each token of the source (10 are always allowed)."""


# ---------------------------------------------------------------- the whole


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

    def for_translator(self) -> TranslatorConfig:
        """The part that goes into the model file."""
        data = {key: getattr(self.data, key) for key in TextConfig.model_fields}
        return TranslatorConfig(
            name=self.name, data=TextConfig(**data), model=self.model, decoding=self.decoding
        )
