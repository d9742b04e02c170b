"""Translations as lines: text, JSON, and n-best lists in the form of Moses."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from typing import Any, Protocol, TypeVar

from seq2seq_cli.config import DECODING_TOKENS
from seq2seq_cli.console import json_line
from seq2seq_cli.decoding.nbest import Entry, Rescored, format_entry
from seq2seq_cli.decoding.translator import Score, Translation
from seq2seq_cli.text_io import InputLine

logger = logging.getLogger("seq2seq")

# What is said at the end of lines with these flags.
_WARNINGS = {
    "invalid_utf8": ("line", "not valid UTF-8; U+FFFD stands for what was not"),
    "truncated": ("line", "longer than is read of a line (data.max_length) and cut"),
    "translation_truncated": ("translation", f"longer than {DECODING_TOKENS:,} tokens and cut"),
    "length_capped": ("translation", "ended at the length limit"),
}


class _Flagged(Protocol):
    @property
    def flags(self) -> Sequence[str]: ...


_FlaggedT = TypeVar("_FlaggedT", bound=_Flagged)


def translation_lines(
    lines: Iterable[InputLine], translations: Iterable[Translation], *, n_best: int, as_json: bool
) -> Iterator[str]:
    """A line for each translation; with n_best > 1 and no JSON, one for each candidate."""
    for number, (_, translation, flags) in enumerate(_counted(lines, translations)):
        if as_json:
            yield json_line({**_translation_json(translation), "flags": flags})
        elif n_best > 1:
            yield from map(format_entry, _entries(number, translation))
        else:
            yield translation.best.text


def score_lines(
    pairs: Iterable[tuple[InputLine, str]], scores: Iterable[Score], *, as_json: bool
) -> Iterator[str]:
    """A line for each pair."""
    pairs, again = tee(pairs)
    counted = _counted((line for line, _ in again), scores)
    for (_, target), (line, score, flags) in zip(pairs, counted, strict=True):
        values: dict[str, Any] = {
            "source": line.text,
            "translation": target,
            "score": score.score,
            "n_best": [],
            "tokens": score.tokens,
            "attention": None,
            "flags": flags,
        }
        yield json_line(values) if as_json else repr(score.score)


def rescored_lines(
    lines: Iterable[InputLine], found: Iterable[Rescored], *, n_best: int, as_json: bool
) -> Iterator[str]:
    """As `translation_lines`, of what an n-best list holds for each source line; a line for which
    it has nothing stays blank. Scores are the list's totals."""
    for line, (entries, _), flags in _counted(lines, found):
        kept = entries[:n_best]
        best = {"translation": kept[0].text, "score": kept[0].total} if kept else None
        if as_json:
            candidates = [{"translation": entry.text, "score": entry.total} for entry in kept]
            empty = {"translation": "", "score": 0.0}
            values = {"source": line.text, **(best or empty), "n_best": candidates}
            yield json_line({**values, "tokens": [], "attention": None, "flags": flags})
        elif n_best > 1:
            yield from map(format_entry, kept)
        else:
            yield kept[0].text if kept else ""


def _translation_json(translation: Translation) -> dict[str, Any]:
    best = translation.best
    return {
        "source": translation.source,
        "translation": best.text,
        "score": best.score,
        "n_best": [
            {"translation": candidate.text, "score": candidate.score}
            for candidate in translation.candidates
        ],
        "tokens": best.tokens,
        "source_tokens": translation.source_tokens,
        "attention": best.attention
        and [[round(weight, 6) for weight in row] for row in best.attention],
    }


def _entries(number: int, translation: Translation) -> list[Entry]:
    return [
        Entry(number, candidate.text, f"seq2seq= {candidate.score!r}", candidate.ranking, ())
        for candidate in translation.candidates
    ]


def _counted(
    lines: Iterable[InputLine], found: Iterable[_FlaggedT]
) -> Iterator[tuple[InputLine, _FlaggedT, list[str]]]:
    """Each line with what was found for it and the flags of both; at the end, say how many lines
    had something done to them."""
    counts: Counter[str] = Counter()
    first: dict[str, int] = {}
    for number, (line, each) in enumerate(zip(lines, found, strict=True), 1):
        flags = list(dict.fromkeys([*line.flags, *each.flags]))
        for flag in flags:
            counts[flag] += 1
            first.setdefault(flag, number)
        yield line, each, flags
    for flag, (noun, what) in _WARNINGS.items():
        if count := counts[flag]:
            where = f"line {first[flag]:,}" if count == 1 else f"the first: line {first[flag]:,}"
            logger.warning("%s %s (%s)", _were(count, noun), what, where)


def _were(number: int, noun: str) -> str:
    return f"1 {noun} was" if number == 1 else f"{number:,} {noun}s were"
