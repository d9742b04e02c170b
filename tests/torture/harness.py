"""What all parts share: trainings that much could disturb, commands in forked processes, and what
has to hold of a run directory."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from seq2seq_cli import cli
from seq2seq_cli.data import phrasebook
from seq2seq_cli.errors import ModelFileError
from seq2seq_cli.files import LOCK
from seq2seq_cli.locate import BEST_MODEL
from seq2seq_cli.model.model_file import load_translator
from seq2seq_cli.training.checkpoint import LAST, NEW, PREVIOUS

CPU = torch.device("cpu")
STUCK_SECONDS = 120.0  # a command of seconds that takes this long hangs, however busy the machine
LONGEST_SECONDS = 45 * 60.0
"""Of it all."""
BEGUN = "parameters, on cpu"  # the log line just before the first step
SAVE_EVERY, VALIDATE_EVERY = 4, 14
MODEL_FILES = (f"{LAST}/model.safetensors", BEST_MODEL)
SAVED_FILES = (*MODEL_FILES, f"{LAST}/optimizer.safetensors", f"{LAST}/averages.safetensors")
_FORK = multiprocessing.get_context("fork")


class Violation(Exception):
    """Something that must never happen did."""


def check(holds: bool, what: str) -> None:
    """Raises Violation unless it holds."""
    if not holds:
        raise Violation(what)


# ---------------------------------------------------------------- trainings

_COMMON: dict[str, Any] = {
    "name": "torture",
    "device": "cpu",
    "precision": "float32",
    "data": {
        "train": {"source": "train.de", "target": "train.en"},
        "valid": {"source": "valid.de", "target": "valid.en"},
        "test": "none",
        "source": "de",
        "target": "en",
    },
    "training": {
        "epochs": None,
        "log_every": 1,
        "save_every": SAVE_EVERY,
    },
    "validation": {"every": VALIDATE_EVERY},
}

# Between them, every option whose state or random draws a resume could get wrong.
_VARIANTS: dict[str, dict[str, Any]] = {
    "bpe": {
        "data": {"tokenizer": {"kind": "bpe", "size": 300, "dropout": 0.2}},
        "model": {
            "encoder": {"embedding_dim": 24, "hidden_size": 12, "bidirectional": True},
            "decoder": {"embedding_dim": 24, "hidden_size": 24, "attention": {"kind": "general"}},
            "dropout": {"hidden": 0.2, "word": 0.1, "output": 0.1, "variational": True},
        },
        "training": {
            "batch_size": 8,
            "accumulate": 2,
            "optimizer": {"kind": "adam", "learning_rate": 2e-2},
            "learning_rate_schedule": {"kind": "plateau", "patience": 0},
            "teacher_forcing": {"kind": "linear", "per": "token"},
            "averaging": {"kind": "last", "checkpoints": 3},
            "label_smoothing": 0.1,
        },
    },
    "unigram": {
        "data": {
            "tokenizer": {"kind": "unigram", "size": 300, "dropout": 0.3},
            "vocabulary": {"shared": True},
        },
        "model": {
            "encoder": {"embedding_dim": 24, "hidden_size": 24},
            "decoder": {"embedding_dim": 24, "hidden_size": 24},
            "dropout": 0.2,
            "layer_norm": True,
            "tied_embeddings": "all",
        },
        "training": {
            "batch_size": 120,
            "batch_unit": "tokens",
            "optimizer": {"kind": "adamw", "learning_rate": 1e-2},
            "learning_rate_schedule": {"kind": "cosine", "warmup_steps": 10},
            "teacher_forcing": {"kind": "inverse_sigmoid", "k": 20, "per": "token"},
            "averaging": {"kind": "ema", "decay": 0.9},
            "r_drop": 0.5,
        },
    },
}


@dataclass
class Training:
    """A training as it goes when nothing disturbs it."""

    name: str
    config: Path
    run: Path
    """Where it went undisturbed."""
    seconds: float
    """What that took."""
    num_same: int = 0
    """How many disturbed ones ended as this one."""

    def compare(self, run: Path) -> None:
        """Raises Violation when a finished run differs from the undisturbed one in a bit."""
        for name in SAVED_FILES:
            ours, wanted = run / name, self.run / name
            check(ours.exists(), f"{ours} is missing")
            if ours.read_bytes() != wanted.read_bytes():
                raise Violation(f"{ours} differs from {wanted}: {_differing(ours, wanted)}")
        check(_events(run) == _events(self.run), f"metrics.jsonl of {run} and {self.run} differ")
        left = {path.name for path in run.iterdir()} & {NEW, LOCK}
        check(not left, f"{run} still holds {left}")
        self.num_same += 1


def _differing(one: Path, other: Path) -> str:
    ours, wanted = load_file(one), load_file(other)
    if ours.keys() != wanted.keys():
        return f"tensors {sorted(ours.keys() ^ wanted.keys())}"
    names = [name for name in ours if not torch.equal(ours[name], wanted[name])]
    return ", ".join(names) or "metadata alone"


def _events(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what the clock decides."""
    of_the_clock = {"seconds", "target_tokens_per_second"}
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key not in of_the_clock}
        for line in lines
    ]


class Bench:
    """Where everything happens: a folder, a seed, the undisturbed trainings and the figures."""

    def __init__(self, folder: Path, seed: int, steps: int) -> None:
        self.folder = folder
        self.seed = seed
        self.begun = time.monotonic()
        folder.chmod(0o755)  # some commands run as nobody
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        self._write_corpus()
        self._import_what_training_does()
        self.trainings = [self._undisturbed(name, steps) for name in _VARIANTS]

    def _write_corpus(self) -> None:
        found = phrasebook.generate(10_000, seed=5)
        short = (pair for pair in found if pair.english.count(" ") < 6)  # a step takes moments
        pairs = list(itertools.islice(short, 416))
        for split, part in (("train", pairs[:400]), ("valid", pairs[400:])):
            for language, side in (("de", "german"), ("en", "english")):
                text = "".join(f"{getattr(pair, side)}\n" for pair in part)
                (self.folder / f"{split}.{language}").write_text(text, encoding="utf-8")

    def _import_what_training_does(self) -> None:
        """So that commands, being forked, have it: it takes seconds, and not all may read it."""
        modules = self.folder / "modules"
        training = Training("", self._write_config("bpe", 1, 1), self.folder / "first", 0.0)
        with self.train(training, training.run, _telling_modules(modules)) as child:
            child.expect(0)
        for module in modules.read_text(encoding="utf-8").split():
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        num_threads = len(list(Path("/proc/self/task").glob("*")))
        assert num_threads < 2, "what has threads cannot be forked"

    def _write_config(self, name: str, steps: int, seed: int) -> Path:
        variant = _VARIANTS[name]
        config = {
            **_COMMON,
            "seed": seed,
            "data": {**_COMMON["data"], **variant["data"]},
            "model": variant["model"],
            "training": {**_COMMON["training"], "max_steps": steps, **variant["training"]},
        }
        path = self.folder / f"{name}-{seed}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def _undisturbed(self, name: str, steps: int, seed: int = 1) -> Training:
        path = self._write_config(name, steps, seed)
        run = self.folder / f"undisturbed-{name}-{seed}"
        begin = time.perf_counter()
        with self.command("train", "--config", path, "--run-dir", run) as child:
            child.expect(0)
        check_sums(run / LAST)
        check_sums(run / PREVIOUS)
        return Training(name, path, run, time.perf_counter() - begin)

    def another_run(self) -> Path:
        """A run of the first training's config, but for the seed."""
        return self._undisturbed(self.trainings[0].name, 2 * SAVE_EVERY, seed=2).run

    @contextlib.contextmanager
    def command(
        self, *arguments: str | Path, around: AbstractContextManager[object] | None = None
    ) -> Iterator[Child]:
        """A `seq2seq` command, which the end of the block ends.

        around: what the command runs inside of, in its process."""
        check(time.monotonic() - self.begun < LONGEST_SECONDS, "it takes longer than it may")
        child = Child(self.folder, [str(part) for part in arguments], around or nullcontext())
        try:
            yield child
        finally:
            child.close()

    def train(
        self, training: Training, run: Path, around: AbstractContextManager[object] | None = None
    ) -> AbstractContextManager[Child]:
        """Begin the training, or go on with it where it has begun."""
        return self.command("train", *beginning_or_going_on(training, run), around=around)

    def draw(self, part: str) -> Random:
        """Random choices, the same ones for the same seed."""
        return Random(f"{self.seed} {part}")


@contextlib.contextmanager
def _telling_modules(path: Path) -> Iterator[None]:
    """In a command's process: write down which modules it imports."""
    before = set(sys.modules)
    try:
        yield
    finally:
        path.write_text("\n".join(sorted(set(sys.modules) - before)), encoding="utf-8")


def beginning_or_going_on(training: Training, run: Path) -> list[str | Path]:
    """The arguments of `train`."""
    if (run / "config.yaml").exists():
        return ["--resume", "--run-dir", run]
    return ["--config", training.config, "--run-dir", run, "--overwrite"]


# ---------------------------------------------------------------- commands


@dataclass
class Child:
    """A `seq2seq` command in a process forked from this one, where torch is imported already: what
    takes seconds otherwise begins in a moment. It writes into a pipe, which is no file that could
    be full, and has room for more than it ever writes; `$FOLDER/stderr` keeps it at the end."""

    folder: Path
    arguments: list[str]
    around: AbstractContextManager[object]
    started: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self._written = b""
        self._pipe, pipe_end = os.pipe()
        os.set_blocking(self._pipe, False)
        self._process = _FORK.Process(target=self._run, args=(pipe_end,), daemon=True)
        self._process.start()
        os.close(pipe_end)
        assert self._process.pid
        self.pid: int = self._process.pid

    def _run(self, pipe_end: int) -> None:
        os.setpgid(0, 0)  # a Ctrl-C is for the torture, which ends this process in its own way
        os.dup2(pipe_end, 1)
        os.dup2(pipe_end, 2)
        # New ones: those of the torture may remember that they were files.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        sys.argv = ["seq2seq", *self.arguments]
        with self.around:
            try:
                cli.main()
            finally:
                # What comes now would meet the end of `multiprocessing`, not of the command.
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal that ended it."""
        return self._process.exitcode

    @property
    def stderr(self) -> str:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._pipe, 1 << 16):
                self._written += data
        return self._written.decode(errors="replace")

    def wait(self, seconds: float = STUCK_SECONDS) -> bool:
        """Whether it has ended within this time."""
        self._process.join(seconds)
        return self.exit_code is not None

    def wait_until(self, holds: Callable[[], bool], pause: float = 0.003) -> bool:
        """Wait for something the command brings about; False when it ended before that."""
        give_up = time.monotonic() + STUCK_SECONDS
        while not holds():
            if self.wait(pause):
                return False
            check(time.monotonic() < give_up, f"{self.arguments} hangs:\n{self.stderr}")
        return True

    def send(self, number: signal.Signals) -> None:
        # Not reaped before `exit_code` has seen its end, it is still the process with this number.
        if self.exit_code is None:
            os.kill(self.pid, number)

    def kill(self) -> bool:
        """SIGKILL, to all of its group; whether that is what ended it."""
        if self.exit_code is None:
            self._process.kill()
        self._process.join()
        return self.exit_code == -9

    def close(self) -> None:
        self.kill()
        (self.folder / "stderr").write_text(self.stderr, encoding="utf-8")
        os.close(self._pipe)

    def expect(self, *codes: int) -> str:
        """Wait for its end; returns what it wrote. Raises Violation for another exit code, a
        traceback, or error lines that do not go with the code."""
        check(self.wait(), f"{self.arguments} hangs:\n{self.stderr}")
        text = self.stderr
        told = f"seq2seq {' '.join(self.arguments)}\nended with {self.exit_code}, not {codes}"
        check(self.exit_code in codes, f"{told}:\n{text}")
        check_messages(text)
        num_errors = len(re.findall("^error: ", text, re.MULTILINE))
        wanted = 0 if self.exit_code == 0 else 1
        check(num_errors == wanted, f"{num_errors} error lines with code {self.exit_code}:\n{text}")
        return text


def check_messages(stderr: str) -> None:
    """Raises Violation for what is not written for people."""
    check("Traceback" not in stderr and "Logging error" not in stderr, f"a traceback:\n{stderr}")


# ---------------------------------------------------------------- run directories


def has_save(run: Path) -> bool:
    return (run / LAST).is_dir() or (run / PREVIOUS).is_dir()


def check_sums(folder: Path) -> None:
    """Raises Violation when a save is not what SHA256SUMS says, as `sha256sum --check` would."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "SHA256SUMS"}
    found = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    check(sums == found, f"{folder}: SHA256SUMS does not fit the files")


def check_directory(run: Path) -> int | None:
    """The step of the newest save, where there is one.

    Raises Violation for what could not be gone on from, or not translated with: the newest save is
    whole, a best model loads."""
    if (run / BEST_MODEL).exists():
        try:
            load_translator(run / BEST_MODEL, CPU)
        except ModelFileError as error:
            raise Violation(f"the best model does not load: {error}") from error
    folder = next((run / name for name in (LAST, PREVIOUS) if (run / name).is_dir()), None)
    if folder is None:
        return None
    check_sums(folder)
    return saved_step(folder)


def saved_step(save: Path) -> int:
    return int(json.loads((save / "state.json").read_text(encoding="utf-8"))["step"])


def logged_steps(run: Path) -> list[int]:
    """Steps in metrics.jsonl; its last line may still be half written."""
    path = run / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = text.split("\n")[:-1]
    return [
        step
        for event in map(json.loads, lines)
        if event["event"] == "train"
        for step in [int(event["step"])]
    ]


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
