"""LSTM layers over padded batches."""

import pytest
import torch
from torch import Tensor, nn

from seq2seq_cli.model.dropout import Dropout
from seq2seq_cli.model.lstm import LSTMState, StackedLSTM, reverse_within_lengths, run_to_lengths


@pytest.mark.parametrize("lengths", [[4, 4, 4], [6, 6, 3, 1], [5], [7, 5, 4, 2, 1]])
@pytest.mark.parametrize("extra_padding", [0, 3])
def test_every_row_runs_exactly_as_far_as_it_is_long(
    lengths: list[int], extra_padding: int
) -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(3, 5, batch_first=True)
    inputs = torch.randn(len(lengths), max(lengths) + extra_padding, 3)

    outputs, state = run_to_lengths(layer, inputs, lengths)

    assert outputs.shape == (len(lengths), max(lengths) + extra_padding, 5)
    for index, length in enumerate(lengths):
        alone, (hidden, cell) = layer(inputs[index : index + 1, :length])
        torch.testing.assert_close(outputs[index, :length], alone[0])
        assert not outputs[index, length:].any()
        torch.testing.assert_close(state.hidden[:, index], hidden[:, 0])
        torch.testing.assert_close(state.cell[:, index], cell[:, 0])


def test_gradients_are_those_of_a_packed_sequence() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(3, 5, batch_first=True)
    inputs = torch.randn(4, 6, 3)
    lengths = [6, 4, 4, 1]

    outputs, state = run_to_lengths(layer, inputs, lengths)
    ours = torch.autograd.grad(outputs.pow(2).sum() + state.cell.sum(), [*layer.parameters()])

    packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True)
    packed_outputs, (_, cell) = layer(packed)
    theirs = torch.autograd.grad(
        packed_outputs.data.pow(2).sum() + cell.sum(), [*layer.parameters()]
    )
    torch.testing.assert_close(ours, theirs)


def test_rows_are_reversed_up_to_their_length() -> None:
    inputs = torch.tensor([[1.0, 2, 3, 4], [1, 2, 0, 0], [1, 0, 0, 0]]).unsqueeze(2)
    lengths = torch.tensor([4, 2, 1])

    mirrored = reverse_within_lengths(inputs, lengths)

    assert mirrored.squeeze(2).tolist() == [[4, 3, 2, 1], [2, 1, 0, 0], [1, 0, 0, 0]]
    assert torch.equal(reverse_within_lengths(mirrored, lengths), inputs)


def test_stack_is_torchs_multi_layer_lstm() -> None:
    torch.manual_seed(0)
    stack = StackedLSTM(3, 5, 3, Dropout(0.0, variational=False))
    whole = nn.LSTM(3, 5, 3, batch_first=True)
    for index, layer in enumerate(stack.layers):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(whole, f"{name}_l{index}").data = getattr(layer, f"{name}_l0").data
    whole.flatten_parameters()
    inputs = torch.randn(2, 4, 3)
    state = LSTMState(torch.randn(3, 2, 5), torch.randn(3, 2, 5))

    outputs, after = stack(inputs, state, [None, None])

    expected, (hidden, cell) = whole(inputs, tuple(state))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(after.hidden, hidden)
    torch.testing.assert_close(after.cell, cell)


@torch.no_grad()
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_layers_above_the_first_read_what_was_attended_to(residual: bool, layer_norm: bool) -> None:
    torch.manual_seed(0)
    stack = StackedLSTM(
        3,
        5,
        3,
        Dropout(0.0, variational=False),
        context_size=2,
        residual=residual,
        layer_norm=layer_norm,
    )
    inputs, context = torch.randn(2, 4, 3), torch.randn(2, 4, 2)
    state = LSTMState(torch.randn(3, 2, 5), torch.randn(3, 2, 5))
    seen: list[Tensor] = []

    def attend(bottom: Tensor) -> Tensor:
        seen.append(bottom)
        return context

    outputs, after = stack(inputs, state, [None, None], attend)

    expected, bottoms = inputs, []
    for index, (layer, norm) in enumerate(zip(stack.layers, stack.norms, strict=True)):
        below = expected
        begin = tuple(part[index : index + 1] for part in state)
        joined = torch.cat([below, context], dim=2) if index else below
        raw, (hidden, cell) = layer(joined, begin)
        expected = norm(raw) + (below if residual and index else 0)
        bottoms.append(expected)
        torch.testing.assert_close(after.hidden[index], hidden[0])  # raw, as the recurrence has it
        torch.testing.assert_close(after.cell[index], cell[0])
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(seen, bottoms[:1])
    assert {type(norm) for norm in stack.norms} == {nn.LayerNorm if layer_norm else nn.Identity}


@torch.no_grad()
@pytest.mark.parametrize("variational", [False, True])
def test_dropout_stands_between_the_layers(variational: bool) -> None:
    torch.manual_seed(0)
    stack = StackedLSTM(3, 50, 3, Dropout(0.5, variational), residual=True)
    reads: list[Tensor] = []
    written: list[Tensor] = []
    for layer in stack.layers:
        layer.register_forward_pre_hook(lambda _, args: reads.append(args[0]))
        layer.register_forward_hook(lambda _, __, result: written.append(result[0]))
    state = LSTMState(torch.zeros(3, 2, 50), torch.zeros(3, 2, 50))
    inputs = torch.randn(2, 4, 3)
    masks = stack.draw(2, inputs.device)

    outputs, _ = stack(inputs, state, masks)

    assert torch.equal(reads[0], inputs)
    for read, mask in zip(reads[1:], masks, strict=True):
        assert (read == 0).float().mean().item() == pytest.approx(0.5, abs=0.15)
        assert (mask is not None) == variational
        if mask is not None:
            assert torch.equal(read == 0, (mask == 0).expand_as(read))
    torch.testing.assert_close(outputs, sum(written))  # the residual path loses nothing
