"""Dropout, drawn anew at every step or once for a whole sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Dropout of the elements of packed tokens, (tokens, size); in training only.

    With `variational`, a sentence loses the same elements at every step (Gal & Ghahramani 2016;
    an LSTM's own recurrence is left whole, as by Merity et al. 2018). Whoever calls step by step
    draws the mask once, with `draw`, and hands it to every call.
    """

    def __init__(self, rate: float, variational: bool) -> None:
        super().__init__()
        self.rate = rate
        self.variational = variational

    def draw(self, batch: int, size: int, device: torch.device) -> Tensor | None:
        """The (batch, size) mask for all steps; None where each call draws its own."""
        if not (self.training and self.variational and self.rate):
            return None
        return kept((batch, size), self.rate, torch.float32, device)

    def forward(
        self, inputs: Tensor, mask: Tensor | None = None, counts: Sequence[int] = ()
    ) -> Tensor:
        """mask: from `draw`; counts: how many sentences, the mask's first rows, are at each step of
        the inputs."""
        if mask is not None:
            return inputs * torch.cat([mask[:count] for count in counts]).to(inputs.dtype)
        if not (self.training and self.rate):
            return inputs
        return inputs * kept(inputs.shape, self.rate, inputs.dtype, inputs.device)


class Embedding(nn.Embedding):
    """Word vectors with their dropout: of elements, and of whole words."""

    def __init__(
        self, vocabulary_size: int, size: int, dropout: Dropout, word_dropout: float, scale: float
    ) -> None:
        """scale: what vectors are multiplied by on their way in. Those that are an output layer's
        rows too are small, and would drown beside an LSTM's other inputs."""
        super().__init__(vocabulary_size, size)
        self.dropout = dropout
        self.word_dropout = word_dropout
        self.scale = scale

    def forward(
        self, token_ids: Tensor, mask: Tensor | None = None, counts: Sequence[int] = ()
    ) -> Tensor:
        """(tokens,) to (tokens, size); mask and counts as `dropout` takes them."""
        vectors: Tensor = super().forward(token_ids)
        if self.scale != 1.0:
            vectors = vectors * self.scale
        vectors = self.dropout(vectors, mask, counts)
        if self.training and self.word_dropout:
            shape = len(token_ids), 1
            vectors = vectors * kept(shape, self.word_dropout, vectors.dtype, vectors.device)
        return vectors


def kept(shape: Sequence[int], rate: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A mask for dropout: 0 with probability `rate`, else 1 / (1 - rate).

    torch's own draws on the CPU cost as much as a tenth of a training step. There its generator
    only names the seed of a faster one, whose 16 bits for each element make a rate right to 1.5e-5.
    """
    if device.type != "cpu":
        mask = torch.empty(*shape, device=device, dtype=dtype).bernoulli_(1.0 - rate)
        return mask.div_(1.0 - rate)
    count = math.prod(shape)
    source = np.random.SFC64(int(torch.randint(2**62, ())))
    bits = torch.from_numpy(source.random_raw(-(-count // 4)).view(np.int16)[:count])
    threshold = min(round(rate * 2**16), 2**16 - 1) - 2**15
    return (bits >= threshold).to(dtype).mul_(1.0 / (1.0 - rate)).view(*shape)
