"""What a check found, for people and for programs."""

from __future__ import annotations

import os
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
from seq2seq_cli.console import harmless, table

_NUM_BARS = 10
_BAR_WIDTH = 23  # two of them fit into 80 columns
_NUM_SHOWN = 5
_SHOWN_SHARE = 0.998
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
    sides = [train.source.lengths, train.target.lengths]
    # A few very long sentences go into a row of their own, so that they do not squeeze the others.
    top = max(1, *(_quantile(lengths, _SHOWN_SHARE) for lengths in sides))
    width = -(-top // _NUM_BARS)
    starts = range(1, top + 1, width)
    rows = {
        (f"{start}-{start + width - 1}" if width > 1 else str(start)): [
            sum(lengths[start : start + width]) for lengths in sides
        ]
        for start in starts
    }
    beyond = starts[-1] + width
    if any(len(lengths) > beyond for lengths in sides):
        rows[f"{beyond}-"] = [sum(lengths[beyond:]) for lengths in sides]
    most = max(1, *(count for counts in rows.values() for count in counts))
    lines = [f"{'tokens':<9}  {'source':<{_BAR_WIDTH + 10}}  target"]
    for label, counts in rows.items():
        bars = [f"{_bar(count / most)} {count:>9,}" for count in counts]
        lines.append(f"{label:<9}  {bars[0]}  {bars[1]}")
    return "\n".join(lines)


def _quantile(lengths: list[int], share: float) -> int:
    """The length that this share of the sentences does not exceed."""
    wanted, seen = share * sum(lengths), 0
    for length, count in enumerate(lengths):
        seen += count
        if seen >= wanted:
            return length
    return 0


def _bar(share: float) -> str:
    eighths = round(share * _BAR_WIDTH * 8)
    whole, rest = divmod(eighths or int(share > 0), 8)
    return (_EIGHTHS[-1] * whole + (_EIGHTHS[rest] if rest else "")).ljust(_BAR_WIDTH)


def _described(finding: Finding, width: int | None) -> str:
    mark = "!" if finding.harmful else " "
    unit = "word" if finding.kind == "unknown_words" else "line"
    unit += "s" if finding.count != 1 else ""
    share = f"{finding.share:.1%}" if finding.share >= 0.0005 else "under 0.1%"
    amount = f"{finding.count:,} {unit} ({share}): " if finding.count else ""
    lines = [f"{mark} {finding.split}: {amount}{KINDS[finding.kind].title}"]
    for place in finding.places[:_NUM_SHOWN]:
        where = f"{place.file}:{place.line}: " if place.line is not None else ""
        # Files under the folder where one stands are named from there.
        text = f"    {where}{place.message}".replace(f"{Path.cwd()}{os.sep}", "")
        shown = harmless(text)
        lines.append(shown if width is None or len(shown) <= width else f"{shown[: width - 1]}…")
    more = finding.count - _NUM_SHOWN
    if finding.places and more > 0:
        lines.append(f"    ... and {more:,} more (--json lists up to a thousand)")
    return "\n".join(lines)
