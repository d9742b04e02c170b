"""What changes from step to step: the learning rate and the teacher-forcing ratio.

Steps count from 0 to `planned_steps` - 1. A plan of None (only the clock ends the training) goes
with schedules that do not depend on it; the config sees to that.
"""

from __future__ import annotations

import math

from seq2seq_cli.config import (
    ConstantForcing,
    CosineRate,
    LearningRateScheduleConfig,
    PlateauRate,
    TeacherForcingConfig,
)
from seq2seq_cli.randomness import generator


def learning_rate_factor(
    config: LearningRateScheduleConfig, step: int, planned_steps: int | None, num_drops: int
) -> float:
    """What to multiply the optimizer's learning rate by at `step`.

    num_drops: how often the validation metric has got stuck so far (plateau).
    """
    if isinstance(config, PlateauRate):
        return config.factor**num_drops
    if isinstance(config, CosineRate):
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
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
    return config.start + (config.end - config.start) * _progress(step, planned_steps)


def _progress(step: int, planned_steps: int | None, offset: int = 0) -> float:
    """0 at step 0, 1 at the last of the planned steps that lie behind `offset`."""
    assert planned_steps is not None
    return min(1.0, step / max(1, planned_steps - offset - 1))


def forcing_coins(
    ratio: float, num_steps: int, seed: int, epoch: int, batch: int
) -> list[bool] | None:
    """For each target step of a batch after the first, whether it is fed the true token.

    None when all are: the decoder then runs as one call over the whole target.
    """
    if ratio >= 1.0:
        return None
    draws = generator(seed, "teacher forcing", epoch, batch).random(num_steps)
    return [bool(draw < ratio) for draw in draws]
