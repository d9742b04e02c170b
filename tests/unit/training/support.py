"""A tiny corpus, trainers on it, and how they are run."""

from __future__ import annotations

import signal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seq2seq_cli.config import Config
from seq2seq_cli.errors import Interrupted
from seq2seq_cli.model.model_file import TranslatorFile
from seq2seq_cli.training.loop import train
from seq2seq_cli.training.metrics_log import Event
from seq2seq_cli.training.runs import begin_run, new_trainer
from seq2seq_cli.training.stopping import StopRequest
from seq2seq_cli.training.trainer import Trainer

CPU = torch.device("cpu")

SUBJECTS = {"ich": "i", "du": "you", "er": "he", "wir": "we", "ihr": "you both", "Anna": "Anna"}
OBJECTS = {"Brot": "bread", "Milch": "milk", "Reis": "rice", "Käse": "cheese", "Obst": "fruit"}
VERBS = {"mag": "likes", "kauft": "buys", "isst": "eats", "sieht": "sees"}


def write_corpus(folder: Path) -> None:
    """train.tsv and valid.tsv with the columns de and en."""
    pairs = [
        (f"{s} {v} {o} .", f"{SUBJECTS[s]} {VERBS[v]} {OBJECTS[o]} .")
        for s in SUBJECTS
        for v in VERBS
        for o in OBJECTS
    ]
    for name, rows in (("train", pairs), ("valid", pairs[::7])):
        lines = "".join(f"{source}\t{target}\n" for source, target in rows)
        (folder / f"{name}.tsv").write_text(f"de\ten\n{lines}", encoding="utf-8")


def tiny_config(folder: Path, **training: Any) -> Config:
    """A config on that corpus; `data`, `model` and `validation` among the arguments are
    their own sections."""
    validation = training.pop("validation", {})
    data = training.pop("data", {})
    model = training.pop("model", {})
    sizes = {"embedding_dim": 8, "hidden_size": 16, "num_layers": 2}
    return Config.model_validate(
        {
            "name": "tiny",
            "device": "cpu",
            "precision": "float32",
            "data": {
                "train": str(folder / "train.tsv"),
                "valid": str(folder / "valid.tsv"),
                "columns": {"source": "de", "target": "en"},
                **data,
            },
            "model": {"encoder": sizes, "decoder": sizes, "dropout": 0.2, **model},
            "training": {"epochs": 2, "batch_size": 16, "log_every": 1, **training},
            "validation": validation,
        }
    )


def tiny_trainer(folder: Path, **training: Any) -> Trainer:
    write_corpus(folder)
    return new_trainer(tiny_config(folder, **training), CPU, torch.float32)


class Scores:
    """An on_validation that hands out the BLEU scores it is given."""

    def __init__(self, *bleu: float) -> None:
        self.bleu = list(bleu)
        self.steps: list[int] = []

    def __call__(self, translator: TranslatorFile, event: Event) -> dict[str, float]:
        self.steps.append(event["step"])
        return {"bleu": self.bleu.pop(0) if self.bleu else 0.0}


def run(trainer: Trainer, folder: Path, scores: Scores | None = None) -> Path:
    run_dir = folder / "run"
    begin_run(run_dir, trainer.config)
    train(trainer, run_dir, scores or Scores(), StopRequest())
    return run_dir


def run_until(
    trainer: Trainer,
    folder: Path,
    step: int,
    scores: Scores | None = None,
    *,
    resumed: bool = False,
) -> Path:
    """Train, from the start or on, until SIGTERM comes in that step."""
    run_dir = folder / "run"
    if not resumed:
        begin_run(run_dir, trainer.config)
    stop = StopRequest()
    take_step = trainer.train_step

    def stop_then(*batches: Any) -> Any:
        if trainer.state.step == step - 1:
            stop.signal = signal.SIGTERM
        return take_step(*batches)

    trainer.train_step = stop_then  # type: ignore[method-assign]
    with pytest.raises(Interrupted) as caught:
        train(trainer, run_dir, scores or Scores(), stop)
    assert caught.value.exit_code == 143
    assert trainer.state.step == step
    return run_dir


def library_ended_by_sigterm(error: type[BaseException] | None) -> None:
    """Goes on after errors, and makes an error of its own, or nothing, of anything else."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except Exception:
        return
    except BaseException as interruption:
        if error:
            raise error from interruption


def sum_up(folder: Path) -> None:
    """Give a save the sums of the files that it has now: it is foreign then, not damaged."""
    sums = folder / "SHA256SUMS"
    sums.unlink(missing_ok=True)
    lines = [f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in folder.iterdir()]
    sums.write_text("".join(lines))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def assert_same_weights(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
