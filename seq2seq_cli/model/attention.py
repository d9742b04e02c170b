"""Attention: for each decoder step, a mean of the source tokens' vectors, weighted by relevance."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from seq2seq_cli.config.model import AdditiveAttention, DotAttention, GeneralAttention


class Memory(NamedTuple):
    """A batch of source sentences as attention reads them."""

    values: Tensor
    """(batch, src_len, size): the encoder's output for each token"""
    keys: Tensor
    """(batch, src_len, key_size): what queries are compared with, the same at every step"""
    mask: Tensor
    """(batch, src_len): True where a token is real"""


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

    def read(self, values: Tensor, mask: Tensor) -> Memory:
        """Make the keys, once for a batch of sentences."""
        return Memory(values, self.key(values) if self.key else values, mask)

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """queries: (batch, time, query_size). Returns contexts, (batch, time, size), and weights,
        (batch, time, src_len) in float32, 0 on padding."""
        if self.query and self.score:
            compared = memory.keys.unsqueeze(1) + self.query(queries).unsqueeze(2)
            scores = self.score(compared.tanh()).squeeze(3)
        else:
            scores = queries @ memory.keys.transpose(1, 2)
        scores = scores.float().masked_fill(~memory.mask.unsqueeze(1), float("-inf"))
        weights = scores.softmax(dim=2)
        return weights.to(memory.values.dtype) @ memory.values, weights
