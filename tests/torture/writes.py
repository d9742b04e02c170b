"""Saves that cannot be written: full disks, folders that are read-only, calls that fail."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from seq2seq_cli.training.checkpoint import LAST
from tests.torture.harness import (
    BEGUN,
    Bench,
    Child,
    Training,
    Violation,
    check,
    check_directory,
    check_sums,
    has_save,
    remove,
    say,
)

_TRYING_AGAIN = "trying once more"
_NOBODY = 65534
_CALLS = ("fsync", "rename", "replace", "mkdir", "open", "unlink")
"""Functions of `os` that every way of writing a file goes through in the end. (Bytes are written by
Rust and C, which full disks and file size limits reach.)"""
_ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT)


def writes(bench: Bench, count: int) -> Counter[str]:
    """How many write failures of which kind ended in which way."""
    return _Writes(bench, count).all()


class _Writes:
    def __init__(self, bench: Bench, count: int) -> None:
        self.bench = bench
        self.count = count
        self.draw = bench.draw("writes")
        self.outcomes: Counter[str] = Counter()
        self.run = bench.folder / "failing"
        self.calls: dict[str, dict[str, int]] = {}

    def all(self) -> Counter[str]:
        with _small_disk(self.bench) as disk:
            kinds: list[Callable[[], None]] = [self.failing_call, self.size_limit, self.read_only]
            if disk is None:
                say("  no tmpfs can be mounted here: no full disks are tried")
            else:
                kinds.insert(0, lambda: self.full_disk(disk))
            for kind in itertools.cycle(kinds):
                kind()
                if self.outcomes.total() % 10 == 0:
                    say(f"  {self.outcomes.total()} write failures")
                if self.outcomes.total() >= self.count:
                    break
        return self.outcomes

    # ------------------------------------------------------------ ways to fail

    def full_disk(self, disk: Path) -> None:
        """Another file takes the room that a save needs; it goes, or it stays."""
        training, run = self.draw.choice(self.bench.trainings), disk / "run"
        one_save = sum(path.stat().st_size for path in (training.run / LAST).iterdir())
        room, filler = self.draw.randrange(one_save), disk / "filler"

        def fill(child: Child) -> None:
            with contextlib.suppress(OSError), filler.open("ab") as file:
                file.write(bytes(max(0, _free_bytes(disk) - room)))

        self.disturb("full disk", training, run, fill, lambda child: filler.unlink())
        remove(run)

    def size_limit(self) -> None:
        """No file may grow past some size (EFBIG)."""
        training = self.draw.choice(self.bench.trainings)
        largest = max(path.stat().st_size for path in (training.run / LAST).iterdir())
        # Every other time it is one that metrics.jsonl and train.log meet, too.
        limit = self.draw.choice([self.draw.randrange(6000), self.draw.randrange(largest)])
        free = resource.RLIM_INFINITY

        def set_limit(child: Child, limit: int) -> None:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (limit, free))

        self.disturb(
            "file size limit",
            training,
            self.run,
            lambda child: set_limit(child, limit),
            lambda child: set_limit(child, free),
        )

    def read_only(self) -> None:
        """The run's folder loses its permission to write; the command is not root's."""

        def end_it(child: Child) -> None:
            self.run.chmod(0o755)

        self.run.mkdir()
        if os.geteuid() == 0:
            os.chown(self.run, _NOBODY, _NOBODY)
        self.disturb(
            "read-only folder",
            self.draw.choice(self.bench.trainings),
            self.run,
            lambda child: self.run.chmod(0o555),
            end_it,
            _as_nobody,
        )

    def failing_call(self) -> None:
        """The n-th call of a function of the system fails: once, or from then on."""
        training, call = self.draw.choice(self.bench.trainings), self.draw.choice(_CALLS)
        num_calls = self.calls_of(training)[call]
        first, error = self.draw.randrange(num_calls), self.draw.choice(_ERRORS)
        is_once = self.draw.random() < 0.5
        failing = _Failing(self.run, call, first, first + 1 if is_once else num_calls + 99, error)
        with self.bench.train(training, self.run, failing) as child:
            child.expect(0, 0 if is_once else 1)
            self.judge(f"failing {call}", training, self.run, child)

    def calls_of(self, training: Training) -> dict[str, int]:
        """How often an undisturbed training calls each function."""
        if training.name not in self.calls:
            counts = self.bench.folder / "counts"
            with self.bench.train(training, self.run, _Counted(self.run, counts)) as child:
                child.expect(0)
            remove(self.run)
            self.calls[training.name] = json.loads(counts.read_text())
        return self.calls[training.name]

    # ------------------------------------------------------------ what has to come of it

    def disturb(
        self,
        kind: str,
        training: Training,
        run: Path,
        begin: Callable[[Child], None],
        end: Callable[[Child], None],
        around: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        """Train, and have what disturbs begin at a random moment; it ends with the first warning,
        or when the command has given up."""
        is_short = self.draw.random() < 0.5
        with self.bench.train(training, run, around()) as child:
            child.wait_until(lambda: BEGUN in child.stderr)
            child.wait(self.draw.uniform(0.0, 0.6 * training.seconds))

            def is_over() -> bool:
                if _TRYING_AGAIN in child.stderr:
                    return True
                begin(child)  # again and again: what a save frees is to be no help
                return False

            if child.wait_until(is_over, pause=0.02) and is_short:
                end(child)
            child.expect(0, 0 if is_short else 1)
            if not is_short:
                end(child)
            self.judge(kind, training, run, child, around)

    def judge(
        self,
        kind: str,
        training: Training,
        run: Path,
        child: Child,
        around: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        """What is there is whole, the error says what went wrong, and going on leads to the end
        that undisturbed training has."""
        text = child.stderr
        check_directory(run)
        if child.exit_code == 0:
            how = "goes on after a warning" if _TRYING_AGAIN in text else "does no harm"
        else:
            how = "error, the old save whole" if has_save(run) else "error before the first save"
            check(str(run) in text.split("error: ")[-1], f"the error names no file:\n{text}")
            with self.bench.train(training, run, around()) as resumed:
                resumed.expect(0)
        check_sums(run / LAST)
        training.compare(run)
        self.outcomes[f"{kind}: {how}"] += 1
        remove(run)


class _Counted:
    """In the command's process: count the calls made for the run's files once training begins."""

    def __init__(self, run: Path, counts: Path | None) -> None:
        self.run = run
        self.counts = counts
        self.made: Counter[str] = Counter()

    def __enter__(self) -> None:
        for name in _CALLS:
            setattr(os, name, self._watched(name, getattr(os, name)))

    def __exit__(self, *_: object) -> None:
        if self.counts:
            self.counts.write_text(json.dumps({name: self.made[name] for name in _CALLS}))

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(what: Any, *others: Any, **options: Any) -> Any:
            if self._is_meant(what) and (self.run / "train.log").exists():
                self.made[name] += 1
                self._meet(name, what)
            return call(what, *others, **options)

        return watched

    def _is_meant(self, what: Any) -> bool:
        if isinstance(what, int):
            return True
        return Path(os.fsdecode(what)).is_relative_to(self.run)

    def _meet(self, name: str, what: Any) -> None:
        """What to do to the call."""


class _Failing(_Counted):
    """There, let some of them fail."""

    def __init__(self, run: Path, call: str, first: int, stop: int, error: int) -> None:
        super().__init__(run, None)
        self.call, self.first, self.stop, self.error = call, first, stop, error

    def _meet(self, name: str, what: Any) -> None:
        if name == self.call and self.first < self.made[name] <= self.stop:
            named = () if isinstance(what, int) else (str(what),)
            raise OSError(self.error, os.strerror(self.error), *named)


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    """In the command's process: no longer root, whom permissions do not hold."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    yield


@contextlib.contextmanager
def _small_disk(bench: Bench) -> Iterator[Path | None]:
    """A tmpfs with room for a run, where this process may mount one."""
    disk = bench.folder / "disk"
    disk.mkdir()
    size = sum(path.stat().st_size for path in bench.trainings[0].run.rglob("*"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={4 * size}", "torture", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        yield None
        return
    try:
        yield disk
    except Violation:
        shutil.copytree(disk, bench.folder / "disk-kept", symlinks=True)
        raise
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _free_bytes(disk: Path) -> int:
    free = os.statvfs(disk)
    return free.f_bavail * free.f_frsize
