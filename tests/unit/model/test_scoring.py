"""Both losses of a corpus against the plain loop over its sentences."""

import math

import pytest
import torch

from seq2seq_cli.config.model import ModelConfig
from seq2seq_cli.model.scoring import corpus_losses, perplexity
from tests.unit.model.support import (
    PLAIN_AND_FULL,
    coins,
    row,
    small_batch,
    small_config,
    small_model,
    step_by_step_losses,
)

CPU = torch.device("cpu")


@torch.no_grad()
@pytest.mark.parametrize("config", PLAIN_AND_FULL.values(), ids=PLAIN_AND_FULL.keys())
def test_losses_are_means_over_the_tokens_of_all_batches(config: ModelConfig) -> None:
    model = small_model(config)
    batches = [small_batch(), small_batch(src_lens=(2, 9), trg_lens=(5, 3))]
    batches.append(small_batch(src_lens=(4,), trg_lens=(0,)))  # <eos> alone: no coin to throw
    alone = [row(batch, index) for batch in batches for index in range(len(batch.src_ids))]

    losses = corpus_losses(model, batches, CPU)

    forced = torch.cat([step_by_step_losses(model, one) for one in alone])
    free = torch.cat([step_by_step_losses(model, one, coins(one, [False])) for one in alone])
    assert losses.loss == pytest.approx(forced.mean().item(), rel=1e-5)
    assert losses.free_running_loss == pytest.approx(free.mean().item(), rel=1e-5)
    assert losses.loss != losses.free_running_loss


@pytest.mark.parametrize("training", [True, False])
def test_dropout_rests_and_the_mode_stays(training: bool) -> None:
    dropout = {"embedding": 0.5, "hidden": 0.5, "output": 0.5, "word": 0.5}
    model = small_model(small_config("dot", dropout=dropout))
    quiet = corpus_losses(model, [small_batch()], CPU)

    model.train(training)

    assert corpus_losses(model, [small_batch()], CPU) == quiet
    assert model.training == training


def test_perplexity_is_the_exponential_while_there_is_one() -> None:
    assert perplexity(math.log(7.0)) == pytest.approx(7.0)
    assert perplexity(1e4) == math.inf
