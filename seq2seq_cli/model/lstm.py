r"""LSTM layers over packed batches, with explicit states.

The cell (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000), for a token's
input x and the state h', c' before it; (*) multiplies element by element, s is the sigmoid:

    z = [x; h']                 the layer's input above its own last output
    a = W z + b                 four blocks: a_i, a_f, a_g, a_o
    i, f, o = s(a_i), s(a_f), s(a_o)        g = tanh(a_g)
    c = f (*) c' + i (*) g      h = o (*) tanh(c)

Backwards, d_ stands for the gradient of the loss. A token's d_h is what came from above plus what
the next token's product with W sent down; its d_c what the next token left. With s' = s (1 - s) and
tanh' = 1 - tanh^2:

    d_c  += d_h (*) o (*) tanh'(c)
    d_a_o = d_h (*) tanh(c) (*) s'(a_o)     d_a_i = d_c (*) g (*) s'(a_i)
    d_a_f = d_c (*) c' (*) s'(a_f)          d_a_g = d_c (*) i (*) tanh'(a_g)
    d_h'  = W_h^T d_a           d_c' = d_c (*) f
    d_x   = W_x^T d_a           d_W = sum over tokens of d_a z^T      d_b = sum of d_a

Only d_h' and d_c' have to be made token by token; d_x and d_W wait and become one product each over
all tokens. tanh(y) = 1 - 2 s(-2 y), so that one vectorised pass makes all four gates, and the same
s' serves all of them: tanh' = 4 s' of that sigmoid.

Within a step everything is (size, sentences): each gate is a block of its own in memory, and the
product W z runs fastest that way round. Products are computed in the type of W, in which gates are
kept for the backward pass too, as h is where the next product reads it; all else, the cell state
and gradients included, in float32 at least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

from seq2seq_cli.model.deferred import GradientParts, SharedWeight, product_dtype
from seq2seq_cli.model.dropout import Dropout


class LSTMState(NamedTuple):
    """Recurrent state of a stack of LSTM layers."""

    hidden: Tensor
    """(layers, batch, hidden_size)"""
    cell: Tensor
    """(layers, batch, hidden_size)"""

    def first(self, count: int) -> LSTMState:
        """The state of the first rows of the batch."""
        return LSTMState(self.hidden[:, :count], self.cell[:, :count])


class LSTMLayer(nn.LSTM):
    """One layer in one direction, over packed tokens.

    On CUDA it is cuDNN's; elsewhere the products and passes of this file, which spend nothing on
    padding and make the gradient of the weights once for all calls.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)

    def shared_weight(self) -> SharedWeight | None:
        """The weights for any number of calls; None where cuDNN has its own way with them."""
        of_input, of_hidden, *biases = self.parameters()
        if of_input.is_cuda:
            return None
        dtype = product_dtype(of_input)
        matrix = torch.cat([of_input.to(dtype), of_hidden.to(dtype)], dim=1)
        return SharedWeight(matrix, biases[0] + biases[1])

    def forward(  # type: ignore[override]
        self, inputs: Tensor, counts: Sequence[int], state: LSTMState, weight: SharedWeight | None
    ) -> tuple[Tensor, LSTMState]:
        """Run over packed tokens.

        inputs: (tokens, input_size); counts: sentences at each step, never more than at the step
        before; state: (1, counts[0], hidden_size); weight: from `shared_weight`.
        Returns (tokens, hidden_size) and the state behind each sentence's last token.
        """
        if weight is None:
            packed = PackedSequence(inputs, torch.tensor(counts))
            begin = state.hidden.to(inputs.dtype), state.cell.to(inputs.dtype)  # it wants one type
            outputs, after = super().forward(packed, begin)
            return outputs.data, LSTMState(*after)
        outputs, hidden, cell = _Run.apply(  # type: ignore[no-untyped-call]
            inputs, state.hidden[0], state.cell[0], weight.matrix, weight.bias, counts, weight.parts
        )
        return outputs, LSTMState(hidden.unsqueeze(0), cell.unsqueeze(0))


class StackedLSTM(nn.Module):
    """LSTM layers on top of each other with dropout between them (Zaremba et al. 2014).

    Each layer is an `nn.LSTM` of its own: dropout between the layers of one `nn.LSTM` comes from
    cuDNN's private random state and could not be made again.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: Dropout,
        *,
        context_size: int = 0,
        residual: bool = False,
        layer_norm: bool = False,
    ) -> None:
        """context_size: of what joins the inputs of all layers but the first."""
        super().__init__()
        sizes = [input_size] + [hidden_size + context_size] * (num_layers - 1)
        self.layers = nn.ModuleList(LSTMLayer(size, hidden_size) for size in sizes)
        self.norms = layer_norms(layer_norm, hidden_size, num_layers)
        self.dropout = dropout
        self.residual = residual

    def begin(self, batch: int, device: torch.device) -> list[Shared]:
        """What the calls over one batch of sentences share, for each layer."""
        layers = [layer for layer in self.layers if isinstance(layer, LSTMLayer)]
        return [
            Shared(
                layer.shared_weight(),
                self.dropout.draw(batch, layer.input_size, device) if index else None,
            )
            for index, layer in enumerate(layers)
        ]

    def forward(
        self,
        inputs: Tensor,
        counts: Sequence[int],
        state: LSTMState,
        shared: Sequence[Shared],
        attend: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, LSTMState]:
        """Run over packed tokens, (tokens, input_size), as `LSTMLayer` does; state: (layers,
        counts[0], hidden_size); shared: from `begin`.

        attend: gives the (tokens, context_size) that joins the inputs of the layers above the
        first, from the output of that one.
        """
        hiddens, cells = [], []
        outputs, context = inputs, None
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            weight, mask = shared[index]
            below = outputs
            if index:
                joined = below if context is None else torch.cat([below, context], dim=1)
                inputs = self.dropout(joined, mask, counts)
            begin = LSTMState(state.hidden[index : index + 1], state.cell[index : index + 1])
            outputs, (hidden, cell) = layer(inputs, counts, begin, weight)
            outputs = norm(outputs)
            if index and self.residual:
                outputs = outputs + below
            if index == 0 and attend:
                context = attend(outputs)
            hiddens.append(hidden)
            cells.append(cell)
        return outputs, LSTMState(torch.cat(hiddens), torch.cat(cells))


class Shared(NamedTuple):
    """What all calls of a layer over one batch share."""

    weight: SharedWeight | None
    mask: Tensor | None
    """Dropout's, of the inputs."""


def layer_norms(wanted: bool, size: int, count: int) -> nn.ModuleList:
    """A normalisation for each layer's output (Ba et al. 2016); without one, nothing happens."""
    return nn.ModuleList(nn.LayerNorm(size) if wanted else nn.Identity() for _ in range(count))


class _Run(torch.autograd.Function):
    """A layer over packed tokens: the equations of this file."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        hidden: Tensor,
        cell: Tensor,
        matrix: Tensor,
        bias: Tensor,
        counts: Sequence[int],
        parts: GradientParts,
    ) -> tuple[Tensor, Tensor, Tensor]:
        size, input_size = hidden.size(1), inputs.size(1)
        num_tokens, most = len(inputs), counts[0]
        # What backward reads is kept for each token; else a step's memory serves the next one.
        keeps = any(ctx.needs_input_grad)
        room = num_tokens if keeps else most
        z = inputs.new_empty(num_tokens, input_size + size, dtype=matrix.dtype)
        z[:, :input_size] = inputs
        z[:most, input_size:] = hidden
        outputs = torch.empty_like(z[:, input_size:])
        cells, squashed = (bias.new_empty(room * size) for _ in range(2))
        kept_gates = matrix.new_empty(num_tokens * 4 * size if keeps else 0)
        gates = bias.new_empty(most * 4 * size)
        last_cell = torch.empty_like(cells[: most * size].view(most, size))
        before = cell.t()
        bias = bias.unsqueeze(1)
        for step, (start, count) in enumerate(_slices(counts)):
            stop, at = start + count, start if keeps else 0
            gate = _block(gates, 4 * size, 0, count)
            gate.copy_(matrix @ z[start:stop].t()).add_(bias)
            i, f, g, o = gate.view(4, size, count)
            g.mul_(-2.0)
            gate.sigmoid_()
            if keeps:
                _block(kept_gates, 4 * size, start, count).copy_(gate)
            c = _block(cells, size, at, count)
            remembered = before[:, :count] * f
            torch.addcmul(i, i, g, value=-2.0, out=c).add_(remembered)
            t = torch.mul(c, -2.0, out=_block(squashed, size, at, count)).sigmoid_()
            h = torch.addcmul(o, o, t, value=-2.0).to(matrix.dtype)
            outputs[start:stop] = h.t()
            going_on = counts[step + 1] if step + 1 < len(counts) else 0
            z[stop : stop + going_on, input_size:] = outputs[start : start + going_on]
            last_cell[going_on:count] = c[:, going_on:].t()
            before = c
        if keeps:
            ctx.save_for_backward(z, kept_gates, cells, squashed, cell, matrix)
            ctx.counts, ctx.parts = counts, parts
            ctx.dtypes = inputs.dtype, hidden.dtype, cell.dtype
            ctx.set_materialize_grads(False)
        return outputs, outputs[_last_places(counts)].to(hidden.dtype), last_cell

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_outputs: Tensor | None, d_hidden: Tensor | None, d_cell: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        z, kept_gates, cells, squashed, first_cell, matrix = ctx.saved_tensors
        counts, size = ctx.counts, first_cell.size(1)
        input_size = z.size(1) - size
        of_inputs, of_hidden = matrix.split([input_size, size], dim=1)
        d_a = matrix.new_empty(len(matrix), len(z))
        gates, d_gates = cells.new_empty(2, 4 * size * counts[0])
        d_h = d_c = cells.new_empty(size, 0)
        slices = _slices(counts)
        for step, (start, count) in reversed(list(enumerate(slices))):
            stop, going_on = start + count, d_h.size(1)
            if going_on < count:  # here sentences end
                d_h = torch.cat([d_h, _columns(d_hidden, going_on, count, d_h)], dim=1)
                d_c = torch.cat([d_c, _columns(d_cell, going_on, count, d_c)], dim=1)
            if d_outputs is not None:
                d_h += d_outputs[start:stop].t()
            gate = _block(gates, 4 * size, 0, count)
            gate.copy_(_block(kept_gates, 4 * size, start, count))
            i, f, g, o = gate.view(4, size, count)
            t = _block(squashed, size, start, count)
            d_gate = _block(d_gates, 4 * size, 0, count)
            d_i, d_f, d_g, d_o = d_gate.view(4, size, count)
            torch.addcmul(d_h, d_h, t, value=-2.0, out=d_o)
            d_c.add_(torch.ops.aten.sigmoid_backward(d_h.mul_(o), t), alpha=4.0)
            torch.addcmul(d_c, d_c, g, value=-2.0, out=d_i)
            before = _block(cells, size, *slices[step - 1])[:, :count] if step else first_cell.t()
            torch.mul(d_c, before, out=d_f)
            torch.mul(d_c, i, out=d_g).mul_(4.0)
            d_step = d_a[:, start:stop]
            d_step.copy_(torch.ops.aten.sigmoid_backward(d_gate, gate))
            d_c = d_c.mul_(f)
            d_h = (of_hidden.t() @ d_step).to(gates.dtype)
        ctx.parts.leave(z, d_a)
        of_input, of_first_hidden, of_first_cell = ctx.dtypes
        d_inputs = (d_a.t() @ of_inputs).to(of_input) if ctx.needs_input_grad[0] else None
        return d_inputs, d_h.t().to(of_first_hidden), d_c.t().to(of_first_cell), *[None] * 4


def _slices(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Where each step's tokens begin, and how many they are."""
    return list(zip(accumulate(counts, initial=0), counts, strict=False))


def _block(flat: Tensor, size: int, start: int, count: int) -> Tensor:
    """(size, count): a step's own piece of memory for `size` values of each token."""
    return flat[size * start : size * (start + count)].view(size, count)


def _columns(rows: Tensor | None, start: int, stop: int, like: Tensor) -> Tensor:
    """Rows as columns; zeros where there are none."""
    if rows is None:
        return like.new_zeros(like.size(0), stop - start)
    return rows[start:stop].t().to(like.dtype)


def _last_places(counts: Sequence[int]) -> Tensor:
    """For each sentence, where its last token stands among the packed ones."""
    places: list[int] = []
    for (start, count), going_on in zip(_slices(counts), [*counts[1:], 0], strict=True):
        places[:0] = range(start + going_on, start + count)
    return torch.tensor(places)
