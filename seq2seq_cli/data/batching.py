"""Sentence pairs as flat ids, and batches of them.

Ids of a side lie in one array with offsets, so that they can become a memory-mapped file without
any change here. A batch is cut from pairs of similar lengths (two times faster in the 2014 paper)
and padded to its own longest sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seq2seq_cli.config.training import TrainingConfig
from seq2seq_cli.data.vocabulary import EOS_ID, PAD_ID, SOS_ID, Ids
from seq2seq_cli.randomness import generator

Indices = npt.NDArray[np.int64]

# Pairs are sorted by length within a pool of this many batches, so that batches hold similar
# lengths and still differ from epoch to epoch.
POOL_BATCHES = 100


class FlatIds:
    """Many id sequences in one array; sequence i is ids[offsets[i]:offsets[i + 1]]."""

    def __init__(self, ids: Ids, offsets: Indices) -> None:
        self.ids = ids
        self.offsets = offsets

    @classmethod
    def from_sequences(cls, sequences: Sequence[Ids]) -> FlatIds:
        offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
        ids = np.concatenate([np.empty(0, dtype=np.int32), *sequences])
        return cls(ids.astype(np.int32, copy=False), offsets)

    @property
    def lengths(self) -> Indices:
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Ids:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class FlatPairs:
    """Sentence pairs as ids, without <sos> and <eos>."""

    source: FlatIds
    target: FlatIds

    def __len__(self) -> int:
        return len(self.source)

    @property
    def num_target_tokens(self) -> int:
        """Target tokens that count in the loss: the words and one <eos> a sentence."""
        return len(self.target.ids) + len(self)


class Batch(NamedTuple):
    """Padded ids, each row <sos> ... <eos>; `trg_ids` is empty of columns when only encoding."""

    src_ids: Tensor
    """(batch, src_len)"""
    src_lens: Tensor
    """(batch,), on the CPU: lengths steer loops"""
    trg_ids: Tensor
    """(batch, trg_len)"""
    trg_lens: Tensor
    """(batch,), on the CPU"""

    @property
    def num_target_tokens(self) -> int:
        """Real tokens that are predicted: all but <pad> and <sos>."""
        return int((self.trg_lens - 1).clamp(min=0).sum())

    @property
    def num_cells(self) -> int:
        """Ids, padding counted: what the memory that a batch takes is in proportion to."""
        return self.src_ids.numel() + self.trg_ids.numel()

    def rows(self, start: int, stop: int) -> Batch:
        """Some of the sentences, padded to the longest of them."""
        src_lens, trg_lens = self.src_lens[start:stop], self.trg_lens[start:stop]
        src_ids = self.src_ids[start:stop, : int(src_lens.max())]
        return Batch(src_ids, src_lens, self.trg_ids[start:stop, : int(trg_lens.max())], trg_lens)

    def twice(self) -> Batch:
        """Every sentence and, in the row below it, the same again."""
        return Batch(*(part.repeat_interleave(2, dim=0) for part in self))

    def to(self, device: torch.device) -> Batch:
        """The same batch with its ids on `device`."""
        if device.type == "cpu":
            return self
        pin = device.type == "cuda"
        src, trg = (
            (ids.pin_memory() if pin else ids).to(device, non_blocking=pin)
            for ids in (self.src_ids, self.trg_ids)
        )
        return Batch(src, self.src_lens, trg, self.trg_lens)


def in_parts(
    batch: Batch, forced: Tensor | None, max_cells: float
) -> Iterator[tuple[Batch, Tensor | None]]:
    """A batch and its coins (see `Seq2Seq.forward`), in parts of no more than about `max_cells`
    ids each; one sentence at least."""
    num_rows = len(batch.trg_ids)
    num_parts = min(num_rows, math.ceil(batch.num_cells / max_cells))
    if num_parts <= 1:
        yield batch, forced
        return
    size = math.ceil(num_rows / num_parts)
    for start in range(0, num_rows, size):
        part = batch.rows(start, start + size)
        if forced is None:
            yield part, None
        else:
            coins = forced[start : start + size] if len(forced) > 1 else forced
            yield part, coins[:, : max(0, part.trg_ids.size(1) - 2)]


def make_batch(
    sources: Sequence[Ids], targets: Sequence[Ids] | None = None, *, reverse_source: bool
) -> Batch:
    """Pad sentences (ids without <sos> and <eos>) into a batch, keeping their order."""
    if reverse_source:
        sources = [ids[::-1] for ids in sources]
    src_lens = torch.tensor([len(ids) + 2 for ids in sources])
    if targets is None:
        return Batch(_pad(sources), src_lens, torch.empty(len(sources), 0).long(), src_lens * 0)
    trg_lens = torch.tensor([len(ids) + 2 for ids in targets])
    return Batch(_pad(sources), src_lens, _pad(targets), trg_lens)


def _pad(sequences: Sequence[Ids]) -> Tensor:
    padded = np.full((len(sequences), max(map(len, sequences)) + 2), PAD_ID, dtype=np.int64)
    padded[:, 0] = SOS_ID
    for row, ids in zip(padded, sequences, strict=True):
        row[1 : len(ids) + 1] = ids
        row[len(ids) + 1] = EOS_ID
    return torch.from_numpy(padded)


def pairs_batch(pairs: FlatPairs, indices: Indices, *, reverse_source: bool) -> Batch:
    """The batch of the pairs at `indices`, longest target first, as the decoder packs them."""
    lengths = pairs.target.lengths[indices]
    indices = indices[np.argsort(-lengths, kind="stable")]
    sources = [pairs.source[index] for index in indices]
    targets = [pairs.target[index] for index in indices]
    return make_batch(sources, targets, reverse_source=reverse_source)


def epoch_batches(pairs: FlatPairs, config: TrainingConfig, seed: int, epoch: int) -> list[Indices]:
    """Pair indices of each batch of an epoch: shuffled, of similar lengths, every pair once."""
    draw = generator(seed, "shuffle", epoch)
    order = draw.permutation(len(pairs))
    pool = config.batch_size * POOL_BATCHES
    if config.batch_unit == "tokens":
        pool = max(1, round(pool / float(_padded_lengths(pairs, order).mean())))
    pools = (order[start : start + pool] for start in range(0, len(order), pool))
    batches = [
        batch
        for indices in pools
        for batch in _cut(pairs, indices, config.batch_size, config.batch_unit)
    ]
    return [batches[index] for index in draw.permutation(len(batches))]


def ordered_batches(pairs: FlatPairs, batch_size: int, batch_unit: str) -> list[Indices]:
    """Batches without chance, all pairs sorted by length: for validation and evaluation."""
    return list(_cut(pairs, np.arange(len(pairs)), batch_size, batch_unit))


def _cut(pairs: FlatPairs, indices: Indices, batch_size: int, batch_unit: str) -> Iterator[Indices]:
    """Sort `indices` by source, then target length, and cut them into batches."""
    order = np.lexsort((pairs.target.lengths[indices], pairs.source.lengths[indices]))
    indices = indices[order]
    if batch_unit == "sentences":
        for start in range(0, len(indices), batch_size):
            yield indices[start : start + batch_size]
        return
    start = widest = 0
    for stop, length in enumerate(_padded_lengths(pairs, indices).tolist()):
        # A single pair longer than batch_size still is a batch of its own.
        if stop > start and max(widest, length) * (stop + 1 - start) > batch_size:
            yield indices[start:stop]
            start, widest = stop, 0
        widest = max(widest, length)
    if start < len(indices):
        yield indices[start:]


def _padded_lengths(pairs: FlatPairs, indices: Indices) -> Indices:
    """Tokens of each pair's longer side, <sos> and <eos> counted."""
    return np.maximum(pairs.source.lengths[indices], pairs.target.lengths[indices]) + 2
