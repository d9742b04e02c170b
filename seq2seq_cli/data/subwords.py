"""Subwords, learned and cut by sentencepiece."""

from __future__ import annotations

import functools
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

import regex
import sentencepiece

from seq2seq_cli.config.data import BpeTokenizer, UnigramTokenizer
from seq2seq_cli.data.spelling import one_spaced, spelt
from seq2seq_cli.data.subword_sampling import bpe_dropout, draw_unigrams
from seq2seq_cli.errors import ConfigError, ModelFileError

# sentencepiece writes a space as U+2581 and leaves out training lines with U+2585. In the text
# they stand for themselves, so they go in as characters that cannot be there: white space is
# single spaces by then.
_SPACE = "\u2581"
_RESERVED = {_SPACE: "\x1c", "\u2585": "\x1d"}
_ESCAPE = str.maketrans(_RESERVED)
_UNESCAPE = str.maketrans({_SPACE: " ", **{new: old for old, new in _RESERVED.items()}})
_UNKNOWN = "<unk>"

# Fields of sentencepiece_model.proto, and what is in them here.
_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3
_MODEL_TYPE = 3  # of the trainer
_MODEL_TYPES = {"unigram": 1, "bpe": 2}
# Of the normalizer: its name, its table, and three things that it does unless told otherwise.
_IDENTITY: dict[int, int | bytes] = {1: b"identity", 2: b"", 3: 1, 4: 1, 5: 1}

_MAX_PARTS_BYTES = 1 << 16
"""Of trainer and normalizer together; ours have some hundred."""

_UNIGRAM_ALPHA = 0.2  # Kudo 2018: how much likelier segmentations are preferred


class SubwordTokenizer:
    """BPE (Sennrich et al. 2016) or unigram (Kudo 2018) pieces by sentencepiece.

    What comes back is the text with any white space as one space, and none at its ends. A character
    that was not in the training text is a piece of its own spelling.
    """

    def __init__(self, config: BpeTokenizer | UnigramTokenizer, model: bytes) -> None:
        """Raises ModelFileError when the bytes are no sentencepiece model as `learn` makes it."""
        self._config = config
        self._model = model
        if not model:  # sentencepiece takes it, and fails at the first use
            raise ModelFileError("the tokenizer inside is empty")
        try:
            parts = self._checked_parts()
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            self._check(parts)
        # ValueError: a piece is no UTF-8. LookupError: the bytes are none of a protobuf.
        except (RuntimeError, TypeError, ValueError, LookupError) as error:
            raise ModelFileError("the tokenizer inside is damaged") from error

    def _checked_parts(self) -> list[tuple[int, Any]]:
        """All but the pieces. Ends at the first field too many: each could take far more memory
        than it has bytes."""
        parts: list[tuple[int, Any]] = []
        num_pieces = 0
        for number, value in _fields(self._model):
            if number == _PIECE:
                num_pieces += 1
            else:
                parts.append((number, value))
            if num_pieces > self._config.size or len(parts) > 2:
                break
        num_bytes = sum(len(part) for _, part in parts)  # an int has no length: TypeError
        if len(parts) > 2 or num_bytes > _MAX_PARTS_BYTES:
            raise ModelFileError("the tokenizer inside is not one that this program has learned")
        if num_pieces != self._config.size:
            at_least = "at least " if num_pieces > self._config.size else ""
            raise ModelFileError(
                f"the tokenizer inside has {at_least}{num_pieces:,} subwords, the config inside "
                f"{self._config.size:,}"
            )
        return parts

    def _check(self, parts: list[tuple[int, Any]]) -> None:
        processor, config = self._processor, self._config
        num_pieces = processor.get_piece_size()
        if num_pieces != config.size:
            raise LookupError("what is no message was taken for a piece")
        trainer, normalizer = (
            [field for number, part in parts if number == wanted for field in _fields(part)]
            for wanted in (_TRAINER, _NORMALIZER)
        )
        if dict(trainer).get(_MODEL_TYPE, 1) != _MODEL_TYPES[config.kind]:
            raise ModelFileError(f"the tokenizer inside is of another kind than {config.kind}")
        ids = list(range(num_pieces))
        processor.id_to_piece(ids)  # fails where one is no text
        special = [processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id()]
        is_ours = (
            [number for number, _ in parts] == [_TRAINER, _NORMALIZER]
            and all(_IDENTITY.get(number) == value for number, value in normalizer)
            and special == [0, -1, -1, -1]
            and not any(processor.is_control(ids))
            and all(map(math.isfinite, processor.get_score(ids)))
        )
        if not is_ours:
            raise ModelFileError("the tokenizer inside is not one that this program has learned")

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
        return list(self.scores)

    def tokenize(self, text: str) -> list[str]:
        pieces = self._processor.encode(_as_input(text, self._config), out_type=str)
        return _unlike_unknown([pieces])[0]

    def sample(self, texts: Sequence[str], seed: int) -> list[list[str]]:
        """Each text in pieces that are partly drawn at random, with the config's dropout.

        BPE leaves out each merge with that probability (Provilkov et al. 2020); of the words that
        unigram pieces make up, this share is segmented at random (Kudo 2018, alpha 0.2), the others
        at best, and so is a word with a character that was not learned. The pieces depend on
        nothing but the texts, all of them, and the seed.
        """
        lines = [_as_input(text, self._config) for text in texts]
        if not self._config.dropout:
            return _unlike_unknown(self._processor.encode(lines, out_type=str))
        draw = Random(seed)
        # Pieces never span words, so words can be segmented one by one.
        words = [line.split(" ") if line else [] for line in lines]
        flat = list(itertools.chain.from_iterable(words))
        drawn = [self._draw(f"{_SPACE}{word}", draw) for word in flat]
        others = [word for word, pieces in zip(flat, drawn, strict=True) if pieces is None]
        best = iter(_unlike_unknown(self._processor.encode(others, out_type=str)))
        segmented = iter(next(best) if pieces is None else pieces for pieces in drawn)
        return [list(itertools.chain(*itertools.islice(segmented, len(line)))) for line in words]

    def _draw(self, word: str, draw: Random) -> list[str] | None:
        """None: as it is segmented at best."""
        scores, dropout = self.scores, self._config.dropout
        if not all(character in scores for character in word):
            return None
        if isinstance(self._config, BpeTokenizer):
            return bpe_dropout(word, scores, dropout, draw)
        if draw.random() < dropout:
            return draw_unigrams(word, scores, self._longest, _UNIGRAM_ALPHA, draw)
        return None

    @functools.cached_property
    def scores(self) -> dict[str, float]:
        """Of each piece: BPE's merges by their order, log-probabilities of unigrams."""
        processor = self._processor
        ids = range(1, processor.get_piece_size())  # <unk> is 0
        return {processor.id_to_piece(index): processor.get_score(index) for index in ids}

    @functools.cached_property
    def _longest(self) -> int:
        return max(map(len, self.scores))

    def detokenize(self, tokens: Sequence[str]) -> str:
        text = "".join(f" {token} " if token == _UNKNOWN else token for token in tokens)
        return " ".join(text.translate(_UNESCAPE).split())

    def to_bytes(self) -> bytes:
        return self._model


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message. Raises LookupError."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 70:
                raise LookupError("a number without end")
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        length = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        at += length
        if at > len(message):
            raise LookupError("a field without end")
        yield key >> 3, message[at - length : at]


def _as_input(text: str, config: BpeTokenizer | UnigramTokenizer) -> str:
    """Text as sentencepiece is given it."""
    return one_spaced(spelt(text, config)).translate(_ESCAPE)


def _unlike_unknown(lines: list[list[str]]) -> list[list[str]]:
    """Lines of pieces, with a piece of unknown characters that happens to be spelt like the unknown
    token in single characters."""
    return [
        [part for piece in pieces for part in (piece if piece == _UNKNOWN else [piece])]
        if _UNKNOWN in pieces
        else pieces
        for pieces in lines
    ]
