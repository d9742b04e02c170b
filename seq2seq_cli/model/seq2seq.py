"""The encoder-decoder as training, scoring and search see it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from seq2seq_cli.config.model import InitConfig, ModelConfig, NormalInit, UniformInit
from seq2seq_cli.data.batching import Batch
from seq2seq_cli.model.decoder import Bridge, Decoder
from seq2seq_cli.model.encoder import Encoded, Encoder
from seq2seq_cli.model.loss import output_loss
from seq2seq_cli.model.lstm import LSTMState


class Seq2Seq(nn.Module):
    """LSTM encoder-decoder (Sutskever, Vinyals, Le 2014).

    Training and scoring call the model: a batch goes in, (summed loss, number of tokens) comes out.
    Search calls `encode` once and then `step` for each token; all state is in their arguments.
    """

    def __init__(self, config: ModelConfig, source_size: int, target_size: int) -> None:
        """source_size, target_size: numbers of tokens in the vocabularies."""
        super().__init__()
        self.encoder = Encoder(config.encoder, source_size, config.dropout)
        self.decoder = Decoder(config.decoder, target_size, config.dropout)
        from_encoder = config.encoder.num_layers, self.encoder.output_size
        to_decoder = config.decoder.num_layers, config.decoder.hidden_size
        self.bridge = (
            None if from_encoder == to_decoder else Bridge(math.prod(from_encoder), config.decoder)
        )

    def forward(
        self, batch: Batch, forced: Tensor | None = None, label_smoothing: float = 0.0
    ) -> tuple[Tensor, int]:
        """Summed cross entropy in nats over the real target tokens, and their number.

        forced: for each sentence and target step after the first, whether it is fed the true token
        (teacher forcing) or the decoder's own best guess: booleans on the CPU, (batch, trg_len - 2)
        or (1, trg_len - 2) for all sentences alike. None: always the true one, in one call over the
        whole target. With False throughout, the loss is the free-running one: it goes on at every
        reference position, past a predicted <eos>.
        """
        state = self._start(self.encoder(batch.src_ids, batch.src_lens))
        outputs = self._unroll(batch.trg_ids[:, :-1], state, forced)
        return output_loss(outputs, self.decoder.output, batch.trg_ids[:, 1:], label_smoothing)

    def _unroll(self, trg_ids: Tensor, state: LSTMState, forced: Tensor | None) -> Tensor:
        """Decoder outputs (batch, time, hidden_size), fed trg_ids (batch, time) where forced."""
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
            stretch, state = self.decoder(fed, state)
            outputs.append(stretch)
        return torch.cat(outputs, dim=1)

    def encode(self, batch: Batch) -> tuple[Encoded, LSTMState]:
        """Read the source; returns what stays the same while decoding, and the first state."""
        encoded = self.encoder(batch.src_ids, batch.src_lens)
        return encoded, self._start(encoded)

    def step(self, token_ids: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Feed one token to each sentence, (batch,); returns log-probabilities of the next one,
        (batch, target vocabulary) in float32, and the new state."""
        outputs, state = self.decoder(token_ids.unsqueeze(1), state)
        return self.decoder.output(outputs[:, 0]).float().log_softmax(dim=1), state

    def _start(self, encoded: Encoded) -> LSTMState:
        return self.bridge(encoded.state) if self.bridge else encoded.state

    def parts(self) -> dict[str, int]:
        """Number of parameters of each part."""
        parts: dict[str, nn.Module] = {
            "source embedding": self.encoder.embedding,
            "encoder LSTM": self.encoder.layers,
            "target embedding": self.decoder.embedding,
            "decoder LSTM": self.decoder.lstm,
            "output layer": self.decoder.output,
        }
        if self.bridge:
            parts["bridge"] = self.bridge
        return {
            name: sum(parameter.numel() for parameter in part.parameters())
            for name, part in parts.items()
        }


@torch.no_grad()
def initialise(model: Seq2Seq, config: InitConfig, seed: int) -> None:
    """Draw all weights anew, the same ones for the same seed on every device."""
    random = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        values = torch.empty(parameter.shape)
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
