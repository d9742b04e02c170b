"""Where text comes from, and how it becomes tokens."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from seq2seq_cli.config.sections import (
    Count,
    FilePath,
    Fraction,
    Section,
    Whole,
    by_kind,
    check_number,
    mistake,
)
from seq2seq_cli.errors import did_you_mean
from seq2seq_cli.languages import short_code


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
    by_kind("words"),
]


class VocabularySizes(Section):
    source: Count | None = None
    """Tokens of the source language to keep."""
    target: Count | None = None
    """Tokens of the target language to keep."""


def _for_both(value: Any) -> Any:
    """A number alone is that of both languages."""
    if isinstance(value, dict | VocabularySizes):
        return value
    check_number(value, "source, target")
    return {"source": value, "target": value}


class VocabularyConfig(Section):
    max_size: Annotated[VocabularySizes, BeforeValidator(_for_both)] = VocabularySizes()
    """Keep the most frequent tokens only, this many; `<pad> <unk> <sos> <eos>` come on top. One
    number, or one for each of `source` and `target`."""
    min_freq: Count = 1
    """Keep tokens seen at least this often in the training data."""
    shared: bool = False
    """One vocabulary (and one learned tokenizer) for both languages."""

    @model_validator(mode="after")
    def _one_size_when_shared(self) -> VocabularyConfig:
        if self.shared and self.max_size.source != self.max_size.target:
            raise mistake("a shared vocabulary has one size, not two", "data.vocabulary.max_size")
        return self


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


def _auto_or_bool(value: object) -> object:
    found = _BOOLEANS.get(value.lower(), value) if isinstance(value, str) else value
    if found != "auto" and not isinstance(found, bool):
        raise mistake("must be auto, true or false")
    return found


_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


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
        raise mistake("must be the name of a column, or its number from 1")
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
            raise mistake("source and target are the same column")
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


CORPUS_LANGUAGES = {"phrasebook": ("de", "en"), "multi30k": ("de", "en", "fr", "cs")}
"""The named corpora with a fixed set of languages, and these."""

_KAGGLE = re.compile(
    r"kaggle:[\w-]+/[\w-]+(/versions/\d+)?(/[^/\\\x00-\x1f\x7f]+)*/[^/\\\x00-\x1f\x7f]+\.\w+"
)
_HF = re.compile(r"hf:\w[\w.-]*(/\w[\w.-]*)?")


def _corpus_name(value: object) -> object:
    """Refuse what names no corpus."""
    names = (*CORPUS_LANGUAGES, "tatoeba")
    if not isinstance(value, str) or value in names:
        return value
    if value.startswith("hf:"):
        if not _HF.fullmatch(value) or ".." in value:
            raise mistake("must be written hf:NAME or hf:OWNER/NAME")
    elif value.startswith("kaggle:"):
        if not _KAGGLE.fullmatch(value) or ".." in value.split("/"):
            raise mistake("must be written kaggle:OWNER/NAME/FILE.csv")
    else:
        raise mistake(
            f"must be one of {', '.join(names)}, hf:NAME, kaggle:OWNER/NAME/FILE.csv, "
            f"not {value!r}{did_you_mean(value, names)}"
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
            raise mistake("name a dataset, or files of your own, not both")
        if not self.dataset and self.train in (None, "none"):
            raise mistake(_NEEDS_ORIGIN)
        kind = (self.dataset or "").partition(":")[0]
        if kind in CORPUS_LANGUAGES:
            sides = {self.source, self.target}
            if len(sides) != 2 or not sides <= {*CORPUS_LANGUAGES[kind]}:
                raise mistake(
                    f"`source` and `target` must be two of the languages of {kind}: "
                    f"{', '.join(CORPUS_LANGUAGES[kind])}"
                )
        if kind == "tatoeba":
            sides_in_short = [short_code(side or "") for side in (self.source, self.target)]
            if not all(sides_in_short) or sides_in_short.count("en") != 1:
                raise mistake(
                    "tatoeba pairs a language with English: one of `source` and `target` must be en"
                )
        has_tables = kind in ("hf", "kaggle") or any(
            not isinstance(place, ParallelFiles) for place in named
        )
        if self.columns and not has_tables:
            raise mistake("`columns` is for tables, and here are none")
        if self.hf != HubConfig() and kind != "hf":
            raise mistake("`hf` is for a dataset written hf:NAME")
        if self.header is False and self.columns and self.columns.has_names:
            raise mistake("without a header, `columns` must be numbers, from 1")
        if self.header != "auto" and (kind == "hf" or not has_tables):
            raise mistake("`header` is for tables, and here are none")
        return self

    @model_validator(mode="before")
    @classmethod
    def _an_origin(cls, data: Any) -> Any:
        if data is None:
            raise mistake(_NEEDS_ORIGIN)
        return data


_NEEDS_ORIGIN = "needs a `dataset` (phrasebook, multi30k ...) or `train` files"
