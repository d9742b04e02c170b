"""Packed batches against plain lists of sentences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from seq2seq_cli.model.packing import Packing

CPU = torch.device("cpu")

repeatable = settings(derandomize=True, deadline=None, max_examples=100, database=None)
lengths = st.lists(st.integers(1, 6), min_size=1, max_size=7)
extra = st.integers(0, 3)


def numbered(sizes: list[int], extra: int) -> tuple[Packing, Tensor]:
    """With a padded tensor, (batch, time, 2), that holds sentence and place; -1 on padding."""
    time = max(sizes) + extra
    padded = torch.full((len(sizes), time, 2), -1)
    for row, size in enumerate(sizes):
        for place in range(size):
            padded[row, place] = torch.tensor([row, place])
    return Packing.of(torch.tensor(sizes), time, CPU), padded


def longest_first(sizes: list[int]) -> list[int]:
    return sorted(range(len(sizes)), key=lambda row: -sizes[row])


@repeatable
@given(lengths, extra)
def test_tokens_stand_step_by_step_with_the_longest_sentence_first(
    sizes: list[int], extra: int
) -> None:
    packing, padded = numbered(sizes, extra)

    order = longest_first(sizes)
    expected = [[row, step] for step in range(max(sizes)) for row in order if sizes[row] > step]
    assert packing.pack(padded).tolist() == expected
    assert packing.order.tolist() == order
    assert packing.counts == [sum(size > step for size in sizes) for step in range(max(sizes))]
    for step, (start, stop) in enumerate(zip(packing.starts, packing.starts[1:], strict=False)):
        assert {place for _, place in expected[start:stop]} == {step}
    assert packing.starts[-1] == len(expected) == sum(sizes)


def test_rows_of_one_length_keep_their_order() -> None:
    """However many there are."""
    packing = Packing.of(torch.tensor([3, 5] * 500), 5, CPU)

    assert packing.order.tolist() == [*range(1, 1000, 2), *range(0, 1000, 2)]


@repeatable
@given(lengths, extra)
def test_it_is_torchs_packing(sizes: list[int], extra: int) -> None:
    packing, padded = numbered(sizes, extra)

    theirs = pack_padded_sequence(
        padded, torch.tensor(sizes), batch_first=True, enforce_sorted=packing.is_sorted
    )

    assert packing.counts == theirs.batch_sizes.tolist()
    if len({*sizes}) == len(sizes):  # of equals, torch may take either first
        assert torch.equal(packing.pack(padded), theirs.data)


@repeatable
@given(lengths, extra)
def test_unpacking_puts_tokens_back_and_zeros_on_padding(sizes: list[int], extra: int) -> None:
    packing, padded = numbered(sizes, extra)

    assert torch.equal(packing.unpack(packing.pack(padded)), padded.clamp(min=0))
    assert torch.equal(packing.unpack(packing.pack(padded[:, :, 0])), padded[:, :, 0].clamp(min=0))


@repeatable
@given(lengths, extra)
def test_sentences_come_one_after_the_other_in_the_order_of_the_batch(
    sizes: list[int], extra: int
) -> None:
    packing, padded = numbered(sizes, extra)

    expected = [[row, place] for row, size in enumerate(sizes) for place in range(size)]
    assert packing.by_sentence(packing.pack(padded)).tolist() == expected


@repeatable
@given(lengths, extra)
def test_backwards_each_sentence_runs_from_its_own_end(sizes: list[int], extra: int) -> None:
    packing, padded = numbered(sizes, extra)
    packed = packing.pack(padded)

    mirrored = packed[packing.backwards]

    expected = [[row, sizes[row] - 1 - place] for row, place in packed.tolist()]
    assert mirrored.tolist() == expected
    assert torch.equal(mirrored[packing.backwards], packed)


@repeatable
@given(lengths)
def test_back_undoes_the_order(sizes: list[int]) -> None:
    packing, _ = numbered(sizes, 0)

    assert packing.order[packing.back].tolist() == list(range(len(sizes)))


@repeatable
@given(lengths)
def test_a_batch_is_sorted_where_nothing_has_to_move(sizes: list[int]) -> None:
    packing, _ = numbered(sizes, 0)

    assert packing.is_sorted == (sizes == sorted(sizes, reverse=True))


@repeatable
@given(lengths)
def test_counts_alone_are_a_packing_of_sorted_rows(sizes: list[int]) -> None:
    packing, padded = numbered(sorted(sizes, reverse=True), 0)

    same = Packing.of_counts(packing.counts, CPU)

    assert same.is_sorted
    assert same.counts == packing.counts
    assert torch.equal(same.pack(padded), packing.pack(padded))
    assert torch.equal(same.unpack(packing.pack(padded)), padded.clamp(min=0))
    assert torch.equal(same.backwards, packing.backwards)


@pytest.mark.parametrize("sizes", [[3, 1, 4], [2, 2], [5]])
def test_gradients_go_where_the_tokens_came_from(sizes: list[int]) -> None:
    packing, places = numbered(sizes, 2)
    padded = torch.randn(places.shape, dtype=torch.float64, requires_grad=True)
    factors = torch.randn(places.shape, dtype=torch.float64)

    loss = (packing.unpack(packing.pack(padded)) * factors).sum()
    [gradient] = torch.autograd.grad(loss, padded)

    assert torch.equal(gradient, factors.where(places >= 0, torch.zeros(()).double()))
