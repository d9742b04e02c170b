"""What is kept of each pair of a split: numbers only. Word ids go to temporary files."""

from __future__ import annotations

import tempfile
from array import array
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt

from seq2seq_cli.checking import alignment
from seq2seq_cli.checking.alignment import Links, Mask, Sides, Whole
from seq2seq_cli.checking.findings import NUM_PLACES, SIDES, Place
from seq2seq_cli.data.corpus import PairSource

_CHUNK = 50_000  # pairs at a time


class SideFacts:
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
        self.offsets = np.concatenate([[0], np.cumsum(as_array(self.num_tokens))])
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

    def word_counts(self, num_words: int, pairs: Mask | None = None) -> Whole:
        """How often each word is in the split, or in these pairs of it."""
        counts = np.zeros(num_words, dtype=np.int64)
        for start in range(0, len(self.num_tokens), _CHUNK):
            offsets = self.offsets[start : start + _CHUNK + 1]
            ids = self.ids[offsets[0] : offsets[-1]]
            if pairs is not None:
                ids = ids[np.repeat(pairs[start : start + _CHUNK], np.diff(offsets))]
            counts += np.bincount(ids, minlength=num_words)
        return counts


class SplitFacts:
    """Of each pair of a split."""

    def __init__(self, files: ExitStack) -> None:
        self.origins: list[tuple[int, PairSource]] = []  # and the first pair of each
        self.lines = array("Q")
        self._hashes = array("q"), array("q")  # of the sentences of each side
        self.sides = [SideFacts(files) for _ in SIDES]
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
        self.source_hashes, self.target_hashes = map(as_array, self._hashes)
        for side in self.sides:
            side.finish()

    def origin(self, index: int) -> PairSource:
        """Where a pair comes from."""
        return next(origin for first, origin in reversed(self.origins) if first <= index)

    def place(self, index: int) -> tuple[str, int]:
        """File and line of a pair's source."""
        return self.origin(index).source_name, self.lines[index]

    def flag(self, kind: str) -> None:
        """Note something about the pair that is being added."""
        self.flagged.setdefault(kind, array("Q")).append(len(self))

    def has(self, kind: str) -> Mask:
        """For each pair, whether it was flagged so."""
        flags = np.zeros(len(self), dtype=np.bool_)
        flags[as_array(self.flagged.get(kind, array("Q")))] = True
        return flags

    def fault(self, place: Place) -> None:
        self.num_faults += 1
        if len(self.faults) < NUM_PLACES:
            self.faults.append(place)

    def aligned(self, start: int, stop: int) -> Sides:
        source, target = (side.distinct(start, stop) for side in self.sides)
        return Sides(*source, *target)

    def misaligned(self, links: Links) -> Mask:
        """Whether a pair's words speak against it."""
        chunks = [
            alignment.suspicious(self.aligned(start, min(start + _CHUNK, len(self))), links)
            for start in range(0, len(self), _CHUNK)
        ]
        return np.concatenate([np.zeros(0, dtype=np.bool_), *chunks])

    def repeated(self) -> Mask:
        """Whether the same pair was there before."""
        mixed = self.source_hashes * 3 + self.target_hashes  # 64 bits; what overflows is dropped
        _, firsts = np.unique(mixed, return_index=True)
        repeated = np.ones(len(self), dtype=np.bool_)
        repeated[firsts] = False
        return repeated

    def log_ratios(self) -> npt.NDArray[np.float64]:
        """Logarithm of source length by target length, in characters."""
        source, target = (as_array(side.num_characters) for side in self.sides)
        # A few characters more on both sides: one word may well be three times as long as another.
        ratios: npt.NDArray[np.float64] = np.log(source + 5.0) - np.log(target + 5.0)
        return ratios


def as_array(values: array[int]) -> Whole:
    """The same numbers for NumPy."""
    return np.asarray(values).astype(np.int64)
