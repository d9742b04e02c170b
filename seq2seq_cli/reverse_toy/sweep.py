"""The bottleneck: which lengths fit through context vectors of which size."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from seq2seq_cli.config.model import GeneralAttention, NoAttention
from seq2seq_cli.config.reverse_toy import (
    MAX_LENGTH,
    NUMBERS_SWEEP_LENGTH,
    Lengths,
    NumbersConfig,
    ReverseToyConfig,
    SymbolsConfig,
)
from seq2seq_cli.console import progress_bar, table
from seq2seq_cli.device import resolve_device
from seq2seq_cli.errors import UsageError
from seq2seq_cli.reverse_toy.sequences import draw_sequences
from seq2seq_cli.reverse_toy.task import Progress, Scores, make_task, score

HIDDEN_SIZES = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class SweptModel:
    """One model of the sweep."""

    hidden_size: int
    attention: str
    """Its kind; none."""
    scores: Scores
    seconds: float

    @property
    def name(self) -> str:
        """`64`, or `64+` with attention."""
        return f"{self.hidden_size}{'' if self.attention == 'none' else '+'}"


@dataclass(frozen=True)
class Sweep:
    config: ReverseToyConfig
    """Of all its models but for what changes from one to the next."""
    models: list[SweptModel]
    seconds: float

    def as_table(self) -> str:
        """Shares of exact answers in percent, a row for each length."""
        shares = [model.scores.by_length() for model in self.models]
        rows = [["length", *(model.name for model in self.models)]]
        for length in shares[0]:
            is_trained = length in self.config.length.as_range()
            label = f"{length}" if is_trained else f"{length}, not trained on"
            rows.append([label, *(f"{100 * found[length][1]:.0f}" for found in shares)])
        kinds = {model.attention for model in self.models} - {"none"}
        legend = f" (+: with {kinds.pop()} attention)" if kinds else ""
        return f"exact answers in % by length and hidden size{legend}\n{table(rows)}"

    def as_json(self) -> dict[str, Any]:
        """As `reverse-toy --sweep --json` prints it."""
        return {
            "task": self.config.task,
            "trained_lengths": list(self.config.length),
            "models": [
                {
                    "hidden_size": model.hidden_size,
                    "attention": model.attention,
                    **model.scores.as_json(),
                    "seconds": model.seconds,
                }
                for model in self.models
            ],
            "seconds": self.seconds,
        }


def run_sweep(config: ReverseToyConfig) -> Sweep:
    """Train each hidden size on the same lengths, symbols without and with attention, and test up
    to twice the longest.

    Raises UsageError where the config names a hidden size; DeviceError, TrainingError.
    """
    if "hidden_size" in config.model_fields_set:
        sizes = ", ".join(map(str, HIDDEN_SIZES))
        raise UsageError(f"hidden_size has no effect on a sweep, which trains {sizes}")
    begin = time.perf_counter()
    device = resolve_device(config.device)
    length = config.length
    if isinstance(config, NumbersConfig) and "length" not in config.model_fields_set:
        length = NUMBERS_SWEEP_LENGTH
    twice = min(2 * length.longest, MAX_LENGTH)
    tested = config.test_length or Lengths(length.shortest, twice)
    config = config.model_copy(update={"length": length, "test_length": tested})
    data = draw_sequences(config)
    variants: list[dict[str, Any]] = [{}]
    if isinstance(config, SymbolsConfig):
        chosen = config.attention
        with_attention = GeneralAttention() if chosen.kind == "none" else chosen
        variants = [{"attention": NoAttention()}, {"attention": with_attention}]
    models: list[SweptModel] = []
    num_models = len(variants) * len(HIDDEN_SIZES)
    with progress_bar(num_models * config.steps, " step", "sweep") as bar:

        def move(progress: Progress) -> None:
            bar.update(len(models) * config.steps + progress.step - bar.n)

        for variant in variants:
            for size in HIDDEN_SIZES:
                bar.set_description(f"sweep, hidden size {size}")
                started = time.perf_counter()
                changed = config.model_copy(update={"hidden_size": size, **variant})
                task = make_task(changed, data, device)
                task.train(move)
                kind = variant["attention"].kind if variant else "none"
                seconds = time.perf_counter() - started
                models.append(SweptModel(size, kind, score(task, data), seconds))
    return Sweep(config, models, time.perf_counter() - begin)
