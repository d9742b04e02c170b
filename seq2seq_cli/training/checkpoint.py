"""`last/`: everything that training needs to go on.

    model.safetensors      a model file like best.safetensors
    optimizer.safetensors  what the optimizer remembers, by parameter name
    averages.safetensors   the weights that training.averaging takes the mean of, if it does
    state.json             where training stands

The folder is written whole beside the old one and takes its place by renames: a crash leaves one
whole save under `last` or `last.previous`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from seq2seq_cli.config.training import LearningRateScheduleConfig
from seq2seq_cli.errors import RunDirectoryError
from seq2seq_cli.files import atomic_write, write_text
from seq2seq_cli.model.model_file import TranslatorFile, load_translator, save_translator


@dataclasses.dataclass
class TrainingState:
    """Where training stands. `epoch` and `batch` name the batch that comes next."""

    step: int = 0
    """Updates done."""
    epoch: int = 1
    batch: int = 0
    best_score: float | None = None
    """The best value of validation.metric so far."""
    best_step: int = 0
    num_without_best: int = 0
    """Validations since the best one."""
    num_rate_drops: int = 0
    """How often a plateau has lowered the learning rate."""
    num_without_drop: int = 0
    """Validations without a new best since then."""
    train_loss_sum: float = 0.0
    """Training loss since the last validation, in nats, summed over target tokens."""
    train_tokens: int = 0
    """These tokens."""
    validated_step: int = 0
    """Step of the last validation."""
    seconds: float = 0.0
    """Spent in training steps."""
    validation_seconds: float = 0.0
    """Spent validating."""
    metrics_bytes: int = 0
    """Size of metrics.jsonl at this point; what comes after is cut off on resume."""

    def take_score(self, score: float, metric: str, schedule: LearningRateScheduleConfig) -> bool:
        """Count a validation; returns whether its score, of validation.metric, is the best so far
        (which no infinity is)."""
        best = self.best_score
        if math.isfinite(score) and (
            best is None or (score > best if metric == "bleu" else score < best)
        ):
            self.best_score, self.best_step = score, self.step
            self.num_without_best = self.num_without_drop = 0
            return True
        self.num_without_best += 1
        self.num_without_drop += 1
        if schedule.kind == "plateau" and self.num_without_drop > schedule.patience:
            self.num_rate_drops += 1
            self.num_without_drop = 0
        return False


def save_checkpoint(
    run_dir: Path,
    translator: TranslatorFile,
    optimizer: torch.optim.Optimizer,
    averages: dict[str, Tensor],
    state: TrainingState,
) -> None:
    """Write `last/`. Raises OSError; the save before then stays."""
    new, last, previous = (run_dir / name for name in ("last.new", "last", "last.previous"))
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    save_translator(new / "model.safetensors", translator)
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, parameter in translator.model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }
    _save_tensors(new / "optimizer.safetensors", tensors)
    if averages:
        _save_tensors(new / "averages.safetensors", averages)
    write_text(new / "state.json", json.dumps(dataclasses.asdict(state), indent=2) + "\n")
    if last.exists():
        shutil.rmtree(previous, ignore_errors=True)
        last.rename(previous)
    new.rename(last)
    shutil.rmtree(previous, ignore_errors=True)


class Checkpoint(NamedTuple):
    """What a save holds."""

    translator: TranslatorFile
    optimizer: dict[str, Tensor]
    averages: dict[str, Tensor]
    state: TrainingState


def load_checkpoint(run_dir: Path, device: torch.device) -> Checkpoint:
    """Read the last save.

    Raises RunDirectoryError when there is none or it is damaged, ModelFileError for the model.
    """
    folder = next(
        (run_dir / name for name in ("last", "last.previous") if (run_dir / name).is_dir()), None
    )
    if folder is None:
        raise RunDirectoryError(f"{run_dir}: holds no save to go on from")
    translator = load_translator(folder / "model.safetensors", device)
    averages = folder / "averages.safetensors"
    try:
        return Checkpoint(
            translator,
            _load_tensors(folder / "optimizer.safetensors", device),
            _load_tensors(averages, torch.device("cpu")) if averages.exists() else {},
            TrainingState(**json.loads((folder / "state.json").read_text(encoding="utf-8"))),
        )
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise RunDirectoryError(f"{folder}: the save is damaged: {error}") from error


def _save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with atomic_write(path) as temporary:
        safetensors.torch.save_file(tensors, temporary)


def _load_tensors(path: Path, device: torch.device) -> dict[str, Tensor]:
    return safetensors.torch.load_file(path, device=str(device))


def restore_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Give the optimizer back what it remembered of each parameter."""
    for name, parameter in model.named_parameters():
        remembered = {
            key.removeprefix(f"{name}."): value
            for key, value in tensors.items()
            if key.rpartition(".")[0] == name
        }
        if remembered:
            optimizer.state[parameter] = remembered
