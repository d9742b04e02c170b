"""n-best lists in the form of Moses, to read, rescore and write.

A line is `ID ||| hypothesis ||| feature scores ||| total score`, perhaps with more fields after it
(word alignments). The ID is the number of the source line, counting from 0; the entries of a line
stand together, and the lines follow each other. A line may have no entries.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from seq2seq_cli.data.corpus import read_lines
from seq2seq_cli.decoding.translator import Score, Translator
from seq2seq_cli.errors import DataError

_SEPARATOR = "|||"
_NO_MORE = object()


@dataclass(frozen=True)
class Entry:
    """One hypothesis, a line of the list."""

    sentence: int
    """The source line, counting from 0."""
    text: str
    features: str
    """Names and scores as they stand in the list: `LM= -12.3 TM= -1.2 -3.4`."""
    total: float
    """What the list is ranked by, the higher the better."""
    rest: tuple[str, ...]
    """The fields after the total, as they are."""


class Rescored(NamedTuple):
    """What became of a source line."""

    entries: list[Entry]
    """The best first."""
    flags: Sequence[str]
    """Of its scores, where there were entries to score."""


def read_nbest(path: Path, sources: Iterable[object]) -> Iterator[list[Entry]]:
    """Yield the entries of each source line in turn, an empty list where there are none.

    sources: the lines, which are only counted, as they are needed. Blank lines of the list are
    skipped.
    Raises DataError, with the line, for one that is no entry, for an ID beyond the source lines and
    for one that is less than the ID before it; further as `read_lines` does.
    """
    sources = iter(sources)
    num_sources, entries = 0, list[Entry]()  # the sources so far, and what the last one has
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            entry = _parse(line)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if entry.sentence < num_sources - 1:
            raise DataError(
                f"{path}:{number}: ID {entry.sentence} after ID {num_sources - 1}; the entries of "
                "a source line stand together, in the order of the source lines"
            )
        while num_sources <= entry.sentence:
            if num_sources:
                yield entries
            if next(sources, _NO_MORE) is _NO_MORE:
                raise DataError(
                    f"{path}:{number}: ID {entry.sentence}, but the source has {num_sources:,} "
                    "lines; IDs count from 0"
                )
            num_sources, entries = num_sources + 1, []
        entries.append(entry)
    if num_sources:
        yield entries
    for _ in sources:
        yield []


def _parse(line: str) -> Entry:
    fields = [field.strip() for field in line.split(_SEPARATOR)]
    if len(fields) < 4:
        raise DataError(
            f"fields in this line: {len(fields)}; an entry has four or more: "
            "ID ||| hypothesis ||| feature scores ||| total score"
        )
    first, text, features, last, *rest = fields
    if not re.fullmatch("[0-9]{1,100}", first):
        raise DataError(f"ID {first[:60]!r} is no whole number from 0 up")
    try:
        total = float(last)
    except ValueError:
        total = math.nan
    if not math.isfinite(total):
        raise DataError(f"total score {last[:60]!r} is no finite number")
    return Entry(int(first), text, features, total, tuple(rest))


def format_entry(entry: Entry) -> str:
    """The entry as a line, without its end; what `read_nbest` makes of it has the same total.

    A run of three or more bars in the hypothesis, which would end its field, is spaced out: `| | |`
    (Moses keeps bars out of hypotheses).
    """
    text = re.sub(r"\|{3,}", lambda bars: " ".join(bars[0]), entry.text)
    total = repr(float(entry.total))  # the shortest that reads as the same number
    fields = [str(entry.sentence), text, entry.features, total, *entry.rest]
    return f" {_SEPARATOR} ".join(fields)


def rescore(entries: Sequence[Entry], scores: Sequence[float], weight: float) -> list[Entry]:
    """The entries of a sentence with the model's scores in their totals, the best first; those that
    are equal stay in their order.

    scores: log-probabilities of the hypotheses, in nats. A total becomes (1 - weight) * total +
    weight * score; a weight of 0.5 is the even average of Sutskever et al. (2014, section 3.2).
    The score also joins the features, as `seq2seq= -12.3`.
    """
    rescored = [
        replace(
            entry,
            features=f"{entry.features} seq2seq= {float(score)!r}".lstrip(),
            total=_share(1.0 - weight, entry.total) + _share(weight, score),
        )
        for entry, score in zip(entries, scores, strict=True)
    ]
    return sorted(rescored, key=lambda entry: entry.total, reverse=True)


def rescored(
    translator: Translator,
    sources: Iterable[str],
    groups: Iterable[list[Entry]],
    weight: float,
    batch_size: int | None,
) -> Iterator[Rescored]:
    """Yield the entries of each source line, rescored with a translator, as they are read; without
    those that cannot be, such as words for a blank line.

    groups: from `read_nbest`, one for each of `sources`.
    """
    waiting: deque[list[Entry]] = deque()

    def pairs() -> Iterator[tuple[str, str]]:
        for source, group in zip(sources, groups, strict=True):
            waiting.append(group)
            yield from ((source, entry.text) for entry in group)

    scores: list[Score] = []
    for score in translator.score(pairs(), batch_size):
        scores.append(score)
        while waiting and len(scores) >= len(waiting[0]):
            entries = waiting.popleft()
            own, scores = scores[: len(entries)], scores[len(entries) :]
            ranked = rescore(entries, [each.score for each in own], weight)
            kept = [entry for entry in ranked if math.isfinite(entry.total)]
            flags = dict.fromkeys(flag for score in own for flag in score.flags)
            yield Rescored(kept, tuple(flags))
    yield from (Rescored([], ()) for _ in waiting)  # source lines behind the last entry


def _share(weight: float, value: float) -> float:
    return weight * value if weight else 0.0  # 0 * -inf is no number
