"""What changes from step to step: the learning rate and the teacher-forcing ratio.

Steps count from 0 to `planned_steps` - 1. A plan of None (only the clock ends the training) goes
with schedules that do not depend on it; the config sees to that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seq2seq_cli.config.training import (
    ConstantForcing,
    CosineRate,
    ExponentialForcing,
    HalvingRate,
    InverseSqrtRate,
    LearningRateScheduleConfig,
    LinearForcing,
    PlateauRate,
    TeacherForcingConfig,
    TrainingConfig,
)
from seq2seq_cli.randomness import generator

_HAIR = 1e-9  # a part of an epoch is a quotient of batches, which may fall short of .3 by as much
_MAX_HALVINGS = 1000  # 2^-1000 is nothing, and still a number


def learning_rate_factor(
    config: LearningRateScheduleConfig,
    step: int,
    planned_steps: int | None,
    *,
    epochs: float,
    num_drops: int,
) -> float:
    """What to multiply the optimizer's learning rate by at `step`.

    epochs: passes over the training data that are done, the current one counted by its part
    (halving). num_drops: how often the validation metric has got stuck so far (plateau).
    """
    if isinstance(config, PlateauRate):
        return config.factor**num_drops
    if isinstance(config, HalvingRate):
        beyond = epochs - config.after_epochs + _HAIR
        if beyond < 0.0:
            return 1.0
        return math.pow(0.5, min(1 + beyond // config.every_epochs, _MAX_HALVINGS))
    if isinstance(config, CosineRate | InverseSqrtRate) and step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if isinstance(config, InverseSqrtRate):
        return math.sqrt(config.warmup_steps / (step + 1))
    if isinstance(config, CosineRate):
        progress = _progress(step - config.warmup_steps, planned_steps, config.warmup_steps)
        falling = (1.0 + math.cos(math.pi * progress)) / 2.0
        return config.final_ratio + (1.0 - config.final_ratio) * falling
    return 1.0


def teacher_forcing_ratio(
    config: TeacherForcingConfig, step: int, planned_steps: int | None
) -> float:
    """Probability of feeding the true token (Bengio et al. 2015, section 2.4)."""
    if isinstance(config, ConstantForcing):
        return config.ratio
    if isinstance(config, LinearForcing):
        return config.start + (config.end - config.start) * _progress(step, planned_steps)
    if isinstance(config, ExponentialForcing):
        return config.k**step
    # k / (k + exp(i / k)), in a form whose exponential cannot overflow.
    shrinking = config.k * math.exp(-step / config.k)
    return shrinking / (shrinking + 1.0)


def _progress(step: int, planned_steps: int | None, offset: int = 0) -> float:
    """0 at step 0, 1 at the last of the planned steps that lie behind `offset`."""
    assert planned_steps is not None
    return min(1.0, step / max(1, planned_steps - offset - 1))


def forcing_coins(
    ratio: float, shape: tuple[int, int], seed: int, epoch: int, batch: int
) -> Tensor | None:
    """For each sentence and target step of a batch after the first, whether the true token is fed.

    shape: (batch, steps), or (1, steps) where the whole batch shares its coins.
    None when all are: the decoder then runs as one call over the whole target.
    """
    if ratio >= 1.0:
        return None
    draws = generator(seed, "teacher forcing", epoch, batch).random(shape)
    return torch.from_numpy(draws < ratio)


@dataclass(frozen=True)
class Plan:
    """How long a training is to be, and its schedules as far as they are known beforehand."""

    training: TrainingConfig
    steps: int | None
    """None when only the clock ends it."""
    steps_per_epoch: int

    def learning_rate(self, step: int) -> float | None:
        """None where it depends on what validation will find (plateau)."""
        schedule = self.training.learning_rate_schedule
        if isinstance(schedule, PlateauRate):
            return None
        epochs = step / self.steps_per_epoch
        factor = learning_rate_factor(schedule, step, self.steps, epochs=epochs, num_drops=0)
        return self.training.optimizer.learning_rate * factor

    def teacher_forcing_ratio(self, step: int) -> float:
        return teacher_forcing_ratio(self.training.teacher_forcing, step, self.steps)
