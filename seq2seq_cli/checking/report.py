"""What a check found, for people and for programs."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seq2seq_cli.checking.findings import (
    KINDS,
    SIDES,
    DataReport,
    Finding,
    SideReport,
    SplitReport,
)
from seq2seq_cli.console import table

_NUM_BARS = 10
_BAR_WIDTH = 23  # two of them fit into 80 columns
_NUM_SHOWN = 5
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def as_json(report: DataReport) -> dict[str, Any]:
    """One object: splits, findings with their places, harmful."""
    return {
        "splits": {split: asdict(facts) for split, facts in report.splits.items()},
        "findings": [
            {**asdict(finding), "harmful": finding.harmful} for finding in report.findings
        ],
        "harmful": report.harmful,
    }


def as_text(report: DataReport, width: int | None = None) -> str:
    """Tables, a histogram, and a few places for each finding; their lines cut to `width` columns,
    and without characters that would do something to a terminal."""
    parts = [_counts(report.splits), _histogram(report.splits["train"])]
    parts += [_described(finding, width) for finding in report.findings]
    harmful = sum(finding.harmful for finding in report.findings)
    if harmful:
        parts.append(f"{harmful} of these would hurt (marked with !)")
    elif report.findings:
        parts.append("nothing here is enough to hurt training")
    else:
        parts.append("nothing to find fault with")
    return "\n\n".join(parts)


def _counts(splits: dict[str, SplitReport]) -> str:
    def per_side(name: str, *, of: SideReport) -> str:
        if name == "tokens":
            return f"{of.tokens:,}"
        if name == "longest":
            return f"{of.longest:,}"
        return f"{of.unknown_share:.1%}"

    rows = [
        ["", *splits],
        ["pairs", *(f"{facts.pairs:,}" for facts in splits.values())],
        ["distinct sources", *(f"{facts.distinct_sources:,}" for facts in splits.values())],
    ]
    for name, label in [
        ("tokens", "tokens"),
        ("longest", "longest, in tokens"),
        ("unknown", "unknown words"),
    ]:
        for side in SIDES:
            cells = [per_side(name, of=getattr(facts, side)) for facts in splits.values()]
            rows.append([f"{side}: {label}", *cells])
    return table(rows)


def _histogram(train: SplitReport) -> str:
    """How many training sentences have how many tokens, both sides beside each other."""
    longest = max(train.source.longest, train.target.longest, 1)
    width = -(-longest // _NUM_BARS)
    bins = [
        [sum(side.lengths[start : start + width]) for start in range(1, longest + 1, width)]
        for side in (train.source, train.target)
    ]
    most = max(1, *(count for counts in bins for count in counts))
    heading = f"{'tokens':<9}  {'source':<{_BAR_WIDTH + 10}}  target"
    lines = [heading]
    for index, start in enumerate(range(1, longest + 1, width)):
        stop = start + width - 1
        label = f"{start}-{stop}" if width > 1 else str(start)
        shown = [f"{_bar(counts[index] / most)} {counts[index]:>9,}" for counts in bins]
        lines.append(f"{label:<9}  {shown[0]}  {shown[1]}")
    return "\n".join(lines)


def _is_harmless(character: str) -> bool:
    """Whether a terminal only shows it; French has other spaces too."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _bar(share: float) -> str:
    eighths = round(share * _BAR_WIDTH * 8)
    whole, rest = divmod(eighths or int(share > 0), 8)
    return (_EIGHTHS[-1] * whole + (_EIGHTHS[rest] if rest else "")).ljust(_BAR_WIDTH)


def _described(finding: Finding, width: int | None) -> str:
    mark = "!" if finding.harmful else " "
    unit = "word" if finding.kind == "unknown_words" else "line"
    unit += "s" if finding.count != 1 else ""
    share = f"{finding.share:.1%}" if finding.share >= 0.0005 else "under 0.1%"
    title = KINDS[finding.kind].title
    lines = [f"{mark} {finding.split}: {finding.count:,} {unit} ({share}): {title}"]
    for place in finding.places[:_NUM_SHOWN]:
        where = f"{place.file}:{place.line}: " if place.line is not None else ""
        # Files under the folder where one stands are named from there.
        text = f"    {where}{place.message}".replace(f"{Path.cwd()}{os.sep}", "")
        shown = "".join(c if _is_harmless(c) else ascii(c)[1:-1] for c in text)
        lines.append(shown if width is None or len(shown) <= width else f"{shown[: width - 1]}…")
    more = finding.count - _NUM_SHOWN
    if finding.places and more > 0:
        lines.append(f"    ... and {more:,} more (--json lists up to a thousand)")
    return "\n".join(lines)
