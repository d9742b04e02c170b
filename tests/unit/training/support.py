"""A tiny corpus and trainers on it."""

from pathlib import Path
from typing import Any

import torch

from seq2seq_cli.config import Config
from seq2seq_cli.training.runs import new_trainer
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
