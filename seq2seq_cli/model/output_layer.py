"""Where the output layer's matrix comes from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seq2seq_cli.model.dropout import Embedding


class TiedOutput(nn.Module):
    """An output layer whose rows are the target's word vectors (Press & Wolf 2017)."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))

    @property
    def weight(self) -> Tensor:
        """(vocabulary, embedding_dim)"""
        return self.embedding.weight


class Fixnorm(nn.Module):
    """Gives all rows of an output layer's matrix one length, which is learned.

    A frequent token's vector grows long, and wins where a rare one fits better. After Nguyen &
    Chiang 2018, who fix the length of what the layer reads as well, and choose both beforehand;
    here the rows' begins as 1, and its logarithm is the weight. A row shorter than a thousandth
    stays shorter than the others: its gradient would be huge.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_length = nn.Parameter(torch.zeros(1))

    def forward(self, matrix: Tensor) -> Tensor:
        """(vocabulary, output_size), likewise"""
        rows: Tensor = _RowsOfOneLength.apply(matrix, self.log_length)  # type: ignore[no-untyped-call]
        return rows


class _RowsOfOneLength(torch.autograd.Function):
    """Row m becomes y = s m with s = e^l / max(|m|, 1/1000). From y's gradient d_y:

    d_m = s (d_y - e^(-2 l) (d_y . y) y), in a shorter row s d_y      d_l = sum of all d_y . y

    Left to autograd it is a dozen passes over the matrix, and takes three times as long.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, log_length: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(matrix, dim=1, keepdim=True)
        scales: Tensor = log_length.exp() / lengths.clamp_min(1e-3)
        rows = scales * matrix
        ctx.save_for_backward(rows, scales, log_length, lengths > 1e-3)
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_rows: Tensor) -> tuple[Tensor, Tensor]:
        rows, scales, log_length, is_long = ctx.saved_tensors
        along = (d_rows * rows).sum(dim=1, keepdim=True)
        share = along * scales * is_long * (-2.0 * log_length).exp()
        return (d_rows * scales).addcmul_(rows, share, value=-1.0), along.sum().view(1)
