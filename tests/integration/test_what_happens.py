"""The README's table of what happens when something goes wrong: every row is a test."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seq2seq_cli import files
from seq2seq_cli.data import downloads
from seq2seq_cli.decoding.translator import Translator
from seq2seq_cli.files import locked
from seq2seq_cli.model.seq2seq import Seq2Seq
from seq2seq_cli.training.trainer import Trainer
from tests.integration.conftest import (
    STEPS,
    Result,
    Trained,
    call_command,
    snapshot,
)

README = Path(__file__).parents[2] / "README.md"


@dataclass
class Place:
    """Where something happens: a folder with a trained run of its own, and what a test may bend."""

    own: Trained
    patch: pytest.MonkeyPatch
    final: Path
    """The model that a training of one more epoch comes to when nothing happens to it."""

    @property
    def run_dir(self) -> Path:
        return self.own.run_dir

    def resume(self, *changes: str) -> Result:
        settings = [word for change in changes for word in ("--set", change)]
        words = ("train", "--resume", "--run-dir", "runs/tiny", *settings)
        return call_command(*words, cwd=self.own.folder)

    def one_more_epoch(self, *changes: str) -> Result:
        return self.resume("training.epochs=26", *changes)

    def translate(self, *words: str | Path, stdin: bytes = b"Anna sieht Brot.\n") -> Result:
        return call_command(
            "translate", "--model", "runs/tiny", *words, cwd=self.own.folder, stdin=stdin
        )

    def in_step(self, step: int, act: Callable[[Trainer], None]) -> None:
        """Have something happen in the middle of that step."""
        take_step = Trainer.train_step

        def train_step(trainer: Trainer, *batches: Any) -> Any:
            if trainer.state.step == step - 1:
                act(trainer)
            return take_step(trainer, *batches)

        self.patch.setattr(Trainer, "train_step", train_step)

    def goes_on_to_the_same_weights(self, step: int) -> None:
        """A resume begins at that step, and nothing is lost."""
        self.patch.undo()
        second = self.one_more_epoch()
        assert second.code == 0, second.err
        assert f"going on from step {step} " in second.err
        self.ends_with_the_same_weights()

    def ends_with_the_same_weights(self) -> None:
        expected = load_file(self.final)
        found = load_file(self.run_dir / "last" / "model.safetensors")
        assert expected.keys() == found.keys()
        for name, tensor in expected.items():
            assert torch.equal(tensor, found[name]), name


def _signals(number: signal.Signals, times: int = 1) -> Callable[[Trainer], None]:
    def send(trainer: Trainer) -> None:
        for _ in range(times):
            signal.raise_signal(number)

    return send


def stopped(place: Place, number: signal.Signals) -> Result:
    place.in_step(STEPS + 7, _signals(number))
    result = place.one_more_epoch()
    place.goes_on_to_the_same_weights(STEPS + 7)
    return result


def stopped_while_validating(place: Place) -> Result:
    translate = Translator.translate

    def interrupted(self: Translator, *arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return translate(self, *arguments, **options)

    place.patch.setattr(Translator, "translate", interrupted)
    result = place.one_more_epoch()
    state = json.loads((place.run_dir / "last/state.json").read_text())
    assert (state["step"], state["validated_step"]) == (STEPS + 25, STEPS)
    place.goes_on_to_the_same_weights(STEPS + 25)
    state = json.loads((place.run_dir / "last/state.json").read_text())
    assert state["validated_step"] == STEPS + 25
    return result


def stopped_twice(place: Place) -> Result:
    place.in_step(STEPS + 7, _signals(signal.SIGINT, times=2))
    result = place.one_more_epoch("training.save_every=5")
    place.goes_on_to_the_same_weights(STEPS + 5)
    return result


def killed(place: Place) -> Result:
    place.in_step(STEPS + 9, lambda trainer: os.kill(os.getpid(), signal.SIGKILL))
    pid = os.fork()
    if not pid:
        place.one_more_epoch("training.save_every=5")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    place.patch.undo()
    result = place.one_more_epoch()
    assert f"going on from step {STEPS + 5} " in result.err
    place.ends_with_the_same_weights()
    return result


def in_use(place: Place) -> Result:
    before = snapshot(place.own.folder)
    with locked(place.run_dir):
        result = place.one_more_epoch()
    assert snapshot(place.own.folder) == before
    return result


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 4
    path.write_bytes(data)


def last_save_damaged(place: Place) -> Result:
    _flip(place.run_dir / "last/model.safetensors")
    result = place.one_more_epoch()
    assert "going on from step 500 " in result.err
    place.ends_with_the_same_weights()
    return result


def both_saves_damaged(place: Place) -> Result:
    for name in ("last", "last.previous"):
        _flip(place.run_dir / name / "optimizer.safetensors")
    before = snapshot(place.own.folder)
    result = place.one_more_epoch()
    assert snapshot(place.own.folder) == before
    return result


def best_lost(place: Place) -> Result:
    _flip(place.own.model)
    assert place.one_more_epoch().code == 0
    place.ends_with_the_same_weights()
    assert place.translate().code == 0
    assert (place.run_dir / "best.damaged.safetensors").exists()
    place.own.model.unlink()
    result = place.one_more_epoch()
    assert place.translate().code == 0
    return result


def disk_full(place: Place) -> Result:
    place.patch.setattr(files, "RETRY_SECONDS", 0.0)
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if trained_on:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    trained_on: list[bool] = []
    place.in_step(STEPS + 7, lambda trainer: trained_on.append(True))
    place.patch.setattr(os, "fsync", full)
    result = place.one_more_epoch("training.save_every=5")
    place.goes_on_to_the_same_weights(STEPS + 5)
    return result


def more_epochs(place: Place) -> Result:
    result = place.one_more_epoch()
    place.ends_with_the_same_weights()
    return result


def another_architecture(place: Place) -> Result:
    before = snapshot(place.own.folder)
    result = place.resume("model.encoder.hidden_size=64")
    assert snapshot(place.own.folder) == before
    return result


def data_changed(place: Place) -> Result:
    path = place.own.folder / "train.en"
    path.write_text(path.read_text(encoding="utf-8").replace("Anna", "Brot"), encoding="utf-8")
    return place.one_more_epoch()


def _spoil(trainer: Trainer) -> None:
    bias = trainer.model.decoder.output.bias
    bias.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]


def one_step_spoilt(place: Place) -> Result:
    def spoil_once(trainer: Trainer) -> None:
        bias = trainer.model.decoder.output.bias
        spoilt: list[bool] = []

        def spoil(gradient: torch.Tensor) -> torch.Tensor:
            spoilt.append(True)
            return gradient * (math.inf if len(spoilt) == 1 else 1.0)

        bias.register_hook(spoil)  # type: ignore[no-untyped-call]

    place.in_step(STEPS + 3, spoil_once)
    result = place.one_more_epoch()
    lines = (place.run_dir / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-2])["skipped_steps"] == 1
    return result


def all_steps_spoilt(place: Place) -> Result:
    place.in_step(STEPS + 3, _spoil)
    result = place.one_more_epoch()
    state = json.loads((place.run_dir / "last/state.json").read_text())
    assert state["step"] == STEPS
    return result


def little_room(place: Place) -> Result:
    forward = Seq2Seq.forward

    def with_little_room(self: Seq2Seq, batch: Any, *arguments: Any, **options: Any) -> Any:
        if len(batch.trg_ids) > 4 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, batch, *arguments, **options)

    place.patch.setattr(Seq2Seq, "forward", with_little_room)
    result = place.one_more_epoch()
    found = load_file(place.run_dir / "last" / "model.safetensors")
    for name, tensor in load_file(place.final).items():
        torch.testing.assert_close(found[name], tensor, rtol=0.02, atol=0.02)
    return result


def model_damaged(place: Place) -> Result:
    _flip(place.own.model)
    return place.translate()


def model_cut_off(place: Place) -> Result:
    (place.own.folder / "scrap").write_bytes(b"this is no model file")
    scrap = call_command("translate", "--model", "scrap", "x", cwd=place.own.folder)
    assert scrap.code == 2
    assert ": damaged, or not a model file: " in scrap.errors[0]
    place.own.model.write_bytes(place.own.model.read_bytes()[:20_000])
    return place.translate()


def model_too_new(place: Place) -> Result:
    data = place.own.model.read_bytes()
    newer = re.sub(rb'format_version\\": \d', rb'format_version\\": 9', data, count=1)
    assert newer != data
    place.own.model.write_bytes(newer)
    return place.translate()


def alias_bomb(place: Place) -> Result:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    (place.own.folder / "bomb.yaml").write_text(f"a0: &a0 [x, x]\n{levels}")
    return call_command("train", "--config", "bomb.yaml", cwd=place.own.folder)


def other_download(place: Place) -> Result:
    place.patch.setattr(downloads, "_fetch_patiently", lambda *arguments: b"something else")
    place.patch.delenv("SEQ2SEQ_DATA", raising=False)
    words = ("--set", "data={dataset: multi30k, source: de, target: en}", "--run-dir", "new")
    result = call_command("train", "--config", "tiny.yaml", *words, cwd=place.own.folder)
    assert not (place.own.folder / "new").exists()
    return result


def not_utf8(place: Place) -> Result:
    result = place.translate("--json", stdin=b"Anna sieht Brot.\nAnna sieht \xff\xfe Brot.\nJa\n")
    assert [json.loads(line)["source"] for line in result.lines] == [
        "Anna sieht Brot.",
        "Anna sieht \ufffd\ufffd Brot.",
        "Ja",
    ]
    return result


def too_long(place: Place) -> Result:
    result = place.translate("--json", stdin=b"Ja\n" + b"Brot " * 300 + b"\nJa\n")
    assert [("truncated" in json.loads(line)["flags"]) for line in result.lines] == [
        False,
        True,
        False,
    ]
    return result


def blank(place: Place) -> Result:
    result = place.translate(stdin=b"\nAnna sieht Brot.\n  \n")
    assert [bool(line) for line in result.lines] == [False, True, False]
    return result


def stopped_while_translating(place: Place) -> Result:
    (place.own.folder / "english.txt").write_text("as it was")
    pool = Translator._translate_pool

    def interrupted(self: Translator, *arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return pool(self, *arguments, **options)

    place.patch.setattr(Translator, "_translate_pool", interrupted)
    before = snapshot(place.own.folder)
    result = place.translate("--output", "english.txt")
    assert snapshot(place.own.folder) == before
    return result


SITUATIONS: dict[str, Callable[[Place], Result]] = {
    "you press Ctrl-C while it trains": lambda place: stopped(place, signal.SIGINT),
    "the system sends SIGTERM": lambda place: stopped(place, signal.SIGTERM),
    "the terminal is closed": lambda place: stopped(place, signal.SIGHUP),
    "Ctrl-C comes while it validates": stopped_while_validating,
    "Ctrl-C comes twice": stopped_twice,
    "the process is killed, or the power goes": killed,
    "a process was killed and its lock is still there": killed,
    "another training has the run directory": in_use,
    "the last save is damaged": last_save_damaged,
    "both saves are": both_saves_damaged,
    "the best model is lost or damaged": best_lost,
    "the disk is full, or the directory may no longer be written": disk_full,
    "you resume a finished training": lambda place: place.resume(),
    "you resume it with more epochs": more_epochs,
    "you resume it with another architecture": another_architecture,
    "the data has changed since": data_changed,
    "a loss or gradient is no number": one_step_spoilt,
    "that happens ten times in a row": all_steps_spoilt,
    "the GPU has no memory for a batch": little_room,
    "a model file is damaged": model_damaged,
    "it is cut off, or no model file": model_cut_off,
    "a newer seq2seq has written it": model_too_new,
    "a config is a bomb of aliases": alias_bomb,
    "a download is not what it should be": other_download,
    "a line to translate is not UTF-8": not_utf8,
    "a line is longer than the model reads": too_long,
    "a line is blank": blank,
    "Ctrl-C comes while it translates": stopped_while_translating,
}


def _rows() -> dict[str, tuple[str, int]]:
    """What the README says is seen, and the exit code, for each situation."""
    text = README.read_text(encoding="utf-8")
    section = text.partition("## What happens when")[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| ") and not line.startswith("| when ")
    ]
    return {when: (seen, int(code)) for when, seen, code in cells}


ROWS = _rows()


def test_every_row_of_the_readme_has_its_test() -> None:
    assert list(ROWS) == list(SITUATIONS)


@pytest.fixture(scope="module")
def final(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with one more epoch, and nothing happening to it."""
    folder = tmp_path_factory.mktemp("final")
    shutil.copytree(trained.run_dir, folder / "final")
    words = ("train", "--resume", "--run-dir", folder / "final", "--set", "training.epochs=26")
    result = call_command(*words, cwd=folder)
    assert result.code == 0, result.err
    return folder / "final"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("when", SITUATIONS)
def test_what_happens_when(
    when: str,
    own: Trained,
    final: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen, code = ROWS[when]
    place = Place(own, monkeypatch, final / "last" / "model.safetensors")
    result = SITUATIONS[when](place)
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    # What the row quotes, `...` standing for anything in a line.
    said = "\n".join([result.err, capfd.readouterr().err])
    quotes = [quote for quote in re.findall(r"`([^`]+)`", seen) if " " in quote]
    for quote in quotes:
        pattern = ".*".join(re.escape(part) for part in quote.split("..."))
        if quote.startswith(("error: ", "warning: ")):
            pattern = "^" + pattern
        assert re.search(pattern, said, re.MULTILINE), (quote, said)
    errors = [quote for quote in quotes if quote.startswith("error: ")]
    if code and errors:
        assert len(result.errors) == len(errors)
