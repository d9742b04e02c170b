"""Word vectors in the text formats of word2vec, GloVe and fastText.

A word and its numbers a line, separated by spaces or tabs. A first line of two whole numbers, the
count of the vectors and their dimension, is a header; GloVe has none. (It is no word with a vector
of one number either: those programs write numbers with a decimal point.) The numbers are those at
the right end of a line, for words may hold spaces.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seq2seq_cli.data.batching import Indices
from seq2seq_cli.data.columns import shown
from seq2seq_cli.data.corpus import read_lines
from seq2seq_cli.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from seq2seq_cli.errors import ConfigError, DataError

logger = logging.getLogger("seq2seq")

LOW_COVERAGE = 0.1
"""With less of the vocabulary found than this, the file is hardly the one that was meant."""

_HEADER = re.compile("([0-9]{1,18}) +([0-9]{1,9})")
_LARGEST = float(np.finfo(np.float32).max)
_OTHER_CASE, _EXACT = 1, 2


@dataclass(frozen=True)
class Pretrained:
    """What a file of word vectors knows of a vocabulary."""

    ids: Indices
    """(found,): ids of the words that have a vector, ascending; never those of special tokens."""
    vectors: npt.NDArray[np.float32]
    """(found, dimension)"""


def read_pretrained(
    path: Path, vocabulary: Vocabulary, dimension: int, key: str, dimension_key: str
) -> Pretrained:
    """The vectors that a text file, plain, .gz or .zst, has for the words of a vocabulary.

    A word takes the vector of the same word, or else of one that differs in upper and lower case
    only; in either case the first there is. `key` and `dimension_key` are what errors call the
    config's keys of the file and of `dimension`. Only vectors that a word takes, and the first of
    the file, are looked at as numbers. Logs how much of the vocabulary has a vector.

    Raises ConfigError when the file's vectors have another dimension, DataError for a file that
    cannot be read or is not in such a format, a line with too few numbers (as in a file that is cut
    off) and a vector that does not consist of finite numbers.
    """
    tokens = vocabulary.tokens
    wanted: dict[str, list[int]] = defaultdict(list)
    for index in range(len(SPECIAL_TOKENS), len(tokens)):
        wanted[tokens[index].lower()].append(index)
    match = bytearray(len(tokens))
    vectors = np.empty((len(tokens), dimension), dtype=np.float32)
    first_words: list[str] = []
    for number, word, line in _vector_lines(path, dimension, key, dimension_key):
        if len(first_words) < 3:
            first_words.append(word)
        for index in wanted.get(word.lower(), ()):
            kind = _EXACT if word == tokens[index] else _OTHER_CASE
            if kind > match[index]:
                match[index] = kind
                vectors[index] = _vector(line, dimension, f"{path}:{number}")
    ids = np.flatnonzero(np.frombuffer(match, dtype=np.uint8))
    _log_coverage(path, len(ids), tokens[len(SPECIAL_TOKENS) :], first_words)
    return Pretrained(ids, vectors[ids])


def _log_coverage(path: Path, found: int, words: tuple[str, ...], first_words: list[str]) -> None:
    coverage = found / max(len(words), 1)
    known = f"{found:,} of the vocabulary's {len(words):,} words have a vector ({coverage:.1%})"
    if coverage >= LOW_COVERAGE:
        logger.info("%s: %s", path, known)
    else:
        there, here = (" ".join(map(shown, some[:3])) for some in (first_words, words))
        logger.warning(
            "%s: only %s. Is it of another language, or are the vocabulary's words not whole words "
            "(data.tokenizer)? The file begins with: %s; the vocabulary with: %s",
            *(path, known, there, here),
        )


@dataclass
class _NotUtf8:
    """Counts lines that are not UTF-8; told of them as a reader's `on_fault`."""

    count: int = 0
    first: int = 0
    last: int = 0

    def __call__(self, file: str, line: int, text: str) -> None:
        self.count += 1
        self.first = self.first or line
        self.last = line


def _vector_lines(
    path: Path, dimension: int, key: str, dimension_key: str
) -> Iterator[tuple[int, str, str]]:
    """Yield the number, the word and the text of each line that has at least `dimension` numbers.

    Lines that are not UTF-8 are left out and counted in the log: word2vec cuts long words anywhere.
    A header with another count than there are lines is a warning only: people shorten files with
    `head`, published ones are wrong by a line, and what a broken download cuts off is nearly always
    part of a line.
    """
    not_utf8 = _NotUtf8()
    header: re.Match[str] | None = None
    num_vectors = 0
    for number, text in enumerate(read_lines(path, not_utf8), 1):
        line = text.replace("\t", " ").rstrip(" ")
        if number == 1 and (header := _HEADER.fullmatch(line)):
            continue
        if not line:
            continue
        is_utf8 = not_utf8.last != number
        if not is_utf8 or not num_vectors:
            _check_text(line, is_utf8, f"{path}:{number}")
        if not num_vectors:
            found = int(header[2]) if header else _dimension_of(line, dimension)
            if not found:
                raise DataError(
                    f"{path}:{number}: not a word and its numbers, with spaces in between"
                )
            if found != dimension:
                raise ConfigError(
                    f"{key}: the vectors in {path} have {found} numbers, but {dimension_key} is "
                    f"{dimension}; set it to {found}"
                )
            _vector(line, dimension, f"{path}:{number}")  # or it is a file of other things
        num_vectors += 1
        # Cutting every line into its numbers would take most of the time.
        if line.count(" ") == dimension:
            word = line[: line.index(" ")]
        else:
            fields = _fields(line)
            _check_length(len(fields) - 1, dimension, f"{path}:{number}")
            word = " ".join(fields[:-dimension]).strip(" ")
        if is_utf8:
            yield number, word, line
    if not num_vectors:
        raise DataError(f"{path}: there is no word vector in it")
    if not_utf8.count:
        logger.warning(
            "%s: %s lines are not UTF-8 and are left out; the first is line %s",
            *(path, f"{not_utf8.count:,}", f"{not_utf8.first:,}"),
        )
    if header and int(header[1]) != num_vectors:
        logger.warning(
            "%s: its first line says %s vectors, but there are %s; if nobody meant to change it, "
            "it is cut off or damaged: get it anew",
            *(path, f"{int(header[1]):,}", f"{num_vectors:,}"),
        )


def _fields(line: str) -> list[str]:
    """The parts of a line without tabs; the first is empty where the line begins with a space."""
    first, *others = line.split(" ")
    return [first, *filter(None, others)]


def _dimension_of(line: str, dimension: int) -> int:
    """How many numbers a line's vector has; the expected dimension where it can be that.

    Otherwise nothing but the numbers tells where a word with spaces in it ends.
    """
    fields = _fields(line)
    if len(fields) == dimension + 1:
        return dimension
    numbers = itertools.takewhile(_is_number, reversed(fields[1:]))
    return sum(1 for _ in numbers)


def _vector(line: str, dimension: int, where: str) -> npt.NDArray[np.float64]:
    """(dimension,): the numbers at the end of a line. Raises DataError."""
    fields = _fields(line)
    _check_length(len(fields) - 1, dimension, where)
    numbers = fields[-dimension:]
    try:
        vector = np.array([float(number) for number in numbers])
    except ValueError:
        vector = np.full(dimension, math.nan)
    if not (np.abs(vector) <= _LARGEST).all():
        wrong = next(number for number in numbers if not _is_number(number))
        raise DataError(f"{where}: {shown(wrong)!r} is not a number that a vector can have")
    return vector


def _is_number(text: str) -> bool:
    """Whether a text spells a number that is finite in float32."""
    try:
        return abs(float(text)) <= _LARGEST
    except ValueError:
        return False


def _check_length(num_numbers: int, dimension: int, where: str) -> None:
    if num_numbers < dimension:
        raise DataError(
            f"{where}: {num_numbers} numbers after the word instead of {dimension}; "
            "is the file cut off?"
        )


def _check_text(line: str, is_utf8: bool, where: str) -> None:
    """Raises DataError for what a binary file has between two line feeds. (A word can be broken
    too, but there are numbers after it.)"""
    if (not is_utf8 or "\0" in line) and not _is_number(line.rpartition(" ")[2]):
        raise DataError(
            f"{where}: not text; word vectors are read from the text formats of word2vec, GloVe "
            "and fastText (.txt or .vec, also packed as .gz or .zst), not from binary files (.bin) "
            "and archives (.zip)"
        )
