"""The output layer and the loss, as one function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def output_loss(
    outputs: Tensor,
    matrix: Tensor,
    bias: Tensor,
    targets: Tensor,
    label_smoothing: float = 0.0,
    r_drop: float = 0.0,
    reduction: str = "sum",
) -> Tensor:
    """Cross entropy, in nats, of a linear output layer over packed tokens.

    outputs: (tokens, output_size); matrix: (vocabulary, output_size), in the type that products are
    computed in; bias: (vocabulary,); targets: (tokens,); reduction: "sum", or "none" for one value
    for each token.

    With label smoothing (Szegedy et al. 2016) a share e of each target's probability is spread
    evenly over the vocabulary V: loss = -(1 - e) log p(target) - e / |V| sum of log p. Its gradient
    by the logits is softmax - (1 - e) [target] - e / |V|, which is known when the loss is: logits
    are made a chunk of tokens at a time, in float32, and what stays of them is that gradient, in
    the type of products, where one is wanted.

    With r_drop above 0, tokens 2i and 2i + 1 are one token read twice, predicted as p and as q, and
    r_drop / 2 times (KL(p | q) + KL(q | p)) / 2 comes to the loss of each (R-Drop, Liang et al.
    2021); only for the sum.
    """
    assert reduction == "sum" or not r_drop
    keeps = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (outputs, matrix, bias)
    )
    losses: Tensor = _OutputLoss.apply(  # type: ignore[no-untyped-call]
        outputs, matrix, bias, targets, label_smoothing, r_drop, reduction, keeps
    )
    return losses


def chunk_size(vocabulary: int, device: torch.device) -> int:
    """Tokens whose logits are made at a time: 8 MB in float32 on a CPU, for its caches, elsewhere
    256 MB; but so many that their product is not all reading of the matrix. Two such blocks are
    held, and four or five for R-Drop, beside the gradient that is kept of all of them."""
    num_logits = 2**21 if device.type == "cpu" else 2**26
    return max(64, num_logits // vocabulary)


def _new_rows(like: Tensor, count: int, width: int) -> Tensor:
    """Room for (count, width) of a tensor's type. In float32 each row begins a multiple of 64 bytes
    behind the one before it: on a CPU, products into rows of an odd width are slower by a third and
    more."""
    stride = -(-width // 16) * 16 if like.dtype == torch.float32 else width
    return like.new_empty(count, stride)[:, :width]


class _OutputLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        outputs: Tensor,
        matrix: Tensor,
        bias: Tensor,
        targets: Tensor,
        label_smoothing: float,
        r_drop: float,
        reduction: str,
        keeps: bool,
    ) -> Tensor:
        read = outputs.to(matrix.dtype)
        vocabulary = len(matrix)
        size = min(chunk_size(vocabulary, read.device), len(read))
        size += size % 2  # what is one token for r_drop stays in one chunk
        # One piece of memory for all chunks: nothing fresh has to be cleared (but by R-Drop).
        room = _new_rows(bias, size, vocabulary)
        log_room = _new_rows(bias, size if r_drop else 0, vocabulary)
        products = _new_rows(matrix, len(read) if keeps else size, vocabulary)
        losses = bias.new_empty(len(read))
        for start in range(0, len(read), size or 1):
            chunk = slice(start, start + size)
            wanted = targets[chunk].unsqueeze(1)
            product = products[chunk] if keeps else products[: len(wanted)]
            torch.mm(read[chunk], matrix.t(), out=product)
            logits = room[: len(wanted)].copy_(product).add_(bias)
            logits -= logits.amax(dim=1, keepdim=True)
            losses[chunk] = logits.gather(1, wanted).squeeze(1).mul_(label_smoothing - 1.0)
            if label_smoothing:
                losses[chunk] -= logits.mean(dim=1).mul_(label_smoothing)
            if r_drop:
                log_probs = log_room[: len(wanted)].copy_(logits)
            exponentials = logits.exp_()
            sums = exponentials.sum(dim=1, keepdim=True)
            losses[chunk] += sums.log().squeeze(1)
            if r_drop or keeps:
                probs = exponentials.div_(sums)
            if r_drop:
                losses[chunk] += _add_divergence(log_probs.sub_(sums.log()), probs, r_drop / 2)
            if keeps:
                ones = torch.full_like(wanted, label_smoothing - 1.0, dtype=bias.dtype)
                probs.scatter_add_(1, wanted, ones)
                if label_smoothing:
                    probs.sub_(label_smoothing / vocabulary)
                product.copy_(probs)  # which is now the gradient of its logits
        if keeps:
            ctx.save_for_backward(read, matrix, products)
            ctx.dtypes = outputs.dtype, bias.dtype
        return losses if reduction == "none" else losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        read, matrix, d_logits = ctx.saved_tensors
        of_outputs, of_bias = ctx.dtypes
        if gradient.dim():
            d_logits = (d_logits * gradient.unsqueeze(1)).to(read.dtype)
            gradient = gradient.new_ones(())
        d_outputs = (d_logits @ matrix).to(of_outputs).mul_(gradient)
        d_matrix = (d_logits.t() @ read).mul_(gradient)
        # As a product, which is faster than sums down the columns.
        d_bias = (d_logits.new_ones(len(d_logits)) @ d_logits).to(of_bias).mul_(gradient)
        return d_outputs, d_matrix, d_bias, None, None, None, None, None


def _add_divergence(log_probs: Tensor, probs: Tensor, weight: float) -> Tensor:
    """weight / 2 (KL(p | q) + KL(q | p)) for each row, where p is every other row, (rows,
    vocabulary), and q the one below it. The gradient of their sum by the logits of p,
    weight (p (log p / q - KL(p | q)) + p - q), comes to `probs`, and that by those of q."""
    (p, q), (log_p, log_q) = ((rows[::2], rows[1::2]) for rows in (probs, log_probs))
    ratio = log_p - log_q
    from_p, from_q = p * ratio, q * ratio
    kl_p, kl_q = from_p.sum(dim=1, keepdim=True), -from_q.sum(dim=1, keepdim=True)
    from_p -= q
    from_q += p
    p.mul_(1 + weight - weight * kl_p).add_(from_p, alpha=weight)
    q.mul_(1 + weight - weight * kl_q).sub_(from_q, alpha=weight)
    return (kl_p + kl_q).mul_(weight / 2).expand(-1, 2).flatten()
