"""What is in a config's data, and what of it would hurt training.

Two readings: the first keeps numbers only (some 60 bytes a pair, and a temporary file of word ids),
the second fetches the text of what is to be shown.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

import numpy as np

from seq2seq_cli.checking import alignment
from seq2seq_cli.checking.alignment import Links, Mask, Whole
from seq2seq_cli.checking.facts import SideFacts, SplitFacts, as_array
from seq2seq_cli.checking.findings import (
    KINDS,
    LONGEST_BIN,
    NUM_PLACES,
    SIDES,
    WORTH_TELLING,
    DataReport,
    Finding,
    Place,
    SideReport,
    SplitReport,
)
from seq2seq_cli.checking.texts import text_fault
from seq2seq_cli.config.data import DataConfig
from seq2seq_cli.console import progress_bar
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

logger = logging.getLogger("seq2seq")

_LEARN_FROM = 100_000  # pairs that subwords are learned from here: all would take too long
_LINKS_FROM = 100_000  # pairs that tell which words go together,
_BLOCK = 1000  # taken in blocks of this many from all over the corpus
_MOST_REMEMBERED = 100_000  # lines that are not UTF-8

# Length outliers: a side this many times longer than usual beside the other, and this many standard
# deviations off (robustly estimated, of the logarithm of the sides' lengths in characters).
_TIMES_LONGER = 3.0
_DEVIATIONS = 5.0
_FEWEST_PAIRS = 20  # below, there is no telling what is usual


def check_data(config: DataConfig) -> DataReport:
    """Read all splits of a config's data and report what is in them.

    Raises DataError and ConfigError where the data cannot be looked at at all (a column that is not
    there, say).
    """
    with ExitStack() as files:
        check = _Check(config, files)
        check.read()
        return check.report()


class _Numbering(dict[str, int]):
    """A number for each word, in the order of their first asking."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


class _Check:
    def __init__(self, config: DataConfig, files: ExitStack) -> None:
        self.config = config
        self.splits = {
            split: SplitFacts(files)
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
            if len(self.undecodable) < _MOST_REMEMBERED:
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
            masks = {
                "length_ratio": self._uneven(facts),
                "misaligned": facts.misaligned(links),
                "duplicate": facts.repeated(),
            }
            if split != "train":
                train = self.splits["train"].source_hashes
                masks["overlap"] = np.isin(facts.source_hashes, train)
            found[split] = {kind: as_array(indices) for kind, indices in facts.flagged.items()}
            full = ~facts.has("empty")
            found[split] |= {kind: np.nonzero(mask & full)[0] for kind, mask in masks.items()}
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
        train = self.splits["train"]
        for words, side in zip(self.words, train.sides, strict=True):
            counts = side.word_counts(len(words), ~train.has("empty")).tolist()
            counters.append(Counter(dict(zip(words, counts, strict=True))))
            counters[-1] += Counter()  # words of the other splits go: they were not seen
        source, target = make_codecs(self.config, self.tokenizers, (counters[0], counters[1]))
        return (
            source.vocabulary.to_ids(self.words[0]) != UNK_ID,
            target.vocabulary.to_ids(self.words[1]) != UNK_ID,
        )

    def _links(self) -> Links:
        if self.config.tokenizer.kind == "characters":
            logger.info("characters do not tell which words go together: no misalignment is seen")
        facts = self.splits["train"]
        step = max(_BLOCK, _BLOCK * len(facts) // _LINKS_FROM)
        blocks = [
            facts.aligned(start, min(start + _BLOCK, len(facts)))
            for start in range(0, len(facts), step)
        ]
        return alignment.find_links(
            alignment.joined(blocks), len(self.words[0]), len(self.words[1])
        )

    def _uneven(self, facts: SplitFacts) -> Mask:
        """Whether one side is far longer than the training data's pairs would have it."""
        usual = self.splits["train"].log_ratios()
        if len(usual) < _FEWEST_PAIRS:
            return np.zeros(len(facts), dtype=np.bool_)
        middle = np.median(usual)
        deviation = 1.4826 * np.median(np.abs(usual - middle))
        far = max(_DEVIATIONS * deviation, np.log(_TIMES_LONGER))
        uneven: Mask = np.abs(facts.log_ratios() - middle) > far
        return uneven

    # ------------------------------------------------------------ the second reading

    def _findings(self, found: dict[str, dict[str, Whole]]) -> list[Finding]:
        findings = []
        cut = cut_splits(self.config)
        wanted: dict[str, dict[int, list[Finding]]] = {split: {} for split in self.splits}
        for split, facts in self.splits.items():
            if facts.num_faults:
                share = facts.num_faults / (len(facts) + facts.num_faults)
                findings.append(Finding("unreadable", split, facts.num_faults, share, facts.faults))
            usable = ~(facts.has("empty") | facts.has("too_long"))
            if not usable.any() and (split not in cut or len(self.splits["train"])):
                findings.append(Finding("no_pairs", split, 0, 1.0))
            for kind in KINDS:
                indices = found[split].get(kind, np.zeros(0, dtype=np.int64))
                if not len(indices):
                    continue
                finding = Finding(kind, split, len(indices), len(indices) / len(facts))
                findings.append(finding)
                for index in indices[:NUM_PLACES].tolist():
                    wanted[split].setdefault(index, []).append(finding)
        for pair, split, index in self._fetch(wanted):
            for finding in wanted[split][index]:
                finding.places.append(self._place(finding.kind, index, pair))
        order = list(KINDS)
        return sorted(findings, key=lambda finding: order.index(finding.kind))

    def _fetch(
        self, wanted: dict[str, dict[int, list[Finding]]]
    ) -> Iterator[tuple[LocatedPair, str, int]]:
        """The wanted pairs, in the order of the data; split and index tell which they are."""
        # Splits that were cut from the training data have its origins.
        places: dict[int, tuple[PairSource, dict[int, tuple[str, int]]]] = {}
        for split, facts in self.splits.items():
            for index in wanted[split]:
                origin = facts.origin(index)
                lines = places.setdefault(id(origin), (origin, {}))[1]
                lines[facts.lines[index]] = split, index
        for origin, lines in places.values():
            pairs = origin.read(_ignore)
            while lines and (pair := next(pairs, None)):
                if found := lines.pop(pair[0], None):
                    yield LocatedPair(found[0], origin, *pair), *found

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
        here = self.splits[pair.split]
        facts = self.splits["train"] if kind == "overlap" else here
        same = facts.source_hashes == here.source_hashes[index]
        if kind == "duplicate":
            same &= facts.target_hashes == here.target_hashes[index]
        file, line = facts.place(int(np.argmax(same)))
        is_same_file = file == pair.origin.source_name
        return f"also line {line}" if is_same_file else f"also {file}:{line}"


def _ignore(file: str, line: int, text: str) -> None:
    """Faults that have been told of already."""


def _side_report(side: SideFacts, known: Mask) -> SideReport:
    lengths = as_array(side.num_tokens)
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
        if share >= WORTH_TELLING:
            findings.append(finding)
    return findings


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
