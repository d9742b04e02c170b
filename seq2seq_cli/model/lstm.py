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
all tokens. tanh(y) = 1 - 2 s(-2 y), which is faster, so that one vectorised pass makes all four
gates.

Products are computed in the type of W (search may ask for 8-bit integers, `quantized`). They and
the gradients of W and b are rounded to it, and in it outputs are kept, and what the backward pass
reads of gates and cells; all else, the running cell state and its gradients included, is in float32
at least. What W_x and b add to a is one product over all tokens, W_h's are one for each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

from seq2seq_cli.model.deferred import SharedWeight, product_dtype
from seq2seq_cli.model.quantized import Int8Matrix, wants_int8


class LSTMState(NamedTuple):
    """Recurrent state of a stack of LSTM layers."""

    hidden: Tensor
    """(layers, batch, hidden_size)"""
    cell: Tensor
    """(layers, batch, hidden_size)"""

    def first(self, count: int) -> LSTMState:
        """The state of the first rows of the batch."""
        if count == self.hidden.size(1):
            return self  # a slice's gradient would be copied
        return LSTMState(self.hidden[:, :count], self.cell[:, :count])


class LayerWeight(SharedWeight):
    """The weights of a layer's directions for any number of calls; matrix: (directions, 4 * size,
    input_size + size)."""

    def __init__(self, directions: Sequence[nn.LSTM]) -> None:
        matrices, biases = [], []
        for lstm in directions:
            of_input, of_hidden, *both = lstm.parameters()
            dtype = product_dtype(of_input)
            matrices.append(torch.cat([of_input.to(dtype), of_hidden.to(dtype)], dim=1))
            biases.append(both[0] + both[1])
        super().__init__(torch.stack(matrices), torch.stack(biases))
        sizes = [directions[0].input_size, directions[0].hidden_size]
        # Products read each whole, which is faster where its rows follow on each other.
        self.of_input, self.of_hidden = (
            part.contiguous() for part in torch.split(self.matrix.detach(), sizes, dim=2)
        )

    def from_inputs(self, inputs: Tensor) -> Tensor:
        """W_x x + b, (directions, rows, 4 * size)."""
        bias = self.bias.to(inputs.dtype).unsqueeze(1)
        return torch.baddbmm(bias, inputs, self.of_input.transpose(1, 2))

    def from_hidden(self, hidden: Tensor) -> Tensor:
        """W_h h, (directions, rows, 4 * size)."""
        return torch.bmm(hidden, self.of_hidden.transpose(1, 2))


class _Int8LayerWeight(LayerWeight):
    """One in 8-bit integers."""

    def __init__(self, directions: Sequence[nn.LSTM]) -> None:
        super().__init__(directions)
        weights = [list(lstm.parameters())[:2] for lstm in directions]
        self._of_input, self._of_hidden = (
            [Int8Matrix(matrix) for matrix in part] for part in zip(*weights, strict=True)
        )

    def from_inputs(self, inputs: Tensor) -> Tensor:
        return _products(self._of_input, inputs).add_(self.bias.unsqueeze(1))

    def from_hidden(self, hidden: Tensor) -> Tensor:
        return _products(self._of_hidden, hidden)


def _products(matrices: Sequence[Int8Matrix], inputs: Tensor) -> Tensor:
    """Of each direction's matrix with its inputs."""
    found = [matrix.product(rows) for matrix, rows in zip(matrices, inputs, strict=True)]
    return torch.stack(found) if len(found) > 1 else found[0].unsqueeze(0)


def layer_weight(directions: Sequence[nn.LSTM]) -> LayerWeight | None:
    """What `run_layer` wants as weight; None where cuDNN has its own way with them."""
    if directions[0].weight_ih_l0.is_cuda:
        return None
    return (_Int8LayerWeight if wants_int8() else LayerWeight)(directions)


def run_layer(
    directions: Sequence[nn.LSTM],
    inputs: Tensor,
    counts: Sequence[int],
    state: LSTMState,
    weight: LayerWeight | None,
) -> tuple[Tensor, LSTMState]:
    """Run a layer over packed tokens, in one direction or two side by side.

    On CUDA it is cuDNN's; elsewhere the products and passes of this file, which spend nothing on
    padding and make the gradient of the weights once for all calls.

    inputs: (directions, tokens, input_size); counts: sentences at each step, never more than at the
    step before; state: (directions, counts[0], hidden_size); weight: from `layer_weight`.
    Returns (directions, tokens, hidden_size) and the state behind each sentence's last token.
    """
    if weight is not None:
        outputs, *after = _Run.apply(  # type: ignore[no-untyped-call]
            inputs, *state, weight.matrix, weight.bias, counts, weight
        )
        return outputs, LSTMState(*after)
    sizes = torch.tensor(counts)
    ran = []
    for lstm, read, hidden, cell in zip(directions, inputs, *state, strict=True):
        # It wants all in one type.
        begin = hidden.unsqueeze(0).to(read.dtype), cell.unsqueeze(0).to(read.dtype)
        output, (hidden, cell) = nn.LSTM.forward(lstm, PackedSequence(read, sizes), begin)
        ran.append((output.data, hidden[0], cell[0]))
    outputs, *after = (torch.stack(part) for part in zip(*ran, strict=True))
    return outputs, LSTMState(*after)


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
        weight: LayerWeight,
    ) -> tuple[Tensor, Tensor, Tensor]:
        (directions, num_tokens, input_size), size = inputs.shape, hidden.size(2)
        most = counts[0]
        rows = _rounded(num_tokens)
        x = matrix.new_empty(directions, rows, input_size)
        x[:, :num_tokens] = inputs
        x[:, num_tokens:] = 0.0
        from_inputs = weight.from_inputs(x)
        keeps = any(ctx.needs_input_grad)
        kept = matrix.new_empty(directions, num_tokens if keeps else 0, 6 * size)
        outputs = matrix.new_empty(directions, rows, size)
        # What a step works on: gates, tanh(c) and c. When a sentence has ended, its row stays.
        work = bias.new_empty(directions, most, 6 * size)
        work[:, :, 5 * size :] = cell
        before = matrix.new_zeros(directions, _rounded(most), size)
        before[:, :most] = hidden
        for start, count in _slices(counts):
            stop = start + count
            width = min(_rounded(count), before.size(1))
            now = work[:, :count]
            gates = now[:, :, : 4 * size]
            i, f, g, o, t, c = now.chunk(6, dim=2)
            gates.copy_(weight.from_hidden(before[:, :width])[:, :count])
            gates.add_(from_inputs[:, start:stop])
            g.mul_(-2.0)
            gates.sigmoid_()
            g.mul_(-2.0).add_(1.0)
            c.mul_(f).addcmul_(i, g)
            torch.mul(c, -2.0, out=t).sigmoid_().mul_(-2.0).add_(1.0)
            outputs[:, start:stop] = o * t
            if keeps:
                kept[:, start:stop] = now
            before = outputs[:, start:]
        if keeps:
            of_both = weight.of_input, weight.of_hidden
            ctx.save_for_backward(x, kept, outputs, hidden, cell, *of_both)
            ctx.counts, ctx.parts, ctx.dtypes = counts, weight.parts, (inputs.dtype, bias.dtype)
            ctx.set_materialize_grads(False)
        last = outputs[:, _last_places(counts)].to(hidden.dtype)
        return outputs[:, :num_tokens], last, work[:, :, 5 * size :].to(cell.dtype, copy=True)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_outputs: Tensor | None, d_hidden: Tensor | None, d_cell: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, kept, outputs, hidden, cell, of_input, of_hidden = ctx.saved_tensors
        counts, (input_dtype, dtype) = ctx.counts, ctx.dtypes
        (directions, most, size), num_tokens = cell.shape, kept.size(1)
        rows, input_size = x.shape[1:]
        slices = _slices(counts)
        work = cell.new_empty(directions, most, 5 * size, dtype=dtype)
        d_work = torch.empty_like(work[:, :, : 4 * size])
        # A sentence's row holds what came from behind its last token until the loop is there.
        d_h_all, d_c_all = (
            work.new_zeros(directions, most, size)
            if left is None
            else left.to(work.dtype, copy=True)
            for left in (d_hidden, d_cell)
        )
        d_a = outputs.new_empty(directions, rows, 4 * size)
        d_a[:, num_tokens:] = 0.0
        for step, (start, count) in reversed(list(enumerate(slices))):
            stop, width = start + count, min(_rounded(count), rows - start)
            d_h, d_c, now = d_h_all[:, :count], d_c_all[:, :count], work[:, :count]
            if d_outputs is not None:
                d_h += d_outputs[:, start:stop]
            now.copy_(kept[:, start:stop, : 5 * size])
            i, f, g, o, t = now.chunk(5, dim=2)
            d_gates = d_work[:, :count]
            d_i, d_f, _, d_o = d_gates.chunk(4, dim=2)
            torch.mul(d_h, t, out=d_o)
            d_c.add_(torch.ops.aten.tanh_backward(d_h.mul_(o), t))
            torch.mul(d_c, g, out=d_i)
            begin = slices[step - 1][0]
            before = kept[:, begin : begin + count, 5 * size :] if step else cell
            torch.mul(d_c, before, out=d_f)
            d_step = torch.ops.aten.sigmoid_backward(d_gates, now[:, :, : 4 * size])
            d_step[:, :, 2 * size : 3 * size] = torch.ops.aten.tanh_backward(d_c * i, g)
            d_a[:, start:stop] = d_step
            d_c.mul_(f)
            if step or ctx.needs_input_grad[1]:
                d_h.copy_(torch.bmm(d_a[:, start : start + width], of_hidden)[:, :count])
        z = x.new_zeros(directions, rows, input_size + size)
        z[:, :, :input_size] = x
        z[:, :most, input_size:] = hidden
        z[:, most:num_tokens, input_size:] = outputs[:, _places_before(counts)]
        ctx.parts.leave(z, d_a)
        d_inputs = None
        if ctx.needs_input_grad[0]:
            d_inputs = torch.bmm(d_a, of_input)[:, :num_tokens].to(input_dtype)
        return d_inputs, d_h_all.to(hidden.dtype), d_c_all.to(cell.dtype), *[None] * 4


def _slices(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Where each step's tokens begin, and how many they are."""
    return list(zip(accumulate(counts, initial=0), counts, strict=False))


def _rounded(count: int) -> int:
    """Rows that a product is made with: oneDNN compiles one for every number of them that it has
    not seen, which takes as long as a product of a small layer."""
    multiple = 8 if count <= 512 else 64
    return -(-count // multiple) * multiple


def _places_before(counts: Sequence[int]) -> Tensor:
    """For each token of all steps but the first, where its sentence's last one stands."""
    before = np.repeat(np.array(counts[:-1], dtype=np.int64), counts[1:])
    return torch.from_numpy(np.arange(counts[0], sum(counts)) - before)


def _last_places(counts: Sequence[int]) -> Tensor:
    """For each sentence, where its last token stands among the packed ones."""
    places: list[int] = []
    for (start, count), going_on in zip(_slices(counts), [*counts[1:], 0], strict=True):
        places[:0] = range(start + going_on, start + count)
    return torch.tensor(places)
