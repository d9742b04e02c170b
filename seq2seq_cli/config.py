"""Every option of a config, once: its name, type, default, bounds and meaning.

`config_file.py` reads these from YAML and writes them back. A section is immutable; a key that is
not listed here is refused. Numbers and booleans may arrive as YAML text ("1e-4"): the type of the
field decides, so that `target: no` stays Norwegian.
"""

from __future__ import annotations

import difflib
import re
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


def _auto_or_bool(value: object) -> object:
    found = _BOOLEANS.get(value.lower(), value) if isinstance(value, str) else value
    if found != "auto" and not isinstance(found, bool):
        raise _mistake("must be auto, true or false")
    return found


_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


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


class _Tokenizer(Section):
    kind: str
    lowercase: bool = False
    """Lower-case the text first."""
    nfc: bool = False
    """Compose accented characters first (Unicode NFC), so that each is spelt in one way only."""


class _Subwords(_Tokenizer):
    size: Annotated[Whole, Field(ge=8, le=256_000)] = 8000
    """Number of subwords to learn."""


class WhitespaceTokenizer(_Tokenizer):
    kind: Literal["whitespace"] = "whitespace"
    """Tokens are what stands between white space."""


class WordsTokenizer(_Tokenizer):
    kind: Literal["words"] = "words"
    """Unicode words and punctuation marks, each a token."""


class SpacyTokenizer(_Tokenizer):
    kind: Literal["spacy"] = "spacy"
    """spaCy's rules for the language that `source` or `target` names; no model is downloaded."""


class CharactersTokenizer(_Tokenizer):
    kind: Literal["characters"] = "characters"
    """Every character is a token, spaces too."""


class BpeTokenizer(_Subwords):
    kind: Literal["bpe"] = "bpe"
    """Byte-pair subwords, learned on the training data (sentencepiece)."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """In training, leave out each merge with this probability (Provilkov et al. 2020)."""


class UnigramTokenizer(_Subwords):
    kind: Literal["unigram"] = "unigram"
    """Unigram language-model subwords, learned on the training data (sentencepiece)."""
    dropout: Fraction = 0.0
    """In training, draw the cuts of this share of the words at random (Kudo 2018, alpha .2)."""


TokenizerConfig = Annotated[
    Annotated[WhitespaceTokenizer, Tag("whitespace")]
    | Annotated[WordsTokenizer, Tag("words")]
    | Annotated[SpacyTokenizer, Tag("spacy")]
    | Annotated[CharactersTokenizer, Tag("characters")]
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
    """Language code of the source (de); named corpora need it, and detokenising follows it."""
    target: Annotated[str, Field(min_length=1, max_length=35)] | None = None
    """Language code of the target (en)."""
    tokenizer: TokenizerConfig = WordsTokenizer()
    """How text becomes tokens."""
    vocabulary: VocabularyConfig = VocabularyConfig()
    """Which tokens get a number of their own."""
    max_length: Count = 100
    """Tokens. Longer training pairs are dropped and counted, longer inputs are cut and flagged."""
    reverse_source: bool = False
    """Read the source backwards (Sutskever et al. 2014); `<sos>` stays first, `<eos>` last."""


FilePath = Annotated[Path, BeforeValidator(_file_name)]


def _one_or_several(value: Any) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


Files = Annotated[
    Annotated[FilePath, Tag("one")]
    | Annotated[tuple[FilePath, ...], Field(min_length=1), Tag("several")],
    Discriminator(_one_or_several),
]
"""A file, a pattern (part-*.tsv), or a list of them."""


class ParallelFiles(Section):
    source: Files
    """One sentence a line."""
    target: Files
    """Its translation, on the same line."""


def _name_or_number(value: object) -> object:
    """A column's number, from 1, or its name."""
    is_number = isinstance(value, str) and value.isdecimal() and len(value) < 10
    number = int(value) if is_number else value  # type: ignore[call-overload]
    if isinstance(number, str) and number:
        return number
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise _mistake("must be the name of a column, or its number from 1")
    return number


Column = Annotated[str | int, BeforeValidator(_name_or_number)]


class Columns(Section):
    source: Column
    """Name or number of the source column."""
    target: Column
    """Name or number of the target column."""

    @model_validator(mode="after")
    def _are_two(self) -> Columns:
        if self.source == self.target:
            raise _mistake("source and target are the same column")
        return self

    @property
    def has_names(self) -> bool:
        return isinstance(self.source, str) or isinstance(self.target, str)

    @property
    def has_numbers(self) -> bool:
        return isinstance(self.source, int) or isinstance(self.target, int)


class HubConfig(Section):
    config: str | None = None
    """Which of the dataset's configurations (the hub calls them subsets)."""
    revision: str | None = None
    """Commit, tag or branch; null: the latest."""
    train: Annotated[str, Field(min_length=1)] = "train"
    """The split to train on."""
    valid: str | None = None
    """The split to validate on; null: `validation`, if there is one."""
    test: str | None = None
    """The split for `evaluate`; null: `test`, if there is one."""


class HeldOutConfig(Section):
    valid: Annotated[float, Field(gt=0.0, le=0.5)] = 0.05
    """Share of the sources cut from `train` to validate on, where there is no `valid`."""
    test: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """Share of the sources cut from `train` for `evaluate`, where there is no `test`."""


def _pairs_kind(value: Any) -> str:
    if value == "none":
        return "none"
    if isinstance(value, dict | ParallelFiles):
        return "files"
    return "several" if isinstance(value, list | tuple) else "table"


TextPairs = Annotated[
    Annotated[FilePath, Tag("table")]
    | Annotated[tuple[FilePath, ...], Field(min_length=1), Tag("several")]
    | Annotated[ParallelFiles, Tag("files")]
    | Annotated[Literal["none"], Tag("none")],
    Discriminator(_pairs_kind),
]


DECODING_BATCH_SIZE = 32
"""Sentences that are translated or scored at a time, unless asked otherwise."""

CORPUS_LANGUAGES = {"phrasebook": ("de", "en"), "multi30k": ("de", "en", "fr", "cs")}
"""The named corpora with a fixed set of languages, and these."""

_KAGGLE = re.compile(r"kaggle:[\w-]+/[\w-]+(/versions/\d+)?/[^/].*\.\w+")
_HF = re.compile(r"hf:\w[\w.-]*(/\w[\w.-]*)?")


def _corpus_name(value: object) -> object:
    """Refuse what names no corpus."""
    names = (*CORPUS_LANGUAGES, "tatoeba")
    if not isinstance(value, str) or value in names:
        return value
    if value.startswith("hf:"):
        if not _HF.fullmatch(value) or ".." in value:
            raise _mistake("must be written hf:NAME or hf:OWNER/NAME")
    elif value.startswith("kaggle:"):
        if not _KAGGLE.fullmatch(value) or ".." in value.split("/"):
            raise _mistake("must be written kaggle:OWNER/NAME/FILE.csv")
    else:
        close = difflib.get_close_matches(value, names, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise _mistake(
            f"must be one of {', '.join(names)}, hf:NAME, kaggle:OWNER/NAME/FILE.csv, "
            f"not {value!r}{hint}"
        )
    return value


class DataConfig(TextConfig):
    """Where the text comes from, and what a translator must know about it."""

    dataset: Annotated[str, BeforeValidator(_corpus_name)] | None = None
    """A corpus by name: phrasebook, multi30k, tatoeba, hf:NAME, kaggle:OWNER/NAME/FILE.csv."""
    train: TextPairs | None = None
    """A table (.csv .tsv .txt .jsonl .parquet), a list or pattern of such, or two text files."""
    valid: TextPairs | None = None
    """Given like `train`; `none`: do without; absent: the corpus' own, else cut from `train`."""
    test: TextPairs | None = None
    """The same for `evaluate`; training never looks at it."""
    columns: Columns | None = None
    """Columns of the pairs; absent: those named like the languages, or the first two unnamed."""
    header: Annotated[Literal["auto"] | bool, BeforeValidator(_auto_or_bool)] = "auto"
    """Whether tables begin with their columns' names; auto: look, and log what was seen."""
    hf: HubConfig = HubConfig()
    """What to take of an `hf:` dataset."""
    held_out: HeldOutConfig = HeldOutConfig()
    """How much is cut from `train`: by a hash of the source, so a sentence never changes sides."""
    limit: Count | None = None
    """Train on the first N pairs only, counted after the cut."""

    @model_validator(mode="after")
    def _one_origin(self) -> DataConfig:
        named = [
            place for place in (self.train, self.valid, self.test) if place not in (None, "none")
        ]
        if self.dataset and (named or self.train):
            raise _mistake("name a dataset, or files of your own, not both")
        if not self.dataset and self.train in (None, "none"):
            raise _mistake(_NEEDS_ORIGIN)
        kind = (self.dataset or "").partition(":")[0]
        if kind in CORPUS_LANGUAGES:
            sides = {self.source, self.target}
            if len(sides) != 2 or not sides <= {*CORPUS_LANGUAGES[kind]}:
                raise _mistake(
                    f"`source` and `target` must be two of the languages of {kind}: "
                    f"{', '.join(CORPUS_LANGUAGES[kind])}"
                )
        if kind == "tatoeba":
            primary = [
                (side or "").lower().partition("-")[0] for side in (self.source, self.target)
            ]
            if not all(primary) or sum(side in ("en", "eng") for side in primary) != 1:
                raise _mistake(
                    "tatoeba pairs a language with English: one of `source` and `target` must be en"
                )
        has_tables = kind in ("hf", "kaggle") or any(
            not isinstance(place, ParallelFiles) for place in named
        )
        if self.columns and not has_tables:
            raise _mistake("`columns` is for tables, and here are none")
        if self.hf != HubConfig() and kind != "hf":
            raise _mistake("`hf` is for a dataset written hf:NAME")
        if self.header is False and self.columns and self.columns.has_names:
            raise _mistake("without a header, `columns` must be numbers, from 1")
        if self.header != "auto" and (kind == "hf" or not has_tables):
            raise _mistake("`header` is for tables, and here are none")
        return self

    @model_validator(mode="before")
    @classmethod
    def _an_origin(cls, data: Any) -> Any:
        if data is None:
            raise _mistake(_NEEDS_ORIGIN)
        return data


_NEEDS_ORIGIN = "needs a `dataset` (phrasebook, multi30k ...) or `train` files"


def _mistake(text: str, key: str | None = None) -> PydanticCustomError:
    """An error in our own words; `key` is the dotted key that it is about, where pydantic cannot
    know."""
    return PydanticCustomError("mistake", "{text}", {"text": text, "key": key})


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


class InverseSqrtRate(Section):
    kind: Literal["inverse_sqrt"] = "inverse_sqrt"
    """Linear warm-up, then down with the inverse square root of the step (Vaswani et al. 2017)."""
    warmup_steps: Count = 200
    """Steps from 0 to the full rate."""


class HalvingRate(Section):
    kind: Literal["halving"] = "halving"
    """The full rate for some epochs, then halved again and again (Sutskever et al. 2014)."""
    after_epochs: Annotated[float, Field(ge=0.0)] = 5.0
    """Epochs at the full rate; it is halved where they end."""
    every_epochs: Positive = 0.5
    """Epochs, or a part of one, from one halving to the next."""


LearningRateScheduleConfig = Annotated[
    Annotated[ConstantRate, Tag("constant")]
    | Annotated[PlateauRate, Tag("plateau")]
    | Annotated[CosineRate, Tag("cosine")]
    | Annotated[InverseSqrtRate, Tag("inverse_sqrt")]
    | Annotated[HalvingRate, Tag("halving")],
    _by_kind("constant"),
]


class _Forcing(Section):
    kind: str
    per: Literal["step", "token"] = "step"
    """One coin for a target step of the whole batch, or one for every token of every sentence."""


class ConstantForcing(_Forcing):
    kind: Literal["constant"] = "constant"
    """The same ratio throughout."""
    ratio: Fraction = 1.0
    """Probability of feeding the true token."""


class LinearForcing(_Forcing):
    kind: Literal["linear"] = "linear"
    """From `start` to `end` in equal parts over the planned steps."""
    start: Fraction = 1.0
    """Probability of feeding the true token at the first step."""
    end: Fraction = 0.5
    """The same at the last step."""


class ExponentialForcing(_Forcing):
    kind: Literal["exponential"] = "exponential"
    """k^i at step i (Bengio et al. 2015)."""
    k: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """After 1 / (1 - k) steps the probability is about a third."""


class InverseSigmoidForcing(_Forcing):
    kind: Literal["inverse_sigmoid"] = "inverse_sigmoid"
    """k / (k + exp(i / k)) at step i (Bengio et al. 2015)."""
    k: Annotated[float, Field(ge=1.0)] = 300.0
    """After k ln k steps the probability is one half."""


TeacherForcingConfig = Annotated[
    Annotated[ConstantForcing, Tag("constant")]
    | Annotated[LinearForcing, Tag("linear")]
    | Annotated[ExponentialForcing, Tag("exponential")]
    | Annotated[InverseSigmoidForcing, Tag("inverse_sigmoid")],
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
    metric: Literal["loss", "free_running_loss", "train_loss", "bleu"] = "loss"
    """What decides which model is best. `train_loss`: the mean since the last validation."""
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

    @model_validator(mode="after")
    def _metric_has_data(self) -> Config:
        if self.data.valid == "none" and self.validation.metric != "train_loss":
            raise _mistake(
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
