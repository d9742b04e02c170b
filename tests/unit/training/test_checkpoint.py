"""Saves: whole, checked when read, and the one before them as well."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seq2seq_cli import files
from seq2seq_cli.errors import ConfigError, RunDirectoryError, SaveError
from seq2seq_cli.training import checkpoint, runs
from seq2seq_cli.training.checkpoint import load_checkpoint
from seq2seq_cli.training.loop import train
from seq2seq_cli.training.metrics_log import MetricsLog, read_metrics
from seq2seq_cli.training.state import FORMAT_VERSION, OtherFormatError, TrainingState
from seq2seq_cli.training.stopping import StopRequest
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
)

FILES = ("averages.safetensors", "model.safetensors", "optimizer.safetensors", "state.json")
SETTINGS: dict[str, Any] = {"save_every": 3, "epochs": 1, "averaging": {"kind": "ema"}}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and a run of 8 steps, its saves those of steps 8 and 6."""
    folder = tmp_path_factory.mktemp("kept")
    run(tiny_trainer(folder, **SETTINGS), folder)
    return folder


@pytest.fixture
def run_dir(kept: Path, tmp_path: Path) -> Path:
    """A copy of the run."""
    shutil.copytree(kept / "run", tmp_path / "run")
    return tmp_path / "run"


def step_of(run_dir: Path) -> int:
    return load_checkpoint(run_dir, CPU).state.step


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _remove(path: Path) -> None:
    path.unlink()


def _make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _take_the_one_before(path: Path) -> None:
    shutil.copy(path.parents[1] / "last.previous" / path.name, path)


DAMAGES = [_flip, _truncate, _empty, _remove, _make_a_folder, _take_the_one_before]


def test_a_save_is_that_of_its_step_and_the_one_before_stays(run_dir: Path) -> None:
    assert step_of(run_dir) == 8
    shutil.rmtree(run_dir / "last")
    assert step_of(run_dir) == 6


@pytest.mark.parametrize("name", [*FILES, "SHA256SUMS"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda it: it.__name__)
def test_a_damaged_save_gives_way_to_the_one_before(
    damage: Callable[[Path], None], name: str, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(run_dir / "last" / name)
    damaged = {path.name for path in (run_dir / "last").iterdir()}
    with caplog.at_level("WARNING", logger="seq2seq"):
        assert step_of(run_dir) == 6
    (line,) = caplog.messages
    assert f"{run_dir / 'last'}: the save is damaged: " in line
    assert "\n" not in line
    # It is out of the way of the next save, and nothing of it is thrown away.
    assert not (run_dir / "last").exists()
    assert {path.name for path in (run_dir / "last.damaged").iterdir()} == damaged
    assert step_of(run_dir) == 6


@pytest.mark.parametrize("damage", DAMAGES[:5], ids=lambda it: it.__name__)
def test_two_damaged_saves_are_an_error_that_changes_nothing(
    damage: Callable[[Path], None], run_dir: Path
) -> None:
    for folder in ("last", "last.previous"):
        damage(run_dir / folder / "model.safetensors")
    before = sorted(run_dir.rglob("*"))
    with pytest.raises(RunDirectoryError, match=r"last: .*last\.previous: .*no whole one is left"):
        step_of(run_dir)
    assert sorted(run_dir.rglob("*")) == before


def test_going_on_from_the_save_before_comes_to_the_same(
    run_dir: Path, kept: Path, tmp_path: Path
) -> None:
    _flip(run_dir / "last" / "optimizer.safetensors")
    config = tiny_config(kept, **SETTINGS)
    resumed = runs.resumed_trainer(run_dir, config, CPU, torch.float32)
    train(resumed, run_dir, Scores(), StopRequest())
    for name in ("last/model.safetensors", "best.safetensors"):
        assert (run_dir / name).read_bytes() == (kept / "run" / name).read_bytes()
    names = ["last", "last.damaged", "last.previous"]
    assert sorted(path.name for path in run_dir.glob("last*")) == names


def test_damaged_saves_never_take_each_others_place(run_dir: Path) -> None:
    (run_dir / "last.damaged").mkdir()
    (run_dir / "last.damaged" / "kept").touch()
    _flip(run_dir / "last" / "model.safetensors")
    assert step_of(run_dir) == 6
    assert (run_dir / "last.damaged" / "kept").exists()
    assert (run_dir / "last.damaged-2" / "model.safetensors").exists()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_cannot_be_read_just_now_is_not_damaged(
    number: int, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.checksum

    def sometimes(path: Path, algorithm: str) -> str:
        if path == run_dir / "last" / "optimizer.safetensors":
            raise OSError(number, os.strerror(number), str(path))
        return real(path, algorithm)

    monkeypatch.setattr(checkpoint, "checksum", sometimes)
    before = sorted(run_dir.rglob("*"))
    with pytest.raises(RunDirectoryError, match=rf"{os.strerror(number)}; nothing was changed"):
        step_of(run_dir)
    assert sorted(run_dir.rglob("*")) == before
    monkeypatch.undo()
    assert step_of(run_dir) == 8


def test_a_crash_between_the_renames_loses_nothing(run_dir: Path) -> None:
    """The new save is whole by then."""
    (run_dir / "last").rename(run_dir / "last.new")
    assert step_of(run_dir) == 8
    (run_dir / "last").rename(run_dir / "last.new")
    (run_dir / "last.new" / "SHA256SUMS").unlink()
    assert step_of(run_dir) == 6
    assert not (run_dir / "last.new").exists()


def test_the_new_save_beside_a_damaged_one_is_the_latest(
    run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(run_dir / "last", run_dir / "last.new")
    _flip(run_dir / "last" / "model.safetensors")
    with caplog.at_level("WARNING", logger="seq2seq"):
        assert step_of(run_dir) == 8
    assert "going on from the one after it" in caplog.messages[0]
    names = ["last", "last.damaged", "last.previous"]
    assert sorted(path.name for path in run_dir.glob("last*")) == names


def test_a_run_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, **SETTINGS)
    for name in ("last-epoch10", "lastfm", "last.damaged.old"):
        (tmp_path / "run" / name).mkdir(parents=True)
    runs.check_is_free(tmp_path / "run")
    runs.begin_run(tmp_path / "run", trainer.config)
    assert sorted(path.name for path in (tmp_path / "run").glob("last*")) == [
        "last-epoch10",
        "last.damaged.old",
        "lastfm",
    ]
    (tmp_path / "run" / "last.damaged-2").mkdir()
    (tmp_path / "run" / "config.yaml").unlink()
    with pytest.raises(RunDirectoryError, match="holds a run already"):
        runs.check_is_free(tmp_path / "run")


def test_a_save_is_no_part_of_the_training_that_goes_on_from_it(run_dir: Path, kept: Path) -> None:
    """What is mapped into memory would keep a deleted file's room on the disk."""
    trainer = runs.resumed_trainer(run_dir, tiny_config(kept, **SETTINGS), CPU, torch.float32)
    assert trainer.optimizer.state
    assert str(run_dir) not in Path("/proc/self/maps").read_text()


def test_a_best_model_that_was_made_good_stays_so(run_dir: Path, kept: Path) -> None:
    """Its score is gone, even if nothing was saved after that."""
    _flip(run_dir / "best.safetensors")
    for _ in range(2):
        trainer = runs.resumed_trainer(run_dir, tiny_config(kept, **SETTINGS), CPU, torch.float32)
        assert trainer.state.best_score is None
    assert step_of(run_dir) == 8
    assert (run_dir / "best.damaged.safetensors").exists()


def test_a_stop_at_a_save_that_is_due_saves_once(tmp_path: Path) -> None:
    run_dir = run_until(tiny_trainer(tmp_path, **SETTINGS), tmp_path, 6)
    assert step_of(run_dir) == 6
    shutil.rmtree(run_dir / "last")
    assert step_of(run_dir) == 3


def _changed_state(run_dir: Path, **values: Any) -> None:
    path = run_dir / "last" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    sum_up(run_dir / "last")


def test_a_newer_save_is_left_alone(run_dir: Path) -> None:
    (run_dir / "last" / "what-is-new.bin").write_bytes(b"?")
    _changed_state(run_dir, format_version=FORMAT_VERSION + 1, something_new=[1])
    before = sorted(run_dir.rglob("*"))
    with pytest.raises(OtherFormatError, match=rf"version {FORMAT_VERSION + 1}, .* newer seq2seq"):
        step_of(run_dir)
    assert sorted(run_dir.rglob("*")) == before


def test_an_older_save_is_refused_with_the_way_out(run_dir: Path) -> None:
    """The first format had neither a version nor sums."""
    state = json.loads((run_dir / "last" / "state.json").read_text())
    del state["format_version"]
    (run_dir / "last" / "state.json").write_text(json.dumps(state))
    (run_dir / "last" / "SHA256SUMS").unlink()
    with pytest.raises(OtherFormatError, match=r"version 1, .*its translator is of use"):
        step_of(run_dir)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"step": -1}, "step"),
        ({"step": "8"}, "step"),
        ({"step": 8.5}, "step"),
        ({"step": True}, "step"),
        ({"epoch": 0}, "epoch"),
        ({"best_score": "low"}, "best_score"),
        ({"seconds": -1.0}, "seconds"),
        ({"train_loss_sum": float("nan")}, "train_loss_sum"),
        ({"best_score": float("inf")}, "best_score"),
        ({"unknown": 1}, "unknown"),
        ({"data_digests": {"train": "../x"}}, "data_digests"),
        ({"format_version": True}, "format_version"),
        ({"format_version": "2"}, "format_version"),
        ({"format_version": 0}, "format_version"),
        ({"config": [1]}, "config"),
    ],
)
def test_a_state_that_nobody_wrote_is_named(
    values: dict[str, Any], named: str, run_dir: Path
) -> None:
    _changed_state(run_dir, **values)
    shutil.rmtree(run_dir / "last.previous")
    with pytest.raises(RunDirectoryError, match=rf"last: .*state\.json: {named}"):
        step_of(run_dir)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "[" * 100_000, '{"step": 1' + "0" * 5000 + "}"]
)
def test_a_state_that_is_none_is_damaged(text: str, run_dir: Path) -> None:
    (run_dir / "last" / "state.json").write_text(text)
    sum_up(run_dir / "last")
    assert step_of(run_dir) == 6


def test_state_survives_its_json() -> None:
    state = TrainingState(step=3, best_score=0.1, data_digests={"train": "ab"}, machine={"a": 1})
    assert TrainingState.from_json(state.to_json()) == state


def test_a_save_of_another_model_is_refused(run_dir: Path, kept: Path, tmp_path: Path) -> None:
    other = {**SETTINGS, "model": {"layer_norm": True}}
    folder = tmp_path / "other"
    folder.mkdir()
    foreign = run(tiny_trainer(folder, **other), folder)
    shutil.rmtree(run_dir / "last")
    shutil.copytree(foreign / "last", run_dir / "last")
    config = tiny_config(kept, **SETTINGS)
    with pytest.raises(ConfigError, match=r"model\.layer_norm: cannot change from True to False"):
        runs.resumed_trainer(run_dir, config, CPU, torch.float32)
    _changed_state(run_dir, config=config.model_dump(mode="json"))
    with pytest.raises(RunDirectoryError, match="its save holds a model of another config"):
        runs.resumed_trainer(run_dir, config, CPU, torch.float32)


def _drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["decoder.output.bias.exp_avg"]


def _rename(tensors: dict[str, torch.Tensor]) -> None:
    tensors["decoder.output.bias.other"] = tensors.pop("decoder.output.bias.exp_avg")


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["decoder.output.bias.exp_avg"] = torch.zeros(1)


def _retype(tensors: dict[str, torch.Tensor]) -> None:
    tensors["decoder.output.bias.exp_avg"] = tensors["decoder.output.bias.exp_avg"].double()


@pytest.mark.parametrize("change", [_drop, _rename, _reshape, _retype], ids=lambda it: it.__name__)
def test_what_no_optimizer_remembers_is_refused(
    change: Callable[[dict[str, torch.Tensor]], None], run_dir: Path, kept: Path
) -> None:
    path = run_dir / "last" / "optimizer.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    sum_up(run_dir / "last")
    with pytest.raises(RunDirectoryError, match=r"remembers does not fit: decoder\.output\.bias"):
        runs.resumed_trainer(run_dir, tiny_config(kept, **SETTINGS), CPU, torch.float32)


# ---------------------------------------------------------------- failing writes


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RETRY_SECONDS", 0.0)


def _count(monkeypatch: pytest.MonkeyPatch, name: str, fails: Callable[[int], bool]) -> list[int]:
    """Let calls of an `os` function fail by their number, from 0."""
    real, calls = getattr(os, name), [0]

    def sometimes(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if fails(calls[0] - 1):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the disk")
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, sometimes)
    return calls


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("function", ["fsync", "rename", "replace"])
def test_a_write_that_fails_once_is_made_again(
    function: str, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_trainer(tmp_path, **SETTINGS)
    runs.begin_run(tmp_path / "run", trainer.config)
    calls = _count(monkeypatch, function, lambda number: number % 23 == 4)
    train(trainer, tmp_path / "run", Scores(), StopRequest())
    assert calls[0] > 4
    name = "last/model.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (kept / "run" / name).read_bytes()


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("function", ["fsync", "rename", "replace"])
@pytest.mark.parametrize("first", [0, 1, 4, 6])
def test_writes_that_keep_failing_end_it_and_leave_the_save_before(
    function: str, first: int, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_trainer(tmp_path, **SETTINGS)
    run_dir = tmp_path / "run"
    runs.begin_run(run_dir, trainer.config)
    with monkeypatch.context() as patched:
        calls = _count(patched, function, lambda number: number >= first)
        with pytest.raises(SaveError, match=r"No space left on device; (the save of|nothing was)"):
            train(trainer, run_dir, Scores(), StopRequest())
        assert calls[0] > first
    resumed = runs.resumed_trainer(run_dir, trainer.config, CPU, torch.float32)
    train(resumed, run_dir, Scores(), StopRequest())
    assert_same_weights(weights(resumed), weights_of(kept))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "run", CPU).translator.model.state_dict()


@pytest.mark.usefixtures("_no_waiting")
def test_a_metrics_line_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up in the middle of a line takes the first part of it."""
    trainer = tiny_trainer(tmp_path, **SETTINGS)
    runs.begin_run(tmp_path / "run", trainer.config)
    opened = MetricsLog(tmp_path / "run" / "metrics.jsonl")
    opened.append({"event": "train", "step": 1})

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def truncate(self, size: int) -> int:
            return int(self.file.truncate(size))

        def write(self, data: bytes) -> int:
            return int(self.file.write(data[:5]))

    whole = opened._file
    opened._file = Full(whole)  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        opened.append({"event": "train", "step": 2})
    opened._file = whole
    opened.append({"event": "train", "step": 3})
    opened.close()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 3]


@pytest.mark.parametrize("rest", ["", '{"event": "tr', "\0\0\0\0", "x" * 100])
def test_a_metrics_file_that_a_power_cut_took_a_part_of(rest: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = '{"event": "train", "step": 1}\n'
    path.write_text(whole + rest)
    assert [event["step"] for event in read_metrics(path)] == [1]
    log = MetricsLog(path, len(whole) + 50)
    log.append({"event": "train", "step": 2})
    log.close()
    assert [event["step"] for event in read_metrics(path)] == [1, 2]
    assert path.read_text().count("\n") == 2
