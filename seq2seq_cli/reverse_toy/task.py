"""What the lesson and the sweep ask of either task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import torch

from seq2seq_cli.config.reverse_toy import NumbersConfig, ReverseToyConfig, SymbolsConfig
from seq2seq_cli.model.scoring import Losses
from seq2seq_cli.reverse_toy.sequences import Digits, Sequences

NUM_REPORTS = 10
"""Times that a training of some length is looked at, or a few more."""
WARMUP_STEPS = 100
DIVERGED = (
    "training has diverged, its error is no number: lower learning_rate or set gradient_clip_norm"
)


class Progress(NamedTuple):
    """How a training stands, measured on sequences that it never sees."""

    step: int
    losses: Losses


class Task(Protocol):
    """A model with what it learns from and what it is tested on."""

    unit: str
    """Of the losses."""

    def handover(self, sequence: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Shapes of all that the decoder is given of one sequence."""

    def train(self, on_progress: Callable[[Progress], None]) -> None:
        """Train to the end of the config's steps. Raises TrainingError when the loss is none."""

    def losses(self, blocks: Mapping[int, Digits]) -> Losses:
        """Of sequences by their length, fed the true digits and fed its own."""

    def outputs(self, rows: Digits | Sequence[Sequence[int]]) -> list[list[Any]]:
        """What the model writes, fed its own output, for rows of one length."""

    def answer(self, output: Sequence[Any]) -> list[Any]:
        """The digits that an output stands for."""


def make_task(config: ReverseToyConfig, data: Sequences, device: torch.device) -> Task:
    """The config's model, untrained."""
    if isinstance(config, NumbersConfig):
        from seq2seq_cli.reverse_toy.numbers_task import NumbersTask

        return NumbersTask(config, data, device)
    from seq2seq_cli.reverse_toy.symbols_task import SymbolsTask

    assert isinstance(config, SymbolsConfig)
    return SymbolsTask(config, data, device)


@dataclass(frozen=True)
class Answer:
    """What a model wrote for one sequence."""

    source: list[int]
    target: list[int]
    output: list[Any]
    """Floats of the numbers task, digits (or `<unk>`) of the other."""
    is_exact: bool
    """Whether every digit is right; numbers count as the whole ones nearest to them."""


def answers(task: Task, rows: Digits | Sequence[Sequence[int]]) -> list[Answer]:
    """What the model writes for rows of one length, fed its own output."""
    found = []
    for row, output in zip(rows, task.outputs(rows), strict=True):
        source = [int(digit) for digit in row]
        target = source[::-1]
        found.append(Answer(source, target, output, task.answer(output) == target))
    return found


@dataclass(frozen=True)
class Scores:
    """How a model does on sequences that it never saw."""

    losses: Losses
    answers: list[Answer]
    """One for each, short ones first."""

    @property
    def exact_match(self) -> float:
        """Share of the sequences that come out without a fault, 0 to 1."""
        return share_exact(self.answers)

    def by_length(self) -> dict[int, tuple[int, float]]:
        """For each length, how many sequences there are and what share is exact."""
        groups = groupby(self.answers, key=lambda answer: len(answer.source))
        found = {length: list(group) for length, group in groups}
        return {length: (len(group), share_exact(group)) for length, group in found.items()}

    def as_json(self) -> dict[str, Any]:
        """The part that a lesson and each model of a sweep have in common."""
        return {
            "exact_match": self.exact_match,
            "teacher_forced_loss": self.losses.loss,
            "free_running_loss": self.losses.free_running_loss,
            "by_length": [
                {"length": length, "sequences": count, "exact_match": share}
                for length, (count, share) in self.by_length().items()
            ],
        }


def share_exact(answered: Sequence[Answer]) -> float:
    """Share of the answers, 0 to 1."""
    return sum(answer.is_exact for answer in answered) / len(answered)


def score(task: Task, data: Sequences) -> Scores:
    """Test a model."""
    found = [answer for rows in data.test.values() for answer in answers(task, rows)]
    return Scores(task.losses(data.test), found)
