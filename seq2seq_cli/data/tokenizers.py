"""Text to tokens and back.

`TOKENIZERS` maps each `data.tokenizer.kind` to its class. A tokenizer is learned once from the
training text, kept as bytes in the model file, and made again from them: raw text goes in and comes
out wherever the model goes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import regex
import sentencepiece

from seq2seq_cli.config import (
    BpeTokenizer,
    TokenizerConfig,
    UnigramTokenizer,
    WhitespaceTokenizer,
    WordsTokenizer,
)
from seq2seq_cli.errors import ConfigError, ModelFileError


class Tokenizer(Protocol):
    """What the rest of the program asks of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        """Tokens of a line; none for a blank one. No token holds a line feed."""

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Tokens as text for people."""

    def to_bytes(self) -> bytes:
        """What was learned; empty for rule-based tokenizers."""


def learn_tokenizer(config: TokenizerConfig, texts: Callable[[], Iterable[str]]) -> Tokenizer:
    """Make the configured tokenizer, learning it from `texts()` where it has to be learned.

    Raises ConfigError when the text cannot yield as many subwords as asked for.
    """
    if isinstance(config, BpeTokenizer | UnigramTokenizer):
        return SubwordTokenizer.learn(config, texts())
    return load_tokenizer(config, b"")


def load_tokenizer(config: TokenizerConfig, data: bytes) -> Tokenizer:
    """The configured tokenizer from what `to_bytes` gave.

    Raises ModelFileError when the bytes are no tokenizer.
    """
    if isinstance(config, WhitespaceTokenizer):
        return Whitespace(config.lowercase)
    if isinstance(config, WordsTokenizer):
        return Words(config.lowercase)
    return SubwordTokenizer(data, config.lowercase)


class Whitespace:
    """Tokens are what stands between white space; they are joined by single spaces."""

    def __init__(self, lowercase: bool) -> None:
        self._lowercase = lowercase

    def tokenize(self, text: str) -> list[str]:
        return (text.lower() if self._lowercase else text).split()

    def detokenize(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)

    def to_bytes(self) -> bytes:
        return b""


# A word is a run of letters, combining marks and digits; an apostrophe, hyphen or dot inside it
# belongs to it (don't, T-Shirt, 3.5, 10:30). Everything else is a token for each character as
# people see it: \X keeps an emoji sequence or an accented letter in one piece.
_WORD = r"[\p{L}\p{M}\p{N}_]+"
_WORD_OR_MARK = regex.compile(
    rf"{_WORD}(?:['’\-‐‑]{_WORD}|(?<=\p{{N}})[.,:](?=\p{{N}}){_WORD})*|(?!\s)\X"
)

_NO_SPACE_BEFORE = set(".,!?;:%)]}…/’।")
_NO_SPACE_AFTER = set("([{¿¡/$£")
# Which mark closes a quotation, by the one that opened it. One that can open and close closes when
# its partner is open.
_CLOSED_BY = {'"': '"', "„": "“", "“": "”", "‚": "‘", "‘": "’", "«": "»", "»": "«"}


class Words:
    """Unicode words and punctuation marks.

    Detokenising puts spaces where English and German want them: none before a comma, none inside
    brackets and quotation marks. Straight quotes open and close in turn.
    """

    def __init__(self, lowercase: bool) -> None:
        self._lowercase = lowercase

    def tokenize(self, text: str) -> list[str]:
        text = text.lower() if self._lowercase else text
        # Python counts some control characters as white space that the pattern does not.
        return [token for token in _WORD_OR_MARK.findall(text) if not token.isspace()]

    def detokenize(self, tokens: Sequence[str]) -> str:
        pieces: list[str] = []
        open_quotes: list[str] = []
        glue = True  # whether the next token stands close to the one before
        for token in tokens:
            closes = bool(open_quotes) and token == _CLOSED_BY[open_quotes[-1]]
            opens = not closes and token in _CLOSED_BY
            close_to_left = glue or closes or (token in _NO_SPACE_BEFORE and not opens)
            pieces.append(token if close_to_left else f" {token}")
            if closes:
                open_quotes.pop()
            elif opens:
                open_quotes.append(token)
            glue = opens or token in _NO_SPACE_AFTER
        return "".join(pieces)

    def to_bytes(self) -> bytes:
        return b""


class SubwordTokenizer:
    """BPE (Sennrich et al. 2016) or unigram (Kudo 2018) pieces by sentencepiece."""

    def __init__(self, model: bytes, lowercase: bool) -> None:
        self._model = model
        self._lowercase = lowercase
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
        lines = (_one_spaced(text, config.lowercase) for text in texts)
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=lines,
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
                unk_surface=" <unk> ",
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
        return cls(model.getvalue(), config.lowercase)

    def tokenize(self, text: str) -> list[str]:
        return list(self._processor.encode(_one_spaced(text, self._lowercase), out_type=str))

    def detokenize(self, tokens: Sequence[str]) -> str:
        return str(self._processor.decode_pieces(list(tokens)))

    def to_bytes(self) -> bytes:
        return self._model


def _one_spaced(text: str, lowercase: bool) -> str:
    """Text as sentencepiece sees it: any white space is one space, and NUL, which would end the
    text, is white space too."""
    text = " ".join(text.replace("\0", " ").split())
    return text.lower() if lowercase else text
