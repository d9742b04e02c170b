"""`last/`: everything that training needs to go on.

    model.safetensors      a model file like best.safetensors
    optimizer.safetensors  what the optimizer remembers, by parameter name
    averages.safetensors   the weights that training.averaging takes the mean of, if it does
    state.json             where training stands
    SHA256SUMS             checksums of these files, as the command sha256sum writes them

The folder is written whole and put on the disk beside the old one, which then becomes
`last.previous`: at any moment at least one whole save is there. One that is found damaged becomes
`last.damaged`, or `last.damaged-2` and so on, so that it is in the way of no other.
"""

from __future__ import annotations

import itertools
import logging
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from seq2seq_cli.errors import RunDirectoryError
from seq2seq_cli.files import checksum, problem, sync_folder, write_text
from seq2seq_cli.locate import SAVED_MODEL
from seq2seq_cli.model.model_file import (
    TranslatorFile,
    load_translator,
    save_tensors,
    save_translator,
)
from seq2seq_cli.training.state import OtherFormatError, TrainingState

logger = logging.getLogger("seq2seq")

LAST, PREVIOUS, NEW, DAMAGED = "last", "last.previous", "last.new", "last.damaged"

_MODEL, _OPTIMIZER, _STATE = SAVED_MODEL, "optimizer.safetensors", "state.json"
_AVERAGES = "averages.safetensors"
_SUMS = "SHA256SUMS"
_MAX_TEXT_BYTES = 1 << 20


def save_folders(run_dir: Path) -> list[Path]:
    """All folders that saves have left in a run directory."""
    name = re.compile(r"last(\.new|\.previous|\.damaged(-\d+)?)?")
    return [path for path in run_dir.glob(f"{LAST}*") if name.fullmatch(path.name)]


def save_checkpoint(
    run_dir: Path,
    translator: TranslatorFile,
    optimizer: torch.optim.Optimizer,
    averages: dict[str, Tensor],
    state: TrainingState,
) -> None:
    """Write `last/`. Raises OSError; the save before then stays."""
    new, last, previous = (run_dir / name for name in (NEW, LAST, PREVIOUS))
    if new.exists():
        shutil.rmtree(new)
    new.mkdir()
    save_translator(new / _MODEL, translator)
    tensors = {
        f"{name}.{key}": value
        for name, parameter in translator.model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }
    save_tensors(new / _OPTIMIZER, tensors)
    if averages:
        save_tensors(new / _AVERAGES, averages)
    write_text(new / _STATE, state.to_json())
    sums = {path.name: checksum(path, "sha256") for path in sorted(new.iterdir())}
    write_text(new / _SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    if last.exists():
        if previous.exists():
            shutil.rmtree(previous)
        last.rename(previous)
    new.rename(last)
    sync_folder(run_dir)


class Checkpoint(NamedTuple):
    """What a save holds."""

    translator: TranslatorFile
    optimizer: dict[str, Tensor]
    averages: dict[str, Tensor]
    state: TrainingState


def load_checkpoint(run_dir: Path, device: torch.device) -> Checkpoint:
    """Read the last save, or the one before where the last one is damaged.

    Raises RunDirectoryError when there is none, or none that is whole, or it cannot be read just
    now, OtherFormatError for one that this version does not read, and ModelFileError for a whole
    one whose model cannot be used here.
    """
    faults: dict[str, str] = {}
    for name in (LAST, NEW, PREVIOUS):
        folder = run_dir / name
        # The file of sums is written last: without it, a crash came while the new save was written.
        if not folder.is_dir() or (name == NEW and not (folder / _SUMS).exists()):
            continue
        try:
            checkpoint = _read(folder, device)
        except OtherFormatError as error:
            raise OtherFormatError(f"{folder}: {error}") from error
        except OSError as error:  # which is no damage: it may be another time
            raise RunDirectoryError(f"{problem(error)}; nothing was changed") from error
        except (ValueError, safetensors.SafetensorError) as error:
            faults[name] = " ".join(str(error).split())
            continue
        _make_last(run_dir, name, faults.get(LAST))
        return checkpoint
    if faults:
        told = "; ".join(
            f"{run_dir / name}: the save is damaged: {faults[name]}" for name in faults
        )
        raise RunDirectoryError(f"{told}; no whole one is left to go on from")
    raise RunDirectoryError(f"{run_dir}: holds no save to go on from")


def _make_last(run_dir: Path, name: str, fault: str | None) -> None:
    """Put out of the way what the next save or resume could stumble over.

    name: of the save that is gone on with. fault: of `last/`."""
    if fault is not None:
        damaged = free_name(run_dir / DAMAGED)
        (run_dir / LAST).rename(damaged)
        logger.warning(
            "%s: the save is damaged: %s; going on from the one %s it, and the damaged one is %s "
            "now",
            run_dir / LAST,
            fault,
            "before" if name == PREVIOUS else "after",
            damaged,
        )
    if name == NEW:
        (run_dir / NEW).rename(run_dir / LAST)
    elif (run_dir / NEW).exists():
        shutil.rmtree(run_dir / NEW)


def _read(folder: Path, device: torch.device) -> Checkpoint:
    """Raises ValueError and others for what is damaged."""
    _check_sums(folder)
    state = TrainingState.from_json(_read_text(folder / _STATE))
    translator = load_translator(folder / _MODEL, device)
    averages = folder / _AVERAGES
    return Checkpoint(
        translator,
        _load_tensors(folder / _OPTIMIZER, device),
        _load_tensors(averages, torch.device("cpu")) if averages.exists() else {},
        state,
    )


def free_name(path: Path) -> Path:
    """What is damaged may be all that somebody has: it takes no other's place."""
    names = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(free for free in itertools.chain([path], names) if not free.exists())


def _check_sums(folder: Path) -> None:
    """Raises ValueError for damage, OSError for what cannot be read now, OtherFormatError for a
    save from before there were sums."""
    if not (folder / _SUMS).exists():
        TrainingState.from_json(_read_text(folder / _STATE))  # of the first format
        raise ValueError(f"{_SUMS} is missing")
    lines = _read_text(folder / _SUMS).split("\n")
    found = [re.fullmatch(r"([0-9a-f]{64})  ([\w-][\w.-]*)", line) for line in lines[:-1]]
    sums = {line[2]: line[1] for line in found if line}
    # Of files that a later version adds, nothing has to be known.
    whole = {_MODEL, _OPTIMIZER, _STATE} <= sums.keys() and lines[-1] == "" and all(found)
    if not whole or ((folder / _AVERAGES).exists() and _AVERAGES not in sums):
        raise ValueError(f"{_SUMS} is not what was written")
    for name, digest in sums.items():
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
        if checksum(folder / name, "sha256") != digest:
            raise ValueError(f"{name}: is not what was written, its sum differs")


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    with path.open("rb") as file:
        data = file.read(_MAX_TEXT_BYTES)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: is not UTF-8") from error


def _load_tensors(path: Path, device: torch.device) -> dict[str, Tensor]:
    # Copies: what is mapped keeps a file that is long deleted on the disk.
    found = safetensors.torch.load_file(path, device=str(device))
    return {name: tensor.clone() for name, tensor in found.items()}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Give the optimizer back what it remembered of each parameter, or of none (before the first
    update).

    Raises ValueError for what this optimizer never remembers of this model.
    """
    if not tensors:
        return
    is_sgd = isinstance(optimizer, torch.optim.SGD)
    keys = ("momentum_buffer",) if is_sgd else ("step", "exp_avg", "exp_avg_sq")
    parameters = dict(model.named_parameters())
    wanted = {f"{name}.{key}" for name in parameters for key in keys}
    if odd := sorted(wanted ^ tensors.keys()):
        raise ValueError(f"what the optimizer remembers does not fit: {odd[0]}")
    for name, parameter in parameters.items():
        remembered = {key: tensors[f"{name}.{key}"] for key in keys}
        for key, tensor in remembered.items():
            shape = torch.Size() if key == "step" else parameter.shape
            if (tensor.shape, tensor.dtype) != (shape, torch.float32):
                raise ValueError(f"what the optimizer remembers does not fit: {name}.{key}")
        optimizer.state[parameter] = remembered
