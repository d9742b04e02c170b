"""LSTM layers on top of each other, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from seq2seq_cli.model.deferred import SharedWeight
from seq2seq_cli.model.dropout import Dropout
from seq2seq_cli.model.layers import Shared, StackedLSTM
from seq2seq_cli.model.lstm import LSTMState

NOTHING = LSTMState(torch.zeros(3, 4, 50), torch.zeros(3, 4, 50))


def test_stack_is_torchs_multi_layer_lstm() -> None:
    torch.manual_seed(0)
    stack = StackedLSTM(3, 5, 3, Dropout(0.0, variational=False)).double()
    whole = nn.LSTM(3, 5, 3).double()
    for index, layer in enumerate(stack.layers):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(whole, f"{name}_l{index}").data = getattr(layer, f"{name}_l0").data
    whole.flatten_parameters()
    counts = [4, 2, 2, 1]
    inputs = torch.randn(sum(counts), 3).double()
    state = LSTMState(torch.randn(3, 4, 5).double(), torch.randn(3, 4, 5).double())

    outputs, after = stack(inputs, counts, state, stack.begin(4, inputs.device))

    packed = PackedSequence(inputs, torch.tensor(counts))
    expected, (hidden, cell) = whole(packed, tuple(state))
    found, wanted = (outputs, *after), (expected.data, hidden, cell)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_and_the_residual_path_stand_between_the_layers(variational: bool) -> None:
    torch.manual_seed(0)
    stack = StackedLSTM(3, 50, 3, Dropout(0.5, variational), residual=True)
    reads: list[Tensor] = []
    written: list[Tensor] = []
    for layer in stack.layers:
        layer.register_forward_pre_hook(lambda _, args: reads.append(args[0]))
        layer.register_forward_hook(lambda _, __, result: written.append(result[0]))
    counts = [4, 4, 2]
    inputs = torch.randn(sum(counts), 3)
    shared = stack.begin(4, inputs.device)

    outputs, _ = stack(inputs, counts, NOTHING, shared)

    assert torch.equal(reads[0], inputs)
    assert shared[0].mask is None
    for read, (_, mask) in zip(reads[1:], shared[1:], strict=True):
        assert (read == 0).float().mean().item() == pytest.approx(0.5, abs=0.15)
        assert (mask is not None) == variational
        if mask is not None:
            for step, count in zip(torch.split(read, counts), counts, strict=True):
                assert torch.equal(step == 0, mask[:count] == 0)
    torch.testing.assert_close(outputs, sum(written))  # the residual path loses nothing


def test_what_attention_gives_joins_the_next_layers_inputs() -> None:
    torch.manual_seed(0)
    stack = StackedLSTM(3, 50, 3, Dropout(0.0, variational=False), context_size=2)
    reads: list[Tensor] = []
    written: list[Tensor] = []
    for layer in stack.layers:
        layer.register_forward_pre_hook(lambda _, args: reads.append(args[0]))
        layer.register_forward_hook(lambda _, __, result: written.append(result[0]))
    counts = [4, 1]
    asked: list[Tensor] = []
    contexts = torch.randn(3, 5, 2)

    def attend(layer: int, outputs: Tensor) -> Tensor:
        assert layer == len(asked)
        asked.append(outputs)
        return contexts[layer]

    stack(torch.randn(5, 3), counts, NOTHING, stack.begin(4, contexts.device), attend)

    for question, below in zip(asked, written, strict=True):
        assert torch.equal(question, below)
    for below, context, read in zip(written, contexts, reads[1:], strict=False):
        assert torch.equal(read, torch.cat([below, context], dim=1))


def test_each_layer_has_its_weights_for_all_calls() -> None:
    stack = StackedLSTM(3, 50, 3, Dropout(0.5, variational=False))

    shared: list[Shared] = stack.begin(4, torch.device("cpu"))

    assert [each.mask for each in shared] == [None] * 3
    weights = [each.weight for each in shared]
    assert all(isinstance(weight, SharedWeight) for weight in weights)
    assert [weight.matrix.shape for weight in weights if weight] == [(1, 200, 53)] + [
        (1, 200, 100)
    ] * 2
