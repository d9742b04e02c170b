"""Reads a source sentence into a memory and a state."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seq2seq_cli.config.model import EncoderConfig
from seq2seq_cli.data.vocabulary import PAD_ID
from seq2seq_cli.model.dropout import Dropout, Embedding
from seq2seq_cli.model.lstm import (
    LSTMState,
    layer_norms,
    reverse_within_lengths,
    run_to_lengths,
)


class Encoded(NamedTuple):
    """What the decoder may know about a batch of source sentences."""

    memory: Tensor
    """(batch, src_len, output_size): the top layer's output for each token; anything on padding"""
    mask: Tensor
    """(batch, src_len): True where a token is real"""
    state: LSTMState
    """(num_layers, batch, output_size): each layer's state behind the sentence's last token"""


class Encoder(nn.Module):
    """Embedding and LSTM layers, in one direction or both.

    A bidirectional layer is two LSTMs side by side, the second over the reversed sentence; its
    output and final state are those of both, concatenated.
    """

    def __init__(
        self,
        config: EncoderConfig,
        embedding: Embedding,
        dropout: Dropout,
        *,
        layer_norm: bool,
        output_is_read: bool,
    ) -> None:
        """dropout: between layers; output_is_read: by attention, not just the state by the
        decoder."""
        super().__init__()
        self.output_size = config.output_size
        self.residual = config.residual
        self.embedding = embedding
        sizes = [config.embedding_dim] + [self.output_size] * (config.num_layers - 1)
        directions = range(2 if config.bidirectional else 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.LSTM(size, config.hidden_size, batch_first=True) for _ in directions)
            for size in sizes
        )
        self.norms = layer_norms(layer_norm, self.output_size, config.num_layers)
        if not output_is_read:
            self.norms[-1] = nn.Identity()
        self.dropout = dropout

    def forward(self, src_ids: Tensor, src_lens: Tensor) -> Encoded:
        """src_ids: (batch, src_len) with <pad> behind each sentence; src_lens: (batch,) on CPU."""
        order = torch.argsort(src_lens, descending=True, stable=True)
        lengths = src_lens[order]
        outputs = self.embedding(src_ids[order.to(src_ids.device)])
        states = []
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            below = outputs
            assert isinstance(layer, nn.ModuleList)
            outputs, state = self._run(layer, self.dropout(below) if index else below, lengths)
            outputs = norm(outputs)
            if index and self.residual:
                outputs = outputs + below
            states.append(state)
        back = torch.argsort(order).to(src_ids.device)
        hidden = torch.cat([state.hidden for state in states])
        cell = torch.cat([state.cell for state in states])
        state = LSTMState(hidden[:, back], cell[:, back])
        return Encoded(outputs[back], src_ids != PAD_ID, state)

    def _run(
        self, layer: nn.ModuleList, inputs: Tensor, lengths: Tensor
    ) -> tuple[Tensor, LSTMState]:
        outputs, hiddens, cells = [], [], []
        for direction, lstm in enumerate(layer):
            assert isinstance(lstm, nn.LSTM)
            backwards = direction == 1
            read = reverse_within_lengths(inputs, lengths) if backwards else inputs
            output, state = run_to_lengths(lstm, read, lengths.tolist())
            outputs.append(reverse_within_lengths(output, lengths) if backwards else output)
            hiddens.append(state.hidden)
            cells.append(state.cell)
        return torch.cat(outputs, dim=2), LSTMState(torch.cat(hiddens, 2), torch.cat(cells, 2))
