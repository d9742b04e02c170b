"""Learning rate and teacher forcing over the course of training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from seq2seq_cli.config.training import (
    ConstantForcing,
    ConstantRate,
    CosineRate,
    ExponentialForcing,
    HalvingRate,
    InverseSigmoidForcing,
    InverseSqrtRate,
    LearningRateScheduleConfig,
    LinearForcing,
    PlateauRate,
    TeacherForcingConfig,
    TrainingConfig,
)
from seq2seq_cli.training.schedules import (
    Plan,
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
        (InverseSqrtRate(warmup_steps=4), 0, None, 0, 0.25),
        (InverseSqrtRate(warmup_steps=4), 3, None, 0, 1.0),
        (InverseSqrtRate(warmup_steps=4), 15, None, 0, 0.5),
        (InverseSqrtRate(warmup_steps=4), 399, 400, 5, 0.1),
        (InverseSqrtRate(warmup_steps=1), 0, None, 0, 1.0),
    ],
)
def test_learning_rate_factors(
    config: LearningRateScheduleConfig,
    step: int,
    planned_steps: int | None,
    num_drops: int,
    expected: float,
) -> None:
    factor = learning_rate_factor(config, step, planned_steps, epochs=0.0, num_drops=num_drops)
    assert factor == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("warmup_steps", [0, 10, 150])
def test_the_cosine_rises_to_the_full_rate_and_falls_to_its_end(warmup_steps: int) -> None:
    config = CosineRate(warmup_steps=warmup_steps, final_ratio=0.05)
    factors = [
        learning_rate_factor(config, step, 200, epochs=0.0, num_drops=0) for step in range(200)
    ]
    assert factors[0] > 0
    assert factors[:warmup_steps] == sorted(factors[:warmup_steps])
    assert factors[warmup_steps:] == sorted(factors[warmup_steps:], reverse=True)
    assert max(factors) == 1.0
    assert factors[-1] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("after", "every", "epochs", "halvings"),
    [
        # The paper: .7 for five epochs, then halved every half epoch, for 7.5 epochs.
        (5.0, 0.5, 0.0, 0),
        (5.0, 0.5, 4.999, 0),
        (5.0, 0.5, 5.0, 1),
        (5.0, 0.5, 5.499, 1),
        (5.0, 0.5, 5.5, 2),
        (5.0, 0.5, 7.0, 5),
        (5.0, 0.5, 7.499, 5),
        (0.0, 1.0, 0.0, 1),
        (0.0, 2.0, 3.9, 2),
        (1.0, 0.1, 1 + 3 / 10, 4),  # 1.3 - 1 is a hair less than .3
        (1.0, 1 / 3, 1 + 2 / 3, 3),
        (2.47, 0.5, 2 + 47 / 100, 1),  # the sum is a hair less than 2.47
    ],
)
def test_halvings(after: float, every: float, epochs: float, halvings: int) -> None:
    config = HalvingRate(after_epochs=after, every_epochs=every)
    factor = learning_rate_factor(config, 0, None, epochs=epochs, num_drops=0)
    assert factor == 0.5**halvings


def test_halving_for_ever_is_no_failure() -> None:
    config = HalvingRate(after_epochs=0.0, every_epochs=1e-6)
    assert 0.0 < learning_rate_factor(config, 0, None, epochs=1e9, num_drops=0) < 1e-200


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
        (ExponentialForcing(k=0.9), 0, None, 1.0),
        (ExponentialForcing(k=0.9), 2, None, 0.81),
        (ExponentialForcing(k=0.999), 1_000_000, None, 0.0),
        (InverseSigmoidForcing(k=1.0), 0, None, 0.5),
        (InverseSigmoidForcing(k=1.0), 1, None, 1 / (1 + math.e)),
        (InverseSigmoidForcing(k=100.0), 0, None, 100 / 101),
        (InverseSigmoidForcing(k=100.0), 461, None, 100 / (100 + math.exp(4.61))),
        (InverseSigmoidForcing(k=10.0), 10_000_000, None, 0.0),
    ],
)
def test_teacher_forcing_ratios(
    config: TeacherForcingConfig, step: int, planned_steps: int | None, expected: float
) -> None:
    assert teacher_forcing_ratio(config, step, planned_steps) == pytest.approx(expected)


# ---------------------------------------------------------------- coins


@pytest.mark.parametrize("shape", [(1, 0), (1, 1), (1, 50), (8, 50)])
def test_no_coins_are_thrown_when_all_tokens_are_the_true_ones(shape: tuple[int, int]) -> None:
    assert forcing_coins(1.0, shape, seed=1, epoch=0, batch=0) is None


def coins(ratio: float, shape: tuple[int, int], batch: int = 0) -> Tensor:
    throws = forcing_coins(ratio, shape, seed=1, epoch=0, batch=batch)
    assert throws is not None
    assert throws.dtype == torch.bool
    assert throws.shape == shape
    return throws


@pytest.mark.parametrize("shape", [(1, 0), (1, 50), (8, 50)])
def test_at_ratio_zero_no_token_is_given(shape: tuple[int, int]) -> None:
    assert not coins(0.0, shape).any()


@pytest.mark.parametrize("ratio", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("num_rows", [1, 4])
def test_the_share_of_true_tokens_is_the_ratio(ratio: float, num_rows: int) -> None:
    throws = torch.cat([coins(ratio, (num_rows, 100), batch).flatten() for batch in range(200)])
    deviation = math.sqrt(ratio * (1 - ratio) / len(throws))
    assert abs(throws.double().mean().item() - ratio) < 5 * deviation


def test_sentences_have_coins_of_their_own() -> None:
    throws = coins(0.5, (6, 64))
    assert len({tuple(row.tolist()) for row in throws}) == 6


def test_coins_are_the_same_for_a_place_and_differ_between_places() -> None:
    first = forcing_coins(0.5, (1, 64), seed=1, epoch=2, batch=3)
    again = forcing_coins(0.5, (1, 64), seed=1, epoch=2, batch=3)
    assert first is not None
    assert again is not None
    assert torch.equal(first, again)
    for seed, epoch, batch in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2)]:
        other = forcing_coins(0.5, (1, 64), seed=seed, epoch=epoch, batch=batch)
        assert other is not None
        assert not torch.equal(first, other)


def test_a_longer_batch_or_a_higher_ratio_only_adds_to_the_coins() -> None:
    some, longer, higher = coins(0.4, (1, 30)), coins(0.4, (1, 60)), coins(0.6, (1, 30))
    assert torch.equal(longer[:, :30], some)
    assert bool((higher | ~some).all())
    assert higher.sum() > some.sum()


# ---------------------------------------------------------------- plans


def test_a_plan_knows_its_schedules_beforehand() -> None:
    training = TrainingConfig.model_validate(
        {
            "optimizer": {"kind": "sgd", "learning_rate": 0.7},
            "learning_rate_schedule": {"kind": "halving", "after_epochs": 5, "every_epochs": 0.5},
            "teacher_forcing": {"kind": "linear", "start": 1.0, "end": 0.0},
        }
    )
    plan = Plan(training, steps=751, steps_per_epoch=100)
    assert [plan.learning_rate(step) for step in (0, 499, 500, 549, 550, 750)] == pytest.approx(
        [0.7, 0.7, 0.35, 0.35, 0.175, 0.7 / 2**6]
    )
    assert [plan.teacher_forcing_ratio(step) for step in (0, 375, 750)] == [1.0, 0.5, 0.0]


def test_a_plateau_cannot_be_planned() -> None:
    training = TrainingConfig(learning_rate_schedule=PlateauRate())
    assert Plan(training, steps=100, steps_per_epoch=10).learning_rate(50) is None
