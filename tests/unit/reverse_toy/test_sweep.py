"""Which models a sweep trains, on what, and what it makes of them; none is really trained."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from tqdm import tqdm

from seq2seq_cli.config.model import AdditiveAttention, GeneralAttention
from seq2seq_cli.config.reverse_toy import (
    MAX_LENGTH,
    Lengths,
    NumbersConfig,
    ReverseToyConfig,
    SymbolsConfig,
)
from seq2seq_cli.errors import DeviceError, UsageError
from seq2seq_cli.model.scoring import Losses
from seq2seq_cli.reverse_toy import sweep as sweep_module
from seq2seq_cli.reverse_toy.sequences import Digits, Sequences
from seq2seq_cli.reverse_toy.sweep import HIDDEN_SIZES, run_sweep
from seq2seq_cli.reverse_toy.task import Progress


class FakeTask:
    """Holds sequences up to a fourth of its cells, and with attention any that begin with 0."""

    unit = "apples"

    def __init__(self, config: ReverseToyConfig) -> None:
        self.config = config
        self.is_trained = False

    def handover(self, sequence: Sequence[int]) -> dict[str, tuple[int, ...]]:
        raise NotImplementedError

    def train(self, on_progress: Callable[[Progress], None]) -> None:
        for step in (self.config.steps // 3, self.config.steps):
            on_progress(Progress(step, Losses(1.0, 1.0)))
        self.is_trained = True

    def losses(self, blocks: Mapping[int, Digits]) -> Losses:
        return Losses(1 / self.config.hidden_size, 2 / self.config.hidden_size)

    def outputs(self, rows: Digits | Sequence[Sequence[int]]) -> list[list[Any]]:
        assert self.is_trained
        return [self.output([int(digit) for digit in row]) for row in rows]

    def output(self, row: list[int]) -> list[int]:
        is_short = len(row) <= self.config.hidden_size / 4
        attends = isinstance(self.config, SymbolsConfig) and self.config.attention.kind != "none"
        is_right = row[0] == 0 if attends else is_short
        return row[::-1] if is_right else []

    def answer(self, output: Sequence[Any]) -> list[Any]:
        return list(output)


Made = list[tuple[ReverseToyConfig, Sequences, torch.device]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """What each model was made of."""
    models: Made = []

    def make(config: ReverseToyConfig, data: Sequences, device: torch.device) -> FakeTask:
        models.append((config, data, device))
        return FakeTask(config)

    monkeypatch.setattr(sweep_module, "make_task", make)
    return models


def variants(made: Made) -> list[tuple[int, str]]:
    """Hidden size and kind of attention of each model, in order."""
    return [
        (config.hidden_size, config.attention.kind if isinstance(config, SymbolsConfig) else "none")
        for config, _, _ in made
    ]


# ---------------------------------------------------------------- which models


def test_numbers_are_trained_with_each_hidden_size(made: Made) -> None:
    sweep = run_sweep(NumbersConfig(pairs=60))
    assert HIDDEN_SIZES == (4, 8, 16, 32, 64)
    assert variants(made) == [(size, "none") for size in HIDDEN_SIZES]
    assert [(model.hidden_size, model.attention) for model in sweep.models] == variants(made)


@pytest.mark.parametrize("kind", ["none", "dot", "general", "additive", None])
def test_symbols_are_trained_without_and_with_attention(made: Made, kind: str | None) -> None:
    given = {"attention": kind} if kind else {}
    sweep = run_sweep(SymbolsConfig.model_validate({"pairs": 60, **given}))
    chosen = "general" if kind in (None, "none") else kind
    assert variants(made) == [(size, kind) for kind in ("none", chosen) for size in HIDDEN_SIZES]
    assert [(model.hidden_size, model.attention) for model in sweep.models] == variants(made)
    names = [model.name for model in sweep.models]
    assert names == ["4", "8", "16", "32", "64", "4+", "8+", "16+", "32+", "64+"]


def test_attention_is_the_configs_own_to_the_last_key(made: Made) -> None:
    attention = {"kind": "additive", "place": "before"}
    run_sweep(SymbolsConfig.model_validate({"pairs": 60, "attention": attention}))
    attentions = {
        config.attention for config, _, _ in made[5:] if isinstance(config, SymbolsConfig)
    }
    assert attentions == {AdditiveAttention(place="before")}


def test_nothing_else_changes_from_one_model_to_the_next(made: Made) -> None:
    config = SymbolsConfig.model_validate(
        {
            "length": "1-2",
            "test_length": "1-3",
            "steps": 17,
            "digits": 7,
            "pairs": 50,
            "seed": 3,
            "num_layers": 2,
            "bidirectional": True,
            "reverse_source": True,
            "teacher_forcing": 0.5,
            "device": "cpu",
        }
    )
    run_sweep(config)
    for found, data, device in made:
        same = {"hidden_size": config.hidden_size, "attention": GeneralAttention()}
        assert found.model_copy(update=same) == config.model_copy(update=same)
        assert data is made[0][1]
        assert device == torch.device("cpu")


# ---------------------------------------------------------------- which lengths


@pytest.mark.parametrize(
    ("values", "trained", "tested"),
    [
        ({"task": "numbers"}, (1, 6), (1, 12)),
        ({"task": "symbols"}, (2, 10), (2, 20)),
        ({"task": "numbers", "length": 3}, (3, 3), (3, 6)),
        ({"task": "symbols", "length": "2-10"}, (2, 10), (2, 20)),
        ({"task": "symbols", "length": "1-4"}, (1, 4), (1, 8)),
        ({"task": "numbers", "length": "59-60"}, (59, 60), (59, MAX_LENGTH)),
        ({"task": "numbers", "test_length": 7}, (1, 6), (7, 7)),
        ({"task": "symbols", "length": "2-3", "test_length": "1-4"}, (2, 3), (1, 4)),
    ],
)
def test_lengths_are_tested_to_twice_the_longest(
    made: Made, values: dict[str, Any], trained: tuple[int, int], tested: tuple[int, int]
) -> None:
    schema = NumbersConfig if values["task"] == "numbers" else SymbolsConfig
    sweep = run_sweep(schema.model_validate({**values, "pairs": 60}))

    assert (sweep.config.length, sweep.config.test_length) == (trained, tested)
    trained_lengths = list(range(trained[0], trained[1] + 1))
    tested_lengths = list(range(tested[0], tested[1] + 1))
    for config, data, _ in made:
        assert list(data.train) == trained_lengths
        assert list(data.test) == tested_lengths
        assert (config.length, config.test_length) == (trained, tested)
    for model in sweep.models:
        assert list(model.scores.by_length()) == tested_lengths


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "config",
    [NumbersConfig(hidden_size=8), NumbersConfig(hidden_size=16), SymbolsConfig(hidden_size=96)],
)
def test_a_hidden_size_is_refused(made: Made, config: ReverseToyConfig) -> None:
    with pytest.raises(UsageError, match=r"hidden_size has no effect .* 4, 8, 16, 32, 64"):
        run_sweep(config)
    assert made == []


def test_a_device_that_is_not_there_is_refused(made: Made) -> None:
    with pytest.raises(DeviceError, match="cuda:99"):
        run_sweep(NumbersConfig(device="cuda:99"))
    assert made == []


# ---------------------------------------------------------------- what comes out


@pytest.mark.usefixtures("made")
def test_the_table_has_a_row_for_each_length() -> None:
    config = SymbolsConfig(length=Lengths(2, 3), digits=2, pairs=60, test_length=Lengths(1, 5))
    sweep = run_sweep(config)
    title, header, *rows = [re.split(r"  +", line) for line in sweep.as_table().split("\n")]

    assert title == ["exact answers in % by length and hidden size (+: with general attention)"]
    assert header == ["length", "4", "8", "16", "32", "64", "4+", "8+", "16+", "32+", "64+"]
    assert [row[0] for row in rows] == [
        "1, not trained on",
        "2",
        "3",
        "4, not trained on",
        "5, not trained on",
    ]
    for length, row in enumerate(rows, start=1):
        assert row[1:6] == ["100" if length <= size / 4 else "0" for size in HIDDEN_SIZES]
        shares = {f"{100 * model.scores.by_length()[length][1]:.0f}" for model in sweep.models[5:]}
        assert {*row[6:]} == shares
    assert rows[0][6:] == ["50"] * 5  # 0 and 1, and the former is right


@pytest.mark.usefixtures("made")
def test_json_has_each_model() -> None:
    sweep = run_sweep(SymbolsConfig(length=Lengths(1, 2), pairs=60))
    found = json.loads(json.dumps(sweep.as_json(), allow_nan=False))

    assert list(found) == ["task", "trained_lengths", "models", "seconds"]
    assert (found["task"], found["trained_lengths"]) == ("symbols", [1, 2])
    assert len(found["models"]) == 10
    for entry, model in zip(found["models"], sweep.models, strict=True):
        assert list(entry) == [
            *("hidden_size", "attention", "exact_match", "teacher_forced_loss"),
            *("free_running_loss", "by_length", "seconds"),
        ]
        assert (entry["hidden_size"], entry["attention"]) == (model.hidden_size, model.attention)
        assert entry["teacher_forced_loss"] == 1 / model.hidden_size
        assert entry["free_running_loss"] == 2 / model.hidden_size
        assert entry["exact_match"] == model.scores.exact_match
        assert [each["length"] for each in entry["by_length"]] == [1, 2, 3, 4]
        assert entry["seconds"] >= 0.0
    assert found["seconds"] >= sum(entry["seconds"] for entry in found["models"])


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("config", [NumbersConfig(steps=30), SymbolsConfig(steps=30, pairs=60)])
def test_the_bar_moves_over_all_steps_of_all_models(
    config: ReverseToyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands: list[float] = []
    totals: list[int] = []

    class Bar(tqdm):  # type: ignore[type-arg]
        def update(self, count: float | None = 1) -> bool | None:
            moved = super().update(count)
            stands.append(self.n)
            return moved

    def bar(total: int, unit: str, description: str) -> Bar:
        totals.append(total)
        return Bar(total=total, unit=unit, desc=description, file=io.StringIO())

    monkeypatch.setattr(sweep_module, "progress_bar", bar)
    sweep = run_sweep(config)

    assert totals == [30 * len(sweep.models)]
    # Each model tells of its training at a third of it and at its end.
    expected = [30 * number + step for number in range(len(sweep.models)) for step in (10, 30)]
    assert stands == expected
