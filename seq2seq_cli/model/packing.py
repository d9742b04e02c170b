"""Sentences of different lengths without their padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a batch stand when they are packed: step by step, and within a step one
    token of each sentence that is that long, the longest sentence first.

    A packed tensor is (tokens, ...). A step is a slice of it, and the sentences still running are
    the first ones of the step before.
    """

    order: Tensor
    """(batch,), on the CPU: the batch's rows, longest first"""
    counts: list[int]
    """How many sentences are still running at each step."""
    time: int
    """Columns of the padded tensor."""
    device: torch.device

    @classmethod
    def of(cls, lengths: Tensor, time: int, device: torch.device) -> Packing:
        """lengths: (batch,), on the CPU; rows of equal length keep their order."""
        order = torch.argsort(lengths, descending=True, stable=True)
        longest = int(lengths.max()) if len(lengths) else 0
        running = lengths.unsqueeze(1) > torch.arange(longest)
        return cls(order, running.sum(dim=0).tolist(), time, device)

    @classmethod
    def of_counts(cls, counts: Sequence[int], device: torch.device) -> Packing:
        """Of rows that already stand longest first."""
        return cls(torch.arange(counts[0]), list(counts), len(counts), device)

    @cached_property
    def starts(self) -> list[int]:
        """Where each step begins, and where the last one ends."""
        return [0, *accumulate(self.counts)]

    def pack(self, padded: Tensor) -> Tensor:
        """(batch, time, ...) to (tokens, ...)."""
        return padded.flatten(0, 1).index_select(0, self._places)

    def unpack(self, packed: Tensor) -> Tensor:
        """(tokens, ...) to (batch, time, ...), 0 on padding."""
        shape = packed.shape[1:]
        padded = packed.new_zeros(len(self.order) * self.time, *shape)
        return padded.index_copy(0, self._places, packed).view(-1, self.time, *shape)

    def by_sentence(self, packed: Tensor) -> Tensor:
        """(tokens, ...) in the order of the batch: a sentence's tokens one after the other."""
        return packed[torch.argsort(self._places)]

    @property
    def is_sorted(self) -> bool:
        """Whether the batch's rows stand longest first by themselves."""
        return bool((self.order.diff() > 0).all())

    @cached_property
    def back(self) -> Tensor:
        """(batch,): where each row of the batch stands in `order`."""
        return torch.argsort(self.order).to(self.device, non_blocking=True)

    @cached_property
    def _places(self) -> Tensor:
        """(tokens,): where each packed token stands in the flattened padded tensor."""
        rows = torch.cat([self.order[:count] for count in self.counts])
        return (rows * self.time + self._steps).to(self.device, non_blocking=True)

    @cached_property
    def _steps(self) -> Tensor:
        # torch's own wakes its threads for it, which takes longer than the rest.
        return torch.from_numpy(np.repeat(np.arange(len(self.counts)), self.counts))

    @cached_property
    def backwards(self) -> Tensor:
        """(tokens,): for each packed token, where the one stands that is as far from its sentence's
        end as it is from the beginning."""
        starts = torch.tensor(self.starts[:-1])
        ranks = torch.arange(len(self._steps)) - starts[self._steps]
        lengths = (torch.tensor(self.counts).unsqueeze(1) > torch.arange(len(self.order))).sum(0)
        return (starts[lengths[ranks] - 1 - self._steps] + ranks).to(self.device, non_blocking=True)
