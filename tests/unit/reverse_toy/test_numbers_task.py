"""Two LSTMs over one number a step: against plain loops, and how they are trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from seq2seq_cli.config.reverse_toy import Lengths, NumbersConfig
from seq2seq_cli.config.training import (
    ConstantForcing,
    ExponentialForcing,
    InverseSigmoidForcing,
    LinearForcing,
    TeacherForcingConfig,
)
from seq2seq_cli.errors import TrainingError
from seq2seq_cli.model.scoring import Losses
from seq2seq_cli.reverse_toy.numbers_task import NumberReverser, NumbersTask
from seq2seq_cli.reverse_toy.sequences import Digits, draw_sequences
from seq2seq_cli.reverse_toy.task import Progress

CPU = torch.device("cpu")
HIDDEN = 6


def tiny_config(**changes: Any) -> NumbersConfig:
    given = {
        "hidden_size": HIDDEN,
        "length": Lengths(2, 3),
        "digits": 5,
        "pairs": 100,
        "batch_size": 8,
        "steps": 20,
    }
    return NumbersConfig.model_validate(given | changes)


def tiny_task(**changes: Any) -> NumbersTask:
    config = tiny_config(**changes)
    return NumbersTask(config, draw_sequences(config), CPU)


def trained(**changes: Any) -> NumbersTask:
    task = tiny_task(**changes)
    task.train(lambda progress: None)
    return task


def weights(task: NumbersTask) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in task.model.parameters()])


# ---------------------------------------------------------------- the plain loop


def plain_cell(
    lstm: nn.LSTM, number: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of one sequence, from the equations; number is a scalar."""
    own = dict(lstm.named_parameters())
    gates = number * own["weight_ih_l0"].squeeze(1) + own["bias_ih_l0"]
    gates = gates + own["weight_hh_l0"] @ hidden + own["bias_hh_l0"]
    opened, kept, new, shown = gates.chunk(4)
    cell = kept.sigmoid() * cell + opened.sigmoid() * new.tanh()
    return shown.sigmoid() * cell.tanh(), cell


@torch.no_grad()
def plain_row(
    model: NumberReverser, source: Sequence[float], target: Sequence[float], forced: Sequence[bool]
) -> list[float]:
    """What the decoder writes for one sequence; forced: of each step but the first."""
    hidden = cell = torch.zeros(model.encoder.hidden_size)
    for number in source:
        hidden, cell = plain_cell(model.encoder, torch.tensor(number), hidden, cell)
    fed: float = 0.0
    written: list[float] = []
    for step in range(len(target)):
        if step:
            fed = target[step - 1] if forced[step - 1] else written[-1]
        hidden, cell = plain_cell(model.decoder, torch.tensor(fed), hidden, cell)
        written.append(float(model.output(hidden)))
    return written


def plain(model: NumberReverser, source: Tensor, target: Tensor, forced: Tensor) -> Tensor:
    """As `NumberReverser.forward`, one sequence and one number at a time."""
    coins = forced.expand(len(source), -1).tolist()
    rows = zip(source.squeeze(2).tolist(), target.squeeze(2).tolist(), coins, strict=True)
    return torch.tensor([plain_row(model, *row) for row in rows]).unsqueeze(2)


def small_model() -> NumberReverser:
    """Its weights are large enough for the numbers fed to matter."""
    torch.manual_seed(1)
    model = NumberReverser(4)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -1.5, 1.5)
    return model


def small_batch(num_rows: int = 3, length: int = 4) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(2)
    source = torch.randint(10, (num_rows, length, 1), generator=random).float()
    return source, source.flip(1)


@torch.no_grad()
def test_any_mix_of_forced_and_free_steps_is_the_plain_loop() -> None:
    model = small_model()
    source, target = small_batch()
    seen = set()
    for coins in itertools.product([True, False], repeat=3):
        forced = torch.tensor([coins])
        predictions = model(source, target, forced)
        assert predictions.shape == target.shape
        torch.testing.assert_close(predictions, plain(model, source, target, forced))
        seen.add(round(float(predictions.sum()), 3))
    assert len(seen) == 8  # else what is fed never mattered


@torch.no_grad()
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
def test_each_sequence_has_its_own_coins(ratio: float) -> None:
    model = small_model()
    source, target = small_batch(num_rows=6)
    forced = torch.rand(6, 3, generator=torch.Generator().manual_seed(3)) < ratio
    assert len(set(map(tuple, forced.tolist()))) > 1
    predictions = model(source, target, forced)
    torch.testing.assert_close(predictions, plain(model, source, target, forced))


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 5])
def test_one_call_over_the_whole_target_is_all_steps_forced(length: int) -> None:
    model = small_model()
    source, target = small_batch(length=length)
    always = torch.ones(1, length - 1, dtype=torch.bool)
    whole = model(source, target)
    torch.testing.assert_close(whole, model(source, target, always))
    torch.testing.assert_close(whole, plain(model, source, target, always))


@torch.no_grad()
def test_the_target_is_shifted_right_behind_a_zero() -> None:
    model = small_model()
    source, target = small_batch()
    fed: list[Tensor] = []
    hook = model.decoder.register_forward_pre_hook(lambda _, args: fed.append(args[0]))
    model(source, target)
    hook.remove()
    torch.testing.assert_close(fed[0][:, 0], torch.zeros(3, 1))
    torch.testing.assert_close(fed[0][:, 1:], target[:, :-1])


@torch.no_grad()
@pytest.mark.parametrize("place", range(4))
def test_a_true_number_is_known_at_the_step_after_it_and_not_before(place: int) -> None:
    model = small_model()
    source, target = small_batch()
    changed = target.clone()
    changed[:, place] += 1.0
    is_same = model(source, target).isclose(model(source, changed)).squeeze(2).all(dim=0)
    assert is_same.tolist() == [True] * (place + 1) + [False] * (3 - place)


@torch.no_grad()
def test_free_running_never_reads_the_target() -> None:
    model = small_model()
    source, target = small_batch()
    never = torch.zeros(1, 3, dtype=torch.bool)
    expected = plain(model, source, target, never)
    torch.testing.assert_close(model(source, torch.full_like(target, torch.nan), never), expected)


@torch.no_grad()
def test_the_decoder_begins_where_the_encoder_ended() -> None:
    model = small_model()
    source, target = small_batch()
    state = model.encode(source)
    assert state.hidden.shape == state.cell.shape == (1, 3, 4)
    output, _ = model.decoder(torch.zeros(3, 1, 1), state)
    torch.testing.assert_close(model(source, target)[:, :1], model.output(output))


# ---------------------------------------------------------------- what it says


def test_losses_are_means_over_all_numbers_of_all_lengths() -> None:
    task = tiny_task(length=Lengths(1, 4))
    blocks = {
        length: np.arange(count * length, dtype=np.int16).reshape(count, length) % 5
        for length, count in [(1, 7), (2, 1), (4, 5)]
    }
    errors: dict[bool, list[float]] = {True: [], False: []}
    for rows in blocks.values():
        for row in rows.tolist():
            for is_forced, found in errors.items():
                written = plain_row(task.model, row, row[::-1], [is_forced] * len(row))
                pairs = zip(written, row[::-1], strict=True)
                found += [(number - wanted) ** 2 for number, wanted in pairs]
    assert len(errors[True]) == 7 + 2 + 20
    losses = task.losses(blocks)
    assert losses.loss == pytest.approx(np.mean(errors[True]), rel=1e-5)
    assert losses.free_running_loss == pytest.approx(np.mean(errors[False]), rel=1e-5)
    assert losses.loss != losses.free_running_loss


def test_losses_do_not_depend_on_how_rows_are_put_together() -> None:
    task = tiny_task()
    rows = task.data.held_out[3]
    twice = np.concatenate([rows, rows])
    assert task.losses({3: twice}) == pytest.approx(task.losses({3: rows}))


def test_outputs_are_the_numbers_it_writes_fed_its_own() -> None:
    task = trained(steps=3)
    rows = [[4, 0, 1, 2], [0, 0, 3, 1]]
    outputs = task.outputs(rows)
    for row, output in zip(rows, outputs, strict=True):
        assert output == pytest.approx(plain_row(task.model, row, row, [False] * 4), rel=1e-4)
        assert all(type(number) is float for number in output)
    assert task.outputs(np.array(rows)) == outputs
    assert task.outputs(rows[1:]) == [pytest.approx(outputs[1])]


@pytest.mark.parametrize("length", [1, 2, 9])
def test_it_writes_as_many_numbers_as_it_read(length: int) -> None:
    task = tiny_task()
    assert [len(output) for output in task.outputs([range(length)] * 2)] == [length] * 2


@cache
def some_task() -> NumbersTask:
    return tiny_task()


@settings(derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(-5, 1000), st.floats(-0.49, 0.49))))
def test_an_answer_is_the_nearest_whole_numbers(parts: list[tuple[int, float]]) -> None:
    answer = some_task().answer([whole + rest for whole, rest in parts])
    assert answer == [whole for whole, _ in parts]
    assert all(type(number) is int for number in answer)


@pytest.mark.parametrize("hidden_size", [1, 6])
@pytest.mark.parametrize("length", [1, 3, 8])
def test_the_handover_is_one_state_however_long_the_source(hidden_size: int, length: int) -> None:
    handed = tiny_task(hidden_size=hidden_size).handover([1] * length)
    assert handed == {"hidden": (1, 1, hidden_size), "cell": (1, 1, hidden_size)}


# ---------------------------------------------------------------- training


class Step(NamedTuple):
    """What one training step was given, and what it came to."""

    source: Tensor
    target: Tensor
    forced: Tensor | None
    learning_rate: float
    gradient_norm: float


@contextmanager
def watched(task: NumbersTask) -> Iterator[list[Step]]:
    """Inside the block, every training step of the task is noted."""
    steps: list[Step] = []
    fed: list[Any] = []

    def note_fed(_: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled():
            fed[:] = args

    def note_step(optimizer: torch.optim.Optimizer, *_: object) -> None:
        gradients = [parameter.grad for parameter in task.model.parameters()]
        norm = math.sqrt(sum(float(grad.square().sum()) for grad in gradients if grad is not None))
        assert len(gradients) == len(optimizer.param_groups[0]["params"])
        source, target, forced = fed
        steps.append(Step(source, target, forced, optimizer.param_groups[0]["lr"], norm))

    hooks = [
        task.model.register_forward_pre_hook(note_fed),
        register_optimizer_step_pre_hook(note_step),
    ]
    try:
        yield steps
    finally:
        for hook in hooks:
            hook.remove()


def steps_of(**changes: Any) -> list[Step]:
    task = tiny_task(**changes)
    with watched(task) as steps:
        task.train(lambda progress: None)
    assert len(steps) == task.config.steps
    return steps


def test_training_lowers_both_errors() -> None:
    task = tiny_task(steps=150, learning_rate=0.03)
    before = task.losses(task.data.held_out)
    reports: list[Progress] = []
    task.train(reports.append)
    after = task.losses(task.data.held_out)
    assert after.loss < 0.5 * before.loss
    assert after.free_running_loss < 0.5 * before.free_running_loss
    assert reports[-1].losses == after
    assert reports[0].losses.loss > after.loss


def test_the_seed_decides_everything() -> None:
    torch.manual_seed(1)
    one = trained()
    torch.manual_seed(2)
    again = trained()
    assert torch.equal(weights(one), weights(again))
    assert one.losses(one.data.held_out) == again.losses(again.data.held_out)


def test_another_seed_has_other_weights_and_batches_and_coins() -> None:
    changes: dict[str, Any] = {
        "length": Lengths(3, 3),
        "teacher_forcing": {"ratio": 0.5, "per": "token"},
    }
    data = draw_sequences(tiny_config(**changes))
    tasks = [NumbersTask(tiny_config(seed=seed, **changes), data, CPU) for seed in (1, 2)]
    assert not torch.equal(*map(weights, tasks))
    seen = []
    for task in tasks:
        with watched(task) as steps:
            task.train(lambda progress: None)
        seen.append(steps)
    for one, other in zip(*seen, strict=True):
        assert one.forced is not None
        assert other.forced is not None
        assert not torch.equal(one.forced, other.forced)
        assert not torch.equal(one.source, other.source)


def test_a_batch_is_of_training_sequences_of_one_length_and_wants_them_reversed() -> None:
    task = tiny_task(steps=60, length=Lengths(2, 4))
    known = {length: set(map(tuple, rows.tolist())) for length, rows in task.data.train.items()}
    with watched(task) as steps:
        task.train(lambda progress: None)
    seen: dict[int, set[tuple[int, ...]]] = {2: set(), 3: set(), 4: set()}
    for step in steps:
        assert len(step.source) == 8
        torch.testing.assert_close(step.target, step.source.flip(1))
        seen[step.source.size(1)] |= {tuple(map(int, row)) for row in step.source.squeeze(2)}
    for length, rows in seen.items():
        assert rows <= known[length]
        assert len(rows) > 0.8 * len(known[length])  # and not the first ones again and again


@pytest.mark.parametrize(
    ("given", "forcing"),
    [
        (0.0, ConstantForcing(ratio=0.0)),
        (0.3, ConstantForcing(ratio=0.3)),
        ({"kind": "linear", "start": 0.9, "end": 0.1}, LinearForcing(start=0.9, end=0.1)),
        ({"kind": "exponential", "k": 0.97}, ExponentialForcing(k=0.97)),
        ({"kind": "inverse_sigmoid", "k": 20}, InverseSigmoidForcing(k=20)),
    ],
)
@pytest.mark.parametrize("per", ["step", "token"])
def test_coins_fall_as_often_as_the_schedule_says(
    given: float | dict[str, Any], forcing: TeacherForcingConfig, per: str
) -> None:
    mapping = given if isinstance(given, dict) else {"ratio": given}
    rows = 40 if per == "token" else 1
    steps = steps_of(
        teacher_forcing={**mapping, "per": per},
        length=Lengths(5, 5),
        steps=60,
        batch_size=40,
        pairs=500,
        hidden_size=2,
    )
    for part in (range(30), range(30, 60)):  # at first, and later
        coins = [
            torch.ones(rows, 4, dtype=torch.bool) if forced is None else forced
            for forced in (steps[number].forced for number in part)
        ]
        assert {tuple(each.shape) for each in coins} == {(rows, 4)}
        drawn = float(torch.stack(coins).float().mean())
        wanted = float(np.mean([expected_ratio(forcing, number) for number in part]))
        assert drawn == pytest.approx(wanted, abs=0.02 if per == "token" else 0.08)


def expected_ratio(forcing: TeacherForcingConfig, step: int) -> float:
    """Of the 60 steps of the test above."""
    if isinstance(forcing, ConstantForcing):
        return forcing.ratio
    if isinstance(forcing, LinearForcing):
        return forcing.start + (forcing.end - forcing.start) * step / 59
    if isinstance(forcing, ExponentialForcing):
        return forcing.k**step
    return forcing.k / (forcing.k + math.exp(step / forcing.k))


def test_always_forced_is_one_call_and_never_forced_only_own_numbers() -> None:
    assert all(step.forced is None for step in steps_of(teacher_forcing=1))
    for step in steps_of(teacher_forcing=0):
        assert step.forced is not None
        assert not step.forced.any()


def test_what_the_decoder_is_fed_changes_what_it_learns() -> None:
    forced, free = trained(teacher_forcing=1.0), trained(teacher_forcing=0.0)
    assert not torch.equal(weights(forced), weights(free))


@pytest.mark.parametrize("teacher_forcing", [0.0, 0.5, {"ratio": 0.5, "per": "token"}])
def test_sequences_of_one_number_have_nothing_to_be_forced(teacher_forcing: object) -> None:
    for step in steps_of(teacher_forcing=teacher_forcing, length=Lengths(1, 1), steps=2):
        assert step.forced is not None
        assert step.forced.size(1) == 0


@pytest.mark.parametrize("steps", [1, 50, 130])
@pytest.mark.parametrize("learning_rate", [0.01, 0.002])
def test_the_learning_rate_rises_for_100_steps_and_falls_along_half_a_cosine(
    steps: int, learning_rate: float
) -> None:
    rates = [
        step.learning_rate
        for step in steps_of(steps=steps, learning_rate=learning_rate, hidden_size=2, batch_size=2)
    ]
    rising = [learning_rate * (step + 1) / 100 for step in range(100)]
    falling = [learning_rate * (1 + math.cos(math.pi * step / 29)) / 2 for step in range(30)]
    assert rates == pytest.approx([*rising, *falling][:steps], abs=1e-12)


def test_the_first_update_is_as_large_as_the_learning_rate() -> None:
    for learning_rate in (0.01, 0.5):
        task = tiny_task(steps=1, learning_rate=learning_rate)
        before = weights(task)
        task.train(lambda progress: None)
        moved = (weights(task) - before).abs()
        # Adam's, its mean being one gradient and its variance that one squared.
        assert float(moved.max()) == pytest.approx(learning_rate / 100, rel=1e-3)


@pytest.mark.parametrize("clip", [0.01, 0.5])
def test_gradients_are_clipped(clip: float) -> None:
    norms = [step.gradient_norm for step in steps_of(gradient_clip_norm=clip)]
    assert norms == pytest.approx([clip] * 20, rel=1e-3)  # they would all be larger


def test_gradients_are_not_clipped_where_they_need_not_be() -> None:
    norms = [step.gradient_norm for step in steps_of(gradient_clip_norm=None)]
    assert min(norms) > 0.6
    assert len(set(norms)) == len(norms)
    never = trained(gradient_clip_norm=None)
    assert torch.equal(weights(never), weights(trained(gradient_clip_norm=2 * max(norms))))
    assert not torch.equal(weights(never), weights(trained(gradient_clip_norm=min(norms))))


@pytest.mark.parametrize("teacher_forcing", [1.0, 0.5])
def test_training_is_the_plain_loop(teacher_forcing: float) -> None:
    clip = 5.2
    changes: dict[str, Any] = {"teacher_forcing": teacher_forcing, "gradient_clip_norm": clip}
    plain_task = tiny_task(**changes)
    model = plain_task.model
    task = tiny_task(**changes)
    with watched(task) as steps:
        task.train(lambda progress: None)

    means = [torch.zeros_like(parameter) for parameter in model.parameters()]
    squares = [torch.zeros_like(parameter) for parameter in model.parameters()]
    num_clipped = 0
    for number, step in enumerate(steps, start=1):
        error = model(step.source, step.target, step.forced) - step.target
        gradients = torch.autograd.grad(error.square().mean(), list(model.parameters()))
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        num_clipped += norm > clip
        with torch.no_grad():
            each = zip(model.parameters(), gradients, means, squares, strict=True)
            for parameter, gradient, mean, square in each:
                clipped = gradient * min(1.0, clip / norm)
                mean.mul_(0.9).add_(0.1 * clipped)
                square.mul_(0.999).add_(0.001 * clipped.square())
                scale = (square / (1 - 0.999**number)).sqrt() + 1e-8
                rate = 0.01 * number / 100
                parameter.sub_(rate * mean / (1 - 0.9**number) / scale)
    assert 0 < num_clipped < 20
    torch.testing.assert_close(weights(task), weights(plain_task), atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- reports


@pytest.mark.parametrize(
    ("steps", "reported"),
    [
        (1, [1]),
        (9, list(range(1, 10))),
        (10, list(range(1, 11))),
        (40, list(range(4, 41, 4))),
        (49, [*range(4, 49, 4), 49]),
    ],
)
def test_reports_come_at_equal_distances_and_at_the_end(steps: int, reported: list[int]) -> None:
    task = tiny_task(steps=steps, hidden_size=2, batch_size=2)
    reports: list[Progress] = []
    task.train(reports.append)
    assert [report.step for report in reports] == reported


def test_reports_are_of_the_weights_at_that_step_on_what_is_held_out() -> None:
    task = tiny_task()
    assert task.data.held_out.keys() == task.data.train.keys()

    def compare(progress: Progress) -> None:
        assert progress.losses == task.losses(task.data.held_out)
        assert progress.losses != task.losses(task.data.train)
        reports.append(progress)

    reports: list[Progress] = []
    task.train(compare)
    assert len({report.losses for report in reports}) == len(reports) == 10


def test_looking_at_it_changes_nothing() -> None:
    task = tiny_task()

    def look(progress: Progress) -> None:
        torch.manual_seed(progress.step)
        task.outputs([[1, 2, 3]])
        task.losses(task.data.train)

    task.train(look)
    assert torch.equal(weights(task), weights(trained()))


def test_a_training_that_diverges_is_stopped() -> None:
    task = tiny_task(learning_rate=1e30, gradient_clip_norm=None)
    reports: list[Progress] = []
    with watched(task) as steps, pytest.raises(TrainingError) as caught:
        task.train(reports.append)
    assert str(caught.value) == (
        "by step 2 training has diverged, its error is no number: lower learning_rate or set "
        "gradient_clip_norm"
    )
    assert caught.value.exit_code == 1
    assert reports == []
    assert len(steps) == 2


@pytest.mark.parametrize(
    "losses", [Losses(math.nan, 1.0), Losses(1.0, math.nan), Losses(1.0, math.inf)]
)
def test_either_error_being_no_number_stops_it(
    losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_task()
    found = [Losses(2.0, 3.0), losses]

    def next_losses(blocks: dict[int, Digits]) -> Losses:
        return found.pop(0)

    monkeypatch.setattr(task, "losses", next_losses)
    reports: list[Progress] = []
    with watched(task) as steps, pytest.raises(TrainingError, match="by step 4"):
        task.train(reports.append)
    assert reports == [Progress(2, Losses(2.0, 3.0))]
    assert len(steps) == 4
