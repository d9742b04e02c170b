"""Translations as lines: text, JSON, and n-best lists in the form of Moses."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from seq2seq_cli.console import json_line
from seq2seq_cli.decoding.nbest import Entry, format_entry
from seq2seq_cli.decoding.translator import Score, Translation

logger = logging.getLogger("seq2seq")


def translation_lines(
    translations: Iterable[Translation], *, n_best: int, as_json: bool
) -> Iterator[str]:
    """A line for each translation; with n_best > 1 and no JSON, one for each candidate."""
    for number, translation in enumerate(_counted(translations)):
        if as_json:
            yield json_line(_translation_json(translation))
        elif n_best > 1:
            yield from map(format_entry, _entries(number, translation))
        else:
            yield translation.best.text


def score_lines(
    pairs: Iterable[tuple[str, str]], scores: Iterable[Score], *, as_json: bool
) -> Iterator[str]:
    """A line for each pair."""
    for (source, target), score in zip(pairs, scores, strict=True):
        values: dict[str, Any] = {
            "source": source,
            "translation": target,
            "score": score.score,
            "n_best": [],
            "tokens": score.tokens,
            "attention": None,
            "flags": score.flags,
        }
        yield json_line(values) if as_json else repr(score.score)


def rescored_lines(
    sources: Iterable[str], groups: Iterable[list[Entry]], *, n_best: int, as_json: bool
) -> Iterator[str]:
    """As `translation_lines`, of what an n-best list holds for each source line; a line for which
    it has nothing stays blank. Scores are the list's totals."""
    for source, entries in zip(sources, groups, strict=True):
        kept = entries[:n_best]
        best = {"translation": kept[0].text, "score": kept[0].total} if kept else None
        if as_json:
            candidates = [{"translation": entry.text, "score": entry.total} for entry in kept]
            empty = {"translation": "", "score": 0.0}
            values = {"source": source, **(best or empty), "n_best": candidates}
            yield json_line({**values, "tokens": [], "attention": None, "flags": []})
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
        "flags": translation.flags,
    }


def _entries(number: int, translation: Translation) -> list[Entry]:
    return [
        Entry(number, candidate.text, f"seq2seq= {candidate.score!r}", candidate.ranking, ())
        for candidate in translation.candidates
    ]


def _counted(translations: Iterable[Translation]) -> Iterator[Translation]:
    """Pass translations on; at the end, say how many lines had something done to them."""
    truncated = capped = 0
    for translation in translations:
        truncated += "truncated" in translation.flags
        capped += "length_capped" in translation.flags
        yield translation
    if truncated:
        logger.warning("%s longer than data.max_length and cut to it", _were(truncated, "line"))
    if capped:
        logger.warning("%s ended at the length limit", _were(capped, "translation"))


def _were(number: int, noun: str) -> str:
    return f"1 {noun} was" if number == 1 else f"{number:,} {noun}s were"
