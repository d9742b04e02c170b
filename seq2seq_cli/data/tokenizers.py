"""Text to tokens and back.

`learn_tokenizers` makes the tokenizers of source and target: from rules, or learned once from the
training text. What was learned is kept as bytes in the model file, and `load_tokenizer` makes the
tokenizer again from them: raw text goes in and comes out wherever the model goes.
"""

from __future__ import annotations

import io
import itertools
import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import regex
import sentencepiece

from seq2seq_cli.config import (
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
from seq2seq_cli.data.languages import short_code
from seq2seq_cli.errors import ConfigError, ModelFileError
from seq2seq_cli.randomness import generator


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

    Raises ModelFileError when the bytes are no tokenizer, and when spaCy or its rules for the
    language are not there.
    """
    if isinstance(config, BpeTokenizer | UnigramTokenizer):
        return SubwordTokenizer(config, data)
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


def _spelt(text: str, config: TokenizerConfig) -> str:
    """Text in the spelling that the config asks for."""
    if config.lowercase:
        text = text.lower()
    # After lower(), which can take a character apart (İ).
    return unicodedata.normalize("NFC", text) if config.nfc else text


def _one_spaced(text: str) -> str:
    """Text with any white space as one space, and none at its ends. NUL, which would end a text
    for sentencepiece, is white space too."""
    return " ".join(text.replace("\0", " ").split())


class Whitespace:
    """Tokens are what stands between white space; they are joined by single spaces."""

    def __init__(self, config: WhitespaceTokenizer) -> None:
        self._config = config

    def tokenize(self, text: str) -> list[str]:
        return _spelt(text, self._config).split()

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
        return list(_one_spaced(_spelt(text, self._config)))

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
        text = _spelt(text, self._config)
        if text.isascii() or max(text) < "\u0300":
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
        found = self._tokenize(_one_spaced(_spelt(text, self._config)))
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


# sentencepiece writes a space as U+2581 and leaves out training lines with U+2585. In the text
# they stand for themselves, so they go in as characters that cannot be there: white space is
# single spaces by then.
_RESERVED = {"\u2581": "\x1c", "\u2585": "\x1d"}
_ESCAPE = str.maketrans(_RESERVED)
_UNESCAPE = str.maketrans({"\u2581": " ", **{new: old for old, new in _RESERVED.items()}})
_UNKNOWN = "<unk>"

# sentencepiece has one seed for the process; who sets it must be the one who draws.
_drawing = threading.Lock()
_UNIGRAM_ALPHA = 0.2  # Kudo 2018: how much likelier segmentations are preferred


class SubwordTokenizer:
    """BPE (Sennrich et al. 2016) or unigram (Kudo 2018) pieces by sentencepiece.

    What comes back is the text with any white space as one space, and none at its ends. A character
    that was not in the training text is a piece of its own spelling.
    """

    def __init__(self, config: BpeTokenizer | UnigramTokenizer, model: bytes) -> None:
        """Raises ModelFileError when the bytes are no sentencepiece model."""
        self._config = config
        self._model = model
        if not model:  # sentencepiece takes it, and fails at the first use
            raise ModelFileError("the tokenizer inside is empty")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelFileError(f"the tokenizer inside is damaged: {error}") from error

    @classmethod
    def learn(
        cls, config: BpeTokenizer | UnigramTokenizer, texts: Iterable[str]
    ) -> SubwordTokenizer:
        """Raises ConfigError when the text cannot yield as many subwords as asked for."""
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(_as_input(text, config) for text in texts),
                model_writer=model,
                model_type=config.kind,
                vocab_size=config.size,
                # The project's own vocabulary has these; here only <unk> has to exist.
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                unk_id=0,
                character_coverage=1.0,
                normalization_rule_name="identity",
                # In bytes; learning from a long line takes the square of its length.
                max_sentence_length=1 << 14,
                num_threads=1,  # the same pieces on every machine
                minloglevel=2,
            )
        except RuntimeError as error:
            most = regex.search(r"<= (\d+)", str(error))
            least = regex.search(r"\d+ vs (\d+)", str(error))
            if most:
                reason = f"it yields at most {most[1]}"
            elif least:
                reason = f"its characters alone are {least[1]}"
            else:
                reason = " ".join(str(error).split())
            raise ConfigError(
                f"data.tokenizer.size: {config.size} {config.kind} subwords cannot be learned from "
                f"the training data: {reason}"
            ) from error
        return cls(config, model.getvalue())

    @property
    def dropout(self) -> float:
        """How much `sample` leaves to chance."""
        return self._config.dropout

    @property
    def pieces(self) -> list[str]:
        """All that was learned, whether or not a best segmentation uses it."""
        ids = range(1, self._processor.get_piece_size())  # <unk> is 0
        return [str(self._processor.id_to_piece(index)) for index in ids]

    def tokenize(self, text: str) -> list[str]:
        pieces = self._processor.encode(_as_input(text, self._config), out_type=str)
        return _unlike_unknown([pieces])[0]

    def sample(self, texts: Sequence[str], seed: int) -> list[list[str]]:
        """Each text in pieces that are partly drawn at random, with the config's dropout.

        BPE leaves out each merge with that probability (Provilkov et al. 2020); of the words that
        unigram pieces make up, this share is segmented at random (Kudo 2018, alpha 0.2), the others
        at best. The pieces depend on nothing but the texts, all of them, and the seed.
        """
        lines = [_as_input(text, self._config) for text in texts]
        if not self._config.dropout:
            return _unlike_unknown(self._processor.encode(lines, out_type=str))
        if isinstance(self._config, BpeTokenizer):
            return self._draw(lines, self._config.dropout, seed)
        # Pieces never span words, so words can be segmented one by one.
        words = [line.split(" ") if line else [] for line in lines]
        flat = list(itertools.chain.from_iterable(words))
        coins = generator(seed, "subwords").random(len(flat)) < self._config.dropout
        drawn = iter(self._draw(list(itertools.compress(flat, coins)), _UNIGRAM_ALPHA, seed))
        others = list(dict.fromkeys(itertools.compress(flat, ~coins)))
        found = _unlike_unknown(self._processor.encode(others, out_type=str))
        best = dict(zip(others, found, strict=True))
        pieces = iter(
            next(drawn) if coin else best[word] for word, coin in zip(flat, coins, strict=True)
        )
        return [list(itertools.chain(*itertools.islice(pieces, len(line)))) for line in words]

    def _draw(self, lines: list[str], alpha: float, seed: int) -> list[list[str]]:
        with _drawing:
            # 32 bits, without the number that stands for a random seed.
            sentencepiece.set_random_generator_seed(seed % (2**32 - 1))
            drawn = self._processor.encode(
                lines,
                out_type=str,
                enable_sampling=True,
                alpha=alpha,
                nbest_size=-1,
                num_threads=1,  # several would share the lines out by chance
            )
        return _unlike_unknown(drawn)

    def detokenize(self, tokens: Sequence[str]) -> str:
        text = "".join(f" {token} " if token == _UNKNOWN else token for token in tokens)
        return " ".join(text.translate(_UNESCAPE).split())

    def to_bytes(self) -> bytes:
        return self._model


def _as_input(text: str, config: TokenizerConfig) -> str:
    """Text as sentencepiece is given it."""
    return _one_spaced(_spelt(text, config)).translate(_ESCAPE)


def _unlike_unknown(lines: list[list[str]]) -> list[list[str]]:
    """Lines of pieces, with a piece of unknown characters that happens to be spelt like the unknown
    token in single characters."""
    return [
        [part for piece in pieces for part in (piece if piece == _UNKNOWN else [piece])]
        if _UNKNOWN in pieces
        else pieces
        for pieces in lines
    ]
