"""Writes a target sentence, from the encoder's state and with a look at its memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq_cli.config.model import DecoderConfig, NoAttention
from seq2seq_cli.model.attention import Attention, Memory
from seq2seq_cli.model.deferred import SharedWeight, product_dtype, shared_linear
from seq2seq_cli.model.dropout import Dropout, Embedding
from seq2seq_cli.model.encoder import Encoded
from seq2seq_cli.model.layers import Shared, StackedLSTM
from seq2seq_cli.model.lstm import LSTMState
from seq2seq_cli.model.output_layer import Fixnorm, TiedOutput
from seq2seq_cli.model.quantized import Int8Matrix, wants_int8

_STEPWISE_PLACES = ("before", "input_feeding")
"""Of attention: each step waits for the one before it, no layer runs over a whole target."""


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

    def first(self, count: int) -> DecoderState:
        """The state of the first rows."""
        feed = self.feed if count == len(self.feed) else self.feed[:count]
        return DecoderState(self.lstm.first(count), feed)


class Pass(NamedTuple):
    """What all calls for one batch share: weights as products read them, and the dropout masks that
    hold for a whole sentence (None where every call draws its own)."""

    embedding: Tensor | None
    layers: list[Shared]
    queries: list[SharedWeight | None]
    """Of each attention."""
    readout: SharedWeight | None
    output: Tensor | None
    matrix: Tensor
    """(vocabulary, output_size): the output layer's"""
    rounded: Int8Matrix | None
    """It again, where products are in 8-bit integers."""


class Decoder(nn.Module):
    """Embedding, LSTM layers, attention in its place, and output layer.

    With attention, or where the output layer's matrix is of another size than the LSTM (tied
    embeddings), a layer with tanh stands between them: Luong's attentional vector, which reads the
    LSTM's output and the context (and, in `before`, the word that was fed, as by Bahdanau); where
    every layer has attention, the top one's context.
    """

    def __init__(
        self,
        config: DecoderConfig,
        embedding: Embedding,
        *,
        memory_size: int,
        context_size: int,
        tied: bool,
        hidden_dropout: Dropout,
        output_dropout: Dropout,
        layer_norm: bool,
        fixnorm: bool,
    ) -> None:
        """memory_size: of the encoder's outputs; context_size: of what attention makes of them (and
        of word vectors); tied: the output layer's matrix is the embedding's."""
        super().__init__()
        attention, words, hidden = config.attention, config.embedding_dim, config.hidden_size
        above: list[Attention] = []
        if isinstance(attention, NoAttention):
            self.place, self.attention, context_size = "none", None, 0
        else:
            self.place = attention.place
            self.attention = Attention(attention, hidden, memory_size)
            if self.place == "every_layer":
                above = [
                    Attention(attention, hidden, memory_size) for _ in range(1, config.num_layers)
                ]
        # Not one list with the other: its weights have the same names in every place.
        self.attentions_above = nn.ModuleList(above)
        self.output_size = words if tied else hidden
        self.feed_size = self.output_size if self.place == "input_feeding" else 0
        self.embedding = embedding
        joining = {"before": context_size, "input_feeding": self.feed_size}.get(self.place, 0)
        self.lstm = StackedLSTM(
            words + joining,
            hidden,
            config.num_layers,
            hidden_dropout,
            context_size=context_size if self.place in ("deep", "every_layer") else 0,
            residual=config.residual,
            layer_norm=layer_norm,
        )
        read = hidden + context_size + (words if self.place == "before" else 0)
        needs_readout = self.attention is not None or hidden != self.output_size
        self.readout = nn.Linear(read, self.output_size) if needs_readout else None
        self.output_dropout = output_dropout
        vocabulary_size = embedding.num_embeddings
        self.output: TiedOutput | nn.Linear = (
            TiedOutput(embedding) if tied else nn.Linear(self.output_size, vocabulary_size)
        )
        self.fixnorm = Fixnorm() if fixnorm else None

    @property
    def attentions(self) -> list[Attention]:
        """The one there is, or that of each layer; none without attention."""
        modules = [self.attention, *self.attentions_above]
        return [module for module in modules if isinstance(module, Attention)]

    def read(self, encoded: Encoded) -> list[Memory]:
        """Make each attention's memory, once for a batch of sentences."""
        if not self.attentions:
            return []
        memory, vectors, mask, _ = encoded
        assert memory is not None
        return [attention.read(memory, mask, vectors) for attention in self.attentions]

    def start(self, state: LSTMState) -> DecoderState:
        """The state before the first step."""
        return DecoderState(state, state.hidden.new_zeros(state.hidden.size(1), self.feed_size))

    def begin(self, batch: int, device: torch.device) -> Pass:
        """What the calls for a batch of sentences share."""
        matrix = self.output.weight
        if self.fixnorm:
            matrix = self.fixnorm(matrix)
        return Pass(
            self.embedding.dropout.draw(batch, self.embedding.embedding_dim, device),
            self.lstm.begin(batch, device),
            [shared_linear(attention.query) for attention in self.attentions],
            shared_linear(self.readout),
            self.output_dropout.draw(batch, self.output_size, device),
            matrix.to(product_dtype(matrix)),
            Int8Matrix(matrix) if wants_int8() else None,
        )

    def forward(
        self,
        token_ids: Tensor,
        counts: Sequence[int],
        state: DecoderState,
        memories: Sequence[Memory],
        shared: Pass,
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """Feed packed tokens, (tokens,), from `state` on; counts: sentences at each step, whose
        rows come first in state and memories; memories: from `read`; shared: from `begin`.

        Returns what the output layer reads, (tokens, output_size), the state behind the last step
        (of the sentences still running there, which come first), and, if it is the only step, the
        attention weights, (tokens, src_len); those of the top layer's where all have attention.
        """
        words = self.embedding(token_ids, shared.embedding, counts)
        if self.place not in _STEPWISE_PLACES:
            outputs, state, weights = self._run(words, counts, state, memories, shared)
        else:
            # A step waits for the one before it.
            steps, weights = [], None
            for word, count in zip(words.split(list(counts)), counts, strict=True):
                step, state, weights = self._run(
                    word, [count], state.first(count), memories, shared
                )
                steps.append(step)
            outputs = torch.cat(steps)
        if self.place != "input_feeding":
            outputs = self._read_out(outputs, shared)
        return self.output_dropout(outputs, shared.output, counts), state, weights

    def _run(
        self,
        words: Tensor,
        counts: Sequence[int],
        state: DecoderState,
        memories: Sequence[Memory],
        shared: Pass,
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """Run the layers over words, (tokens, embedding_dim); of one step only where the place of
        attention asks for it. Returns what the readout is made of (the readout itself where it is
        fed to the next step), the new state, and the attention weights."""
        attentions, recurrent = self.attentions, state.lstm
        if not attentions:
            outputs, recurrent = self.lstm(words, counts, recurrent, shared.layers)
            return outputs, DecoderState(recurrent, state.feed), None

        def attend(index: int, queries: Tensor) -> tuple[Tensor, Tensor | None]:
            found: tuple[Tensor, Tensor | None] = attentions[index](
                queries, counts, memories[index], shared.queries[index]
            )
            return found

        if self.place == "before":
            context, weights = attend(0, recurrent.hidden[-1])
            inputs = torch.cat([words, context], dim=1)
            outputs, recurrent = self.lstm(inputs, counts, recurrent, shared.layers)
            read = torch.cat([outputs, context, words.to(outputs.dtype)], dim=1)
            return read, DecoderState(recurrent, state.feed), weights
        if self.place == "input_feeding":
            inputs = torch.cat([words, state.feed], dim=1)
            outputs, recurrent = self.lstm(inputs, counts, recurrent, shared.layers)
            context, weights = attend(0, outputs)
            read = self._read_out(torch.cat([outputs, context], dim=1), shared)
            return read, DecoderState(recurrent, read), weights
        looks: list[tuple[Tensor, Tensor | None]] = []

        def attend_after(layer: int, outputs: Tensor) -> Tensor:
            if layer < len(attentions):
                looks.append(attend(layer, outputs))
            return looks[-1][0]

        outputs, recurrent = self.lstm(words, counts, recurrent, shared.layers, attend_after)
        context, weights = looks[-1]
        return torch.cat([outputs, context], dim=1), DecoderState(recurrent, state.feed), weights

    def logits(self, outputs: Tensor, shared: Pass) -> Tensor:
        """(rows, output_size) to (rows, vocabulary), in the bias' type as the loss takes them."""
        bias = self.output.bias
        if shared.rounded:
            return shared.rounded.product(outputs).add_(bias)
        return F.linear(outputs.to(shared.matrix.dtype), shared.matrix).to(bias.dtype).add_(bias)

    def _read_out(self, read: Tensor, shared: Pass) -> Tensor:
        return shared.readout.linear(read).tanh() if shared.readout else read


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
