"""What a training would take: a few real steps, measured."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seq2seq_cli.console import duration, size, table
from seq2seq_cli.device import peak_memory_bytes
from seq2seq_cli.training.trainer import Trainer

MAX_STEPS = 30
MAX_SECONDS = 15.0


@dataclass(frozen=True)
class DryRun:
    parameters: int
    parts: dict[str, int]
    source_vocabulary: int
    target_vocabulary: int
    train_pairs: int
    valid_pairs: int
    dropped_empty: int
    dropped_too_long: int
    steps: int | None
    target_tokens_per_second: float
    estimated_seconds: float
    """Of training steps; validations come on top."""
    peak_memory_bytes: int | None
    device: str
    precision: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_table(self) -> str:
        """The same for people."""
        dropped = f"{self.dropped_empty:,} empty, {self.dropped_too_long:,} too long"
        memory = size(self.peak_memory_bytes) if self.peak_memory_bytes else "unknown"
        rows = [
            ("training pairs", f"{self.train_pairs:,}"),
            ("  dropped", dropped),
            ("validation pairs", f"{self.valid_pairs:,}"),
            ("source vocabulary", f"{self.source_vocabulary:,}"),
            ("target vocabulary", f"{self.target_vocabulary:,}"),
            ("parameters", f"{self.parameters:,}"),
            *((f"  {name}", f"{count:,}") for name, count in self.parts.items()),
            ("steps", f"{self.steps:,}" if self.steps else "until the time is up"),
            ("target tokens per second", f"{self.target_tokens_per_second:,.0f}"),
            ("estimated training time", duration(self.estimated_seconds)),
            ("peak memory", memory),
            ("device", f"{self.device}, {self.precision}"),
        ]
        return table(rows)


def dry_run(trainer: Trainer) -> DryRun:
    """Train some steps, beginning with the largest batch (the one that takes the most memory).

    The trainer is used up by it: its weights have moved.
    """
    config, data = trainer.config, trainer.data
    pairs = data.train.pairs
    batches = trainer.epoch_batches(1)
    source, target = pairs.source.lengths + 2, pairs.target.lengths + 2
    widths = [len(indices) * int(np.maximum(source, target)[indices].max()) for indices in batches]
    largest = batches[int(np.argmax(widths))]
    steps = trainer.plan.steps
    if steps:
        # Steps in the middle of the plan: what teacher forcing costs changes on the way.
        trainer.state.step = steps // 2
    num_tokens, seconds = 0, 0.0
    for number, indices in enumerate([largest, *batches[:MAX_STEPS]]):
        begin = time.perf_counter()
        result = trainer.train_step(trainer.train_batch(indices, epoch=1, number=number))
        result.loss_sum.item()  # waits for a GPU
        if number:  # the first step also warms up
            num_tokens += result.num_tokens
            seconds += time.perf_counter() - begin
        if seconds > MAX_SECONDS:
            break
    rate = num_tokens / seconds
    per_step = pairs.num_target_tokens / trainer.plan.steps_per_epoch
    estimates = [per_step * steps / rate] if steps else []
    if config.training.max_minutes:
        estimates.append(config.training.max_minutes * 60)
    return DryRun(
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        parts=trainer.model.parts(),
        source_vocabulary=len(data.source.vocabulary),
        target_vocabulary=len(data.target.vocabulary),
        train_pairs=len(pairs),
        valid_pairs=len(data.valid.pairs),
        dropped_empty=data.train.num_empty,
        dropped_too_long=data.train.num_too_long,
        steps=steps,
        target_tokens_per_second=rate,
        estimated_seconds=min(estimates),
        peak_memory_bytes=peak_memory_bytes(trainer.device),
        device=str(trainer.device),
        precision=str(trainer.precision).removeprefix("torch."),
    )
