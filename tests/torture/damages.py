"""Files of a finished run, damaged in every way that a disk, a copy or an editor knows."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch

from seq2seq_cli.errors import ModelFileError, RunDirectoryError
from seq2seq_cli.locate import BEST_MODEL
from seq2seq_cli.model.model_file import TranslatorFile, load_translator
from seq2seq_cli.training.checkpoint import DAMAGED, LAST, PREVIOUS, Checkpoint, load_checkpoint
from tests.torture.harness import CPU, Bench, Training, Violation, check, remove, say

_SUMS = "SHA256SUMS"
_FILES = (
    "model.safetensors",
    "optimizer.safetensors",
    "averages.safetensors",
    "state.json",
    _SUMS,
)
_ONE_IN = 6
"""So many of the damages meet the command itself, the others what it calls."""


# ---------------------------------------------------------------- what damages


def _truncate(data: bytes, other: bytes, draw: Random) -> bytes:
    return data[: draw.randrange(1, len(data))]


def _flip_a_bit(data: bytes, other: bytes, draw: Random) -> bytes:
    damaged = bytearray(data)
    # Headers, a few hundred bytes at the beginning, are hit as often as the rest.
    end = len(data) if draw.random() < 0.5 else min(len(data), 3000)
    damaged[draw.randrange(end)] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def _swap_parts(data: bytes, other: bytes, draw: Random) -> bytes:
    a, b, c, d = sorted(draw.randrange(len(data) + 1) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _zero_a_range(data: bytes, other: bytes, draw: Random) -> bytes:
    start = draw.randrange(len(data))
    stop = min(len(data), start + draw.choice([1, 16, 512, 4096, len(data)]))
    return data[:start] + bytes(stop - start) + data[stop:]


def _mix_with_another(data: bytes, other: bytes, draw: Random) -> bytes:
    """Bytes of another run's file at the same place."""
    start = draw.randrange(len(data))
    return data[:start] + other[start:]


def _append(data: bytes, other: bytes, draw: Random) -> bytes:
    return data + draw.choice([b"\0", b"\n", data])


def _empty(data: bytes, other: bytes, draw: Random) -> bytes:
    return b""


_DAMAGES: dict[str, Callable[[bytes, bytes, Random], bytes]] = {
    "truncated": _truncate,
    "bit flipped": _flip_a_bit,
    "parts swapped": _swap_parts,
    "range zeroed": _zero_a_range,
    "mixed with another run's": _mix_with_another,
    "something appended": _append,
    "emptied": _empty,
}
# These give a whole file, just not this one's: of a model by itself they are no damage.
_WRONG_FILES: dict[str, Callable[[bytes, bytes, Random], bytes | None]] = {
    "another run's": lambda data, other, draw: other,
    "deleted": lambda data, other, draw: None,
}
_ONCE = ("emptied", "another run's", "deleted")
"""No draw makes these another damage: a few are enough."""


# ---------------------------------------------------------------- what has to come of it


def damages(bench: Bench, count: int) -> Counter[str]:
    """How many damages of which kind had which outcome."""
    return _Damages(bench, count).all()


class _Damages:
    def __init__(self, bench: Bench, count: int) -> None:
        self.bench = bench
        self.count = count
        self.draw = bench.draw("damages")
        self.outcomes: Counter[str] = Counter()
        self.other = bench.another_run()
        self.run = bench.folder / "damaged"
        self.warnings: list[str] = []

    def all(self) -> Counter[str]:
        logger = logging.getLogger("seq2seq")
        logger.propagate = False
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.warnings.append(record.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        try:
            while self.outcomes.total() < self.count:
                for one in (self.best, self.last, self.last, self.both, self.previous):
                    one(self.draw.choice(self.bench.trainings))
                if self.outcomes.total() % 100 < 5:
                    say(f"  {self.outcomes.total()} damages")
        finally:
            logger.removeHandler(handler)
        return self.outcomes

    def fresh(self, training: Training) -> None:
        remove(self.run)
        shutil.copytree(training.run, self.run)
        self.warnings.clear()

    def damage(self, name: str, *, is_saves: bool) -> str:
        """Damage a file of the run, so that it says something else; returns how."""
        path = self.run / name
        before = path.read_bytes()
        other_path = self.other / name
        other = (other_path if other_path.exists() else self.run / BEST_MODEL).read_bytes()
        kinds = {**_DAMAGES, **_WRONG_FILES} if is_saves else _DAMAGES
        weights = [0.2 if kind in _ONCE else 1.0 for kind in kinds]
        while True:
            (kind,) = self.draw.choices(list(kinds), weights)
            after = kinds[kind](before, other, self.draw)
            if after is None:
                path.unlink()
                return kind
            if not _says_the_same(after, before):
                path.write_bytes(after)
                return kind

    @property
    def is_for_command(self) -> bool:
        return self.draw.randrange(_ONE_IN) == 0

    def best(self, training: Training) -> None:
        """A translator that is damaged is none."""
        self.fresh(training)
        kind = self.damage(BEST_MODEL, is_saves=False)
        path = self.run / BEST_MODEL
        if self.is_for_command:
            with self.bench.command("translate", "--model", path, "Guten Tag.") as child:
                text = child.expect(2)
            check(str(path) in text, f"the error does not name {path}:\n{text}")
            # Going on with this run does not need that file.
            if self.draw.random() < 0.5:
                self.goes_on(training, but="best_score")
            self.outcomes[f"model file, {kind}: error of the command"] += 1
            return
        try:
            load_translator(path, CPU)
        except ModelFileError:
            self.outcomes[f"model file, {kind}: error"] += 1
        else:
            raise Violation(f"{path}: {kind}, and it loads")

    def last(self, training: Training) -> None:
        """In place of a damaged save comes the one before."""
        self.fresh(training)
        name = self.draw.choice(_FILES)
        kind = self.damage(f"{LAST}/{name}", is_saves=True)
        if self.is_for_command:
            text = self.goes_on(training)
            check("is damaged" in text, f"{name}: {kind}, and train does not say so:\n{text}")
            training.compare(self.run)
            self.outcomes[f"last/, {kind}: the save before, by the command"] += 1
            return
        try:
            loaded = load_checkpoint(self.run, CPU)
        except (RunDirectoryError, ModelFileError) as error:
            raise Violation(f"{self.run}: {name}: {kind}: no fallback: {error}") from error
        check(any("is damaged" in text for text in self.warnings), f"{name}: {kind}: no warning")
        check((self.run / DAMAGED).is_dir(), f"{self.run / DAMAGED} is not there")
        check(
            _is_same(loaded, _saved(training, PREVIOUS)),
            f"{self.run}: {name}: {kind}: what comes is not the save before",
        )
        self.outcomes[f"last/, {kind}: the save before"] += 1

    def both(self, training: Training) -> None:
        """Without a whole save there is an error, and nothing changes."""
        self.fresh(training)
        names = [f"{save}/{self.draw.choice(_FILES)}" for save in (LAST, PREVIOUS)]
        kinds = [self.damage(name, is_saves=True) for name in names]
        before = _contents(self.run)
        if self.is_for_command:
            with self.bench.command("train", "--resume", "--run-dir", self.run) as child:
                check("is damaged" in child.expect(2), f"{names}: {kinds}: {child.stderr}")
        else:
            try:
                load_checkpoint(self.run, CPU)
            except RunDirectoryError:
                pass
            else:
                raise Violation(f"{self.run}: {names}: {kinds}: one of them loads")
        check(_contents(self.run) == before, f"{self.run}: {names}: {kinds}: it was changed")
        self.outcomes[f"both saves, {kinds[0]}: error"] += 1

    def previous(self, training: Training) -> None:
        """The save before is of no interest while the last one is whole."""
        self.fresh(training)
        kind = self.damage(f"{PREVIOUS}/{self.draw.choice(_FILES)}", is_saves=True)
        loaded = load_checkpoint(self.run, CPU)
        check(
            _is_same(loaded, _saved(training, LAST)),
            f"{self.run}: {kind}: the last save is whole, and is not what comes",
        )
        self.outcomes["last.previous/: the whole last save"] += 1

    def goes_on(self, training: Training, but: str = "") -> str:
        """Go on from the damaged run; the end has to be that of the undisturbed one, `but` a value
        of its state."""
        with self.bench.command("train", "--resume", "--run-dir", self.run) as child:
            text = child.expect(0)
        check((self.run / BEST_MODEL).exists(), f"{self.run}: no best model")
        ours, wanted = load_checkpoint(self.run, CPU), _saved(training, LAST)
        is_same = _is_same(ours, wanted, but)
        check(is_same, f"{self.run}: gone on with, the end is another one")
        return text


_SAVED: dict[Path, Checkpoint] = {}


def _saved(training: Training, save: str) -> Checkpoint:
    """What an undamaged save holds."""
    path = training.run / save
    if path not in _SAVED:
        # A folder that has this save alone.
        folder = training.run.with_name(f"{training.run.name}-{save}")
        shutil.copytree(path, folder / LAST)
        _SAVED[path] = load_checkpoint(folder, CPU)
    return _SAVED[path]


def _is_same(one: Checkpoint, other: Checkpoint, but: str = "") -> bool:
    return (
        all(map(_are_same, _tensors(one), _tensors(other)))
        and _translates_alike(one.translator, other.translator)
        and _without_clock(one) | {but: None} == _without_clock(other) | {but: None}
    )


def _tensors(checkpoint: Checkpoint) -> tuple[dict[str, torch.Tensor], ...]:
    weights = dict(checkpoint.translator.model.named_parameters())
    return {**weights}, checkpoint.optimizer, checkpoint.averages


def _are_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _translates_alike(one: TranslatorFile, other: TranslatorFile) -> bool:
    sides = ((one.source, other.source), (one.target, other.target))
    return one.config == other.config and all(
        ours.tokenizer.to_bytes() == theirs.tokenizer.to_bytes()
        and ours.vocabulary.to_bytes() == theirs.vocabulary.to_bytes()
        for ours, theirs in sides
    )


def _without_clock(checkpoint: Checkpoint) -> dict[str, object]:
    # The seconds in metrics.jsonl are not always as many digits.
    of_the_clock = ("seconds", "metrics_bytes")
    state = vars(checkpoint.state)
    return {key: value for key, value in state.items() if not key.endswith(of_the_clock)}


def _says_the_same(one: bytes, other: bytes) -> bool:
    """A line twice, or at another place, changes nothing about checksums."""
    lines = one.split(b"\n"), other.split(b"\n")
    return one == other or (len(lines[1]) < 7 and set(lines[0]) == set(lines[1]))


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and os.path.basename(path) != "train.log"  # noqa: PTH119
    }
