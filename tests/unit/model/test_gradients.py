"""Gradients of whole models: those of the plain loop, in float64 and in bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from seq2seq_cli.config.model import ModelConfig
from seq2seq_cli.data.batching import Batch
from seq2seq_cli.model.seq2seq import Seq2Seq
from tests.unit.model.reference import read, write
from tests.unit.model.support import (
    ARCHITECTURES,
    PLAIN_AND_FULL,
    coins,
    row,
    small_batch,
    small_config,
    small_model,
)

MODELS = (
    ARCHITECTURES
    | PLAIN_AND_FULL
    | {
        f"{place}, tied all": small_config("additive", place, tied="all", num_layers=2)
        for place in ("before", "input_feeding", "deep", "every_layer")
    }
)
PATTERNS = {"forced": [True], "mixed": [True, False, False, True]}
"""Whether the true token is fed."""

BATCH = small_batch(src_lens=(3, 6, 1, 3), trg_lens=(2, 5, 1, 4))


def gradients(model: Seq2Seq, loss: Tensor) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(loss, [*parameters.values()])
    return dict(zip(parameters, found, strict=True))


def loss_of(model: Seq2Seq, batch: Batch, forced: Tensor, smoothing: float) -> Tensor:
    loss: Tensor = model(batch, forced, label_smoothing=smoothing)[0]
    return loss


def plain_loss(
    model: Seq2Seq, config: ModelConfig, batch: Batch, pattern: list[bool], smoothing: float
) -> Tensor:
    """Of the equations, one sentence and one token at a time."""
    weights = model.state_dict(keep_vars=True)
    losses = []
    for index in range(len(batch.src_ids)):
        one = row(batch, index)
        encoded = read(weights, config, one.src_ids[0].tolist())
        fed, *wanted = one.trg_ids[0].tolist()
        written = [fed]
        for step, true in enumerate(wanted[:-1]):
            if pattern[step % len(pattern)]:
                written.append(true)
            else:
                with torch.no_grad():
                    log_probs, _ = write(weights, config, encoded, written)
                written.append(int(log_probs[-1].argmax()))
        log_probs, _ = write(weights, config, encoded, written)
        losses.append(
            F.cross_entropy(
                log_probs, torch.tensor(wanted), reduction="sum", label_smoothing=smoothing
            )
        )
    return torch.stack(losses).sum()


@pytest.mark.parametrize(("pattern", "smoothing"), [("forced", 0.1), ("mixed", 0.0)])
@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_they_are_the_plain_loops_to_ten_digits(
    config: ModelConfig, pattern: str, smoothing: float
) -> None:
    model = small_model(config).double()
    steps = PATTERNS[pattern]

    loss = loss_of(model, BATCH, coins(BATCH, steps), smoothing)
    found = gradients(model, loss)

    plain = plain_loss(model, config, BATCH, steps, smoothing)
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0.0)
    for name, expected in gradients(model, plain).items():
        assert (found[name] - expected).norm() <= 1e-10 * expected.norm(), name


@torch.no_grad()
def calm_model(config: ModelConfig) -> Seq2Seq:
    """As a training begins; the word that it feeds itself hangs on no rounding."""
    model = small_model(config)
    for name, parameter in model.named_parameters():
        if ".norms." not in name:
            parameter.mul_(0.25)
    model.get_parameter("decoder.output.bias")[7] += 3.0
    return model


@pytest.mark.parametrize("pattern", ["forced", "mixed"])
@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_in_bfloat16_they_are_close(config: ModelConfig, pattern: str) -> None:
    """To those of float64, which are the plain loop's."""
    model, exact = calm_model(config), calm_model(config).double()
    forced = coins(BATCH, PATTERNS[pattern])

    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(model, BATCH, forced, 0.1)
    found = gradients(model, loss)

    assert loss.dtype == torch.float32
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    expected_loss = loss_of(exact, BATCH, forced, 0.1)
    expected = gradients(exact, expected_loss)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=5e-3)
    difference = [found[name] - gradient for name, gradient in expected.items()]
    assert norm(difference) < 2e-2 * norm([*expected.values()])


def norm(tensors: list[Tensor]) -> float:
    return float(torch.cat([tensor.flatten() for tensor in tensors]).norm())
