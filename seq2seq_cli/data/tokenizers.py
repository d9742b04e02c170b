"""Text to tokens and back.

`learn_tokenizers` makes the tokenizers of source and target: from rules, or learned once from the
training text. What was learned is kept as bytes in the model file, and `load_tokenizer` makes the
tokenizer again from them: raw text goes in and comes out wherever the model goes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import regex

from seq2seq_cli.config.data import (
    BpeTokenizer,
    CharactersTokenizer,
    SpacyTokenizer,
    TextConfig,
    TokenizerConfig,
    UnigramTokenizer,
    WhitespaceTokenizer,
    WordsTokenizer,
)
from seq2seq_cli.data import detokenizing
from seq2seq_cli.data.spelling import one_spaced, spelt
from seq2seq_cli.data.subwords import SubwordTokenizer
from seq2seq_cli.errors import ConfigError, ModelFileError
from seq2seq_cli.languages import short_code


class Tokenizer(Protocol):
    """What the rest of the program asks of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        """Tokens of a line; none for a blank one. No token holds a line feed."""

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Tokens as text for people."""

    def to_bytes(self) -> bytes:
        """What was learned; empty for rule-based tokenizers."""


def learn_tokenizers(
    config: TextConfig, texts: Callable[[int], Iterable[str]]
) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of source (0) and target (1); `texts` gives a side's training text anew at
    each call, and is asked only where something has to be learned.

    Subwords of a shared vocabulary are learned on both sides together: one tokenizer, twice.
    Raises ConfigError when the text cannot yield as many subwords as asked for, and when spaCy or
    its rules for a language are not there.
    """
    kind = config.tokenizer
    if not isinstance(kind, BpeTokenizer | UnigramTokenizer):
        return _rule_based(kind, config.source), _rule_based(kind, config.target)
    if config.vocabulary.shared:
        both = SubwordTokenizer.learn(kind, itertools.chain(texts(0), texts(1)))
        return both, both
    return SubwordTokenizer.learn(kind, texts(0)), SubwordTokenizer.learn(kind, texts(1))


def load_tokenizer(config: TokenizerConfig, data: bytes, language: str | None = None) -> Tokenizer:
    """The configured tokenizer from what `to_bytes` gave, for the language with this code.

    Raises ModelFileError when the bytes are no such tokenizer, and when spaCy or its rules for the
    language are not there.
    """
    if isinstance(config, BpeTokenizer | UnigramTokenizer):
        return SubwordTokenizer(config, data)
    if data:
        raise ModelFileError(f"the tokenizer inside is of another kind than {config.kind}")
    try:
        return _rule_based(config, language)
    except ConfigError as error:
        raise ModelFileError(f"the tokenizer inside cannot be used: {error}") from error


def _rule_based(
    config: WhitespaceTokenizer | WordsTokenizer | SpacyTokenizer | CharactersTokenizer,
    language: str | None,
) -> Tokenizer:
    if isinstance(config, WhitespaceTokenizer):
        return Whitespace(config)
    if isinstance(config, WordsTokenizer):
        return Words(config, language)
    if isinstance(config, CharactersTokenizer):
        return Characters(config)
    return Spacy(config, language)


class Whitespace:
    """Tokens are what stands between white space; they are joined by single spaces."""

    def __init__(self, config: WhitespaceTokenizer) -> None:
        self._config = config

    def tokenize(self, text: str) -> list[str]:
        return spelt(text, self._config).split()

    def detokenize(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)

    def to_bytes(self) -> bytes:
        return b""


class Characters:
    """Every code point is a token, single spaces between words too: what comes back is the text
    with any white space as one space, and none at its ends."""

    def __init__(self, config: CharactersTokenizer) -> None:
        self._config = config

    def tokenize(self, text: str) -> list[str]:
        return list(one_spaced(spelt(text, self._config)))

    def detokenize(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)

    def to_bytes(self) -> bytes:
        return b""


# A word is a run of letters, combining marks and digits; an apostrophe, hyphen or dot inside it
# belongs to it (don't, T-Shirt, 3.5, 10:30). Everything else is a token for each character as
# people see it: \X keeps an emoji sequence or an accented letter in one piece.
_WORD = r"[\p{L}\p{M}\p{N}_]+"
_WORD_OR_MARK = regex.compile(
    rf"{_WORD}(?:['’\-‐‑]{_WORD}|(?<=\p{{N}})[.,:](?=\p{{N}}){_WORD})*|(?!\s)\X"
)
# The same for text below U+0300, where no mark combines with another: Python's own module knows
# enough for it, and is more than twice as fast.
_NOT_SIMPLE = re.compile("[\u0300-\U0010ffff]")
_SIMPLE_WORD_OR_MARK = re.compile(r"\w+(?:['\-]\w+|(?<=[\d²³¹¼½¾])[.,:](?=[\d²³¹¼½¾])\w+)*|\S")


class Words:
    """Unicode words and punctuation marks.

    Detokenising puts spaces where the language wants them: none before a comma, none inside
    brackets and quotation marks.
    """

    def __init__(self, config: WordsTokenizer, language: str | None) -> None:
        self._config = config
        self._spacing = detokenizing.spacing(language)

    def tokenize(self, text: str) -> list[str]:
        text = spelt(text, self._config)
        if not _NOT_SIMPLE.search(text):
            return _SIMPLE_WORD_OR_MARK.findall(text)
        # Python counts some control characters as white space that the pattern does not.
        return [token for token in _WORD_OR_MARK.findall(text) if not token.isspace()]

    def detokenize(self, tokens: Sequence[str]) -> str:
        return detokenizing.join(tokens, self._spacing)

    def to_bytes(self) -> bytes:
        return b""


class Spacy:
    """spaCy's rules for a language, without any model of it."""

    def __init__(self, config: SpacyTokenizer, language: str | None) -> None:
        """Raises ConfigError when spaCy, or what it has to have for the language, is not there."""
        if not language:
            raise ConfigError(
                "data.tokenizer: spacy needs data.source and data.target, the languages"
            )
        self._config = config
        self._language = short_code(language)
        self._tokenize = _spacy_rules(self._language)
        self._spacing = detokenizing.spacing(language)

    def tokenize(self, text: str) -> list[str]:
        found = self._tokenize(one_spaced(spelt(text, self._config)))
        return [token.text for token in found if not token.is_space]

    def detokenize(self, tokens: Sequence[str]) -> str:
        bonds = detokenizing.spacy_bonds(tokens, self._language)
        return detokenizing.join(tokens, self._spacing, bonds)

    def to_bytes(self) -> bytes:
        return b""


def _spacy_rules(language: str) -> Any:
    """spaCy's tokenizer, a function of the text."""
    try:
        import spacy
    except ImportError as error:
        raise ConfigError(
            "data.tokenizer: spacy is not installed; pip install 'seq2seq-cli[spacy]'"
        ) from error
    missing = f"data.tokenizer: spacy has no rules for the language {language}; kind words has"
    if not regex.fullmatch(r"[a-z]{2,3}", language):  # spaCy would import what it spells
        raise ConfigError(missing)
    try:
        return spacy.blank(language).tokenizer
    except ImportError as error:
        if "[E048]" in str(error):  # its number for a language that it does not have
            raise ConfigError(missing) from error
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"data.tokenizer: spacy needs more packages for the language {language}: {reason}"
        ) from error
