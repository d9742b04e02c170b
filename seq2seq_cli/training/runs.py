"""Run directories: beginning one and going on with one."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import torch

from seq2seq_cli.config import Config
from seq2seq_cli.config_file import changed_keys, dump_config, load_config
from seq2seq_cli.data.preparation import PreparedData, prepare
from seq2seq_cli.data.pretrained import read_pretrained
from seq2seq_cli.errors import ConfigError, DataError, RunDirectoryError
from seq2seq_cli.files import write_text
from seq2seq_cli.locate import BEST_MODEL
from seq2seq_cli.model.seq2seq import Seq2Seq, initialise
from seq2seq_cli.randomness import derived_seed
from seq2seq_cli.training.checkpoint import load_checkpoint, restore_optimizer
from seq2seq_cli.training.trainer import Trainer

logger = logging.getLogger("seq2seq")

_FILES = ("config.yaml", BEST_MODEL, "metrics.jsonl", "curves.png", "train.log")
_FOLDERS = ("last", "last.new", "last.previous")

# What a run cannot change on the way: the weights would not fit, or the place where training
# stands would mean another batch.
_FIXED = (
    "data.",
    "model.",
    "seed",
    "training.batch_size",
    "training.batch_unit",
    "training.optimizer.kind",
    "training.averaging.kind",
    "validation.metric",
)


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
    if any((run_dir / name).exists() for name in (*_FILES, *_FOLDERS)):
        raise RunDirectoryError(
            f"{run_dir} holds a run already; --resume goes on with it, --overwrite replaces it, "
            "--run-dir puts the new one elsewhere"
        )


def begin_run(run_dir: Path, config: Config) -> None:
    """Make the folder with config.yaml in it; a run that was there is gone."""
    for name in _FILES:
        (run_dir / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(run_dir / name, ignore_errors=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(run_dir / "config.yaml", dump_config(config))


def resumed_trainer(
    run_dir: Path, config: Config, device: torch.device, precision: torch.dtype
) -> Trainer:
    """A trainer that goes on from the last save in `run_dir`, with `config` from now on.

    Raises RunDirectoryError when there is no save, ConfigError when the config changes what cannot
    be changed.
    """
    if not (run_dir / "config.yaml").is_file():
        raise RunDirectoryError(f"{run_dir}: holds no run to go on with")
    changes = changed_keys(load_config(str(run_dir / "config.yaml")), config)
    refused = [key for key in changes if key.startswith(_FIXED)]
    if refused:
        raise ConfigError(
            "\n".join(
                f"{key}: cannot change from {changes[key][0]} to {changes[key][1]} on --resume"
                for key in refused
            )
        )
    for key, (before, after) in changes.items():
        logger.info("%s: from now on %s, was %s", key, after, before)
    saved = load_checkpoint(run_dir, device)
    model = saved.translator.model
    data = prepare(config.data, (saved.translator.source, saved.translator.target))
    trainer = Trainer(config, data, model, device, precision, saved.state)
    restore_optimizer(trainer.optimizer, model, saved.optimizer)
    try:
        trainer.average.restore(saved.averages)
    except ValueError as error:
        raise RunDirectoryError(f"{run_dir}: the averages saved are damaged: {error}") from error
    write_text(run_dir / "config.yaml", dump_config(config))
    return trainer
