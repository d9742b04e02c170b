r"""Attention: for each decoder step, a mean of the source tokens' vectors, weighted by relevance.

For a query q, keys k_s and values m_s of a sentence's tokens s:

    e_s = score(q, k_s)     w = softmax(e)     context = sum over s of w_s m_s

    dot, general:  e_s = q . k_s
    additive:      e_s = v . tanh(q + k_s) = sum(v) - 2 v . y_s,  y_s = s(-2 q - 2 k_s)

where s is the sigmoid; sum(v) moves all scores alike, and softmax does not see it. What additive
attention keeps as queries and keys is -2 q and -2 k. Backwards, from the gradient d_c of the
context:

    d_w_s = d_c . m_s       d_e_s = w_s (d_w_s - sum over r of w_r d_w_r)
    d_m_s = sum over queries of w_s d_c

    dot, general:  d_q = sum over s of d_e_s k_s       d_k_s = sum over queries of d_e_s q
    additive:      d_(-2 q) = -2 v (*) sum over s of d_e_s y_s (1 - y_s)
                   d_(-2 k_s) = -2 v (*) sum over queries of d_e_s y_s (1 - y_s)
                   d_v = -2 sum of d_e_s y_s

Of additive attention's (queries, tokens, size) only one decoder step's part is ever there; it is
made again for the backward pass. d_m and d_k wait until all calls are done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from seq2seq_cli.config.model import AdditiveAttention, DotAttention, GeneralAttention
from seq2seq_cli.model.deferred import SharedWeight, product_dtype
from seq2seq_cli.model.packing import Packing


class MemoryParts:
    """What the gradients of a memory's values and keys are made of."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._products: dict[str, list[tuple[Tensor, Tensor]]] = {"values": [], "keys": []}
        self._d_keys: Tensor | None = None

    def leave(self, name: str, weights: Tensor, vectors: Tensor) -> None:
        """weights: (rows, time, src_len), vectors: (rows, time, size), for the first rows: their
        products, summed over time, are a part of the gradient."""
        self._products[name].append((weights, vectors))

    def add_to_keys(self, weights: Tensor, vectors: Tensor) -> None:
        """weights: (rows, src_len, 1), vectors: (rows, src_len, size), for the first rows: their
        products are a part of the keys' gradient."""
        if self._d_keys is None:
            self._d_keys = vectors.new_zeros(self._batch, *vectors.shape[1:])
        self._d_keys[: len(weights)].addcmul_(weights, vectors)

    def collect(self, name: str) -> Tensor | None:
        """The sum of all that was left, (batch, src_len, size); then nothing is left."""
        parts, self._products[name] = self._products[name], []
        if parts:
            weights, vectors = (
                torch.cat(
                    [F.pad(part, (0, 0, 0, 0, 0, self._batch - len(part))) for part in side], dim=1
                )
                for side in zip(*parts, strict=True)
            )
            return weights.transpose(1, 2) @ vectors
        if name == "keys":
            d_keys, self._d_keys = self._d_keys, None
            return d_keys
        return None


class Memory(NamedTuple):
    """A batch of source sentences as attention reads them."""

    values: Tensor
    """(batch, src_len, size): the encoder's output for each token, and its word vector behind it
    where the config asks for it"""
    keys: Tensor
    """(batch, src_len, key_size): what queries are compared with, the same at every step"""
    mask: Tensor
    """(batch, src_len): True where a token is real"""
    parts: MemoryParts

    def first(self, count: int) -> Memory:
        """The first sentences' memory."""
        return Memory(self.values[:count], self.keys[:count], self.mask[:count], self.parts)

    def select(self, rows: Tensor) -> Memory:
        """The memory of some sentences."""
        return shared_memory(self.values[rows], self.keys[rows], self.mask[rows])


def shared_memory(values: Tensor, keys: Tensor, mask: Tensor) -> Memory:
    """A memory for any number of calls; its gradient is made when all have left their parts."""
    parts = MemoryParts(len(values))
    values, keys = _Shared.apply(parts, values, keys)  # type: ignore[no-untyped-call]
    return Memory(values, keys, mask, parts)


class _Shared(torch.autograd.Function):
    """A memory as it is. Every call depends on this node, so its backward pass comes last."""

    @staticmethod
    def forward(
        ctx: Any, parts: MemoryParts, values: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.parts = parts
        ctx.set_materialize_grads(False)
        return values.view_as(values), keys.view_as(keys)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *others: Tensor | None) -> tuple[Tensor | None, ...]:
        """others: gradients of uses that leave no parts."""
        left = (ctx.parts.collect(name) for name in ("values", "keys"))
        return None, *(_sum(*both) for both in zip(left, others, strict=True))


def _sum(*gradients: Tensor | None) -> Tensor | None:
    there = [gradient for gradient in gradients if gradient is not None]
    return sum(there[1:], there[0]) if there else None


class Attention(nn.Module):
    """Scores of the configured kind, and the softmax over a sentence's real tokens.

    dot: h . m; general: h . W m (both Luong et al. 2015); additive: v . tanh(U h + W m + b)
    (Bahdanau et al. 2015), with a hidden layer of the query's size.
    """

    def __init__(
        self,
        config: DotAttention | GeneralAttention | AdditiveAttention,
        query_size: int,
        memory_size: int,
    ) -> None:
        super().__init__()
        is_additive = isinstance(config, AdditiveAttention)
        self.key = (
            None
            if isinstance(config, DotAttention)
            else nn.Linear(memory_size, query_size, bias=False)
        )
        self.query = nn.Linear(query_size, query_size) if is_additive else None
        self.score = nn.Linear(query_size, 1, bias=False) if is_additive else None

    def read(self, outputs: Tensor, mask: Tensor, word_vectors: Tensor | None = None) -> Memory:
        """Make the memory, once for a batch of sentences. outputs: the encoder's, (batch, src_len,
        memory_size), of which keys are made; word_vectors: (batch, src_len, embedding_dim), which
        contexts hold the mean of as well."""
        outputs = outputs.to(product_dtype(outputs))
        keys = self.key(outputs) if self.key else outputs
        if self.score:
            keys = keys.to(self.score.weight.dtype) * -2.0
        values = outputs
        if word_vectors is not None:
            values = torch.cat([outputs, word_vectors.to(outputs.dtype)], dim=2)
        return shared_memory(values, keys, mask)

    def forward(
        self,
        queries: Tensor,
        counts: Sequence[int],
        memory: Memory,
        query_weight: SharedWeight | None,
    ) -> tuple[Tensor, Tensor | None]:
        """queries: packed, (tokens, query_size), `counts` at each step, of the memory's first
        sentences, or, for a single step, several of each sentence, side by side; query_weight: of
        `query`. Returns contexts, (tokens, size), and, for a single step, weights, (tokens,
        src_len) in float32 at least, 0 on padding."""
        vector = self.score.weight[0] if self.score else None
        if query_weight:
            queries = query_weight.linear(queries).to(memory.keys.dtype) * -2.0
        memory = memory.first(counts[0])
        if len(counts) > 1:
            packing = Packing.of_counts(counts, queries.device)
            contexts, _ = _attend(packing.unpack(queries), counts, memory, vector)
            return packing.pack(contexts), None
        rows = queries.view(len(memory.values), -1, queries.size(1))
        contexts, weights = _attend(rows, [len(rows)] * rows.size(1), memory, vector)
        return contexts.flatten(0, 1), weights.flatten(0, 1)


def _attend(
    queries: Tensor, counts: Sequence[int], memory: Memory, vector: Tensor | None
) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = _Attend.apply(  # type: ignore[no-untyped-call]
        queries, counts, *memory, vector
    )
    return found


class _Attend(torch.autograd.Function):
    """The equations of this file."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        counts: Sequence[int],
        values: Tensor,
        keys: Tensor,
        mask: Tensor,
        parts: MemoryParts,
        vector: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """queries: (rows, time, size), as many rows at each step as `counts` says."""
        queries = queries.to(keys.dtype)
        # Additive scores are float32 as the keys are: autocast would copy them to smaller numbers.
        with torch.autocast(keys.device.type, enabled=False):
            if vector is None:
                scores = queries @ keys.transpose(1, 2)
                scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
            else:
                scores = keys.new_zeros(*queries.shape[:2], keys.size(1))
                for step, squashed in enumerate(_squashed(queries, keys, counts)):
                    scores[: len(squashed), step] = (squashed @ vector).mul_(-2.0)
            weights = scores.masked_fill_(~mask.unsqueeze(1), float("-inf")).softmax(dim=2)
        ctx.save_for_backward(queries, values, keys, weights, vector)
        ctx.counts, ctx.parts = counts, parts
        ctx.mark_non_differentiable(weights)
        return torch.bmm(weights.to(values.dtype), values), weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_contexts: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        queries, values, keys, weights, vector = ctx.saved_tensors
        d_contexts = d_contexts.to(values.dtype)
        ctx.parts.leave("values", weights.to(values.dtype), d_contexts)
        d_weights = (d_contexts @ values.transpose(1, 2)).to(weights.dtype)
        d_scores = weights * (d_weights - (weights * d_weights).sum(dim=2, keepdim=True))
        if vector is None:
            d_scores = d_scores.to(keys.dtype)
            ctx.parts.leave("keys", d_scores, queries)
            return d_scores @ keys, *[None] * 6
        d_queries, d_vector = torch.zeros_like(queries), torch.zeros_like(vector)
        for step, squashed in enumerate(_squashed(queries, keys, ctx.counts)):
            rows = len(squashed)
            d_step = d_scores[:rows, step].unsqueeze(2)
            d_vector.addmv_(squashed.flatten(0, 1).t(), d_step.flatten(), alpha=-2.0)
            slopes = squashed.addcmul_(squashed, squashed, value=-1.0).mul_(-2.0 * vector)
            d_queries[:rows, step] = (d_step.transpose(1, 2) @ slopes).squeeze(1)
            ctx.parts.add_to_keys(d_step, slopes)
        return d_queries, *[None] * 5, d_vector


def _squashed(queries: Tensor, keys: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
    """Additive attention's y, step by step, (rows, src_len, size), in one piece of memory."""
    room = torch.empty_like(keys)
    for step, count in enumerate(counts):
        query = queries[:count, step].unsqueeze(1)
        yield torch.add(keys[:count], query, out=room[:count]).sigmoid_()
