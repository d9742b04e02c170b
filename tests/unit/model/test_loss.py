"""The loss against its definition."""

import pytest
import torch
from torch import Tensor, nn

from seq2seq_cli.model.loss import output_loss

TARGETS = torch.tensor([[5, 3, 0, 0], [2, 4, 1, 3], [3, 0, 0, 0]])


def small_output() -> tuple[Tensor, nn.Linear]:
    torch.manual_seed(0)
    return torch.randn(3, 4, 6), nn.Linear(6, 7)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_each_real_token_has_its_cross_entropy_sentence_by_sentence(smoothing: float) -> None:
    outputs, layer = small_output()

    losses, count = output_loss(outputs, layer, TARGETS, smoothing, "none")

    expected = []
    for vectors, targets in zip(outputs, TARGETS.tolist(), strict=True):
        for vector, target in zip(vectors, targets, strict=True):
            log_probs = layer(vector).log_softmax(dim=0)
            if target:
                mixed = (1 - smoothing) * log_probs[target] + smoothing * log_probs.mean()
                expected.append(-mixed)
    torch.testing.assert_close(losses, torch.stack(expected))
    assert count == len(expected) == 7


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_sum_is_that_of_the_parts(smoothing: float) -> None:
    outputs, layer = small_output()

    total, count = output_loss(outputs, layer, TARGETS, smoothing)
    parts, _ = output_loss(outputs, layer, TARGETS, smoothing, "none")

    torch.testing.assert_close(total, parts.sum())
    assert count == len(parts)


def test_padding_has_neither_loss_nor_gradient() -> None:
    outputs, layer = small_output()
    outputs.requires_grad_()
    loss, _ = output_loss(outputs, layer, TARGETS)
    [gradient] = torch.autograd.grad(loss, outputs)

    assert torch.equal(gradient.any(dim=2), TARGETS != 0)
    spoilt = torch.where((TARGETS != 0).unsqueeze(2), outputs, torch.nan)
    assert torch.equal(output_loss(spoilt, layer, TARGETS)[0], loss)


def test_the_loss_is_float32_in_any_precision() -> None:
    outputs, layer = small_output()

    loss, _ = output_loss(outputs.bfloat16(), layer.bfloat16(), TARGETS)

    assert loss.dtype == torch.float32
