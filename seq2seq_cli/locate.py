"""Where runs are kept, and which model a command means."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seq2seq_cli.errors import RunDirectoryError, UsageError

logger = logging.getLogger("seq2seq")

RUNS_DIR = Path("runs")
BEST_MODEL = "best.safetensors"
SAVED_MODEL = "model.safetensors"


def check_can_hold_run(run_dir: Path) -> None:
    """Raises RunDirectoryError when a file stands where the folder would be made, or it may not."""
    nearest = next(
        path for path in (run_dir.absolute(), *run_dir.absolute().parents) if path.exists()
    )
    if not nearest.is_dir():
        raise RunDirectoryError(f"{run_dir}: cannot be a run directory: {nearest} is a file")
    if not os.access(nearest, os.W_OK):
        raise RunDirectoryError(f"{run_dir}: cannot be a run directory: {nearest} is read-only")


def config_of_run(run_dir: Path) -> Path:
    """Raises RunDirectoryError where there is none."""
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise RunDirectoryError(f"{run_dir}: holds no run to go on with")
    return path


@dataclass(frozen=True)
class ModelLocation:
    file: Path
    run_dir: Path | None
    """None for a model file on its own, which knows no data."""


def locate_models(given: Sequence[str]) -> list[ModelLocation]:
    """The models of --model, else that of $SEQ2SEQ_MODEL, else of the run that was best most
    lately.

    Each of `given` is a run directory, the name of a run under runs/, a model file, or the folder
    of a save (a run's last/).
    Raises UsageError when there is none.
    """
    if given:
        return [_named(name, name) for name in given]
    if from_environment := os.environ.get("SEQ2SEQ_MODEL"):
        return [_named(from_environment, f"{from_environment} (from SEQ2SEQ_MODEL)")]
    found = sorted(RUNS_DIR.glob(f"*/{BEST_MODEL}"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise UsageError(
            "there is no trained model under runs/ yet; `seq2seq train --config quickstart` makes "
            "one in a few minutes, or name one with --model"
        )
    logger.info("using %s", found[-1])
    return [ModelLocation(found[-1], found[-1].parent)]


def _named(name: str, shown: str) -> ModelLocation:
    path = Path(name)
    try:
        if path.is_file():
            return ModelLocation(path, None)
        for run_dir in (path, RUNS_DIR / name):
            if (run_dir / BEST_MODEL).is_file():
                return ModelLocation(run_dir / BEST_MODEL, run_dir)
        if (path / SAVED_MODEL).is_file():
            is_of_run = (path.parent / "config.yaml").is_file()
            return ModelLocation(path / SAVED_MODEL, path.parent if is_of_run else None)
        if name and any(run_dir.is_dir() for run_dir in (path, RUNS_DIR / name)):
            raise UsageError(
                f"{shown}: holds no {BEST_MODEL}; did its training get to a validation?"
            )
    except OSError as error:  # a name longer than any file's, say
        raise UsageError(f"{shown}: cannot be read: {error.strerror}") from error
    raise UsageError(f"{shown}: no such model file, run directory or run under runs/")
