"""What can be found in data, and how much of it hurts."""

from __future__ import annotations

from dataclasses import dataclass, field

SIDES = ("source", "target")
WORTH_TELLING = 0.05
"""Share of unknown words from which a finding tells of them."""
NUM_PLACES = 1000
"""Places that a finding lists at most; it counts them all."""
LONGEST_BIN = 1000
"""Sentences with more tokens are counted as if they had this many."""


@dataclass(frozen=True)
class Kind:
    """A kind of finding."""

    title: str
    harmful_from: float | None
    """Share of a split's pairs (of unknown words: of its words) from which it hurts; None: never.
    """


KINDS = {
    "no_pairs": Kind("no pair is left to use", 0.0),
    "unreadable": Kind("cannot be read as it stands: training would stop there", 0.0),
    "characters": Kind("control characters or broken encoding", 0.001),
    "empty": Kind("one side is empty: left out of training", 0.01),
    "too_long": Kind("longer than data.max_length: left out of training", 0.05),
    "identical": Kind("both sides are the same", 0.01),
    "length_ratio": Kind("one side is much too long for the other", 0.01),
    "misaligned": Kind("no words that go together: is a line missing somewhere?", 0.01),
    "duplicate": Kind("a pair that was there before", None),
    "overlap": Kind("its source is in the training data: scores would flatter", 0.01),
    "unknown_words": Kind("not in the vocabulary; subwords (bpe) leave hardly any", 0.15),
}


@dataclass(frozen=True)
class Place:
    """Where something was found."""

    file: str
    line: int | None
    """None for what concerns a file as a whole."""
    message: str


@dataclass
class Finding:
    kind: str
    split: str
    count: int
    share: float
    """Of the split's pairs; of unknown words: of its words, on the worse side."""
    places: list[Place] = field(default_factory=list)

    @property
    def harmful(self) -> bool:
        least = KINDS[self.kind].harmful_from
        return least is not None and self.share >= least


@dataclass(frozen=True)
class SideReport:
    """One side of a split."""

    tokens: int
    longest: int
    """In tokens."""
    unknown_share: float
    """Of the tokens, under the config's vocabulary."""
    lengths: list[int]
    """Number of sentences with 0, 1, 2 ... tokens."""


@dataclass(frozen=True)
class SplitReport:
    pairs: int
    distinct_sources: int
    source: SideReport
    target: SideReport


@dataclass(frozen=True)
class DataReport:
    splits: dict[str, SplitReport]
    findings: list[Finding]

    @property
    def harmful(self) -> bool:
        return any(finding.harmful for finding in self.findings)
