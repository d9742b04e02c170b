"""Greedy search against the plain definition."""

import pytest
import torch

from seq2seq_cli.data.vocabulary import EOS_ID, PAD_ID, SOS_ID
from seq2seq_cli.decoding.greedy import greedy_search, length_limits
from seq2seq_cli.model.seq2seq import Seq2Seq
from tests.unit.model.support import ARCHITECTURES, row, small_batch, small_model


@torch.no_grad()
def plain_greedy(model: Seq2Seq, index: int, limit: int) -> tuple[list[int], float, bool]:
    """One sentence, one step at a time."""
    _, state = model.encode(row(small_batch(), index))
    last, score = torch.tensor([SOS_ID]), 0.0
    ids: list[int] = []
    while True:
        log_probs, state = model.step(last, state)
        allowed = log_probs[0].clone()
        allowed[[PAD_ID, SOS_ID]] = -torch.inf
        best = int(allowed.argmax())
        if best == EOS_ID or len(ids) == limit:
            return ids, score + float(log_probs[0, EOS_ID]), best != EOS_ID
        ids.append(best)
        score += float(log_probs[0, best])
        last = torch.tensor([best])


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("seed", range(4))
def test_a_batch_gives_what_each_sentence_gives_alone(name: str, seed: int) -> None:
    model = small_model(ARCHITECTURES[name], seed)
    limits = [3, 12, 5, 0, 8]

    hypotheses = greedy_search(model, small_batch(), limits)

    for index, hypothesis in enumerate(hypotheses):
        ids, score, capped = plain_greedy(model, index, limits[index])
        assert hypothesis.token_ids == ids
        assert hypothesis.score == pytest.approx(score, rel=1e-4)
        assert hypothesis.length_capped == capped


def test_some_sentences_end_by_themselves_and_some_at_the_limit() -> None:
    ends = [
        hypothesis.length_capped
        for seed in range(20)
        for hypothesis in greedy_search(
            small_model(ARCHITECTURES["deep"], seed), small_batch(), [6] * 5
        )
    ]
    assert set(ends) == {True, False}  # else the tests above compare only one kind


def test_limits_follow_the_source_but_never_fall_below_ten() -> None:
    batch = small_batch(src_lens=(3, 7, 20), trg_lens=(1, 1, 1))

    assert length_limits(batch, 1.5, None) == [10, 11, 30]
    assert length_limits(batch, 1.5, 4) == [4, 4, 4]
