"""Writes a target sentence, from the encoder's state and with a look at its memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq_cli.config.model import DecoderConfig, NoAttention
from seq2seq_cli.model.attention import Attention, Memory
from seq2seq_cli.model.dropout import Dropout, Embedding
from seq2seq_cli.model.lstm import LSTMState, StackedLSTM


class DecoderState(NamedTuple):
    """What one step hands to the next."""

    lstm: LSTMState
    feed: Tensor
    """(batch, output_size): what the output layer read last, for input feeding; elsewhere of size
    0"""

    def select(self, rows: Tensor) -> DecoderState:
        """The state of some rows of the batch, in the order named."""
        lstm = LSTMState(self.lstm.hidden[:, rows], self.lstm.cell[:, rows])
        return DecoderState(lstm, self.feed[rows])


class Noise(NamedTuple):
    """Dropout masks that hold for a whole sentence; None where every call draws its own."""

    embedding: Tensor | None
    hidden: list[Tensor | None]
    output: Tensor | None


class Decoder(nn.Module):
    """Embedding, LSTM layers, attention in its place, and output layer.

    With attention, or where the output layer's matrix is of another size than the LSTM (tied
    embeddings), a layer with tanh stands between them: Luong's attentional vector, which reads the
    LSTM's output and the context (and, in `before`, the word that was fed, as by Bahdanau).
    """

    def __init__(
        self,
        config: DecoderConfig,
        embedding: Embedding,
        memory_size: int,
        *,
        tied: bool,
        hidden_dropout: Dropout,
        output_dropout: Dropout,
        layer_norm: bool,
    ) -> None:
        """tied: the output layer's matrix is the embedding's."""
        super().__init__()
        attention, words, hidden = config.attention, config.embedding_dim, config.hidden_size
        if isinstance(attention, NoAttention):
            self.place, self.attention, memory_size = "none", None, 0
        else:
            self.place = attention.place
            self.attention = Attention(attention, hidden, memory_size)
        self.output_size = words if tied else hidden
        self.feed_size = self.output_size if self.place == "input_feeding" else 0
        self.embedding = embedding
        joining = {"before": memory_size, "input_feeding": self.feed_size}.get(self.place, 0)
        self.lstm = StackedLSTM(
            words + joining,
            hidden,
            config.num_layers,
            hidden_dropout,
            context_size=memory_size if self.place == "deep" else 0,
            residual=config.residual,
            layer_norm=layer_norm,
        )
        read = hidden + memory_size + (words if self.place == "before" else 0)
        needs_readout = self.attention is not None or hidden != self.output_size
        self.readout = nn.Linear(read, self.output_size) if needs_readout else None
        self.output_dropout = output_dropout
        vocabulary_size = embedding.num_embeddings
        self.output: nn.Module = (
            TiedOutput(embedding) if tied else nn.Linear(self.output_size, vocabulary_size)
        )

    def start(self, state: LSTMState) -> DecoderState:
        """The state before the first step."""
        return DecoderState(state, state.hidden.new_zeros(state.hidden.size(1), self.feed_size))

    def draw(self, batch: int, device: torch.device) -> Noise:
        """Masks for a batch of sentences."""
        return Noise(
            self.embedding.dropout.draw(batch, self.embedding.embedding_dim, device),
            self.lstm.draw(batch, device),
            self.output_dropout.draw(batch, self.output_size, device),
        )

    def forward(
        self, token_ids: Tensor, state: DecoderState, memory: Memory | None, noise: Noise
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """Feed tokens (batch, time), from `state` on.

        Returns what the output layer reads, (batch, time, output_size), the state after the last
        token, and the attention weights, (batch, time, src_len).
        """
        words = self.embedding(token_ids, noise.embedding)
        if self.place not in ("before", "input_feeding"):
            outputs, state, weights = self._run(words, state, memory, noise)
        else:
            # A step waits for the one before it.
            steps, looks = [], []
            for word in words.split(1, dim=1):
                step, state, look = self._run(word, state, memory, noise)
                steps.append(step)
                looks.append(look)
            outputs = torch.cat(steps, dim=1)
            weights = torch.cat([look for look in looks if look is not None], dim=1)
        if self.place != "input_feeding":
            outputs = self._read_out(outputs)
        return self.output_dropout(outputs, noise.output), state, weights

    def _run(
        self, words: Tensor, state: DecoderState, memory: Memory | None, noise: Noise
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """Run the layers over words, (batch, time, embedding_dim); one word only where the place of
        attention asks for it. Returns what the readout is made of (the readout itself where it is
        fed to the next step), the new state, and the attention weights."""
        attention, recurrent = self.attention, state.lstm
        if attention is None or memory is None:
            outputs, recurrent = self.lstm(words, recurrent, noise.hidden)
            return outputs, DecoderState(recurrent, state.feed), None
        if self.place == "before":
            context, weights = attention(recurrent.hidden[-1].unsqueeze(1), memory)
            inputs = torch.cat([words, context], dim=2)
            outputs, recurrent = self.lstm(inputs, recurrent, noise.hidden)
            read = torch.cat([outputs, context, words], dim=2)
            return read, DecoderState(recurrent, state.feed), weights
        if self.place == "input_feeding":
            inputs = torch.cat([words, state.feed.unsqueeze(1)], dim=2)
            outputs, recurrent = self.lstm(inputs, recurrent, noise.hidden)
            context, weights = attention(outputs, memory)
            read = self._read_out(torch.cat([outputs, context], dim=2))
            return read, DecoderState(recurrent, read[:, -1]), weights
        found: list[tuple[Tensor, Tensor]] = []

        def attend(bottom: Tensor) -> Tensor:
            found.append(attention(bottom, memory))
            return found[0][0]

        outputs, recurrent = self.lstm(words, recurrent, noise.hidden, attend)
        [(context, weights)] = found
        return torch.cat([outputs, context], dim=2), DecoderState(recurrent, state.feed), weights

    def _read_out(self, read: Tensor) -> Tensor:
        return self.readout(read).tanh() if self.readout else read


class TiedOutput(nn.Module):
    """An output layer whose rows are the target's word vectors (Press & Wolf 2017)."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))

    def forward(self, outputs: Tensor) -> Tensor:
        """(..., embedding_dim) to logits (..., vocabulary)."""
        return F.linear(outputs, self.embedding.weight, self.bias)


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
