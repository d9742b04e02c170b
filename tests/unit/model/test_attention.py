"""Attention by itself: scores of each kind, the mask, the mean, and their gradients."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seq2seq_cli.config.model import AdditiveAttention, DotAttention, GeneralAttention
from seq2seq_cli.model.attention import Attention, Memory
from seq2seq_cli.model.deferred import shared_linear
from seq2seq_cli.model.packing import Packing
from tests.unit.model.support import KINDS

LENGTHS = [5, 1, 3]
MASK = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)
COUNTS = [3, 2, 2, 1]
"""Queries at each step: of the first sentences."""
CONFIGS: dict[str, DotAttention | GeneralAttention | AdditiveAttention] = {
    "dot": DotAttention(),
    "general": GeneralAttention(),
    "additive": AdditiveAttention(),
}

repeatable = settings(derandomize=True, deadline=None, max_examples=40, database=None)
kinds = pytest.mark.parametrize("kind", KINDS)


def small_attention(kind: str, num_queries: int = sum(COUNTS)) -> tuple[Attention, Tensor, Tensor]:
    """With values (3, 5, size) to look at and packed queries (tokens, 6)."""
    torch.manual_seed(0)
    size = 6 if kind == "dot" else 7
    attention = Attention(CONFIGS[kind], 6, size).double()
    values, queries = torch.randn(3, 5, size).double(), torch.randn(num_queries, 6).double()
    return attention, values.requires_grad_(), queries.requires_grad_()


def attend(
    attention: Attention, queries: Tensor, counts: Sequence[int], memory: Memory
) -> tuple[Tensor, Tensor | None]:
    contexts, weights = attention(queries, counts, memory, shared_linear(attention.query))
    return contexts, weights


def score(attention: Attention, query: Tensor, value: Tensor) -> Tensor:
    weights = attention.state_dict(keep_vars=True)
    if "key.weight" not in weights:
        return query.dot(value)
    key = weights["key.weight"] @ value
    if "score.weight" not in weights:
        return query.dot(key)
    inner = weights["query.weight"] @ query + weights["query.bias"] + key
    total: Tensor = weights["score.weight"][0].dot(inner.tanh())
    return total


def plain(attention: Attention, query: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The equations, for one query and the real tokens of its sentence."""
    shares = torch.stack([score(attention, query, value) for value in values]).exp()
    shares = shares / shares.sum()
    return shares @ values, shares


def plain_contexts(
    attention: Attention, queries: Tensor, counts: Sequence[int], values: Tensor
) -> Tensor:
    rows = [row for count in counts for row in range(count)]
    return torch.stack(
        [
            plain(attention, query, values[row, : LENGTHS[row]])[0]
            for query, row in zip(queries, rows, strict=True)
        ]
    )


def gradients(contexts: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(1)
    factors = torch.randn(contexts.shape, generator=random).double()
    return torch.autograd.grad((contexts * factors).sum(), leaves)


def assert_same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert (mine - theirs).norm() <= 1e-10 * theirs.norm()


@torch.no_grad()
@kinds
def test_weights_and_contexts_of_a_step_are_those_of_the_equations(kind: str) -> None:
    attention, values, queries = small_attention(kind, 3)

    contexts, weights = attend(attention, queries, [3], attention.read(values, MASK))

    assert weights is not None
    assert weights.shape == (3, 5)
    for index, length in enumerate(LENGTHS):
        context, shares = plain(attention, queries[index], values[index, :length])
        torch.testing.assert_close(weights[index, :length], shares)
        torch.testing.assert_close(contexts[index], context)


@kinds
@pytest.mark.parametrize("counts", [[3], [3, 3], COUNTS, [1, 1, 1], [2]])
def test_contexts_and_gradients_of_steps_are_those_of_the_equations(
    kind: str, counts: list[int]
) -> None:
    attention, values, queries = small_attention(kind, sum(counts))
    leaves = [values, queries, *attention.parameters()]

    contexts, weights = attend(attention, queries, counts, attention.read(values, MASK))

    assert (weights is None) == (len(counts) > 1)
    expected = plain_contexts(attention, queries, counts, values)
    assert_same([contexts], [expected])
    assert_same(gradients(contexts, leaves), gradients(expected, leaves))


@kinds
@pytest.mark.parametrize("counts", [[3], COUNTS])
def test_word_vectors_are_weighted_as_the_outputs_are(kind: str, counts: list[int]) -> None:
    attention, values, queries = small_attention(kind, sum(counts))
    words = torch.randn(3, 5, 4).double().requires_grad_()
    leaves = [values, words, queries, *attention.parameters()]

    contexts, weights = attend(attention, queries, counts, attention.read(values, MASK, words))

    rows = [row for count in counts for row in range(count)]
    expected = []
    for query, row in zip(queries, rows, strict=True):
        there = slice(LENGTHS[row])
        context, shares = plain(attention, query, values[row, there])
        expected.append(torch.cat([context, shares @ words[row, there]]))
    assert (weights is None) == (len(counts) > 1)
    assert_same([contexts], [torch.stack(expected)])
    assert_same(gradients(contexts, leaves), gradients(torch.stack(expected), leaves))


@repeatable
@given(
    kind=st.sampled_from(KINDS),
    lasts=st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any),
    data=st.data(),
)
def test_calls_on_one_memory_are_one_call(kind: str, lasts: list[int], data: st.DataObject) -> None:
    counts = [sum(last > step for last in lasts) for step in range(max(lasts))]
    steps = range(1, len(counts))
    cuts = sorted(data.draw(st.sets(st.sampled_from(steps)))) if steps else []
    attention, values, queries = small_attention(kind, sum(counts))
    leaves = [values, queries, *attention.parameters()]
    memory = attention.read(values, MASK)
    weight = shared_linear(attention.query)
    starts = Packing.of_counts(counts, values.device).starts

    pieces = []
    for start, stop in pairwise([0, *cuts, len(counts)]):
        running = memory.first(counts[start])
        own = queries[starts[start] : starts[stop]]
        pieces.append(attention(own, counts[start:stop], running, weight)[0])

    found = torch.cat(pieces)
    expected = plain_contexts(attention, queries, counts, values)
    assert_same([found], [expected])
    assert_same(gradients(found, leaves), gradients(expected, leaves))


@kinds
def test_a_second_backward_pass_is_the_first_again(kind: str) -> None:
    attention, values, queries = small_attention(kind)
    leaves = [values, queries, *attention.parameters()]
    contexts, _ = attend(attention, queries, COUNTS, attention.read(values, MASK))

    once, again = (
        torch.autograd.grad(contexts.pow(2).sum(), leaves, retain_graph=True) for _ in range(2)
    )

    torch.testing.assert_close(again, once, rtol=0.0, atol=0.0)


@kinds
def test_a_call_that_no_loss_uses_changes_no_gradient(kind: str) -> None:
    attention, values, queries = small_attention(kind)
    leaves = [values, queries, *attention.parameters()]
    memory = attention.read(values, MASK)
    weight = shared_linear(attention.query)

    contexts, _ = attention(queries, COUNTS, memory, weight)
    attention(queries[:2] * 3.0, [2], memory, weight)

    expected = plain_contexts(attention, queries, COUNTS, values)
    assert_same(gradients(contexts, leaves), gradients(expected, leaves))


@kinds
def test_gradients_of_selected_sentences_reach_their_values(kind: str) -> None:
    """Beside those of calls on all; any sentence may be selected more than once."""
    attention, values, queries = small_attention(kind, 5)
    leaves = [values, queries, *attention.parameters()]
    rows = torch.tensor([2, 0, 2])
    memory = attention.read(values, MASK)

    some, _ = attend(attention, queries[:3], [3], memory.select(rows))
    first, _ = attend(attention, queries[3:], [2], memory)

    found = torch.cat([some, first])
    expected = torch.stack(
        [
            plain(attention, query, values[row, : LENGTHS[row]])[0]
            for query, row in zip(queries, [*rows.tolist(), 0, 1], strict=True)
        ]
    )
    assert_same([found], [expected])
    assert_same(gradients(found, leaves), gradients(expected, leaves))


@kinds
def test_values_may_be_read_by_others_too(kind: str) -> None:
    attention, values, queries = small_attention(kind)
    memory = attention.read(values, MASK)
    contexts, _ = attend(attention, queries, COUNTS, memory)

    found = gradients(torch.cat([contexts, memory.values.flatten(0, 1)]), [values])

    contexts = plain_contexts(attention, queries, COUNTS, values)
    assert_same(found, gradients(torch.cat([contexts, values.flatten(0, 1)]), [values]))


@torch.no_grad()
@kinds
def test_weights_sum_to_one_over_real_tokens_and_are_0_on_padding(kind: str) -> None:
    attention, values, queries = small_attention(kind, 3)

    _, weights = attend(attention, queries * 30, [3], attention.read(values * 30, MASK))

    assert weights is not None
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3).double())
    assert not weights.masked_select(~MASK).any()
    assert (weights >= 0).all()
    assert weights[1, 0] == 1


@kinds
@pytest.mark.parametrize("counts", [[3], [3, 3, 2]])
def test_nothing_reaches_padding_and_nothing_comes_from_it(kind: str, counts: list[int]) -> None:
    attention, values, queries = small_attention(kind, sum(counts))
    filled = torch.where(MASK.unsqueeze(2), values, 1e4).detach().requires_grad_()

    contexts, weights = attend(attention, queries, counts, attention.read(filled, MASK))

    expected = attend(attention, queries, counts, attention.read(values, MASK))
    torch.testing.assert_close((contexts, weights), expected)
    torch.autograd.backward(contexts.pow(2).sum())
    assert filled.grad is not None
    assert not filled.grad[~MASK].any()
    assert filled.grad[MASK].all()


@torch.no_grad()
@kinds
def test_without_gradients_contexts_are_the_same(kind: str) -> None:
    attention, values, queries = small_attention(kind)
    with torch.enable_grad():
        expected, _ = attend(attention, queries, COUNTS, attention.read(values, MASK))

    contexts, _ = attend(attention, queries, COUNTS, attention.read(values, MASK))

    assert not contexts.requires_grad
    assert torch.equal(contexts, expected)


@kinds
def test_in_bfloat16_weights_are_float32(kind: str) -> None:
    attention, values, queries = small_attention(kind, 3)
    leaves = [values, queries, *attention.parameters()]
    expected = gradients(plain_contexts(attention, queries, [3], values), leaves)
    attention = attention.float()
    values, queries = (each.detach().bfloat16().requires_grad_() for each in (values, queries))
    leaves = [values, queries, *attention.parameters()]

    with torch.autocast("cpu", torch.bfloat16):
        contexts, weights = attend(attention, queries, [3], attention.read(values, MASK))
        found = gradients(contexts, leaves)

    assert weights is not None
    assert weights.dtype == torch.float32
    assert contexts.dtype == torch.bfloat16
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    for mine, theirs, leaf in zip(found, expected, leaves, strict=True):
        assert mine.dtype == leaf.dtype
        assert (mine - theirs).norm() < 2e-2 * theirs.norm()


@kinds
@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("backward", [True, False])
def test_memory_is_free_when_the_last_reference_goes(kind: str, backward: bool) -> None:
    attention, values, queries = small_attention(kind)
    read = values * 2.0
    memory = attention.read(read, MASK)
    loss = attend(attention, queries, COUNTS, memory)[0].sum()
    loss = loss + attend(attention, queries[:2], [2], memory.select(torch.tensor([1, 2])))[0].sum()
    watched = [weakref.ref(each) for each in (read, memory.parts)]
    del read, memory
    assert watched[1]() is not None

    if backward:
        torch.autograd.backward(loss)
    del loss

    assert [reference() for reference in watched] == [None, None]


def test_dot_has_nothing_to_learn() -> None:
    attention, values, _ = small_attention("dot")

    assert not [*attention.parameters()]
    memory = attention.read(values, MASK)
    assert memory.keys.data_ptr() == memory.values.data_ptr() == values.data_ptr()
