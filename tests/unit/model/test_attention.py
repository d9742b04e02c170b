"""Attention by itself: scores of each kind, the mask, the mean."""

import pytest
import torch
from torch import Tensor

from seq2seq_cli.config.model import AdditiveAttention, DotAttention, GeneralAttention
from seq2seq_cli.model.attention import Attention
from tests.unit.model.support import KINDS

LENGTHS = [5, 1, 3]
MASK = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)
CONFIGS: dict[str, DotAttention | GeneralAttention | AdditiveAttention] = {
    "dot": DotAttention(),
    "general": GeneralAttention(),
    "additive": AdditiveAttention(),
}

kinds = pytest.mark.parametrize("kind", KINDS)


def small_attention(kind: str) -> tuple[Attention, Tensor, Tensor]:
    """With values (3, 5, size) to look at and queries (3, 4, 6)."""
    torch.manual_seed(0)
    size = 6 if kind == "dot" else 7
    return Attention(CONFIGS[kind], 6, size), torch.randn(3, 5, size), torch.randn(3, 4, 6)


def score(attention: Attention, query: Tensor, value: Tensor) -> Tensor:
    weights = attention.state_dict()
    if "key.weight" not in weights:
        return query.dot(value)
    key = weights["key.weight"] @ value
    if "score.weight" not in weights:
        return query.dot(key)
    inner = weights["query.weight"] @ query + weights["query.bias"] + key
    total: Tensor = weights["score.weight"][0].dot(inner.tanh())
    return total


@torch.no_grad()
@kinds
def test_weights_and_contexts_are_those_of_the_equations(kind: str) -> None:
    attention, values, queries = small_attention(kind)

    contexts, weights = attention(queries, attention.read(values, MASK))

    assert weights.shape == (3, 4, 5)
    for index, length in enumerate(LENGTHS):
        for step in range(4):
            scores = [score(attention, queries[index, step], v) for v in values[index, :length]]
            shares = torch.stack(scores).exp()
            shares /= shares.sum()
            torch.testing.assert_close(weights[index, step, :length], shares)
            torch.testing.assert_close(contexts[index, step], shares @ values[index, :length])


@torch.no_grad()
@kinds
def test_weights_sum_to_one_over_real_tokens_and_are_0_on_padding(kind: str) -> None:
    attention, values, queries = small_attention(kind)

    _, weights = attention(queries * 30, attention.read(values * 30, MASK))

    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 4))
    assert not weights.masked_select(~MASK.unsqueeze(1)).any()
    assert (weights >= 0).all()
    assert (weights[1, :, 0] == 1).all()


@kinds
def test_nothing_reaches_padding_and_nothing_comes_from_it(kind: str) -> None:
    attention, values, queries = small_attention(kind)
    filled = torch.where(MASK.unsqueeze(2), values, 1e4).requires_grad_()

    contexts, weights = attention(queries, attention.read(filled, MASK))

    torch.testing.assert_close(
        (contexts, weights), attention(queries, attention.read(values, MASK))
    )
    contexts.pow(2).sum().backward()
    assert filled.grad is not None
    assert not filled.grad[~MASK].any()
    assert filled.grad[MASK].all()


@kinds
def test_weights_are_float32_in_any_precision(kind: str) -> None:
    attention, values, queries = small_attention(kind)
    attention = attention.bfloat16()

    contexts, weights = attention(queries.bfloat16(), attention.read(values.bfloat16(), MASK))

    assert weights.dtype == torch.float32
    assert contexts.dtype == torch.bfloat16
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 4))


def test_dot_has_nothing_to_learn() -> None:
    attention, values, _ = small_attention("dot")

    assert not [*attention.parameters()]
    assert attention.read(values, MASK).keys is values
