"""LSTM layers over padded batches, with explicit states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq_cli.model.dropout import Dropout


class LSTMState(NamedTuple):
    """Recurrent state of a stack of LSTM layers."""

    hidden: Tensor
    """(layers, batch, hidden_size)"""
    cell: Tensor
    """(layers, batch, hidden_size)"""


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
        self.layers = nn.ModuleList(nn.LSTM(size, hidden_size, batch_first=True) for size in sizes)
        self.norms = layer_norms(layer_norm, hidden_size, num_layers)
        self.dropout = dropout
        self.residual = residual

    def draw(self, batch: int, device: torch.device) -> list[Tensor | None]:
        """The masks of `dropout` for all layers but the first."""
        sizes = [layer.input_size for layer in self.layers if isinstance(layer, nn.LSTM)]
        return [self.dropout.draw(batch, size, device) for size in sizes[1:]]

    def forward(
        self,
        inputs: Tensor,
        state: LSTMState,
        masks: Sequence[Tensor | None],
        attend: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, LSTMState]:
        """Run over (batch, time, input_size); returns (batch, time, hidden_size) and the state
        after the last step. Rows are taken at their full width: right for a decoder, whose padding
        comes after everything that counts.

        masks: from `draw`. attend: gives the (batch, time, context_size) that joins the inputs of
        the layers above the first, from the output of that one.
        """
        hiddens, cells = [], []
        outputs, context = inputs, None
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            below = outputs
            if index:
                joined = below if context is None else torch.cat([below, context], dim=2)
                inputs = self.dropout(joined, masks[index - 1])
            begin = state.hidden[index : index + 1], state.cell[index : index + 1]
            outputs, (hidden, cell) = layer(inputs, begin)
            outputs = norm(outputs)
            if index and self.residual:
                outputs = outputs + below
            if index == 0 and attend:
                context = attend(outputs)
            hiddens.append(hidden)
            cells.append(cell)
        return outputs, LSTMState(torch.cat(hiddens), torch.cat(cells))


def layer_norms(wanted: bool, size: int, count: int) -> nn.ModuleList:
    """A normalisation for each layer's output (Ba et al. 2016); without one, nothing happens."""
    return nn.ModuleList(nn.LayerNorm(size) if wanted else nn.Identity() for _ in range(count))


def run_to_lengths(layer: nn.LSTM, inputs: Tensor, lengths: list[int]) -> tuple[Tensor, LSTMState]:
    """Run one layer over rows of different lengths, each row exactly as far as it is long.

    inputs: (batch, time, input_size), rows sorted by length, longest first.
    Returns outputs (batch, time, hidden_size), 0 behind a row's end, and the state (1, batch,
    hidden_size) at each row's own end.

    Time is cut where a length ends, and each piece is one call over the rows that are still
    running. Batches hold similar lengths, so there are few pieces; no step is spent on padding, and
    none can change a result. A PackedSequence means the same, but on CPU it never reaches oneDNN.
    """
    batch, time, _ = inputs.shape
    hidden = cell = inputs.new_zeros(1, batch, layer.hidden_size)
    pieces, finished = [], []
    start = 0
    for stop in sorted(set(lengths)):
        running = sum(length > start for length in lengths)
        piece, (hidden, cell) = layer(
            inputs[:running, start:stop], (hidden[:, :running], cell[:, :running])
        )
        pieces.append(F.pad(piece, (0, 0, 0, 0, 0, batch - running)))
        ended = sum(length > stop for length in lengths)
        finished.append((hidden[:, ended:], cell[:, ended:]))
        start = stop
    if start < time:
        pieces.append(inputs.new_zeros(batch, time - start, layer.hidden_size))
    # Rows that ended first stand last.
    hiddens, cells = zip(*reversed(finished), strict=True)
    return torch.cat(pieces, dim=1), LSTMState(torch.cat(hiddens, dim=1), torch.cat(cells, dim=1))


def reverse_within_lengths(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Each row of (batch, time, size) backwards up to its length; padding stays where it is."""
    positions = torch.arange(inputs.size(1)).expand(len(lengths), -1)
    mirrored = lengths.unsqueeze(1) - 1 - positions
    index = torch.where(mirrored >= 0, mirrored, positions).to(inputs.device)
    return inputs.gather(1, index.unsqueeze(2).expand_as(inputs))
