"""Means of the weights: against plain loops, around errors, in files, and over a resume."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from seq2seq_cli.config.training import EmaAveraging, LastAveraging, NoAveraging
from seq2seq_cli.data.batching import ordered_batches, pairs_batch
from seq2seq_cli.errors import ConfigError, RunDirectoryError
from seq2seq_cli.model.model_file import TranslatorFile, load_translator
from seq2seq_cli.model.scoring import corpus_losses
from seq2seq_cli.training.averaging import WeightAverage
from seq2seq_cli.training.checkpoint import load_checkpoint
from seq2seq_cli.training.loop import train
from seq2seq_cli.training.metrics_log import Event, read_metrics
from seq2seq_cli.training.runs import new_trainer, resumed_trainer
from seq2seq_cli.training.stopping import StopRequest
from seq2seq_cli.training.trainer import Trainer
from tests.unit.training.support import (
    CPU,
    Scores,
    assert_same_weights,
    run,
    run_until,
    sum_up,
    tiny_config,
    tiny_trainer,
    weights,
    write_corpus,
)

SIZES = {"embedding_dim": 4, "hidden_size": 6, "num_layers": 1}
NONE: dict[str, Any] = {"kind": "none"}
EMA: dict[str, Any] = {"kind": "ema", "decay": 0.7}
LAST: dict[str, Any] = {"kind": "last", "checkpoints": 3}


def options(averaging: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Two epochs of six steps each, a validation every other step."""
    return {
        "averaging": averaging,
        "batch_size": 4,
        "save_every": 3,
        "optimizer": {"learning_rate": 0.02},
        "data": {"limit": 24},
        "model": {"encoder": SIZES, "decoder": SIZES, "dropout": 0.1},
        "validation": {"every": 2, "metric": "bleu"},
        **more,
    }


def steps(trainer: Trainer, count: int) -> list[dict[str, Tensor]]:
    """Take steps; returns the weights after each."""
    taken = []
    for number, indices in enumerate(trainer.epoch_batches(1)[:count]):
        trainer.train_step(trainer.train_batch(indices, 1, number))
        taken.append(weights(trainer))
    return taken


def mean_weights(average: WeightAverage, trainer: Trainer) -> dict[str, Tensor]:
    with average.applied():
        return weights(trainer)


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor.double(), expected[name].double(), msg=name)


# ---------------------------------------------------------------- the means


@pytest.mark.parametrize("decay", [0.05, 0.5, 0.999])
def test_ema_is_what_a_plain_loop_gives(decay: float, tmp_path: Path) -> None:
    """The decay warms up: (1 + t) / (10 + t) is 2/11 after the first step, .5 after the eighth."""
    trainer = tiny_trainer(
        tmp_path, **options({"kind": "ema", "decay": decay}, batch_size=2, data={"limit": 24})
    )
    expected = {name: tensor.double() for name, tensor in weights(trainer).items()}
    assert_same_weights(mean_weights(trainer.average, trainer), weights(trainer))
    for step, after in enumerate(steps(trainer, 12), 1):
        share = min(decay, (1 + step) / (10 + step))
        for name, weight in after.items():
            expected[name] = share * expected[name] + (1 - share) * weight.double()
    assert_close(mean_weights(trainer.average, trainer), expected)


def test_the_first_weights_are_soon_forgotten(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, **options({"kind": "ema", "decay": 0.999}))
    before = weights(trainer)
    (after,) = steps(trainer, 1)
    expected = {name: 2 / 11 * before[name] + 9 / 11 * after[name] for name in before}
    assert_close(mean_weights(trainer.average, trainer), expected)


@pytest.mark.parametrize("kept", [2, 3, 100])
def test_last_is_the_mean_of_the_weights_at_the_last_validations(kept: int, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, **options({"kind": "last", "checkpoints": kept}))
    raw: dict[int, dict[str, Tensor]] = {}
    take_step = trainer.train_step

    def remember(batch: Any) -> Any:
        result = take_step(batch)
        raw[trainer.state.step] = weights(trainer)
        return result

    class Compare(Scores):
        def __call__(self, translator: TranslatorFile, event: Event) -> dict[str, float]:
            looked_at = range(2, event["step"] + 1, 2)[-kept:]
            expected = {
                name: torch.stack([raw[step][name].double() for step in looked_at]).mean(dim=0)
                for name in raw[2]
            }
            assert_close(dict(translator.model.state_dict()), expected)
            return super().__call__(translator, event)

    trainer.train_step = remember  # type: ignore[assignment, method-assign]
    scores = Compare()
    run(trainer, tmp_path, scores)
    assert scores.steps == [2, 4, 6, 8, 10, 12]


def test_last_is_the_weights_themselves_before_and_at_the_first_validation(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, **options(LAST))
    steps(trainer, 2)
    assert trainer.average.tensors() == {}
    assert_same_weights(mean_weights(trainer.average, trainer), weights(trainer))
    trainer.average.before_validation()
    assert_same_weights(mean_weights(trainer.average, trainer), weights(trainer))


def test_without_averaging_the_weights_are_looked_at_as_they_are(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, **options(NONE))
    steps(trainer, 2)
    trainer.average.before_validation()
    assert_same_weights(mean_weights(trainer.average, trainer), weights(trainer))
    assert trainer.average.tensors() == {}


@pytest.mark.parametrize("averaging", [EMA, LAST])
def test_training_itself_takes_no_notice(averaging: dict[str, Any], tmp_path: Path) -> None:
    plain, averaged = (tiny_trainer(tmp_path, **options(kind)) for kind in (NONE, averaging))
    for trainer in (plain, averaged):
        run(trainer, tmp_path)
    assert_same_weights(weights(plain), weights(averaged))


# ---------------------------------------------------------------- applied


@pytest.mark.parametrize("averaging", [EmaAveraging(decay=0.5), LastAveraging(), NoAveraging()])
@pytest.mark.parametrize("fails", [False, True])
def test_the_weights_come_back_exactly(
    averaging: EmaAveraging | LastAveraging | NoAveraging, fails: bool, tmp_path: Path
) -> None:
    trainer = tiny_trainer(tmp_path, **options(NONE))
    average = WeightAverage(averaging, trainer.model)
    for step in (1, 2):
        steps(trainer, 1)
        average.after_step(step)
        average.before_validation()
    before = weights(trainer)
    kept = {name: tensor.clone() for name, tensor in average.tensors().items()}
    pointers = [parameter.data_ptr() for parameter in trainer.model.parameters()]

    def look() -> None:
        with average.applied():
            is_mean = not isinstance(averaging, NoAveraging)
            for name, parameter in trainer.model.named_parameters():
                assert torch.equal(parameter, before[name]) is not is_mean
            if fails:
                raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            look()
    else:
        look()

    assert_same_weights(weights(trainer), before)
    assert [parameter.data_ptr() for parameter in trainer.model.parameters()] == pointers
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())
    assert_same_weights(average.tensors(), kept)


def test_a_validation_that_fails_leaves_the_weights_as_they_were(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, **options(EMA))
    seen: list[dict[str, Tensor]] = []
    take_step = trainer.train_step

    def remember(batch: Any) -> Any:
        result = take_step(batch)
        seen.append(weights(trainer))
        return result

    class Fail(Scores):
        def __call__(self, translator: TranslatorFile, event: Event) -> dict[str, float]:
            raise OSError("disk full")

    trainer.train_step = remember  # type: ignore[assignment, method-assign]
    with pytest.raises(OSError, match="disk full"):
        run(trainer, tmp_path, Fail())
    assert_same_weights(weights(trainer), seen[-1])


# ---------------------------------------------------------------- what is measured and kept


@pytest.mark.parametrize("averaging", [EMA, LAST])
@pytest.mark.parametrize("tied", ["none", "target", "all"])
def test_the_mean_is_measured_and_kept_and_the_weights_go_on(
    averaging: dict[str, Any], tied: str, tmp_path: Path
) -> None:
    model = {"encoder": SIZES, "decoder": SIZES, "tied_embeddings": tied}
    data = {"limit": 24, "vocabulary": {"shared": tied == "all"}}
    trainer = tiny_trainer(tmp_path, **options(averaging, model=model, data=data))
    seen: list[dict[str, Tensor]] = []

    class Remember(Scores):
        def __call__(self, translator: TranslatorFile, event: Event) -> dict[str, float]:
            seen.append({name: w.clone() for name, w in translator.model.state_dict().items()})
            pairs = trainer.data.valid.pairs
            batches = [
                pairs_batch(pairs, indices, reverse_source=False)
                for indices in ordered_batches(pairs, 4, "sentences")
            ]
            losses = corpus_losses(translator.model, batches, CPU)
            assert (event["loss"], event["free_running_loss"]) == losses
            return super().__call__(translator, event)

    run_dir = run(trainer, tmp_path, Remember(1.0, 2.0, 5.0, 4.0, 3.0))  # the best at step 6

    best = load_translator(run_dir / "best.safetensors", CPU).model.state_dict()
    assert_same_weights(dict(best), seen[2])
    last = load_translator(run_dir / "last" / "model.safetensors", CPU).model.state_dict()
    assert_same_weights(dict(last), weights(trainer))
    assert not torch.equal(seen[-1]["decoder.embedding.weight"], last["decoder.embedding.weight"])
    assert_same_weights(mean_weights(trainer.average, trainer), seen[-1])


# ---------------------------------------------------------------- going on


@pytest.mark.parametrize(
    ("averaging", "tied", "stop_at"),
    [
        *((averaging, "none", stop_at) for averaging in (EMA, LAST) for stop_at in (1, 4, 7)),
        *((averaging, "all", 5) for averaging in (EMA, LAST, NONE)),
    ],
    ids=lambda it: it["kind"] if isinstance(it, dict) else str(it),
)
def test_resumed_equals_never_stopped(
    averaging: dict[str, Any], tied: str, stop_at: int, tmp_path: Path
) -> None:
    settings = options(
        averaging,
        model={"encoder": SIZES, "decoder": SIZES, "tied_embeddings": tied},
        data={"limit": 24, "vocabulary": {"shared": tied == "all"}},
        validation={"every": 2, "metric": "loss"},
    )
    straight = tiny_trainer(tmp_path, **settings)
    run_dir = run(straight, tmp_path)
    expected = run_dir.rename(tmp_path / "straight")

    run_dir = run_until(tiny_trainer(tmp_path, **settings), tmp_path, stop_at)
    looked = averaging["kind"] == "ema" or (averaging["kind"] == "last" and stop_at > 2)
    assert (run_dir / "last" / "averages.safetensors").exists() is looked
    resumed = resumed_trainer(run_dir, tiny_config(tmp_path, **settings), CPU, torch.float32)
    train(resumed, run_dir, Scores(), StopRequest())

    assert_same_weights(weights(straight), weights(resumed))
    assert_same_weights(straight.average.tensors(), resumed.average.tensors())
    is_on = averaging["kind"] != "none"
    names = ["model.safetensors", "optimizer.safetensors", *["averages.safetensors"] * is_on]
    assert sorted(path.name for path in (run_dir / "last").iterdir()) == sorted(
        ["SHA256SUMS", *names, "state.json"]
    )
    for file in ["best.safetensors", *(f"last/{name}" for name in names)]:
        assert (run_dir / file).read_bytes() == (expected / file).read_bytes(), file
    for one, other in zip(
        *(read_metrics(folder / "metrics.jsonl") for folder in (run_dir, expected)), strict=True
    ):
        assert one.get("loss") == other.get("loss")


def test_fewer_checkpoints_from_now_on_are_the_latest(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    run_dir = run(tiny_trainer(tmp_path, **options(LAST)), tmp_path)
    saved = load_checkpoint(run_dir, CPU).averages
    settings = options({"kind": "last", "checkpoints": 2}, epochs=3)
    fewer = resumed_trainer(run_dir, tiny_config(tmp_path, **settings), CPU, torch.float32)
    latest = {
        f"{int(index) - 1}.{name}": tensor
        for key, tensor in saved.items()
        for index, _, name in [key.partition(".")]
        if index != "0"
    }
    assert_same_weights(fewer.average.tensors(), latest)


def test_a_decay_may_change_on_the_way(tmp_path: Path) -> None:
    run_dir = run(tiny_trainer(tmp_path, **options(EMA)), tmp_path)
    settings = options({"kind": "ema", "decay": 0.1})
    trainer = resumed_trainer(run_dir, tiny_config(tmp_path, **settings), CPU, torch.float32)
    before = mean_weights(trainer.average, trainer)
    (after,) = steps(trainer, 1)
    expected = {name: 0.1 * before[name] + 0.9 * after[name] for name in before}
    assert_close(mean_weights(trainer.average, trainer), expected)


@pytest.mark.parametrize(
    ("before", "after"),
    [(NONE, EMA), (EMA, NONE), (LAST, EMA), (EMA, LAST)],
)
def test_another_kind_on_the_way_is_refused(
    before: dict[str, Any], after: dict[str, Any], tmp_path: Path
) -> None:
    run_dir = run(tiny_trainer(tmp_path, **options(before)), tmp_path)
    config = tiny_config(tmp_path, **options(after))
    with pytest.raises(ConfigError) as caught:
        resumed_trainer(run_dir, config, CPU, torch.float32)
    assert str(caught.value) == (
        f"training.averaging.kind: cannot change from {before['kind']} to {after['kind']} "
        "on --resume"
    )


def _scrap(path: Path, tensors: dict[str, Tensor]) -> None:
    path.write_bytes(b"scrap")


def _cut_off(path: Path, tensors: dict[str, Tensor]) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _gone(path: Path, tensors: dict[str, Tensor]) -> None:
    path.unlink()


def _a_folder(path: Path, tensors: dict[str, Tensor]) -> None:
    path.unlink()
    path.mkdir()


def _one_lacks(path: Path, tensors: dict[str, Tensor]) -> None:
    tensors.popitem()
    safetensors.torch.save_file(tensors, path)


def _one_more(path: Path, tensors: dict[str, Tensor]) -> None:
    safetensors.torch.save_file({**tensors, "0.other": torch.zeros(3)}, path)


def _another_name(path: Path, tensors: dict[str, Tensor]) -> None:
    name, tensor = tensors.popitem()
    safetensors.torch.save_file({**tensors, f"{name}s": tensor}, path)


def _another_shape(path: Path, tensors: dict[str, Tensor]) -> None:
    """One that would be spread over the weight without a word."""
    name, tensor = tensors.popitem()
    safetensors.torch.save_file({**tensors, name: tensor[:1].contiguous()}, path)


def _of_another_model(path: Path, tensors: dict[str, Tensor]) -> None:
    others = {name: torch.zeros(*tensor.shape, 2) for name, tensor in tensors.items()}
    safetensors.torch.save_file(others, path)


FAULTS = [
    _scrap,
    _cut_off,
    _a_folder,
    _one_lacks,
    _one_more,
    _another_name,
    _another_shape,
    _of_another_model,
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a run of each kind in them."""
    folders = {}
    for averaging in (EMA, LAST, NONE):
        folder = tmp_path_factory.mktemp(averaging["kind"])
        run(tiny_trainer(folder, **options(averaging)), folder)
        folders[averaging["kind"]] = folder
    return folders


@pytest.mark.parametrize(
    ("averaging", "fault"),
    [*((EMA, fault) for fault in [*FAULTS, _gone]), *((LAST, fault) for fault in FAULTS)],
    ids=lambda it: it["kind"] if isinstance(it, dict) else it.__name__,
)
def test_averages_that_are_damaged_or_foreign_are_named(
    averaging: dict[str, Any], fault: Any, trained: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(trained[averaging["kind"]], tmp_path, dirs_exist_ok=True)
    last = tmp_path / "run" / "last"
    shutil.rmtree(tmp_path / "run" / "last.previous")
    fault(last / "averages.safetensors", safetensors.torch.load_file(last / "averages.safetensors"))

    config = tiny_config(trained[averaging["kind"]], **options(averaging))
    with pytest.raises(RunDirectoryError, match=r"last: the save is damaged: averages"):
        resumed_trainer(tmp_path / "run", config, CPU, torch.float32)
    if not (last / "averages.safetensors").is_dir():
        sum_up(last)
        with pytest.raises(RunDirectoryError, match=r"run.*: the save is damaged: "):
            resumed_trainer(tmp_path / "run", config, CPU, torch.float32)


def test_averages_that_nobody_asked_for_are_foreign(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(trained["none"], tmp_path, dirs_exist_ok=True)
    last = Path("run", "last", "averages.safetensors")
    shutil.copy(trained["ema"] / last, tmp_path / last)
    sum_up(tmp_path / last.parent)

    config = tiny_config(trained["none"], **options(NONE))
    with pytest.raises(RunDirectoryError, match="the save is damaged: they do not fit"):
        resumed_trainer(tmp_path / "run", config, CPU, torch.float32)


def test_a_new_trainer_begins_its_mean_where_the_weights_begin(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    trainer = new_trainer(tiny_config(tmp_path, **options(EMA)), CPU, torch.float32)
    tensors = trainer.average.tensors()
    assert {name for name, _ in trainer.model.named_parameters()} == {
        name.removeprefix("0.") for name in tensors
    }
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(tensors[f"0.{name}"], parameter)
        assert tensors[f"0.{name}"].data_ptr() != parameter.data_ptr()
