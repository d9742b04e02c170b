"""The pairs of each split, wherever a config says that they come from.

A split that is neither named nor the corpus' own is cut from the training data by a hash of the
source sentence: the same sentence always falls to the same side, whatever is added, removed or
reordered around it.
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from seq2seq_cli.config.data import DataConfig, ParallelFiles
from seq2seq_cli.data import corpus, datasets, tables
from seq2seq_cli.data.corpus import OnFault, PairSource, refuse
from seq2seq_cli.errors import DataError

TextPair = tuple[str, str]


class LocatedPair(NamedTuple):
    """A pair and where it stands."""

    split: str
    origin: PairSource
    line: int
    source: str
    target: str


def read_split(config: DataConfig, split: str) -> Iterator[TextPair]:
    """The text pairs of a split as they stand in the data; of `train`, no more than data.limit.

    Raises DataError when the config has no such split or its data cannot be read.
    """
    for pair in located_pairs(config, (split,)):
        yield pair.source, pair.target


def located_pairs(
    config: DataConfig, splits: tuple[str, ...], on_fault: OnFault = refuse
) -> Iterator[LocatedPair]:
    """The pairs of several splits; those cut from the training data come mixed with it, all in one
    reading. Raises DataError as `read_split` does.
    """
    cut = cut_splits(config)
    from_train = [split for split in splits if split == "train" or split in cut]
    if from_train:
        yield from _train_pairs(config, from_train, cut, on_fault)
    for split in splits:
        if split not in from_train:
            for origin in _own_sources(config, split):
                for line, source, target in origin.read(on_fault):
                    yield LocatedPair(split, origin, line, source, target)


def cut_splits(config: DataConfig) -> tuple[str, ...]:
    """Which of `valid` and `test` are cut from the training data."""
    named = {"valid": config.valid, "test": config.test}
    return tuple(
        split
        for split, place in named.items()
        if place is None and (config.dataset is None or split not in datasets.splits(config))
    )


def has_split(config: DataConfig, split: str) -> bool:
    """Whether there is such a split: False where the config does without one."""
    return {"valid": config.valid, "test": config.test}.get(split) != "none"


def _train_pairs(
    config: DataConfig, splits: list[str], cut: tuple[str, ...], on_fault: OnFault
) -> Iterator[LocatedPair]:
    num_train = 0
    for origin in _own_sources(config, "train"):
        for line, source, target in origin.read(on_fault):
            split = _side_of_cut(config, cut, source)
            num_train += split == "train"
            is_beyond = split == "train" and config.limit is not None and num_train > config.limit
            if is_beyond and splits == ["train"]:
                return
            if split in splits and not is_beyond:
                yield LocatedPair(split, origin, line, source, target)


def _side_of_cut(config: DataConfig, cut: tuple[str, ...], source: str) -> str:
    """The split that a sentence of the training data falls to. The low hashes are validated on, the
    high ones tested on: how much is cut for one does not move the other."""
    if not cut:
        return "train"
    position = _hash(source) / 2**64
    if "valid" in cut and position < config.held_out.valid:
        return "valid"
    if "test" in cut and position >= 1.0 - config.held_out.test:
        return "test"
    return "train"


@functools.lru_cache(maxsize=4)  # the cut and a check ask for the same one, one after the other
def sentence_key(sentence: str) -> str:
    """What sentences share that differ in case, white space or Unicode form only."""
    return " ".join(_nfc(_nfc(sentence).casefold()).split())  # casefold takes some letters apart


def _nfc(text: str) -> str:
    # Most text is, and to find that out takes a fraction of the time.
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def _hash(sentence: str) -> int:
    """64 bits, the same ones on every machine."""
    key = sentence_key(sentence).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())


def _own_sources(config: DataConfig, split: str) -> list[PairSource]:
    if not has_split(config, split):
        raise DataError(
            f"the config does without {split} data (data.{split}: none): choose another split with "
            "--split, or score on files with --source FILE --reference FILE"
        )
    if config.dataset:
        sources = datasets.pair_sources(config, split)
        assert sources is not None  # the cut has taken care of what a corpus does not have
        return sources
    files = {"train": config.train, "valid": config.valid, "test": config.test}
    if split not in files:
        raise DataError(
            f"the config has no {split} data; there are {', '.join(files)}: choose one with "
            "--split, or score on files with --source FILE --reference FILE"
        )
    location = files[split]
    assert location is not None
    assert location != "none"
    if isinstance(location, ParallelFiles):
        return corpus.parallel_sources(location)
    return tables.table_sources(
        location, config.columns, config.header, (config.source, config.target)
    )
