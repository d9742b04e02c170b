"""Dropout, drawn anew at every step or once for a whole sentence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Dropout of the elements of (batch, time, size); in training only.

    With `variational`, a sentence loses the same elements at every step (Gal & Ghahramani 2016;
    an LSTM's own recurrence is left whole, as by Merity et al. 2018). A loop over steps draws the
    mask once, with `draw`, and hands it to every call.
    """

    def __init__(self, rate: float, variational: bool) -> None:
        super().__init__()
        self.rate = rate
        self.variational = variational

    def draw(self, batch: int, size: int, device: torch.device) -> Tensor | None:
        """The (batch, 1, size) mask for all steps; None where each call draws its own."""
        if not (self.training and self.variational and self.rate):
            return None
        return F.dropout(torch.ones(batch, 1, size, device=device), self.rate)

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask: from `draw`, for a call that sees only some of the steps."""
        if mask is None:
            mask = self.draw(inputs.size(0), inputs.size(2), inputs.device)
        if mask is not None:
            return inputs * mask
        return F.dropout(inputs, self.rate, self.training)


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

    def forward(self, token_ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, time) to (batch, time, size); mask: of `dropout`."""
        vectors: Tensor = self.dropout(super().forward(token_ids) * self.scale, mask)
        if self.training and self.word_dropout:
            words = torch.ones(*token_ids.shape, 1, device=vectors.device)
            vectors = vectors * F.dropout(words, self.word_dropout)
        return vectors
