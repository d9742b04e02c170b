"""What encoder and decoder are built of: LSTM layers, alone, in two directions, and stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seq2seq_cli.model.dropout import Dropout
from seq2seq_cli.model.lstm import LayerWeight, LSTMState, layer_weight, run_layer
from seq2seq_cli.model.packing import Packing


class LSTMLayer(nn.LSTM):
    """A layer in one direction, as `run_layer` says."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)

    def forward(  # type: ignore[override]
        self, inputs: Tensor, counts: Sequence[int], state: LSTMState, weight: LayerWeight | None
    ) -> tuple[Tensor, LSTMState]:
        """(tokens, input_size) to (tokens, hidden_size); state: (1, counts[0], hidden_size)."""
        outputs, state = run_layer([self], inputs.unsqueeze(0), counts, state, weight)
        return outputs.squeeze(0), state


class EncoderLayer(nn.ModuleList):
    """A layer in one direction or in both: the second one runs over the reversed sentences."""

    def __init__(self, input_size: int, hidden_size: int, *, bidirectional: bool) -> None:
        count = 2 if bidirectional else 1
        super().__init__(LSTMLayer(input_size, hidden_size) for _ in range(count))

    def forward(self, inputs: Tensor, packing: Packing) -> tuple[Tensor, LSTMState]:
        """(tokens, input_size) to (tokens, output size) and the state behind the last token, (1,
        batch, output size), where the directions' outputs and states stand side by side."""
        directions = [lstm for lstm in self if isinstance(lstm, LSTMLayer)]
        reads = [inputs]
        if len(directions) == 2:
            reads.append(inputs.index_select(0, packing.backwards))
        size = len(directions), packing.counts[0], directions[0].hidden_size
        nothing = LSTMState(inputs.new_zeros(size), inputs.new_zeros(size))
        weight = layer_weight(directions)
        outputs, state = run_layer(directions, torch.stack(reads), packing.counts, nothing, weight)
        forwards, *others = outputs
        backwards = [other.index_select(0, packing.backwards) for other in others]
        hidden, cell = (torch.cat([*part], dim=1).unsqueeze(0) for part in state)
        return torch.cat([forwards, *backwards], dim=1), LSTMState(hidden, cell)


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
                layer_weight([layer]),
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
        attend: Callable[[int, Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, LSTMState]:
        """Run over packed tokens, (tokens, input_size), as `LSTMLayer` does; state: (layers,
        counts[0], hidden_size); shared: from `begin`.

        attend: gives the (tokens, context_size) that joins the next layer's inputs, from the number
        of a layer, the first being 0, and its output; asked after the top layer too.
        """
        hiddens, cells = [], []
        begins = [
            LSTMState(*both) for both in zip(*(torch.split(part, 1) for part in state), strict=True)
        ]
        outputs, context = inputs, None
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            weight, mask = shared[index]
            below = outputs
            if index:
                joined = below if context is None else torch.cat([below, context], dim=1)
                inputs = self.dropout(joined, mask, counts)
            outputs, (hidden, cell) = layer(inputs, counts, begins[index], weight)
            outputs = norm(outputs)
            if index and self.residual:
                outputs = outputs + below
            if attend:
                context = attend(index, outputs)
            hiddens.append(hidden)
            cells.append(cell)
        return outputs, LSTMState(torch.cat(hiddens), torch.cat(cells))


class Shared(NamedTuple):
    """What all calls of a layer over one batch share."""

    weight: LayerWeight | None
    mask: Tensor | None
    """Dropout's, of the inputs."""


def layer_norms(wanted: bool, size: int, count: int) -> nn.ModuleList:
    """A normalisation for each layer's output (Ba et al. 2016); without one, nothing happens."""
    return nn.ModuleList(nn.LayerNorm(size) if wanted else nn.Identity() for _ in range(count))
