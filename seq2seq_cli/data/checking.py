"""What is in a config's data, and what of it would hurt training.

Two readings: the first keeps numbers only (some 60 bytes a pair; word ids go to temporary files),
the second fetches the text of what is to be shown.
"""

from __future__ import annotations

import re
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from seq2seq_cli.config import DataConfig
from seq2seq_cli.console import progress_bar
from seq2seq_cli.data import alignment
from seq2seq_cli.data.alignment import Links, Mask, Sides, Whole
from seq2seq_cli.data.corpus import PairSource
from seq2seq_cli.data.splits import (
    LocatedPair,
    cut_splits,
    has_split,
    located_pairs,
    sentence_key,
)
from seq2seq_cli.data.tokenizers import learn_tokenizers
from seq2seq_cli.data.vocabulary import UNK_ID, make_codecs
from seq2seq_cli.errors import DataError

SIDES = ("source", "target")
NUM_PLACES = 1000
"""Places that a finding lists at most; it counts them all."""
LONGEST_BIN = 1000
"""Sentences with more tokens are counted as if they had this many."""

_LEARN_FROM = 100_000  # pairs that subwords are learned from here: all would take too long
_LINKS_FROM = 100_000  # pairs that tell which words go together,
_BLOCK = 1000  # taken in blocks of this many from all over the corpus
_CHUNK = 50_000

# Length outliers: a side this many times longer than usual beside the other, and this many standard
# deviations off (robustly estimated, of the logarithm of the sides' lengths in characters).
_TIMES_LONGER = 3.0
_DEVIATIONS = 5.0
_FEWEST_PAIRS = 20  # below, there is no telling what is usual


@dataclass(frozen=True)
class Kind:
    """A kind of finding."""

    title: str
    harmful_from: float | None
    """Share of a split's pairs (of unknown words: of its words) from which it hurts; None: never.
    """


KINDS = {
    "unreadable": Kind("cannot be read as it stands: training would stop there", 0.0),
    "characters": Kind("control characters or broken encoding", 0.001),
    "empty": Kind("one side is empty: left out of training", 0.01),
    "too_long": Kind("longer than data.max_length: left out of training", 0.05),
    "identical": Kind("both sides are the same", 0.01),
    "length_ratio": Kind("one side is much too long for the other", 0.01),
    "misaligned": Kind("no words that go together: is a line missing somewhere?", 0.01),
    "duplicate": Kind("a pair that was there before", None),
    "overlap": Kind("its source is in the training data: scores would flatter", 0.01),
    "unknown_words": Kind("not in the vocabulary; subwords (bpe) leave hardly any", 0.1),
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


def check_data(config: DataConfig) -> DataReport:
    """Read all splits of a config's data and report what is in them.

    Raises DataError and ConfigError where the data cannot be looked at at all (a column that is not
    there, say).
    """
    with ExitStack() as files:
        check = _Check(config, files)
        check.read()
        return check.report()


# ---------------------------------------------------------------- single texts

# Control and format characters that no sentence needs (tabs and joiners are not among them),
# U+FFFD where bytes were lost, private use.
_BAD_CHARACTER = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffd\ufdd0-\ufdef\ufffe\uffff\ue000-\uf8ff]"
)
# UTF-8 that somebody took for Latin-1 or Windows-1252, and what is left of HTML.
_TAKEN_FOR_LATIN = re.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc"
    "\u2013\u2014\u2018-\u201a\u201c-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]+"
)
_HTML = re.compile(r"&(?:[a-z]{2,8}|#\d{1,7});|<br ?/?>", re.IGNORECASE)


def text_fault(text: str) -> str | None:
    """What is wrong with the characters of a text; None when nothing is."""
    if found := _BAD_CHARACTER.search(text):
        return f"U+{ord(found[0]):04X} at character {found.start() + 1}"
    if not text.isascii():
        for found in _TAKEN_FOR_LATIN.finditer(text):
            if meant := _as_utf8(found[0]):
                return f"{found[0]!r} at character {found.start() + 1} was {meant!r} in UTF-8"
    if ("&" in text or "<" in text) and (found := _HTML.search(text)):
        return f"{found[0]!r} at character {found.start() + 1} is HTML"
    return None


def _as_utf8(text: str) -> str | None:
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode()
        except UnicodeError:
            continue
    return None


# ---------------------------------------------------------------- facts of a split


class _SideFacts:
    """Of one side of each pair of a split."""

    def __init__(self, files: ExitStack) -> None:
        self.num_tokens = array("I")
        self.num_characters = array("I")
        self._file = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._unwritten = array("i")

    def add(self, ids: list[int], num_characters: int) -> None:
        self.num_tokens.append(len(ids))
        self.num_characters.append(num_characters)
        self._unwritten.extend(ids)
        if len(self._unwritten) > 1 << 20:
            self._write()

    def _write(self) -> None:
        self._file.write(self._unwritten.tobytes())
        self._unwritten = array("i")

    def finish(self) -> None:
        """After the last pair: ids can be read from here on."""
        self._write()
        self._file.flush()
        self.offsets = np.concatenate([[0], np.cumsum(_array(self.num_tokens))])
        self.ids: npt.NDArray[np.int32] = (
            np.memmap(self._file, dtype=np.int32, mode="r")
            if self.offsets[-1]
            else np.zeros(0, dtype=np.int32)
        )

    def distinct(self, start: int, stop: int) -> tuple[Whole, Whole]:
        """Each pair's distinct ids, and offsets, of pairs start to stop."""
        offsets = self.offsets[start : stop + 1]
        ids = self.ids[offsets[0] : offsets[-1]].astype(np.int64)
        owners = np.repeat(np.arange(stop - start), np.diff(offsets))
        size = int(ids.max(initial=0)) + 1
        keys = alignment.sorted_distinct(owners * size + ids)
        counts = np.bincount(keys // size, minlength=stop - start)
        return keys % size, np.concatenate([[0], np.cumsum(counts)])

    def word_counts(self, num_words: int) -> Whole:
        """How often each word is in the split."""
        counts = np.zeros(num_words, dtype=np.int64)
        for start in range(0, len(self.ids), 1 << 20):
            counts += np.bincount(self.ids[start : start + (1 << 20)], minlength=num_words)
        return counts


class _SplitFacts:
    """Of each pair of a split."""

    def __init__(self, files: ExitStack) -> None:
        self.origins: list[tuple[int, PairSource]] = []  # and the first pair of each
        self.lines = array("Q")
        self._hashes = array("q"), array("q")  # of the sentences of each side
        self.sides = [_SideFacts(files) for _ in SIDES]
        self.flagged: dict[str, array[int]] = {}
        self.faults: list[Place] = []
        self.num_faults = 0

    def __len__(self) -> int:
        return len(self.lines)

    def add(self, line: int, hashes: tuple[int, int]) -> None:
        """Add a pair, whose sides and flags are there already."""
        self.lines.append(line)
        for values, value in zip(self._hashes, hashes, strict=True):
            values.append(value)

    def finish(self) -> None:
        """After the last pair."""
        self.source_hashes, self.target_hashes = map(_array, self._hashes)
        for side in self.sides:
            side.finish()

    def place(self, index: int) -> str:
        origin = next(origin for first, origin in reversed(self.origins) if first <= index)
        return f"{origin.source_name}:{self.lines[index]}"

    def flag(self, kind: str) -> None:
        """Note something about the pair that is being added."""
        self.flagged.setdefault(kind, array("Q")).append(len(self))

    def fault(self, place: Place) -> None:
        self.num_faults += 1
        if len(self.faults) < NUM_PLACES:
            self.faults.append(place)

    def aligned(self, start: int, stop: int) -> Sides:
        source, target = (side.distinct(start, stop) for side in self.sides)
        return Sides(*source, *target)


def _array(values: array[int]) -> Whole:
    """The same numbers for NumPy."""
    return np.asarray(values).astype(np.int64)


# ---------------------------------------------------------------- the check


class _Numbering(dict[str, int]):
    """A number for each word, in the order of their first asking."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


class _Check:
    def __init__(self, config: DataConfig, files: ExitStack) -> None:
        self.config = config
        self.splits = {
            split: _SplitFacts(files)
            for split in ("train", "valid", "test")
            if has_split(config, split)
        }
        self.words = _Numbering(), _Numbering()
        self.undecodable: set[tuple[str, int]] = set()

    # ------------------------------------------------------------ the first reading

    def read(self) -> None:
        # Only subwords have to be learned.
        self.tokenizers = learn_tokenizers(
            self.config, lambda side: (pair[side] for pair in self._some_training_texts())
        )
        with progress_bar(None, " pairs", "reading") as bar:
            for group in self._groups():
                for pair in self._readable_pairs(group):
                    self._add(pair)
                    bar.update()
        for facts in self.splits.values():
            facts.finish()

    def _groups(self) -> list[tuple[str, ...]]:
        """Splits that are read together, and those that are read by themselves."""
        cut = [split for split in cut_splits(self.config) if split in self.splits]
        others = [split for split in self.splits if split not in ("train", *cut)]
        return [("train", *cut), *((split,) for split in others)]

    def _some_training_texts(self) -> Iterator[tuple[str, str]]:
        pairs = located_pairs(self.config, ("train",), _ignore)
        for pair in islice(pairs, _LEARN_FROM):
            if pair.source.strip() and pair.target.strip():
                yield pair.source, pair.target

    def _readable_pairs(self, group: tuple[str, ...]) -> Iterator[LocatedPair]:
        """All pairs up to where the data cannot be read on. Raises DataError when there is none."""
        facts = self.splits[group[0]]

        def note(file: str, line: int, text: str) -> None:
            facts.fault(Place(file, line, text))
            if len(self.undecodable) < NUM_PLACES:
                self.undecodable.add((file, line))

        try:
            yield from located_pairs(self.config, group, note)
        except DataError as error:
            if not len(facts) and not facts.num_faults:
                raise
            facts.fault(Place("", None, str(error)))

    def _add(self, pair: LocatedPair) -> None:
        facts = self.splits[pair.split]
        if not facts.origins or facts.origins[-1][1] is not pair.origin:
            facts.origins.append((len(facts), pair.origin))
        texts = pair.source, pair.target
        longest, shortest = 0, 1
        for text, tokenizer, words, side in zip(
            texts, self.tokenizers, self.words, facts.sides, strict=True
        ):
            ids = list(map(words.__getitem__, tokenizer.tokenize(text)))
            side.add(ids, len(text))
            longest, shortest = max(longest, len(ids)), min(shortest, len(ids))
        if not shortest:
            facts.flag("empty")
        elif longest > self.config.max_length:
            facts.flag("too_long")
        keys = sentence_key(pair.source), sentence_key(pair.target)
        if shortest and keys[0] == keys[1] and any(map(str.isalpha, keys[0])):
            facts.flag("identical")
        if any(self._text_fault(pair, side) for side in (0, 1)):
            facts.flag("characters")
        facts.add(pair.line, (hash(keys[0]), hash(keys[1])))

    def _text_fault(self, pair: LocatedPair, side: int) -> str | None:
        text = (pair.source, pair.target)[side]
        fault = text_fault(text)
        if fault and "\ufffd" in text and self._where(pair, side) in self.undecodable:
            return None  # has been told
        return fault

    @staticmethod
    def _where(pair: LocatedPair, side: int) -> tuple[str, int]:
        return (pair.origin.source_name, pair.origin.target_name)[side], pair.line

    # ------------------------------------------------------------ the report

    def report(self) -> DataReport:
        known = self._known_words()
        links = self._links()
        found: dict[str, dict[str, Whole]] = {}
        for split, facts in self.splits.items():
            found[split] = {kind: _array(indices) for kind, indices in facts.flagged.items()}
            empty = np.zeros(len(facts), dtype=np.bool_)
            empty[found[split].get("empty", [])] = True
            found[split]["length_ratio"] = np.nonzero(self._uneven(facts) & ~empty)[0]
            found[split]["misaligned"] = np.nonzero(_misaligned(facts, links))[0]
            found[split]["duplicate"] = np.nonzero(_repeated(facts) & ~empty)[0]
            if split != "train":
                in_train = np.isin(facts.source_hashes, self.splits["train"].source_hashes)
                found[split]["overlap"] = np.nonzero(in_train & ~empty)[0]
        splits = {
            split: SplitReport(
                len(facts),
                len(np.unique(facts.source_hashes)),
                *(
                    _side_report(side, words)
                    for side, words in zip(facts.sides, known, strict=True)
                ),
            )
            for split, facts in self.splits.items()
        }
        return DataReport(splits, [*self._findings(found), *_unknown_words(splits)])

    def _known_words(self) -> tuple[Mask, Mask]:
        """Whether each word seen anywhere is in the vocabulary that training would make."""
        counters: list[Counter[str]] = []
        for words, side in zip(self.words, self.splits["train"].sides, strict=True):
            counts = side.word_counts(len(words)).tolist()
            counters.append(Counter(dict(zip(words, counts, strict=True))))
            counters[-1] += Counter()  # words of the other splits go: they were not seen
        source, target = make_codecs(self.config, self.tokenizers, (counters[0], counters[1]))
        return (
            source.vocabulary.to_ids(self.words[0]) != UNK_ID,
            target.vocabulary.to_ids(self.words[1]) != UNK_ID,
        )

    def _links(self) -> Links:
        facts = self.splits["train"]
        step = max(_BLOCK, _BLOCK * len(facts) // _LINKS_FROM)
        blocks = [
            facts.aligned(start, min(start + _BLOCK, len(facts)))
            for start in range(0, len(facts), step)
        ]
        return alignment.find_links(
            alignment.joined(blocks), len(self.words[0]), len(self.words[1])
        )

    def _uneven(self, facts: _SplitFacts) -> Mask:
        """Whether one side is far longer than the training data's pairs would have it."""
        usual = _log_ratios(self.splits["train"])
        if len(usual) < _FEWEST_PAIRS:
            return np.zeros(len(facts), dtype=np.bool_)
        middle = np.median(usual)
        deviation = 1.4826 * np.median(np.abs(usual - middle))
        far = max(_DEVIATIONS * deviation, np.log(_TIMES_LONGER))
        uneven: Mask = np.abs(_log_ratios(facts) - middle) > far
        return uneven

    # ------------------------------------------------------------ the second reading

    def _findings(self, found: dict[str, dict[str, Whole]]) -> list[Finding]:
        findings = []
        wanted: dict[str, dict[int, list[Finding]]] = {split: {} for split in self.splits}
        for split, facts in self.splits.items():
            if facts.num_faults:
                share = facts.num_faults / (len(facts) + facts.num_faults)
                findings.append(Finding("unreadable", split, facts.num_faults, share, facts.faults))
            for kind in KINDS:
                indices = found[split].get(kind, np.zeros(0, dtype=np.int64))
                if not len(indices):
                    continue
                finding = Finding(kind, split, len(indices), len(indices) / len(facts))
                findings.append(finding)
                for index in indices[:NUM_PLACES].tolist():
                    wanted[split].setdefault(index, []).append(finding)
        for split, index, pair in self._fetch(wanted):
            for finding in wanted[split][index]:
                finding.places.append(self._place(finding.kind, index, pair))
        order = list(KINDS)
        return sorted(findings, key=lambda finding: order.index(finding.kind))

    def _fetch(
        self, wanted: dict[str, dict[int, list[Finding]]]
    ) -> Iterator[tuple[str, int, LocatedPair]]:
        for group in self._groups():
            left = sum(len(wanted[split]) for split in group)
            seen = dict.fromkeys(group, 0)
            pairs = located_pairs(self.config, group, _ignore)
            while left:
                pair = next(pairs)  # it was there before: nothing is read that was not
                index = seen[pair.split]
                seen[pair.split] += 1
                if index in wanted[pair.split]:
                    left -= 1
                    yield pair.split, index, pair

    def _place(self, kind: str, index: int, pair: LocatedPair) -> Place:
        faults = [self._text_fault(pair, side) for side in (0, 1)]
        side = 1 if kind == "characters" and not faults[0] else 0
        if kind == "empty" and pair.source.strip():
            side = 1
        file, line = self._where(pair, side)
        shown = f"{_shortened(pair.source)} | {_shortened(pair.target)}"
        if kind == "characters":
            message = (
                f"{SIDES[side]}: {faults[side]}: {_shortened((pair.source, pair.target)[side])}"
            )
        elif kind == "empty":
            message = f"no {SIDES[side]}: {shown}"
        elif kind == "too_long":
            lengths = [facts.num_tokens[index] for facts in self.splits[pair.split].sides]
            message = f"{lengths[0]} and {lengths[1]} tokens: {shown}"
        elif kind in ("duplicate", "overlap"):
            message = f"{self._earlier(kind, index, pair)}: {shown}"
        else:
            message = shown
        return Place(file, line, message)

    def _earlier(self, kind: str, index: int, pair: LocatedPair) -> str:
        """Where the same pair, or the same source in the training data, is for the first time."""
        facts, here = (
            self.splits["train" if kind == "overlap" else pair.split],
            self.splits[pair.split],
        )
        same = facts.source_hashes == here.source_hashes[index]
        if kind == "duplicate":
            same &= facts.target_hashes == here.target_hashes[index]
        return f"also {facts.place(int(np.argmax(same)))}"


def _ignore(file: str, line: int, text: str) -> None:
    """Faults that have been told of already."""


def _misaligned(facts: _SplitFacts, links: Links) -> Mask:
    chunks = [
        alignment.suspicious(facts.aligned(start, min(start + _CHUNK, len(facts))), links)
        for start in range(0, len(facts), _CHUNK)
    ]
    return np.concatenate([np.zeros(0, dtype=np.bool_), *chunks])


def _repeated(facts: _SplitFacts) -> Mask:
    """Whether the same pair was there before."""
    mixed = facts.source_hashes * 3 + facts.target_hashes  # 64 bits, and what overflows is dropped
    _, firsts = np.unique(mixed, return_index=True)
    repeated = np.ones(len(facts), dtype=np.bool_)
    repeated[firsts] = False
    return repeated


def _log_ratios(facts: _SplitFacts) -> npt.NDArray[np.float64]:
    source, target = (_array(side.num_characters) for side in facts.sides)
    # A few characters more on both sides: one word may well be three times as long as another.
    ratios: npt.NDArray[np.float64] = np.log(source + 5.0) - np.log(target + 5.0)
    return ratios


def _side_report(side: _SideFacts, known: Mask) -> SideReport:
    lengths = _array(side.num_tokens)
    counts = side.word_counts(len(known))
    num_tokens = int(counts.sum())
    return SideReport(
        num_tokens,
        int(lengths.max(initial=0)),
        int(counts[~known].sum()) / max(1, num_tokens),
        np.bincount(np.minimum(lengths, LONGEST_BIN)).tolist(),
    )


def _unknown_words(splits: dict[str, SplitReport]) -> list[Finding]:
    findings = []
    for split, report in splits.items():
        sides = [report.source, report.target]
        share = max(side.unknown_share for side in sides)
        count = sum(round(side.unknown_share * side.tokens) for side in sides)
        finding = Finding("unknown_words", split, count, share)
        if finding.harmful:
            findings.append(finding)
    return findings


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
