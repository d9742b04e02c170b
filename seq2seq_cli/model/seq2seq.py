"""The encoder-decoder as training, scoring and search see it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seq2seq_cli.config.model import InitConfig, ModelConfig, NormalInit, UniformInit
from seq2seq_cli.data.batching import Batch
from seq2seq_cli.model.attention import Memory
from seq2seq_cli.model.decoder import Bridge, Decoder, DecoderState
from seq2seq_cli.model.dropout import Dropout, Embedding
from seq2seq_cli.model.encoder import Encoder
from seq2seq_cli.model.loss import output_loss


class Decoding(NamedTuple):
    """Where the decoding of a batch stands, one hypothesis a row."""

    memory: Memory | None
    """The same at every step; None without attention."""
    state: DecoderState

    def reorder(self, rows: Tensor) -> Decoding:
        """Rows trade places with others of the same sentence, whose memory is the same."""
        return Decoding(self.memory, self.state.select(rows))

    def select(self, rows: Tensor) -> Decoding:
        """Some rows of the batch, in the order named; any may be named more than once."""
        memory = self.memory and Memory(*(part[rows] for part in self.memory))
        return Decoding(memory, self.state.select(rows))


class Seq2Seq(nn.Module):
    """LSTM encoder-decoder (Sutskever, Vinyals, Le 2014), with attention where the config says so.

    Training and scoring call the model: a batch goes in, (summed loss, number of tokens) comes out.
    Search calls `encode` once and then `step` for each token; all state is in their arguments.
    """

    def __init__(self, config: ModelConfig, source_size: int, target_size: int) -> None:
        """source_size, target_size: numbers of tokens in the vocabularies."""
        super().__init__()
        rates, tied = config.dropout, config.tied_embeddings
        word_dropout, hidden_dropout, output_dropout = (
            Dropout(rate, rates.variational)
            for rate in (rates.embedding, rates.hidden, rates.output)
        )

        def embedding(size: int, dim: int, is_tied: bool) -> Embedding:
            scale = math.sqrt(dim) if is_tied else 1.0
            return Embedding(size, dim, word_dropout, rates.word, scale)

        target = embedding(target_size, config.decoder.embedding_dim, tied != "none")
        self.encoder = Encoder(
            config.encoder,
            target
            if tied == "all"
            else embedding(source_size, config.encoder.embedding_dim, is_tied=False),
            hidden_dropout,
            layer_norm=config.layer_norm,
            output_is_read=config.decoder.attention.kind != "none",
        )
        self.decoder = Decoder(
            config.decoder,
            target,
            self.encoder.output_size,
            tied=tied != "none",
            hidden_dropout=hidden_dropout,
            output_dropout=output_dropout,
            layer_norm=config.layer_norm,
        )
        from_encoder = config.encoder.num_layers, self.encoder.output_size
        to_decoder = config.decoder.num_layers, config.decoder.hidden_size
        self.bridge = (
            None if from_encoder == to_decoder else Bridge(math.prod(from_encoder), config.decoder)
        )

    def forward(
        self,
        batch: Batch,
        forced: Tensor | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "sum",
    ) -> tuple[Tensor, int]:
        """Summed cross entropy in nats over the real target tokens, and their number.

        forced: for each sentence and target step after the first, whether it is fed the true token
        (teacher forcing) or the decoder's own best guess: booleans on the CPU, (batch, trg_len - 2)
        or (1, trg_len - 2) for all sentences alike. None: always the true one. With False
        throughout, the loss is the free-running one: it goes on at every reference position, past a
        predicted <eos>. reduction: "none" gives each token's own, sentence by sentence.
        """
        outputs = self._unroll(batch.trg_ids[:, :-1], self.encode(batch), forced)
        return output_loss(
            outputs, self.decoder.output, batch.trg_ids[:, 1:], label_smoothing, reduction
        )

    def _unroll(self, trg_ids: Tensor, decoding: Decoding, forced: Tensor | None) -> Tensor:
        """What the output layer reads, (batch, time, size), fed trg_ids (batch, time) where
        forced."""
        memory, state = decoding
        noise = self.decoder.draw(len(trg_ids), trg_ids.device)
        time = trg_ids.size(1)
        own: list[int] = []  # steps at which some sentence is fed a word of the decoder's own
        if forced is not None:
            own = [step + 1 for step, all_true in enumerate(forced.all(0).tolist()) if not all_true]
            forced = forced.to(trg_ids.device)
        outputs: list[Tensor] = []
        # Between two such steps lies a stretch known beforehand: one call.
        for start, stop in zip([0, *own], [*own, time], strict=True):
            fed = trg_ids[:, start:stop]
            if forced is not None and start:
                with torch.no_grad():
                    guess = self.decoder.output(outputs[-1][:, -1]).argmax(dim=1)
                first = torch.where(forced[:, start - 1], fed[:, 0], guess)
                fed = torch.cat([first.unsqueeze(1), fed[:, 1:]], dim=1)
            stretch, state, _ = self.decoder(fed, state, memory, noise)
            outputs.append(stretch)
        return torch.cat(outputs, dim=1)

    def encode(self, batch: Batch) -> Decoding:
        """Read the source; returns where decoding begins."""
        encoded = self.encoder(batch.src_ids, batch.src_lens)
        state = self.bridge(encoded.state) if self.bridge else encoded.state
        attention = self.decoder.attention
        memory = attention.read(encoded.memory, encoded.mask) if attention else None
        return Decoding(memory, self.decoder.start(state))

    def step(self, token_ids: Tensor, decoding: Decoding) -> tuple[Tensor, Decoding, Tensor | None]:
        """Feed one token to each row, (batch,).

        Returns log-probabilities of the next token, (batch, target vocabulary) in float32, where
        decoding stands then, and the attention weights of the step, (batch, src_len).
        """
        memory, state = decoding
        noise = self.decoder.draw(len(token_ids), token_ids.device)
        outputs, state, weights = self.decoder(token_ids.unsqueeze(1), state, memory, noise)
        log_probs = self.decoder.output(outputs[:, 0]).float().log_softmax(dim=1)
        return log_probs, Decoding(memory, state), None if weights is None else weights[:, 0]

    def parts(self) -> dict[str, int]:
        """Number of parameters of each part; a matrix that two parts share counts for the first."""
        decoder = self.decoder
        parts: dict[str, list[nn.Module | None]] = {
            "source embedding": [self.encoder.embedding],
            "encoder LSTM": [self.encoder.layers, self.encoder.norms],
            "target embedding": [decoder.embedding],
            "decoder LSTM": [decoder.lstm],
            "attention": [decoder.attention, decoder.readout if decoder.attention else None],
            "output layer": [decoder.output, None if decoder.attention else decoder.readout],
            "bridge": [self.bridge],
        }
        counted: set[nn.Parameter] = set()
        sizes = {}
        for name, modules in parts.items():
            own = {p for module in modules if module for p in module.parameters()} - counted
            counted |= own
            if own:
                sizes[name] = sum(parameter.numel() for parameter in own)
        return sizes


@torch.no_grad()
def initialise(model: Seq2Seq, config: InitConfig, seed: int) -> None:
    """Draw all weights anew, the same ones for the same seed on every device."""
    random = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        values = torch.empty(parameter.shape)
        if ".norms." in name:  # begins as it is: neither scaled nor moved
            continue
        if isinstance(config, UniformInit):
            values.uniform_(-config.scale, config.scale, generator=random)
        elif "bias" in name:
            values.zero_()
        elif isinstance(config, NormalInit):
            values.normal_(0.0, config.std, generator=random)
        elif "embedding" in name:
            values.normal_(0.0, values.size(1) ** -0.5, generator=random)
        else:
            for matrix in _gates(name, values):
                nn.init.xavier_uniform_(matrix, generator=random)
        parameter.copy_(values)


def _gates(name: str, values: Tensor) -> Iterator[Tensor]:
    """An LSTM weight as its four gates' matrices, any other weight as it is."""
    is_lstm = "weight_ih" in name or "weight_hh" in name
    yield from values.chunk(4) if is_lstm else [values]
