"""Trainings of one config with other settings, each kept in a run directory of its own."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seq2seq_cli.config_file import Override, load_config

_PROGRAM = (sys.executable, "-m", "seq2seq_cli")


def place(folder: Path, name: str, config: str, settings: Mapping[str, str]) -> Path:
    """Where trainings with these settings, one for each seed, are kept: elsewhere when the config
    has changed since."""
    overrides = [Override(key, value, f"--set {key}") for key, value in settings.items()]
    resolved = load_config(config, overrides).model_dump_json(exclude={"name", "seed"})
    version = hashlib.sha256(resolved.encode()).hexdigest()[:8]
    return folder / f"{re.sub('[^a-z0-9]+', '-', name.lower())}-{version}"


def train(run_dir: Path, config: str, settings: Mapping[str, str]) -> None:
    """Train to the end; a training that was interrupted goes on where it was last saved."""
    command = [*_PROGRAM, "train", "--config", config, "--run-dir", str(run_dir)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    command.append("--resume" if (run_dir / "last").exists() else "--overwrite")
    with subprocess.Popen(command) as training:
        try:
            code = training.wait()
        except KeyboardInterrupt:  # which the training got too, and saves now
            training.wait()
            raise
    if code:
        raise subprocess.CalledProcessError(code, command)


def validations(run_dir: Path) -> list[dict[str, Any]]:
    """The events of the run's metrics, in their order."""
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "valid"]


def bleu(run_dir: Path, split: str, *options: str) -> float:
    """Of the best model's translations; options: of `seq2seq evaluate`."""
    command = [*_PROGRAM, "evaluate", "--model", str(run_dir), "--split", split, "--bleu"]
    done = subprocess.run([*command, "--json", *options], check=True, stdout=subprocess.PIPE)
    score: float = json.loads(done.stdout)["bleu"]["score"]
    return score
