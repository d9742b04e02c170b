"""Weights that many products share, against autograd."""

from __future__ import annotations

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq_cli.model.deferred import (
    GradientParts,
    SharedWeight,
    product_dtype,
    shared_linear,
)

repeatable = settings(derandomize=True, deadline=None, max_examples=40, database=None)


def small_layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 5).double()


def chained(layer: nn.Linear, shared: SharedWeight | None, inputs: list[Tensor]) -> list[Tensor]:
    """Each product reads its own input and the rows that there are of the one before it."""
    outputs: list[Tensor] = []
    for own in inputs:
        read = own
        if outputs:
            rows = min(len(own), len(outputs[-1]))
            read = torch.cat([own[:rows] + outputs[-1][:rows].tanh(), own[rows:]])
        outputs.append(shared.linear(read) if shared else layer(read))
    return outputs


@repeatable
@given(
    rows=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    data=st.data(),
)
def test_gradients_of_any_calls_are_autograds(rows: list[int], data: st.DataObject) -> None:
    used = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))
    layer = small_layer()
    inputs = [torch.randn(count, 5).double().requires_grad_() for count in rows]
    sought = [*layer.parameters(), *inputs]

    found = []
    for shared in (shared_linear(layer), None):
        outputs = chained(layer, shared, inputs)
        loss = torch.cat([outputs[call].pow(2).flatten() for call in used]).sum()
        gradients = torch.autograd.grad(loss, sought, allow_unused=True)
        found.append((outputs, gradients))

    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


def test_a_second_backward_pass_is_the_first_again() -> None:
    layer = small_layer()
    shared = shared_linear(layer)
    loss = chained(layer, shared, [torch.randn(3, 5).double() for _ in range(3)])[-1].sum()

    once, again = (
        torch.autograd.grad(loss, [*layer.parameters()], retain_graph=True) for _ in range(2)
    )

    assert once[0].any()
    torch.testing.assert_close(again, once, rtol=0.0, atol=0.0)


def test_losses_one_after_the_other_add_up() -> None:
    layer = small_layer()
    shared = shared_linear(layer)
    inputs = [torch.randn(3, 5).double() for _ in range(3)]
    expected = torch.autograd.grad(
        torch.cat(chained(layer, None, inputs)).sum(), [*layer.parameters()]
    )

    for output in chained(layer, shared, inputs):
        torch.autograd.backward(output.sum(), retain_graph=True)

    found = tuple(parameter.grad for parameter in layer.parameters())
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_one_product_for_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[tuple[Tensor, Tensor] | None] = []
    collect = GradientParts.collect

    def watched(parts: GradientParts) -> tuple[Tensor, Tensor] | None:
        collected.append(collect(parts))
        return collected[-1]

    monkeypatch.setattr(GradientParts, "collect", watched)
    layer = small_layer()

    outputs = chained(layer, shared_linear(layer), [torch.randn(3, 5).double() for _ in range(4)])
    torch.autograd.backward(outputs[-1].sum())

    [parts] = collected
    assert parts is not None
    assert [part.shape for part in parts] == [(12, 5), (12, 5)]


def test_what_was_left_is_given_once() -> None:
    parts = GradientParts()
    assert parts.collect() is None
    parts.leave(torch.ones(2, 3), torch.ones(2, 4))
    assert parts.collect() is not None
    assert parts.collect() is None


def test_no_layer_has_no_weights() -> None:
    assert shared_linear(None) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_computed_in_the_type_of_autocast_and_gradients_kept_in_that_of_the_weights(
    dtype: torch.dtype,
) -> None:
    layer = small_layer().to(dtype)
    inputs = torch.randn(4, 5, dtype=dtype, requires_grad=True)
    assert product_dtype(layer.weight) == dtype

    with torch.autocast("cpu", torch.bfloat16):
        assert product_dtype(layer.weight) == torch.bfloat16
        shared = shared_linear(layer)
        assert shared is not None
        outputs = shared.linear(inputs)
    torch.autograd.backward(outputs.float().pow(2).sum())

    assert outputs.dtype == shared.matrix.dtype == torch.bfloat16
    expected = F.linear(inputs, layer.weight, layer.bias).pow(2).sum()
    found = [layer.weight.grad, layer.bias.grad, inputs.grad]
    theirs = torch.autograd.grad(expected, [layer.weight, layer.bias, inputs])
    for mine, other in zip(found, theirs, strict=True):
        assert mine is not None
        assert mine.dtype == dtype
        assert (mine - other).norm() < 2e-2 * other.norm()


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("backward", [True, False])
def test_memory_is_free_when_the_last_reference_goes(backward: bool) -> None:
    layer = small_layer()
    shared = shared_linear(layer)
    assert shared is not None
    inputs = torch.randn(3, 5).double().requires_grad_()
    read = inputs * 2.0
    outputs = shared.linear(shared.linear(read).tanh())
    loss = outputs.sum()
    watched = [weakref.ref(each) for each in (read, shared.parts)]
    del read, outputs, shared
    assert all(reference() is not None for reference in watched)  # the graph needs them

    if backward:
        torch.autograd.backward(loss)
    del loss

    assert [reference() for reference in watched] == [None, None]
