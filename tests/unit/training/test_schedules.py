"""Learning rate and teacher forcing over the course of training."""

from __future__ import annotations

import math

import pytest

from seq2seq_cli.config import (
    ConstantForcing,
    ConstantRate,
    CosineRate,
    LearningRateScheduleConfig,
    LinearForcing,
    PlateauRate,
    TeacherForcingConfig,
)
from seq2seq_cli.training.schedules import (
    forcing_coins,
    learning_rate_factor,
    teacher_forcing_ratio,
)

COSINE = CosineRate(warmup_steps=4, final_ratio=0.0)
TO_A_TENTH = CosineRate(warmup_steps=0, final_ratio=0.1)


@pytest.mark.parametrize(
    ("config", "step", "planned_steps", "num_drops", "expected"),
    [
        (ConstantRate(), 0, 1000, 0, 1.0),
        (ConstantRate(), 999, None, 3, 1.0),
        (PlateauRate(factor=0.5), 0, None, 0, 1.0),
        (PlateauRate(factor=0.5), 900, 1000, 1, 0.5),
        (PlateauRate(factor=0.1), 900, 1000, 3, 0.001),
        # Warm-up over four steps, then a cosine over the 101 that are left of 105.
        (COSINE, 0, 105, 0, 0.25),
        (COSINE, 1, 105, 0, 0.5),
        (COSINE, 3, 105, 0, 1.0),
        (COSINE, 4, 105, 0, 1.0),
        (COSINE, 54, 105, 0, 0.5),
        (COSINE, 104, 105, 0, 0.0),
        (COSINE, 200, 105, 0, 0.0),  # more steps than planned
        (COSINE, 54, 105, 7, 0.5),  # plateaus mean nothing to it
        (COSINE, 2, 3, 0, 0.75),  # a plan that ends within the warm-up
        (COSINE, 4, 5, 0, 1.0),
        (TO_A_TENTH, 0, 101, 0, 1.0),
        (TO_A_TENTH, 50, 101, 0, 0.55),
        (TO_A_TENTH, 100, 101, 0, 0.1),
        (CosineRate(warmup_steps=0, final_ratio=1.0), 50, 101, 0, 1.0),
    ],
)
def test_learning_rate_factors(
    config: LearningRateScheduleConfig,
    step: int,
    planned_steps: int | None,
    num_drops: int,
    expected: float,
) -> None:
    assert learning_rate_factor(config, step, planned_steps, num_drops) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("warmup_steps", [0, 10, 150])
def test_the_cosine_rises_to_the_full_rate_and_falls_to_its_end(warmup_steps: int) -> None:
    config = CosineRate(warmup_steps=warmup_steps, final_ratio=0.05)
    factors = [learning_rate_factor(config, step, 200, 0) for step in range(200)]
    assert factors[0] > 0
    assert factors[:warmup_steps] == sorted(factors[:warmup_steps])
    assert factors[warmup_steps:] == sorted(factors[warmup_steps:], reverse=True)
    assert max(factors) == 1.0
    assert factors[-1] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("config", "step", "planned_steps", "expected"),
    [
        (ConstantForcing(), 0, None, 1.0),
        (ConstantForcing(ratio=0.3), 70, 100, 0.3),
        (LinearForcing(start=1.0, end=0.5), 0, 101, 1.0),
        (LinearForcing(start=1.0, end=0.5), 50, 101, 0.75),
        (LinearForcing(start=1.0, end=0.5), 100, 101, 0.5),  # the last step
        (LinearForcing(start=1.0, end=0.5), 170, 101, 0.5),
        (LinearForcing(start=0.2, end=0.8), 25, 101, 0.35),
        (LinearForcing(start=1.0, end=0.0), 0, 1, 1.0),
    ],
)
def test_teacher_forcing_ratios(
    config: TeacherForcingConfig, step: int, planned_steps: int | None, expected: float
) -> None:
    assert teacher_forcing_ratio(config, step, planned_steps) == pytest.approx(expected)


# ---------------------------------------------------------------- coins


@pytest.mark.parametrize("num_steps", [0, 1, 50])
def test_no_coins_are_thrown_when_all_tokens_are_the_true_ones(num_steps: int) -> None:
    assert forcing_coins(1.0, num_steps, seed=1, epoch=0, batch=0) is None


@pytest.mark.parametrize("num_steps", [0, 1, 50])
def test_at_ratio_zero_no_token_is_given(num_steps: int) -> None:
    assert forcing_coins(0.0, num_steps, seed=1, epoch=0, batch=0) == [False] * num_steps


@pytest.mark.parametrize("ratio", [0.05, 0.5, 0.9, 0.999])
def test_the_share_of_true_tokens_is_the_ratio(ratio: float) -> None:
    throws = [forcing_coins(ratio, 100, seed=1, epoch=0, batch=batch) for batch in range(200)]
    coins = [coin for throw in throws if throw is not None for coin in throw]
    assert len(coins) == 20_000
    deviation = math.sqrt(ratio * (1 - ratio) / len(coins))
    assert abs(sum(coins) / len(coins) - ratio) < 5 * deviation


def test_coins_are_the_same_for_a_place_and_differ_between_places() -> None:
    coins = forcing_coins(0.5, 64, seed=1, epoch=2, batch=3)
    assert coins == forcing_coins(0.5, 64, seed=1, epoch=2, batch=3)
    assert coins is not None
    assert all(type(coin) is bool for coin in coins)
    for seed, epoch, batch in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2)]:
        assert coins != forcing_coins(0.5, 64, seed=seed, epoch=epoch, batch=batch)


def test_a_longer_batch_or_a_higher_ratio_only_adds_to_the_coins() -> None:
    some = forcing_coins(0.4, 30, seed=1, epoch=0, batch=0)
    longer = forcing_coins(0.4, 60, seed=1, epoch=0, batch=0)
    higher = forcing_coins(0.6, 30, seed=1, epoch=0, batch=0)
    assert some is not None
    assert longer is not None
    assert higher is not None
    assert longer[:30] == some
    assert all(more or not coin for coin, more in zip(some, higher, strict=True))
    assert sum(higher) > sum(some)
