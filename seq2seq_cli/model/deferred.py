"""Gradients of weights that many steps share, made once, as one product over all steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from seq2seq_cli.model.quantized import Int8Matrix, wants_int8


class GradientParts:
    """What the gradient of a weight matrix is made of: the inputs and the gradients of the outputs
    of every product with it."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor]] = []

    def leave(self, inputs: Tensor, gradients: Tensor) -> None:
        """inputs: (..., tokens, inputs); gradients: (..., tokens, outputs)."""
        self._parts.append((inputs, gradients))

    def collect(self) -> tuple[Tensor, Tensor] | None:
        """All that was left, (..., tokens, inputs) and (..., tokens, outputs); then nothing is."""
        parts, self._parts = self._parts, []
        if len(parts) < 2:
            return parts[0] if parts else None
        inputs, gradients = zip(*parts, strict=True)
        return torch.cat(inputs, dim=-2), torch.cat(gradients, dim=-2)


class SharedWeight:
    """A weight matrix and its bias, in the type that products are computed in, for many steps.

    Left to autograd, a loop over steps that multiply by one matrix makes that matrix' gradient once
    for each step, every time as large as the matrix, and adds them up. Here each step's backward
    pass only leaves its part in `parts`; when all have done so, one product over the tokens of all
    steps is the sum.
    """

    def __init__(self, matrix: Tensor, bias: Tensor) -> None:
        """matrix: (..., outputs, inputs); bias: (..., outputs)."""
        self.parts = GradientParts()
        self.matrix: Tensor
        self.bias: Tensor
        self.matrix, self.bias = _Shared.apply(  # type: ignore[no-untyped-call]
            self.parts, matrix, bias
        )

    def linear(self, inputs: Tensor) -> Tensor:
        """Of a single matrix, (tokens, inputs) to (tokens, outputs)."""
        outputs: Tensor = _Linear.apply(  # type: ignore[no-untyped-call]
            inputs, self.matrix, self.bias, self.parts
        )
        return outputs


class _Int8Weight(SharedWeight):
    """One in 8-bit integers."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.weight.to(product_dtype(layer.weight)), layer.bias)
        self._rounded = Int8Matrix(layer.weight)

    def linear(self, inputs: Tensor) -> Tensor:
        return self._rounded.product(inputs).add_(self.bias).to(self.matrix.dtype)


def shared_linear(layer: nn.Linear | None) -> SharedWeight | None:
    """The weights of a layer, if there is one, for any number of calls."""
    if layer is None:
        return None
    if wants_int8():
        return _Int8Weight(layer)
    return SharedWeight(layer.weight.to(product_dtype(layer.weight)), layer.bias)


def product_dtype(weight: Tensor) -> torch.dtype:
    """The type that products with a weight are computed in: autocast's, else the weight's own."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


class _Shared(torch.autograd.Function):
    """The weights as they are. Every use depends on this node, so its backward pass comes last."""

    @staticmethod
    def forward(
        ctx: Any, parts: GradientParts, matrix: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.parts, ctx.bias_dtype = parts, bias.dtype
        ctx.set_materialize_grads(False)
        return matrix.view_as(matrix), bias.view_as(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *_: None) -> tuple[None, Tensor | None, Tensor | None]:
        collected = ctx.parts.collect()
        if collected is None:
            return None, None, None
        inputs, gradients = collected
        product = torch.bmm if inputs.dim() == 3 else torch.mm
        # The bias' as a product too: sums down the columns are slow.
        ones = gradients.new_ones(*gradients.shape[:-2], 1, gradients.size(-2))
        d_bias = product(ones, gradients).squeeze(-2)
        return None, product(gradients.mT, inputs), d_bias.to(ctx.bias_dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, matrix: Tensor, bias: Tensor, parts: GradientParts
    ) -> Tensor:
        dtype, inputs = inputs.dtype, inputs.to(matrix.dtype)
        ctx.save_for_backward(inputs, matrix)
        ctx.parts, ctx.dtype = parts, dtype
        return F.linear(inputs, matrix, bias.to(matrix.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None, None, None]:
        inputs, matrix = ctx.saved_tensors
        ctx.parts.leave(inputs, gradients)
        return (gradients @ matrix).to(ctx.dtype), None, None, None
