"""What the decoder is fed: the true tokens, its own, or some of both."""

import itertools

import pytest
import torch

from seq2seq_cli.config.model import ModelConfig
from tests.unit.model.support import (
    ARCHITECTURES,
    ATTENTIONS,
    PLAIN_AND_FULL,
    coins,
    row,
    small_batch,
    small_config,
    small_model,
    step_by_step_losses,
)

MODELS = ARCHITECTURES | PLAIN_AND_FULL
architectures = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
kinds_and_places = pytest.mark.parametrize(("kind", "place"), ATTENTIONS)


@torch.no_grad()
@architectures
def test_any_mix_of_forced_and_free_steps_is_the_plain_loop(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch(trg_lens=(3, 2, 3, 1, 3))

    sums = set()
    for steps in itertools.product([True, False], repeat=3):
        forced = coins(batch, steps)
        losses, _ = model(batch, forced, reduction="none")
        torch.testing.assert_close(losses, step_by_step_losses(model, batch, forced))
        sums.add(round(losses.sum().item(), 4))
    assert len(sums) > 1  # else feeding itself never changed what the model was fed


@torch.no_grad()
@architectures
def test_coins_for_each_token_are_the_plain_loop(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()
    random = torch.Generator().manual_seed(1)
    for ratio in (0.2, 0.5, 0.95):
        forced = torch.rand(5, batch.trg_ids.size(1) - 2, generator=random) < ratio
        losses, _ = model(batch, forced, reduction="none")
        torch.testing.assert_close(losses, step_by_step_losses(model, batch, forced))


@torch.no_grad()
@architectures
def test_never_forced_is_free_running(config: ModelConfig) -> None:
    """Fed its own best guesses from <sos> on, past a predicted <eos>."""
    model = small_model(config)
    batch = small_batch()
    per_sentence, _ = model(batch, coins(batch, [False]), reduction="none")

    expected = []
    for one in (row(batch, index) for index in range(5)):
        fed, decoding = one.trg_ids[:, 0], model.encode(one)
        for wanted in one.trg_ids[0, 1:].tolist():
            log_probs, decoding, _ = model.step(fed, decoding)
            expected.append(-log_probs[0, wanted])
            fed = log_probs.argmax(dim=1)

    torch.testing.assert_close(per_sentence, torch.stack(expected))


@torch.no_grad()
@architectures
def test_all_forced_is_teacher_forcing(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    assert torch.equal(model(batch, coins(batch, [True]))[0], model(batch)[0])


@torch.no_grad()
def test_sentences_with_the_same_coins_may_share_them() -> None:
    model = small_model(ARCHITECTURES["deep"])
    batch = small_batch()
    pattern = [True, False, False]
    shared, repeated = coins(batch, pattern), coins(batch, *[pattern] * 5)
    assert torch.equal(model(batch, shared)[0], model(batch, repeated)[0])


@torch.no_grad()
@kinds_and_places
def test_targets_of_one_token_need_no_coins(kind: str, place: str) -> None:
    model = small_model(small_config(kind, place))
    batch = small_batch(src_lens=(4, 2), trg_lens=(0, 0))

    loss, count = model(batch, torch.zeros(1, 0, dtype=torch.bool))

    torch.testing.assert_close(loss, step_by_step_losses(model, batch).sum())
    assert count == 2


@kinds_and_places
def test_gradients_of_a_mixed_unroll_are_those_of_the_plain_loop(kind: str, place: str) -> None:
    model = small_model(small_config(kind, place, tied="target"))
    batch = small_batch()
    forced = coins(batch, [True, False, True, True, False, False])
    parameters = dict(model.named_parameters())
    plain_loss = step_by_step_losses(model, batch, forced).sum()

    ours = torch.autograd.grad(model(batch, forced)[0], [*parameters.values()])
    plain = torch.autograd.grad(plain_loss, [*parameters.values()])

    for name, mine, theirs in zip(parameters, ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, msg=name)
