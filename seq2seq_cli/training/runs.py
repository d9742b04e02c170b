"""Run directories: beginning one and going on with one."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import torch
from pydantic import ValidationError

from seq2seq_cli.config import Config
from seq2seq_cli.config.sections import first_mistake
from seq2seq_cli.config_file import changed_keys, dump_config
from seq2seq_cli.data.preparation import PreparedData, prepare
from seq2seq_cli.data.pretrained import read_pretrained
from seq2seq_cli.errors import ConfigError, DataError, ModelFileError, RunDirectoryError
from seq2seq_cli.files import patiently, write_text
from seq2seq_cli.locate import BEST_MODEL, config_of_run
from seq2seq_cli.model.model_file import load_translator, save_translator
from seq2seq_cli.model.seq2seq import Seq2Seq, initialise
from seq2seq_cli.randomness import derived_seed
from seq2seq_cli.training.checkpoint import (
    NEW,
    Checkpoint,
    free_name,
    load_checkpoint,
    restore_optimizer,
    save_folders,
)
from seq2seq_cli.training.trainer import Trainer

logger = logging.getLogger("seq2seq")

DAMAGED_BEST = "best.damaged.safetensors"
_FILES = ("config.yaml", BEST_MODEL, "metrics.jsonl", "curves.png", "train.log")

# What a run cannot change on the way: the weights would not fit, or the place where training
# stands would mean another batch.
_FIXED = (
    "data.",
    "model.",
    "seed",
    "training.batch_size",
    "training.batch_unit",
    "training.accumulate",
    "training.optimizer.kind",
    "training.averaging.kind",
    "validation.metric",
)
# Where the data lies may change, as long as it is the same; training never looks at the test data.
_PLACES = ("data.train", "data.valid", "data.test")


def new_trainer(config: Config, device: torch.device, precision: torch.dtype) -> Trainer:
    """Read the data, learn tokenizers and vocabularies, make the model.

    Raises DataError, ConfigError, DownloadError.
    """
    for side, path in config.model.pretrained:
        if path and not path.is_file():  # known before the data is read, which may take long
            raise DataError(f"model.pretrained.{side}: {path}: no such file")
    data = prepare(config.data)
    model = Seq2Seq(config.model, len(data.source.vocabulary), len(data.target.vocabulary))
    initialise(model, config.model.init, derived_seed(config.seed, "initialisation"))
    _begin_with_pretrained(model, config, data)
    return Trainer(config, data, model, device, precision)


@torch.no_grad()
def _begin_with_pretrained(model: Seq2Seq, config: Config, data: PreparedData) -> None:
    """Words that the files of model.pretrained know take their vectors."""
    files = config.model.pretrained
    for name, path, part, embedding, codec in (
        ("source", files.source, "encoder", model.encoder.embedding, data.source),
        ("target", files.target, "decoder", model.decoder.embedding, data.target),
    ):
        if path:
            keys = f"model.pretrained.{name}", f"model.{part}.embedding_dim"
            try:
                found = read_pretrained(path, codec.vocabulary, embedding.embedding_dim, *keys)
            except DataError as error:
                raise DataError(f"{keys[0]}: {error}") from error
            # What comes out of the embedding is the file's vector, scaled on its way or not.
            embedding.weight[found.ids] = torch.from_numpy(found.vectors) / embedding.scale


def check_is_free(run_dir: Path) -> None:
    """Raises RunDirectoryError when the folder holds a run."""
    if _files(run_dir) or save_folders(run_dir):
        raise RunDirectoryError(
            f"{run_dir} holds a run already; --resume goes on with it, --overwrite replaces it, "
            "--run-dir puts the new one elsewhere"
        )


def _files(run_dir: Path) -> list[Path]:
    """Of a run, those that there are."""
    found = [run_dir / name for name in _FILES] + list(run_dir.glob(f"{DAMAGED_BEST}*"))
    return [path for path in found if path.exists()]


def begin_run(run_dir: Path, config: Config) -> None:
    """Make the folder with config.yaml in it; a run that was there is gone. Raises OSError."""
    # The saves first: what is left, if this is where it ends, is no run to go on with.
    for folder in save_folders(run_dir):
        shutil.rmtree(folder, ignore_errors=True)
    for path in _files(run_dir):
        path.unlink()
    _tidy(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    patiently(lambda: write_text(run_dir / "config.yaml", dump_config(config)))


def resumed_trainer(
    run_dir: Path, config: Config, device: torch.device, precision: torch.dtype
) -> Trainer:
    """A trainer that goes on from the last save in `run_dir`, with `config` from now on.

    Raises RunDirectoryError when there is no save, or none that is whole, DataError when the data
    is not what it was, ConfigError when the config changes what cannot be changed, OSError.
    """
    config_of_run(run_dir)
    if _is_unsaved(run_dir):
        logger.info("%s: nothing was saved yet, so that it begins at the first step", run_dir)
        trainer = new_trainer(config, device, precision)
    else:
        saved = load_checkpoint(run_dir, device)
        trainer = _trainer_of_save(saved, run_dir, config, device, precision)
        if saved.state.best_score is not None:
            _mend_best(trainer, run_dir)
    _tidy(run_dir)
    patiently(lambda: write_text(run_dir / "config.yaml", dump_config(config)))
    return trainer


def _trainer_of_save(
    saved: Checkpoint,
    run_dir: Path,
    config: Config,
    device: torch.device,
    precision: torch.dtype,
) -> Trainer:
    try:
        before = Config.model_validate(saved.state.config)
    except ValidationError as error:
        raise RunDirectoryError(
            f"{run_dir}: the config in its save does not fit: {first_mistake(error)}"
        ) from error
    # Of the save, not of config.yaml: people edit that.
    changes = changed_keys(before, config)
    moved = {key: changes[key] for key in changes if key.startswith(_PLACES)}
    refused = [key for key in changes if key.startswith(_FIXED) and key not in moved]
    if refused:
        raise ConfigError(
            "\n".join(
                f"{key}: cannot change from {changes[key][0]} to {changes[key][1]} on --resume"
                for key in refused
            )
        )
    inside, wanted = saved.translator.config, config.for_translator()
    if (inside.data, inside.model) != (wanted.data, wanted.model):
        raise RunDirectoryError(f"{run_dir}: its save holds a model of another config than its own")
    for key, (old, new) in changes.items():
        logger.info("%s: from now on %s, was %s", key, new, old)
    model = saved.translator.model
    data = prepare(config.data, (saved.translator.source, saved.translator.target))
    digests = data.digests()
    changed = [name for name in digests if digests[name] != saved.state.data_digests.get(name)]
    if changed:
        names = {"train": "training", "valid": "validation"}
        places = [
            f"{key} was {old}, is {new}"
            for key, (old, new) in moved.items()
            if key.split(".")[1] in (*changed, "test")  # a test set of its own is not cut off
        ]
        where = f" ({'; '.join(places)})" if places else ""
        raise DataError(
            f"{run_dir}: the {' and '.join(names[name] for name in changed)} data is not what it "
            f"was when the run began{where}, and going on "
            "would mix the two: put it back, or train anew with --run-dir or --overwrite"
        )
    trainer = Trainer(config, data, model, device, precision, saved.state)
    try:
        restore_optimizer(trainer.optimizer, model, saved.optimizer)
        trainer.average.restore(saved.averages)
        if saved.state.batch >= trainer.num_batches:
            raise ValueError("it stands behind the end of an epoch")
    except ValueError as error:
        raise RunDirectoryError(f"{run_dir}: the save is damaged: {error}") from error
    return trainer


def _mend_best(trainer: Trainer, run_dir: Path) -> None:
    """Where the best model is lost, the save's is the best there is, until the next validation."""
    path = run_dir / BEST_MODEL
    try:
        load_translator(path, torch.device("cpu"))
        return
    except ModelFileError as error:
        if isinstance(error.__cause__, OSError) and path.exists():
            raise  # it cannot be read just now, and may be whole
        logger.warning(
            "%s; the model of the save, at step %d, takes its place until the next validation",
            *(error, trainer.state.step),
        )
    if path.exists():
        path.rename(free_name(run_dir / DAMAGED_BEST))
    trainer.state.best_score = None
    with trainer.average.applied():
        patiently(lambda: save_translator(path, trainer.translator))
    # The score that is gone is gone for good, whatever comes before the next save.
    patiently(lambda: trainer.save(run_dir))


def _tidy(run_dir: Path) -> None:
    """Remove what a killed process was writing."""
    for name in _FILES:
        for path in run_dir.glob(f".{name}.*.tmp"):
            path.unlink(missing_ok=True)


def _is_unsaved(run_dir: Path) -> bool:
    """Whether the run ended before its first save, which is made before the first step."""
    metrics = run_dir / "metrics.jsonl"
    nothing_logged = not metrics.exists() or not metrics.stat().st_size
    has_save = any(path.name != NEW for path in save_folders(run_dir))
    return nothing_logged and not has_save and not (run_dir / BEST_MODEL).exists()
