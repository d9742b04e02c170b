"""The save that training goes on from, with anything changed in its folder."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil

import torch

from seq2seq_cli.config import Config
from seq2seq_cli.errors import RunDirectoryError
from seq2seq_cli.training.averaging import WeightAverage
from seq2seq_cli.training.checkpoint import load_checkpoint, restore_optimizer
from seq2seq_cli.training.optimizer import make_optimizer
from tests.fuzz.cases import Case, folder
from tests.fuzz.model_targets import (
    HEADER_PIECES,
    change_tensor,
    change_tree,
    container,
    read_parts,
)
from tests.unit.training.support import CPU, run, tiny_trainer

_SUMS = "SHA256SUMS"


def save_folder(data: bytes) -> None:
    """What training goes on from is whole, or the save before it, or there is none.

    These are the steps of `training.runs.resumed_trainer`, without the data's, which take longer.
    """
    case = Case(data)
    config, files = _saved()
    last = dict(files)
    for _ in range(1 + case.number(2)):
        name = case.pick(sorted(files))
        _change(case, last, name, files[name])
    if case.number(4) < 3:
        last[_SUMS] = "".join(
            f"{hashlib.sha256(content).hexdigest()}  {name}\n"
            for name, content in sorted(last.items())
            if name != _SUMS
        ).encode()
    has_previous = case.flag()
    run_dir = folder() / "run"
    for left in run_dir.glob("last*"):  # by the case before
        shutil.rmtree(left)
    for name, content in {"last": last, "last.previous": files}.items():
        if name == "last" or has_previous:
            (run_dir / name).mkdir()
            for file, text in content.items():
                (run_dir / name / file).write_bytes(text)
    saved = load_checkpoint(run_dir, CPU)
    model = saved.translator.model
    if (inside := saved.translator.config) != config.for_translator():
        raise RunDirectoryError(f"the save is one of another config: {inside}")
    optimizer = make_optimizer(config.training.optimizer, model)
    average = WeightAverage(config.training.averaging, model)
    try:
        restore_optimizer(optimizer, model, saved.optimizer)
        average.restore(saved.averages)
    except ValueError as error:
        raise RunDirectoryError(f"the save is damaged: {error}") from error
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    with average.validating():
        pass


@functools.cache
def _saved() -> tuple[Config, dict[str, bytes]]:
    """A run's config, and the files of its last save."""
    trainer = tiny_trainer(folder(), max_steps=3, averaging={"kind": "last", "checkpoints": 2})
    run_dir = run(trainer, folder())
    return trainer.config, {path.name: path.read_bytes() for path in (run_dir / "last").iterdir()}


def _change(case: Case, files: dict[str, bytes], name: str, content: bytes) -> None:
    kind = case.number(6)
    if kind == 0:
        files.pop(name, None)
    elif kind == 1:
        files[case.pick((*files, "x.txt"))] = content
    elif kind == 2 or not content:
        files[name] = case.edited(content, HEADER_PIECES, 1 + case.number(3))
    elif name.endswith(".json"):
        tree = json.loads(content)
        change_tree(case, tree)
        files[name] = json.dumps(tree).encode()
    elif name.endswith(".safetensors"):
        metadata, tensors = read_parts(content)
        change_tensor(case, tensors, sorted(tensors))
        files[name] = container(tensors, metadata)
