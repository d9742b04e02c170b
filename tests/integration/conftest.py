"""Runs the real commands: each in a process of its own, or many of them quickly in this one."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import seq2seq_cli
from seq2seq_cli.cli import main

TIMEOUT_SECONDS = 300  # for machines that are busy with something else

CONFIG = """\
data:
  train: {source: train.de, target: train.en}
  valid: {source: valid.de, target: valid.en}
  test: {source: test.de, target: test.en}
  source: de
  target: en
model:
  encoder: {embedding_dim: 32, hidden_size: 32, num_layers: 1}
  decoder: {embedding_dim: 32, hidden_size: 32, num_layers: 1}
  dropout: 0.0
device: cpu
precision: float32
training:
  epochs: 25
  batch_size: 8
  optimizer: {learning_rate: 2e-2}
  log_every: 10
validation: {every: 250}
"""

SPLITS = {"train": 200, "valid": 20, "test": 20}
EPOCHS = 25
STEPS_PER_EPOCH = 25
STEPS = EPOCHS * STEPS_PER_EPOCH


# ---------------------------------------------------------------- commands


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and its two streams."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines of stdout; they end at a line feed and nowhere else."""
        assert not self.out or self.out.endswith("\n")
        return self.out.split("\n")[:-1]

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.split("\n") if line.startswith("error: ")]


def command(*arguments: str | Path) -> list[str]:
    """The words that start the command in a process of its own."""
    return [sys.executable, "-m", "seq2seq_cli", *map(str, arguments)]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a started command: one thread, the code that this process tests, usual buffers."""
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    here = str(Path(seq2seq_cli.__file__).parents[1])
    return {**inherited, "OMP_NUM_THREADS": "1", "PYTHONPATH": here, **(changes or {})}


def run_command(
    *arguments: str | Path,
    cwd: Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run the command in a process of its own; `env` is added to the environment."""
    process = subprocess.run(
        command(*arguments),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env=environment(env),
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Result(process.returncode, process.stdout.decode(), process.stderr.decode())


def imported_by(*arguments: str | Path, cwd: Path) -> tuple[set[str], str]:
    """The modules that a command imports, which has to succeed, and what it prints."""
    words = command(*arguments)
    process = subprocess.run(
        [words[0], "-X", "importtime", *words[1:]],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert process.returncode == 0
    modules = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    return modules, process.stdout


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def call_command(*arguments: str | Path, cwd: Path, stdin: bytes | None = b"") -> Result:
    """Run the command in this process; `stdin` None is a terminal where nobody types."""
    kind = _Terminal if stdin is None else io.TextIOWrapper
    out, err = io.BytesIO(), io.BytesIO()
    code: object = 0
    with (
        contextlib.chdir(cwd),
        patch.object(sys, "argv", ["seq2seq", *map(str, arguments)]),
        patch.object(sys, "stdin", kind(io.BytesIO(stdin or b""))),
        patch.object(sys, "stdout", io.TextIOWrapper(out)),
        patch.object(sys, "stderr", io.TextIOWrapper(err)),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        except Exception:  # what Python itself does with one that nobody handled
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        result_out, result_err = out.getvalue().decode(), err.getvalue().decode()
    assert isinstance(code, int)
    return Result(code, result_out, result_err)


def objects(result: Result) -> list[dict[str, Any]]:
    """What --json printed, line by line."""
    return [json.loads(line) for line in result.lines]


def assert_refused(result: Result, *fragments: str, num_errors: int = 1) -> None:
    """A mistake of the person: exit code 2, nothing on stdout, an error line each, no traceback."""
    assert "Traceback" not in result.err, result.err
    assert result.code == 2, result.err
    assert len(result.errors) == num_errors, result.err
    assert result.out == ""
    for fragment in fragments:
        assert fragment in "\n".join(result.errors)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file under a folder with its content, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


# ---------------------------------------------------------------- data and runs


def sentence_pairs(num_pairs: int) -> list[tuple[str, str]]:
    """Small German sentences with their English, no sentence twice, the same ones always."""
    subjects = {
        "Der Mann": "The man",
        "Die Frau": "The woman",
        "Das Kind": "The child",
        "Ein Hund": "A dog",
        "Anna": "Anna",
    }
    verbs = {"sieht": "sees", "sucht": "seeks", "mag": "likes", "hört": "hears"}
    adverbs = {"": "", " heute": " today", " oft": " often"}
    objects = {
        "das Haus": "the house",
        "den Baum": "the tree",
        "die Stadt": "the town",
        "ein Buch": "a book",
        "Brot": "bread",
        "Wasser": "water",
    }
    combined = itertools.product(
        subjects.items(), verbs.items(), adverbs.items(), objects.items(), ".!"
    )
    pairs = [
        (f"{s[0]} {v[0]}{a[0]} {o[0]}{end}", f"{s[1]} {v[1]} {o[1]}{a[1]}{end}")
        for s, v, a, o, end in combined
    ]
    random.Random(1).shuffle(pairs)
    return pairs[:num_pairs]


def named_pairs(num_pairs: int) -> list[tuple[str, str]]:
    """`sentence_pairs` in tokens parted by spaces, two in five about somebody whose name comes in
    no other."""

    def changed(text: str, name: str) -> str:
        return re.sub(r"^(Anna|Ein Hund|A dog)\b", name, text[:-1]) + f" {text[-1]}"

    return [
        (changed(source, f"Name{number}"), changed(target, f"Name{number}"))
        for number, (source, target) in enumerate(sentence_pairs(num_pairs))
    ]


def write_data(
    folder: Path, make_pairs: Callable[[int], list[tuple[str, str]]] = sentence_pairs
) -> None:
    """Write {train,valid,test}.{de,en} and tiny.yaml, which names them."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = iter(make_pairs(sum(SPLITS.values())))
    for split, size in SPLITS.items():
        write_pairs(folder, split, list(itertools.islice(pairs, size)))
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")


def write_pairs(folder: Path, stem: str, pairs: Sequence[tuple[str, str]]) -> None:
    for side, suffix in enumerate(("de", "en")):
        text = "".join(pair[side] + "\n" for pair in pairs)
        (folder / f"{stem}.{suffix}").write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Trained:
    """A folder with data, tiny.yaml and runs/tiny, and what the training said."""

    folder: Path
    result: Result

    @property
    def run_dir(self) -> Path:
        return self.folder / "runs" / "tiny"

    @property
    def model(self) -> Path:
        return self.run_dir / "best.safetensors"


@pytest.fixture(scope="session", autouse=True)
def _fonts_are_searched_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """matplotlib makes a list of all fonts in a cache folder that is new."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, _fonts_are_searched_once: None) -> Trained:
    """A model trained by the real command. Whoever changes its folder takes `own` instead."""
    folder = tmp_path_factory.mktemp("trained")
    write_data(folder)
    result = run_command("train", "--config", folder / "tiny.yaml", cwd=folder)
    assert result.code == 0, result.err
    return Trained(folder, result)


ATTENDING = (
    "data.tokenizer={kind: whitespace}",
    "data.vocabulary={min_freq: 2}",
    "model.decoder.attention={kind: general, place: input_feeding}",
    "training.epochs=12",
)


@pytest.fixture(scope="session")
def attending(tmp_path_factory: pytest.TempPathFactory, _fonts_are_searched_once: None) -> Trained:
    """As `trained`, with attention. Its tokens stand between spaces: a translation spells out its
    tokens. Names are <unk> to it, in both languages."""
    folder = tmp_path_factory.mktemp("attending")
    write_data(folder, named_pairs)
    changes = [word for change in ATTENDING for word in ("--set", change)]
    result = call_command("train", "--config", "tiny.yaml", *changes, cwd=folder)
    assert result.code == 0, result.err
    return Trained(folder, result)


@pytest.fixture(scope="session")
def second(attending: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of another model on `attending`'s data, which has learned less."""
    run_dir = tmp_path_factory.mktemp("second") / "run"
    changes = [
        word
        for change in (*ATTENDING, "seed=2", "training.max_steps=100", "decoding.beam_size=2")
        for word in ("--set", change)
    ]
    words = ("train", "--config", "tiny.yaml", "--run-dir", run_dir)
    result = call_command(*words, *changes, cwd=attending.folder)
    assert result.code == 0, result.err
    return run_dir


@pytest.fixture
def own(trained: Trained, tmp_path: Path) -> Trained:
    """A copy of the trained run's folder, as if it had been trained there."""
    copy = Trained(tmp_path / "own", trained.result)
    shutil.copytree(trained.folder, copy.folder)
    config = copy.run_dir / "config.yaml"
    text = config.read_text(encoding="utf-8").replace(str(trained.folder), str(copy.folder))
    config.write_text(text, encoding="utf-8")
    return copy


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder with data and tiny.yaml, and no run yet."""
    folder = tmp_path / "data"
    write_data(folder)
    return folder


@pytest.fixture
def empty_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder
