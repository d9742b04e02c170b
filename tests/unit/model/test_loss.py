"""Output layer and loss, against torch's cross entropy over all logits at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from seq2seq_cli.model import loss as loss_module
from seq2seq_cli.model.loss import output_loss

TOKENS, SIZE, VOCABULARY = 11, 6, 7
TARGETS = torch.tensor([5, 3, 0, 6, 2, 4, 1, 3, 3, 6, 0])

smoothings = pytest.mark.parametrize("smoothing", [0.0, 0.2])
reductions = pytest.mark.parametrize("reduction", ["sum", "none"])


class Output(NamedTuple):
    outputs: Tensor
    matrix: Tensor
    bias: Tensor


def small_output(dtype: torch.dtype = torch.float64) -> Output:
    random = torch.Generator().manual_seed(0)
    shapes = [(TOKENS, SIZE), (VOCABULARY, SIZE), (VOCABULARY,)]
    return Output(
        *(torch.randn(shape, generator=random).to(dtype).requires_grad_() for shape in shapes)
    )


def plain(parts: Output, smoothing: float, reduction: str, targets: Tensor = TARGETS) -> Tensor:
    logits = F.linear(*parts)
    return F.cross_entropy(logits, targets, reduction=reduction, label_smoothing=smoothing)


def factors(losses: Tensor) -> Tensor:
    """Another one for each token; what comes from above."""
    random = torch.Generator().manual_seed(1)
    return torch.randn(losses.shape, generator=random).to(losses.dtype)


def assert_same_loss_and_gradients(found: Tensor, expected: Tensor, parts: Output) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    gradients = [torch.autograd.grad(each, parts, factors(each)) for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


@smoothings
def test_each_token_has_its_cross_entropy(smoothing: float) -> None:
    parts = small_output()

    losses = output_loss(*parts, TARGETS, smoothing, reduction="none")

    expected = []
    for vector, target in zip(parts.outputs, TARGETS.tolist(), strict=True):
        log_probs = (parts.matrix @ vector + parts.bias).log_softmax(dim=0)
        mixed = (1 - smoothing) * log_probs[target] + smoothing * log_probs.mean()
        expected.append(-mixed)
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-10, atol=1e-12)


PAIRED_TARGETS = torch.tensor([5, 5, 0, 0, 2, 2, 1, 1, 6, 6])


def paired_output() -> Output:
    """Of tokens that are read twice, with something else dropped out each time."""
    outputs, matrix, bias = small_output()
    return Output(outputs[: len(PAIRED_TARGETS)], matrix, bias)


def plain_r_drop(parts: Output, smoothing: float, r_drop: float) -> Tensor:
    log_probs = F.linear(*parts).log_softmax(dim=1)
    p, q = log_probs[::2], log_probs[1::2]
    divergence = F.kl_div(q, p, reduction="sum", log_target=True)
    divergence = divergence + F.kl_div(p, q, reduction="sum", log_target=True)
    return plain(parts, smoothing, "sum", PAIRED_TARGETS) + r_drop / 2 * divergence


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 1000])
@pytest.mark.parametrize("r_drop", [0.5, 5.0])
@smoothings
def test_r_drop_brings_two_readings_of_a_token_together(
    smoothing: float, r_drop: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "chunk_size", lambda *_: chunk)
    parts = paired_output()

    found = output_loss(*parts, PAIRED_TARGETS, smoothing, r_drop)
    expected = plain_r_drop(parts, smoothing, r_drop)

    assert_same_loss_and_gradients(found, expected, parts)


@smoothings
def test_r_drop_asks_nothing_of_readings_that_agree(smoothing: float) -> None:
    outputs, matrix, bias = small_output()
    parts = Output(outputs[:5].repeat_interleave(2, dim=0), matrix, bias)

    results = [output_loss(*parts, PAIRED_TARGETS, smoothing, r_drop) for r_drop in (0.0, 3.0)]

    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(each, parts) for each in results))


def test_r_drop_without_gradients_is_the_same_loss() -> None:
    parts = paired_output()
    expected = output_loss(*parts, PAIRED_TARGETS, 0.1, 5.0)

    with torch.no_grad():
        assert torch.equal(output_loss(*parts, PAIRED_TARGETS, 0.1, 5.0), expected)


@smoothings
def test_r_drop_in_bfloat16_is_close(smoothing: float) -> None:
    outputs, matrix, bias = small_output(torch.float32)
    rounded = Output(outputs[: len(PAIRED_TARGETS)], matrix, bias)
    exact = paired_output()

    loss = output_loss(rounded.outputs, matrix.bfloat16(), bias, PAIRED_TARGETS, smoothing, 5.0)
    gradients = torch.autograd.grad(loss, rounded)

    expected = plain_r_drop(exact, smoothing, 5.0)
    assert abs(loss - expected) < 1e-2 * expected
    for mine, other in zip(gradients, torch.autograd.grad(expected, exact), strict=True):
        assert (mine - other).norm() < 2e-2 * other.norm()


def test_r_drop_of_impossible_words_is_finite() -> None:
    """Each reading is sure of another word; the other's probability is 0 in float32."""
    outputs = (400.0 * torch.eye(VOCABULARY)[:2]).requires_grad_()

    loss = output_loss(
        outputs, torch.eye(VOCABULARY), torch.zeros(VOCABULARY), torch.tensor([1, 1]), 0.1, 1.0
    )
    [gradient] = torch.autograd.grad(loss, outputs)

    assert loss.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("chunk", [1, 2, 4, 11, 1000])
@smoothings
@reductions
def test_chunks_of_any_size_are_torchs_loss_and_gradients(
    reduction: str, smoothing: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "chunk_size", lambda *_: chunk)
    parts = small_output()

    found = output_loss(*parts, TARGETS, smoothing, reduction=reduction)
    expected = plain(parts, smoothing, reduction)

    assert_same_loss_and_gradients(found, expected, parts)


def test_logits_are_made_a_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    mm = torch.mm

    def watched(rows: Tensor, matrix: Tensor, *, out: Tensor) -> Tensor:
        sizes.append(len(rows))
        return mm(rows, matrix, out=out)

    monkeypatch.setattr(loss_module, "chunk_size", lambda *_: 4)
    monkeypatch.setattr(torch, "mm", watched)

    output_loss(*small_output(), TARGETS)

    assert sizes == [4, 4, 3]


def test_chunks_are_a_matter_of_the_vocabulary_and_the_device() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")

    assert loss_module.chunk_size(2**11, cpu) == 2**10
    assert loss_module.chunk_size(2**11, gpu) == 2**15
    assert loss_module.chunk_size(10**6, cpu) == 64


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_only_training_keeps_the_gradient_of_all_logits(
    mode: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = small_output()
    kept: list[bool] = []
    apply = loss_module._OutputLoss.apply

    def watched(*arguments: object) -> Tensor:
        kept.append(bool(arguments[-1]))
        found: Tensor = apply(*arguments)  # type: ignore[no-untyped-call]
        return found

    monkeypatch.setattr(loss_module._OutputLoss, "apply", watched)

    training = output_loss(*parts, TARGETS)
    with mode():
        scoring = output_loss(*parts, TARGETS)
    output_loss(*Output(*(part.detach() for part in parts)), TARGETS)

    assert kept == [True, False, False]
    torch.testing.assert_close(scoring, training.detach())


@smoothings
@reductions
def test_a_second_backward_pass_is_the_first_again(reduction: str, smoothing: float) -> None:
    parts = small_output()
    losses = output_loss(*parts, TARGETS, smoothing, reduction=reduction)

    once, again = (
        torch.autograd.grad(losses, parts, factors(losses), retain_graph=True) for _ in range(2)
    )

    torch.testing.assert_close(again, once, rtol=0.0, atol=0.0)


@smoothings
def test_without_gradients_the_loss_is_the_same(smoothing: float) -> None:
    parts = small_output()
    expected = output_loss(*parts, TARGETS, smoothing)

    with torch.no_grad():
        found = output_loss(*parts, TARGETS, smoothing)

    assert not found.requires_grad
    assert torch.equal(found, expected)


@smoothings
def test_the_sum_is_that_of_the_parts(smoothing: float) -> None:
    parts = small_output()

    total = output_loss(*parts, TARGETS, smoothing)

    torch.testing.assert_close(
        total, output_loss(*parts, TARGETS, smoothing, reduction="none").sum()
    )


@smoothings
def test_what_is_all_but_impossible_has_a_finite_loss(smoothing: float) -> None:
    """Its probability is 0 in float32, the logarithm of it is not infinite."""
    matrix = torch.eye(VOCABULARY)
    outputs = (400.0 * matrix[:3]).requires_grad_()
    targets = torch.tensor([1, 2, 2])

    losses = output_loss(
        outputs, matrix, torch.zeros(VOCABULARY), targets, smoothing, reduction="none"
    )
    [gradient] = torch.autograd.grad(losses.sum(), outputs)

    assert outputs.softmax(dim=1)[0, 1] == 0.0
    of_words = torch.tensor([400.0, 400.0, 0.0])
    mean = 400.0 * (VOCABULARY - 1) / VOCABULARY
    torch.testing.assert_close(losses, (1 - smoothing) * of_words + smoothing * mean)
    assert gradient.isfinite().all()


@smoothings
@reductions
def test_in_bfloat16_the_loss_and_the_gradients_of_weights_are_float32(
    reduction: str, smoothing: float
) -> None:
    parts, exact = small_output(torch.float32), small_output()

    outputs, matrix, bias = parts
    losses = output_loss(outputs, matrix.bfloat16(), bias, TARGETS, smoothing, reduction=reduction)
    gradients = torch.autograd.grad(losses, parts, factors(losses))

    expected = plain(exact, smoothing, reduction)
    assert losses.dtype == torch.float32
    assert (losses - expected).norm() < 1e-2 * expected.norm()
    theirs = torch.autograd.grad(expected, exact, factors(expected))
    for mine, other in zip(gradients, theirs, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - other).norm() < 2e-2 * other.norm()


def test_gradients_of_bfloat16_outputs_are_bfloat16() -> None:
    """What the layers below hand up."""
    parts = small_output(torch.float32)
    outputs = parts.outputs.detach().bfloat16().requires_grad_()

    loss = output_loss(outputs, parts.matrix.bfloat16(), parts.bias, TARGETS)
    torch.autograd.backward(loss)

    assert outputs.grad is not None
    assert outputs.grad.dtype == torch.bfloat16
