"""Beam search, and sampling: how a translation is found among all there could be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq_cli.data.batching import Batch
from seq2seq_cli.data.vocabulary import EOS_ID, PAD_ID, SOS_ID
from seq2seq_cli.decoding.ensemble import Ensemble

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
    attention: Tensor | None
    """(tokens, src_len), on the CPU: weights with which each was chosen"""

    def ranking(self, length_penalty: float) -> float:
        """What hypotheses of a sentence are ranked by: score / length ^ length_penalty."""
        return self.score / math.pow(len(self.token_ids) + 1, length_penalty)


@dataclass(frozen=True)
class SearchOptions:
    """How to search."""

    beam_size: int = 1
    length_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    temperature: float | None = None
    """Draw `beam_size` translations from the model's probabilities ^ (1 / temperature)."""
    with_attention: bool = False


class _Choice(NamedTuple):
    """Continuations that were chosen, each (sentences, slots)."""

    parents: Tensor
    """The slot that each one continues."""
    tokens: Tensor
    scores: Tensor
    """-inf: there is nothing in this slot."""


def length_limits(batch: Batch, max_length_ratio: float, max_length: int | None) -> list[int]:
    """Tokens that each sentence's translation may have: `max_length` where given, else
    `max_length_ratio` for each source token, but never fewer than 10."""
    if max_length is not None:
        return [max_length] * len(batch.src_lens)
    words = (batch.src_lens - 2).tolist()
    return [max(SHORTEST_LIMIT, math.ceil(max_length_ratio * count)) for count in words]


@torch.inference_mode()
def beam_search(
    ensemble: Ensemble,
    batches: Sequence[Batch],
    limits: Sequence[int],
    options: SearchOptions,
    draws: Sequence[np.random.Generator] = (),
) -> list[list[Hypothesis]]:
    """Translate a batch; returns up to `beam_size` hypotheses for each sentence, the best first.

    batches: one for each model, on its device; limits: tokens allowed for each sentence; draws:
    where a temperature is set, each sentence's source of chance.

    Of all continuations of a sentence's hypotheses the best `beam_size` are kept; one that ends
    leaves the beam, which is then narrower by one, and the search is over when it has no width left
    (Sutskever et al. 2014). Finished sentences leave the batch. <pad> and <sos> are never chosen.
    """
    device = batches[0].src_ids.device
    running = list(range(len(limits)))
    found: list[list[Hypothesis]] = [[] for _ in limits]
    # A search begins with one empty hypothesis; draws are apart from the first token on.
    width = options.beam_size if options.temperature else 1
    first = torch.arange(len(limits), device=device).repeat_interleave(width)
    decodings = ensemble.encode(batches)
    if width > 1:
        decodings = [decoding.select(first) for decoding in decodings]
    scores = torch.zeros(len(limits), width, device=device)
    history = torch.full((len(first), 1), SOS_ID, device=device)
    looks: Tensor | None = None

    for length in count():
        log_probs, decodings, weights = ensemble.step(history[:, -1], decodings)
        log_probs[:, PAD_ID] = log_probs[:, SOS_ID] = -math.inf
        if options.no_repeat_ngram_size:
            _forbid_repeats(log_probs, history[:, 1:], options.no_repeat_ngram_size)
        log_probs = log_probs.view(len(running), width, -1)
        full = [index for index, sentence in enumerate(running) if limits[sentence] == length]
        would_go_on = {index: log_probs[index].argmax(dim=1) != EOS_ID for index in full}
        for index in full:
            log_probs[index, :, :EOS_ID] = log_probs[index, :, EOS_ID + 1 :] = -math.inf

        if options.temperature:
            uniform = np.stack([draws[sentence].random(options.beam_size) for sentence in running])
            choice = _draw(scores, log_probs, torch.from_numpy(uniform), options.temperature)
        else:
            left = [options.beam_size - len(found[sentence]) for sentence in running]
            choice = _best(scores, log_probs, left)
        rows = _row_numbers(choice.parents, width)
        history = torch.cat([history[rows], choice.tokens.view(-1, 1)], dim=1)
        if weights is not None and options.with_attention:
            look = weights[rows].unsqueeze(1)
            looks = look if looks is None else torch.cat([looks[rows], look], dim=1)

        has_ended = (choice.tokens == EOS_ID) & choice.scores.isfinite()
        num_slots = choice.tokens.size(1)
        ended = has_ended.flatten().nonzero().squeeze(1)
        if len(ended):
            words, sums = history[ended].tolist(), choice.scores.flatten()[ended].tolist()
            parents = choice.parents.flatten()[ended].tolist()
            attention = None if looks is None else looks[ended, :-1].cpu()
            for place, (row, parent) in enumerate(zip(ended.tolist(), parents, strict=True)):
                sentence = row // num_slots
                hypothesis = Hypothesis(
                    words[place][1:-1],
                    sums[place],
                    sentence in would_go_on and bool(would_go_on[sentence][parent]),
                    None if attention is None else attention[place],
                )
                found[running[sentence]].append(hypothesis)

        scores = choice.scores.masked_fill(has_ended, -math.inf)
        num_alive = scores.isfinite().sum(dim=1)
        going_on = num_alive.nonzero().squeeze(1)
        if not len(going_on):
            break
        has_left = len(going_on) < len(running)
        running = [running[sentence] for sentence in going_on.tolist()]
        width = int(num_alive.max())
        # The living to the front: slots that none of the sentences needs any more are given up.
        scores, slots = scores[going_on].topk(width)
        kept = (going_on.unsqueeze(1) * num_slots + slots).flatten()
        history = history[kept]
        looks = None if looks is None else looks[kept]
        sentences = going_on if has_left else None
        decodings = [decoding.select(rows[kept], sentences) for decoding in decodings]
    penalty = options.length_penalty
    return [sorted(ended, key=lambda h: h.ranking(penalty), reverse=True) for ended in found]


def _best(scores: Tensor, log_probs: Tensor, left: Sequence[int]) -> _Choice:
    """The best continuations of each sentence, as many as `left` says.

    scores: (sentences, width); log_probs: (sentences, width, vocabulary).
    """
    most = max(left)
    # None but a hypothesis' own best can be among the best of all.
    own, tokens = log_probs.topk(min(most, log_probs.size(2)))
    continued = (scores.unsqueeze(2) + own).flatten(1)
    best, places = continued.topk(min(most, continued.size(1)))
    allowed = torch.tensor(left, device=best.device).unsqueeze(1)
    beyond = torch.arange(best.size(1), device=best.device) >= allowed
    return _Choice(
        places // own.size(2),
        tokens.flatten(1).gather(1, places),
        best.masked_fill(beyond, -math.inf),
    )


def _draw(scores: Tensor, log_probs: Tensor, uniform: Tensor, temperature: float) -> _Choice:
    """One continuation of each hypothesis, drawn by its probability ^ (1 / temperature).

    uniform: (sentences, beam_size), numbers in [0, 1), on the CPU; scores and log_probs as in
    `_best`.
    """
    width = scores.size(1)
    # Below the likeliest, so that no temperature makes all of them infinite. On the CPU, where
    # there always is the precision that a sum over a whole vocabulary needs.
    below = (log_probs - log_probs.amax(dim=2, keepdim=True)).cpu().double()
    sums = (below / temperature).softmax(dim=2).cumsum(dim=2)
    # Strictly above: what has no probability is never drawn.
    tokens = (sums <= uniform[:, :width, None] * sums[:, :, -1:]).sum(dim=2).to(scores.device)
    parents = torch.arange(width, device=scores.device).expand_as(scores)
    return _Choice(parents, tokens, scores + log_probs.gather(2, tokens.unsqueeze(2)).squeeze(2))


def _row_numbers(slots: Tensor, width: int) -> Tensor:
    """Numbers of the rows that hold these slots of each sentence, (sentences, any) to flat."""
    begins = torch.arange(len(slots), device=slots.device).unsqueeze(1) * width
    return (begins + slots).flatten()


def _forbid_repeats(log_probs: Tensor, history: Tensor, size: int) -> None:
    """Make a token impossible that would complete `size` tokens in a row for the second time.

    log_probs: (rows, vocabulary); history: (rows, tokens so far).
    """
    if history.size(1) < size:
        return
    runs = history.unfold(1, size, 1)  # (rows, runs, size)
    last = history[:, history.size(1) - size + 1 :].unsqueeze(1)
    is_begun = (runs[:, :, :-1] == last).all(dim=2)
    rows, _ = is_begun.nonzero(as_tuple=True)
    log_probs[rows, runs[:, :, -1][is_begun]] = -math.inf
