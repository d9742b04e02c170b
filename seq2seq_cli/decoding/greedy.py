"""Greedy search: the most probable next token, until <eos>."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from seq2seq_cli.data.batching import Batch
from seq2seq_cli.data.vocabulary import EOS_ID, PAD_ID, SOS_ID
from seq2seq_cli.model.lstm import LSTMState
from seq2seq_cli.model.seq2seq import Seq2Seq

SHORTEST_LIMIT = 10


@dataclass(frozen=True)
class Hypothesis:
    """A translation as ids."""

    token_ids: list[int]
    """Without <sos> and <eos>."""
    score: float
    """Summed log-probability, in nats, of the tokens and of <eos>."""
    length_capped: bool
    """Cut off at the limit, where the model would have gone on."""


def length_limits(batch: Batch, max_length_ratio: float, max_length: int | None) -> list[int]:
    """Tokens that each sentence's translation may have: `max_length` where given, else
    `max_length_ratio` for each source token, but never fewer than 10."""
    if max_length is not None:
        return [max_length] * len(batch.src_lens)
    words = (batch.src_lens - 2).tolist()
    return [max(SHORTEST_LIMIT, math.ceil(max_length_ratio * count)) for count in words]


@torch.inference_mode()
def greedy_search(model: Seq2Seq, batch: Batch, limits: list[int]) -> list[Hypothesis]:
    """Translate a batch; finished sentences leave it. <pad> and <sos> are never chosen.

    batch: on the model's device; limits: tokens allowed for each sentence.
    """
    device = batch.src_ids.device
    _, state = model.encode(batch)
    running = list(range(len(limits)))
    tokens: list[list[int]] = [[] for _ in limits]
    scores = [0.0] * len(limits)
    capped = [False] * len(limits)
    last = torch.full((len(limits),), SOS_ID, device=device)
    while running:
        log_probs, state = model.step(last, state)
        log_probs[:, [PAD_ID, SOS_ID]] = -math.inf
        best_scores, last = log_probs.max(dim=1)
        going_on = []
        for row, (sentence, token, score) in enumerate(
            zip(running, last.tolist(), best_scores.tolist(), strict=True)
        ):
            if token != EOS_ID and len(tokens[sentence]) == limits[sentence]:
                # The sentence ends here, and its score is that of ending here.
                capped[sentence] = True
                scores[sentence] += log_probs[row, EOS_ID].item()
                continue
            scores[sentence] += score
            if token != EOS_ID:
                tokens[sentence].append(token)
                going_on.append(row)
        if len(going_on) < len(running):
            running = [running[row] for row in going_on]
            kept = torch.tensor(going_on, device=device, dtype=torch.long)
            last = last[kept]
            state = LSTMState(state.hidden[:, kept], state.cell[:, kept])
    return [
        Hypothesis(ids, score, cut) for ids, score, cut in zip(tokens, scores, capped, strict=True)
    ]
