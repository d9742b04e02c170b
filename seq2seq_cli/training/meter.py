"""What updates did, counted in the training's state when somebody asks."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch

from seq2seq_cli.errors import TrainingError
from seq2seq_cli.training.state import TrainingState

logger = logging.getLogger("seq2seq")

ADVICE = "lower training.optimizer.learning_rate or set training.gradient_clip_norm"


@dataclass
class StepResult:
    """What one update did; tensors stay on the device until somebody reads them."""

    loss_sum: torch.Tensor
    num_tokens: int
    gradient_norm: torch.Tensor
    learning_rate: float
    teacher_forcing_ratio: float


class Meter:
    """Sums of what steps did, since the last log line and the last validation."""

    def __init__(self, state: TrainingState, max_skipped_steps: int) -> None:
        self._state = state
        self._max_skipped_steps = max_skipped_steps
        self._unsettled: list[StepResult] = []
        self.last: StepResult | None = None

    def add(self, result: StepResult) -> None:
        self.last = result
        self._unsettled.append(result)

    def settle(self) -> None:
        """Read from the device what the steps since the last call did.

        Raises TrainingError where too many in a row had no finite loss or gradient.
        """
        if not self._unsettled:
            return
        state, results, self._unsettled = self._state, self._unsettled, []
        losses = torch.stack([result.loss_sum for result in results]).tolist()
        norms = torch.stack([result.gradient_norm for result in results]).tolist()
        first = state.step - len(results) + 1
        for step, loss, norm, result in zip(
            range(first, state.step + 1), losses, norms, results, strict=True
        ):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._skip(step)
                continue
            state.skipped_in_a_row = 0
            # One by one: sums are the same to the last bit, however often they are asked for.
            state.train_loss_sum += loss
            state.train_tokens += result.num_tokens
            state.logged_loss_sum += loss
            state.logged_tokens += result.num_tokens

    def _skip(self, step: int) -> None:
        state = self._state
        state.skipped_steps += 1
        state.skipped_in_a_row += 1
        logger.warning(
            "step %d: the loss or its gradient is no number: skipped, the weights are as they were "
            "(%s so far)",
            step,
            f"{state.skipped_steps:,}",
        )
        if state.skipped_in_a_row >= self._max_skipped_steps:
            raise TrainingError(
                f"the loss or its gradient was no number in {state.skipped_in_a_row} steps in a "
                f"row, up to step {step}: training has diverged; {ADVICE}"
            )

    def clear(self) -> None:
        """Begin anew with the sums for the next log line."""
        state = self._state
        state.logged_loss_sum, state.logged_tokens, state.logged_seconds = 0.0, 0, 0.0

    def wait_for_device(self) -> None:
        """A GPU computes while Python runs ahead; time counts when the work is done."""
        assert self.last is not None
        self.last.loss_sum.item()
