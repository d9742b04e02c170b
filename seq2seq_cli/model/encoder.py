"""Reads a source sentence into a memory and a state."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seq2seq_cli.config.model import EncoderConfig
from seq2seq_cli.data.vocabulary import PAD_ID
from seq2seq_cli.model.dropout import Dropout, Embedding
from seq2seq_cli.model.layers import EncoderLayer, layer_norms
from seq2seq_cli.model.lstm import LSTMState
from seq2seq_cli.model.packing import Packing


class Encoded(NamedTuple):
    """What the decoder may know about a batch of source sentences."""

    memory: Tensor | None
    """(batch, src_len, output_size): the top layer's output for each token, 0 on padding; None
    where nobody reads it"""
    word_vectors: Tensor | None
    """(batch, src_len, embedding_dim): what the bottom layer reads, likewise"""
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
        word_vectors_are_read: bool,
    ) -> None:
        """dropout: between layers; output_is_read: by attention, not just the state by the
        decoder; word_vectors_are_read: by attention, not just by the bottom layer."""
        super().__init__()
        self.output_size = config.output_size
        self.residual = config.residual
        self.output_is_read = output_is_read
        self.word_vectors_are_read = word_vectors_are_read
        self.embedding = embedding
        sizes = [config.embedding_dim] + [self.output_size] * (config.num_layers - 1)
        self.layers = nn.ModuleList(
            EncoderLayer(size, config.hidden_size, bidirectional=config.bidirectional)
            for size in sizes
        )
        self.norms = layer_norms(layer_norm, self.output_size, config.num_layers)
        if not output_is_read:
            self.norms[-1] = nn.Identity()
        self.dropout = dropout

    def forward(self, src_ids: Tensor, src_lens: Tensor) -> Encoded:
        """src_ids: (batch, src_len) with <pad> behind each sentence; src_lens: (batch,) on CPU."""
        batch, device = len(src_lens), src_ids.device
        packing = Packing.of(src_lens, src_ids.size(1), device)
        word_mask = self.embedding.dropout.draw(batch, self.embedding.embedding_dim, device)
        vectors = outputs = self.embedding(packing.pack(src_ids), word_mask, packing.counts)
        states = []
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            below = outputs
            if index:
                mask = self.dropout.draw(batch, below.size(1), device)
                outputs = self.dropout(below, mask, packing.counts)
            outputs, state = layer(outputs, packing)
            outputs = norm(outputs)
            if index and self.residual:
                outputs = outputs + below
            states.append(state)
        hidden = torch.cat([state.hidden for state in states])
        cell = torch.cat([state.cell for state in states])
        state = LSTMState(hidden[:, packing.back], cell[:, packing.back])
        return Encoded(
            packing.unpack(outputs) if self.output_is_read else None,
            packing.unpack(vectors) if self.word_vectors_are_read else None,
            src_ids != PAD_ID,
            state,
        )
