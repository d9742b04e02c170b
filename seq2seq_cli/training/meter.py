"""What updates did, summed up until somebody asks."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class StepResult:
    """What one update did; tensors stay on the device until somebody reads them."""

    loss_sum: torch.Tensor
    num_tokens: int
    gradient_norm: torch.Tensor
    learning_rate: float
    teacher_forcing_ratio: float


class Meter:
    """Sums over the steps since the last log line."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the steps; they have been settled."""
        self.num_tokens = 0
        self.loss_sum = 0.0
        self.seconds = 0.0
        self.last: StepResult | None = None
        self._unsettled: list[StepResult] = []

    def add(self, result: StepResult) -> None:
        self.last = result
        self.num_tokens += result.num_tokens
        self._unsettled.append(result)

    def settle(self) -> tuple[float, int, bool]:
        """Read from the device the steps since the last call: their summed loss, their tokens, and
        whether every loss and gradient was a number."""
        if not self._unsettled:
            return 0.0, 0, True
        losses = torch.stack([result.loss_sum for result in self._unsettled])
        norms = torch.stack([result.gradient_norm for result in self._unsettled])
        num_tokens = sum(result.num_tokens for result in self._unsettled)
        self._unsettled = []
        loss_sum = float(losses.sum())
        self.loss_sum += loss_sum
        return loss_sum, num_tokens, bool((losses.isfinite() & norms.isfinite()).all())

    def wait_for_device(self) -> None:
        """A GPU computes while Python runs ahead; time counts when the work is done."""
        assert self.last is not None
        self.last.loss_sum.item()
