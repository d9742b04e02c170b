"""Writes a target sentence from the encoder's state."""

from __future__ import annotations

from torch import Tensor, nn

from seq2seq_cli.config.model import DecoderConfig
from seq2seq_cli.model.lstm import LSTMState, StackedLSTM


class Decoder(nn.Module):
    """Embedding, LSTM layers and output layer."""

    def __init__(self, config: DecoderConfig, vocabulary_size: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim)
        self.dropout = nn.Dropout(dropout)
        self.lstm = StackedLSTM(
            config.embedding_dim, config.hidden_size, config.num_layers, dropout
        )
        self.output = nn.Linear(config.hidden_size, vocabulary_size)

    def forward(self, token_ids: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Feed tokens (batch, time), from `state` on; returns what the output layer reads, (batch,
        time, hidden_size), and the state after the last token."""
        outputs, state = self.lstm(self.dropout(self.embedding(token_ids)), state)
        return outputs, state


class Bridge(nn.Module):
    """A learned map from the encoder's final states to the decoder's first, where shapes differ.

    All encoder layers' states, side by side, go through one linear map for each of hidden and cell
    state; tanh keeps the hidden state in the range an LSTM gives it.
    """

    def __init__(self, encoder_size: int, decoder: DecoderConfig) -> None:
        """encoder_size: number of encoder layers times the size of a layer's state."""
        super().__init__()
        self.num_layers = decoder.num_layers
        self.hidden = nn.Linear(encoder_size, decoder.num_layers * decoder.hidden_size)
        self.cell = nn.Linear(encoder_size, decoder.num_layers * decoder.hidden_size)

    def forward(self, state: LSTMState) -> LSTMState:
        """(encoder layers, batch, size) to (decoder layers, batch, hidden_size)."""
        batch = state.hidden.size(1)
        hidden, cell = (part.transpose(0, 1).reshape(batch, -1) for part in state)
        shape = (batch, self.num_layers, -1)
        hidden = self.hidden(hidden).tanh().view(shape)
        return LSTMState(
            hidden.transpose(0, 1).contiguous(),
            self.cell(cell).view(shape).transpose(0, 1).contiguous(),
        )
