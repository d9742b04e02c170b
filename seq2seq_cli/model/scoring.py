"""The loss of a whole corpus, for validation and evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from seq2seq_cli.data.batching import Batch
from seq2seq_cli.model.seq2seq import Seq2Seq


class Losses(NamedTuple):
    """In nats per target token, <eos> counted."""

    loss: float
    """Every step is fed the reference (teacher forcing)."""
    free_running_loss: float
    """Every step is fed the model's own words and still scored against the reference."""


@contextmanager
def evaluating(models: Iterable[nn.Module]) -> Iterator[None]:
    """Inside the block, models drop nothing out."""
    were = [(model, model.training) for model in models]
    for model, _ in were:
        model.eval()
    try:
        yield
    finally:
        for model, was_training in were:
            model.train(was_training)


@torch.inference_mode()
def corpus_losses(model: Seq2Seq, batches: Iterable[Batch], device: torch.device) -> Losses:
    """Both losses of all batches together, in float32 and without dropout."""
    sums, num_tokens = [0.0, 0.0], 0
    with evaluating([model]):
        for batch in batches:
            on_device = batch.to(device)
            never_forced = torch.zeros(1, max(0, batch.trg_ids.size(1) - 2), dtype=torch.bool)
            for kind, forced in enumerate([None, never_forced]):
                loss_sum, count = model(on_device, forced)
                sums[kind] += loss_sum.item()
            num_tokens += count
    return Losses(*(total / num_tokens for total in sums))


def perplexity(loss: float) -> float:
    """exp(loss); infinite where that leaves the range of a float."""
    return math.exp(loss) if loss < 700.0 else math.inf
