"""Clipping against its definition."""

import math

import pytest
import torch

from seq2seq_cli.model.seq2seq import Seq2Seq
from seq2seq_cli.training.optimizer import clip_gradients
from tests.unit.model.support import small_config, small_model


def with_gradients() -> tuple[Seq2Seq, torch.Tensor]:
    """A model whose first weight got no gradient, and the others' as one vector."""
    model = small_model(small_config())
    _, *others = model.parameters()
    random = torch.Generator().manual_seed(0)
    for parameter in others:
        parameter.grad = torch.randn(parameter.shape, generator=random)
    return model, gradient(model)


def gradient(model: Seq2Seq) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone()


@pytest.mark.parametrize("share", [0.1, 0.999, 1.001, 50.0, math.inf])
def test_gradients_are_no_longer_than_the_limit_and_point_where_they_did(share: float) -> None:
    model, before = with_gradients()
    length = before.norm()
    limit = share * float(length)

    norm = clip_gradients(model, limit)

    torch.testing.assert_close(norm, length)
    torch.testing.assert_close(gradient(model), before * min(1.0, share), rtol=1e-5, atol=1e-6)
    if share > 1.0:
        assert torch.equal(gradient(model), before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_norm_that_is_no_number_is_told(value: float) -> None:
    model, _ = with_gradients()
    next(p for p in model.parameters() if p.grad is not None).grad.fill_(value)  # type: ignore[union-attr]

    assert not clip_gradients(model, 1.0).isfinite()
