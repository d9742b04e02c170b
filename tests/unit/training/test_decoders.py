"""Training steps, and what they would take, with every kind and place of attention."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq_cli.training.dry_run import dry_run
from seq2seq_cli.training.trainer import Trainer
from tests.unit.training.support import tiny_trainer

TINY = {"embedding_dim": 4, "hidden_size": 5, "num_layers": 2}
FORCING = [  # each feeds the decoder its own words in the second of two steps
    {"kind": "constant", "ratio": 0.4},
    {"kind": "linear", "start": 1.0, "end": 0.4},
    {"kind": "exponential", "k": 0.4},
    {"kind": "inverse_sigmoid", "k": 1.0},
]


@pytest.mark.parametrize("per", ["step", "token"])
@pytest.mark.parametrize("schedule", FORCING, ids=lambda schedule: schedule["kind"])
@pytest.mark.parametrize("place", ["before", "input_feeding", "deep", "every_layer"])
@pytest.mark.parametrize("kind", ["dot", "general", "additive"])
def test_attention_trains_with_every_schedule(
    kind: str, place: str, schedule: dict[str, Any], per: str, tmp_path: Path
) -> None:
    decoder = {**TINY, "attention": {"kind": kind, "place": place}}
    trainer = tiny_trainer(
        tmp_path,
        epochs=None,
        max_steps=2,
        batch_size=4,
        data={"limit": 8},
        teacher_forcing={**schedule, "per": per},
        model={"encoder": TINY, "decoder": decoder, "dropout": 0.1},
    )
    assert min(take_steps_that_move_all(trainer, 2)) < 0.5


@pytest.mark.parametrize("schedule", FORCING, ids=lambda schedule: schedule["kind"])
@pytest.mark.parametrize("place", ["none", "before", "input_feeding", "deep", "every_layer"])
@pytest.mark.parametrize("tied", ["target", "all"])
def test_all_parts_train_together(
    place: str, schedule: dict[str, Any], tied: str, tmp_path: Path
) -> None:
    attention = {"kind": "none"} if place == "none" else {"kind": "additive", "place": place}
    sizes = {"embedding_dim": 5, "num_layers": 2, "residual": True}
    trainer = tiny_trainer(
        tmp_path,
        epochs=None,
        max_steps=2,
        batch_size=4,
        data={"limit": 8, "vocabulary": {"shared": True}},
        teacher_forcing={**schedule, "per": "token"},
        averaging={"kind": "ema"},
        loss_per="sentence",
        model={
            "encoder": {**sizes, "hidden_size": 4, "bidirectional": True},
            "decoder": {**sizes, "hidden_size": 6, "attention": attention},
            "dropout": dict.fromkeys(["embedding", "hidden", "output", "word"], 0.1)
            | {"variational": True},
            "layer_norm": True,
            "tied_embeddings": tied,
        },
    )
    take_steps_that_move_all(trainer, 2)


def take_steps_that_move_all(trainer: Trainer, count: int) -> list[float]:
    """Steps with a finite loss and gradient that reach every parameter; returns their
    teacher-forcing ratios."""
    ratios = []
    for number, indices in enumerate(trainer.epoch_batches(1)[:count]):
        before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        result = trainer.train_step(trainer.train_batch(indices, 1, number))
        assert math.isfinite(result.loss_sum.item())
        assert 0.0 < result.gradient_norm.item() < math.inf
        for name, parameter in trainer.model.named_parameters():
            assert parameter.isfinite().all(), name
            assert not torch.equal(parameter, before[name]), name
        ratios.append(result.teacher_forcing_ratio)
    return ratios


@pytest.mark.parametrize("place", ["none", "before", "input_feeding", "deep", "every_layer"])
@pytest.mark.parametrize("per", ["step", "token"])
def test_a_dry_run_takes_steps_from_the_middle_of_the_plan(
    place: str, per: str, tmp_path: Path
) -> None:
    attention = {"kind": "none"} if place == "none" else {"kind": "general", "place": place}
    trainer = tiny_trainer(
        tmp_path,
        epochs=2.5,
        batch_size=4,
        data={"limit": 10},
        teacher_forcing={"kind": "linear", "end": 0.0, "per": per},
        averaging={"kind": "ema"},
        model={"encoder": TINY, "decoder": {**TINY, "attention": attention}},
    )
    ratios = []
    take_step = trainer.train_step

    def watch(batch: Any) -> Any:
        result = take_step(batch)
        assert math.isfinite(result.loss_sum.item())
        ratios.append(result.teacher_forcing_ratio)
        return result

    trainer.train_step = watch  # type: ignore[assignment, method-assign]
    result = dry_run(trainer)

    assert result.steps == 8  # two and a half times three batches
    assert ratios == pytest.approx([1 - step / 7 for step in (4, 5, 6, 7)])
    assert 0.0 < result.target_tokens_per_second < math.inf
    assert 0.0 < result.estimated_seconds < math.inf
    assert sum(result.parts.values()) == result.parameters
    assert ("attention" in result.parts) is (place != "none")
