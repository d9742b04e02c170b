"""LSTM layers over packed tokens, against torch's own."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from seq2seq_cli.model.lstm import (
    LayerWeight,
    LSTMState,
    layer_weight,
    run_layer,
)

INPUTS, SIZE = 3, 5

repeatable = settings(derandomize=True, deadline=None, max_examples=40, database=None)
lengths = st.lists(st.integers(1, 6), min_size=1, max_size=5)

COUNTS = {
    "one token": [1],
    "one step": [4],
    "one sentence": [1] * 6,
    "equal lengths": [3] * 5,
    "all kinds": [5, 5, 3, 1, 1],
    "one by one": [4, 3, 2, 1],
}
counted = pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())

LOSSES = {
    "outputs": (True, False, False),
    "hidden": (False, True, False),
    "cell": (False, False, True),
    "all": (True, True, True),
}
losses = pytest.mark.parametrize("uses", LOSSES.values(), ids=LOSSES.keys())


class Ran(NamedTuple):
    outputs: Tensor
    """(tokens, size)"""
    hidden: Tensor
    """(layers, batch, size), behind each sentence's last token"""
    cell: Tensor
    """(layers, batch, size)"""


class Case(NamedTuple):
    layer: nn.LSTM
    inputs: Tensor
    counts: list[int]
    state: LSTMState

    @property
    def leaves(self) -> list[Tensor]:
        """All that has a gradient."""
        return [self.inputs, *self.state, *self.layer.parameters()]


def small_case(counts: Sequence[int]) -> Case:
    torch.manual_seed(0)
    layer = nn.LSTM(INPUTS, SIZE).double()
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1.0, 1.0)
    state = LSTMState(*(torch.randn(1, counts[0], SIZE).double() for _ in range(2)))
    case = Case(layer, torch.randn(sum(counts), INPUTS).double(), list(counts), state)
    for leaf in case.leaves:
        leaf.requires_grad_()
    return case


def call(
    case: Case,
    inputs: Tensor,
    counts: Sequence[int],
    state: LSTMState,
    weight: LayerWeight | None,
) -> tuple[Tensor, LSTMState]:
    """(tokens, inputs) to (tokens, size)."""
    outputs, state = run_layer([case.layer], inputs.unsqueeze(0), counts, state, weight)
    return outputs[0], state


def counts_of(sizes: list[int]) -> list[int]:
    return [sum(size > step for size in sizes) for step in range(max(sizes))]


def ours(case: Case, cuts: Sequence[int] = ()) -> Ran:
    """In as many calls as the cuts make, on one weight."""
    weight = layer_weight([case.layer])
    assert weight is not None
    state, begin = case.state, 0
    outputs: list[Tensor] = []
    ended: list[LSTMState] = []
    bounds = [0, *cuts, len(case.counts)]
    for start, stop in pairwise(bounds):
        running = case.counts[start:stop]
        read = case.inputs[begin : begin + sum(running)]
        output, state = call(case, read, running, state.first(running[0]), weight)
        begin += len(read)
        left = case.counts[stop] if stop < len(case.counts) else 0
        outputs.append(output)
        ended.append(LSTMState(state.hidden[:, left:], state.cell[:, left:]))
    hidden, cell = (torch.cat(parts[::-1], dim=1) for parts in zip(*ended, strict=True))
    return Ran(torch.cat(outputs), hidden, cell)


def torchs(case: Case) -> Ran:
    packed = PackedSequence(case.inputs, torch.tensor(case.counts))
    outputs, (hidden, cell) = case.layer(packed, (*case.state,))
    return Ran(outputs.data, hidden, cell)


def gradients(
    ran: Ran, case: Case, uses: Sequence[bool], *, retain_graph: bool = False
) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(1)
    loss = torch.zeros(()).double()
    for part, is_used in zip(ran, uses, strict=True):
        factors = torch.randn(part.shape, generator=random).double()
        if is_used:
            loss = loss + (part * factors).sum()
    return torch.autograd.grad(loss, case.leaves, retain_graph=retain_graph)


def assert_same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert (mine - theirs).norm() <= 1e-10 * theirs.norm()


@counted
def test_outputs_and_states_are_torchs(counts: list[int]) -> None:
    case = small_case(counts)

    assert_same(ours(case), torchs(case))


@losses
@counted
def test_gradients_are_torchs(counts: list[int], uses: tuple[bool, bool, bool]) -> None:
    case = small_case(counts)

    found = gradients(ours(case), case, uses)

    assert_same(found, gradients(torchs(case), case, uses))


@losses
@counted
@pytest.mark.parametrize("on_cuda", [False, True])
def test_directions_side_by_side_are_each_alone(
    counts: list[int], uses: tuple[bool, bool, bool], on_cuda: bool
) -> None:
    """As torch's own LSTM makes them where there is cuDNN, and elsewhere."""
    one = small_case(counts)
    lstm = nn.LSTM(INPUTS, SIZE).double()
    state = LSTMState(*(torch.randn_like(part).requires_grad_() for part in one.state))
    other = Case(lstm, torch.randn_like(one.inputs).requires_grad_(), counts, state)
    cases = [one, other]

    directions = [case.layer for case in cases]
    outputs, (hidden, cell) = run_layer(
        directions,
        torch.stack([case.inputs for case in cases]),
        counts,
        LSTMState(*(torch.cat(part) for part in zip(one.state, other.state, strict=True))),
        None if on_cuda else layer_weight(directions),
    )

    for index, case in enumerate(cases):
        mine = Ran(outputs[index], hidden[index : index + 1], cell[index : index + 1])
        assert_same(mine, torchs(case))
        found = gradients(mine, case, uses, retain_graph=True)
        assert_same(found, gradients(torchs(case), case, uses))


@repeatable
@given(sizes=lengths, data=st.data())
def test_calls_on_one_weight_are_one_call(sizes: list[int], data: st.DataObject) -> None:
    case = small_case(counts_of(sizes))
    steps = range(1, max(sizes))
    cuts = sorted(data.draw(st.sets(st.sampled_from(steps)))) if steps else []
    uses = data.draw(st.sampled_from([*LOSSES.values()]))

    whole, pieces = ours(case), ours(case, cuts)

    assert_same(pieces, whole)
    assert_same(gradients(pieces, case, uses), gradients(whole, case, uses))
    assert_same(whole, torchs(case))


def test_a_call_that_no_loss_uses_changes_no_gradient() -> None:
    case = small_case([3, 2, 2])
    expected = torch.autograd.grad(torchs(case).outputs[:3].sum(), case.leaves)
    weight = layer_weight([case.layer])

    first, state = call(case, case.inputs[:3], [3], case.state, weight)
    call(case, case.inputs[3:], [2, 2], state.first(2), weight)

    assert_same(torch.autograd.grad(first.sum(), case.leaves), expected)


def test_a_call_may_matter_by_its_state_alone() -> None:
    case = small_case([3, 2, 2])
    expected = torch.autograd.grad(torchs(case).outputs[3:].sum(), case.leaves)
    weight = layer_weight([case.layer])

    _, state = call(case, case.inputs[:3], [3], case.state, weight)
    rest, _ = call(case, case.inputs[3:], [2, 2], state.first(2), weight)

    assert_same(torch.autograd.grad(rest.sum(), case.leaves), expected)


@losses
def test_a_second_backward_pass_is_the_first_again(uses: tuple[bool, bool, bool]) -> None:
    case = small_case([4, 4, 3, 1])
    expected = gradients(torchs(case), case, uses)
    ran = ours(case, [2])
    loss = torch.stack([part.sum() for part in ran]).sum()
    torch.autograd.grad(loss, case.leaves, retain_graph=True)

    assert_same(gradients(ran, case, uses), expected)


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
@counted
def test_without_gradients_outputs_are_the_same(counts: list[int], without: type) -> None:
    case = small_case(counts)
    expected = ours(case)

    with without():
        found = ours(case)

    assert not any(part.requires_grad for part in found)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.clone(), theirs.detach(), rtol=0.0, atol=0.0)


def test_inputs_and_states_may_need_no_gradient() -> None:
    case = small_case([4, 2, 1])
    expected = gradients(torchs(case), case, (True, True, True))[3:]
    for leaf in case.leaves[:3]:
        leaf.requires_grad_(False)
    weights_only = case.leaves[3:]

    loss = torch.zeros(())
    random = torch.Generator().manual_seed(1)
    for part in ours(case):
        loss = loss + (part * torch.randn(part.shape, generator=random).double()).sum()

    assert_same(torch.autograd.grad(loss, weights_only), expected)


def test_nothing_that_was_given_is_changed() -> None:
    case = small_case([4, 2, 1])
    before = [leaf.detach().clone() for leaf in case.leaves]

    ran = ours(case, [1])
    kept = [part.detach().clone() for part in ran]
    gradients(ran, case, (True, True, True))

    for leaf, old in zip([*case.leaves, *ran], before + kept, strict=True):
        assert torch.equal(leaf, old)


@pytest.mark.parametrize("hands_on", [torch.float32, torch.bfloat16])
def test_in_bfloat16_the_cell_stays_in_float32(hands_on: torch.dtype) -> None:
    case = small_case([4, 4, 2])
    expected = gradients(torchs(case), case, (True, True, True))
    layer = case.layer.float()
    state = LSTMState(
        case.state.hidden.detach().to(hands_on).requires_grad_(),
        case.state.cell.detach().float().requires_grad_(),
    )
    single = Case(layer, case.inputs.detach().float().requires_grad_(), case.counts, state)

    with torch.autocast("cpu", torch.bfloat16):
        ran = ours(single)
        found = gradients(ran, single, (True, True, True))

    assert ran.outputs.dtype == torch.bfloat16
    assert ran.hidden.dtype == hands_on
    assert ran.cell.dtype == torch.float32
    for mine, theirs, leaf in zip(found, expected, single.leaves, strict=True):
        assert mine.dtype == leaf.dtype
        assert (mine - theirs).norm() < 2e-2 * theirs.norm()


def test_in_bfloat16_small_cells_keep_their_gradients() -> None:
    """As early in a training: what is kept of tanh(c) near 0 must not be rounded as near 1."""
    torch.manual_seed(0)
    layer = nn.LSTM(64, 64)
    of_input = next(layer.parameters())
    inputs, factors = 0.1 * torch.randn(1, 400, 64), torch.randn(1, 400, 64)
    nothing = LSTMState(torch.zeros(1, 40, 64), torch.zeros(1, 40, 64))
    found: list[Tensor] = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs, _ = run_layer([layer], inputs, [40] * 10, nothing, layer_weight([layer]))
        found.append(torch.autograd.grad((outputs * factors).sum(), of_input)[0])

    for exact, rounded in zip(*(gradient.chunk(4) for gradient in found), strict=True):
        assert (exact - rounded).norm() < 1e-2 * exact.norm()


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("backward", [True, False])
def test_memory_is_free_when_the_last_reference_goes(backward: bool) -> None:
    case = small_case([4, 2, 1])
    weight = layer_weight([case.layer])
    assert weight is not None
    read = case.inputs * 2.0
    outputs, state = call(case, read[:4], [4], case.state, weight)
    more = torch.cat([outputs[:2, :3], read[:1]])
    rest = call(case, more, [2, 1], state.first(2), weight)[0]
    loss = rest.sum()
    watched = [weakref.ref(each) for each in (outputs, weight.parts)]
    del read, outputs, state, more, rest, weight
    assert watched[1]() is not None

    if backward:
        torch.autograd.backward(loss)
    del loss

    assert [reference() for reference in watched] == [None, None]
