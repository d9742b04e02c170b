"""The encoder-decoder as training, scoring and search see it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seq2seq_cli.config.model import InitConfig, ModelConfig, NoAttention, NormalInit, UniformInit
from seq2seq_cli.data.batching import Batch
from seq2seq_cli.model.attention import Memory
from seq2seq_cli.model.decoder import Bridge, Decoder, DecoderState, Pass
from seq2seq_cli.model.dropout import Dropout, Embedding
from seq2seq_cli.model.encoder import Encoder
from seq2seq_cli.model.loss import output_loss
from seq2seq_cli.model.packing import Packing


class Decoding(NamedTuple):
    """Where the decoding of a batch stands: a row for each hypothesis, as many for every sentence,
    those of a sentence side by side."""

    memories: list[Memory]
    """Each attention's of the sentences, the same at every step; empty without attention."""
    shared: Pass
    """The same at every step."""
    state: DecoderState
    """Of the hypotheses."""

    def select(self, rows: Tensor, sentences: Tensor | None = None) -> Decoding:
        """Some rows, in the order named; any may be named more than once. sentences: whose they
        are, where it is not all of them in the order they had."""
        memories = self.memories
        if sentences is not None:
            memories = [memory.select(sentences) for memory in memories]
        return Decoding(memories, self.shared, self.state.select(rows))


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

        attention = config.decoder.attention
        reads_vectors = not isinstance(attention, NoAttention) and attention.word_vectors
        target = embedding(target_size, config.decoder.embedding_dim, tied != "none")
        self.encoder = Encoder(
            config.encoder,
            target
            if tied == "all"
            else embedding(source_size, config.encoder.embedding_dim, is_tied=False),
            hidden_dropout,
            layer_norm=config.layer_norm,
            output_is_read=not isinstance(attention, NoAttention),
            word_vectors_are_read=reads_vectors,
        )
        memory_size = self.encoder.output_size
        self.decoder = Decoder(
            config.decoder,
            target,
            memory_size=memory_size,
            context_size=memory_size + (config.encoder.embedding_dim if reads_vectors else 0),
            tied=tied != "none",
            hidden_dropout=hidden_dropout,
            output_dropout=output_dropout,
            layer_norm=config.layer_norm,
            fixnorm=config.fixnorm,
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
        r_drop: float = 0.0,
        reduction: str = "sum",
    ) -> tuple[Tensor, int]:
        """Summed cross entropy in nats over the real target tokens, and their number.

        forced: for each sentence and target step after the first, whether it is fed the true token
        (teacher forcing) or the decoder's own best guess: booleans on the CPU, (batch, trg_len - 2)
        or (1, trg_len - 2) for all sentences alike. None: always the true one. With False
        throughout, the loss is the free-running one: it goes on at every reference position, past a
        predicted <eos>. r_drop: above 0, each sentence is read twice, with dropout of its own
        each time but fed the same words, and a token's loss is the mean of the two, with a quarter
        of r_drop times both directions of their divergence (see `output_loss`); only for the sum.
        reduction: "none" gives each token's own, sentence by sentence.
        """
        if r_drop:
            batch = batch.twice()
            if forced is not None and len(forced) > 1:
                forced = forced.repeat_interleave(2, dim=0)
        trg = Packing.of(batch.trg_lens - 1, batch.trg_ids.size(1) - 1, batch.trg_ids.device)
        decoding = self.encode(batch)
        if not trg.is_sorted:
            order = trg.order.to(trg.device, non_blocking=True)
            decoding = decoding.select(order, order)
            forced = forced[trg.order] if forced is not None and len(forced) > 1 else forced
        fed = trg.pack(batch.trg_ids[:, :-1])
        outputs = self._unroll(fed, trg.counts, decoding, forced, in_twos=r_drop > 0.0)
        targets = trg.pack(batch.trg_ids[:, 1:])
        losses = output_loss(
            outputs,
            decoding.shared.matrix,
            self.decoder.output.bias,
            targets,
            label_smoothing,
            r_drop,
            reduction,
        )
        if r_drop:
            return losses / 2, len(targets) // 2
        return trg.by_sentence(losses) if reduction == "none" else losses, len(targets)

    def _unroll(
        self,
        trg_ids: Tensor,
        counts: list[int],
        decoding: Decoding,
        forced: Tensor | None,
        *,
        in_twos: bool,
    ) -> Tensor:
        """What the output layer reads, (tokens, size), fed the packed trg_ids where forced.

        in_twos: rows 2i and 2i + 1 are one sentence, and a word of the decoder's own is row 2i's.
        """
        memories, shared, state = decoding
        own: list[int] = []  # steps at which some sentence is fed a word of the decoder's own
        if forced is not None:
            all_true = forced.all(dim=0).tolist()
            own = [step for step in range(1, len(counts)) if not all_true[step - 1]]
            forced = forced.to(trg_ids.device, non_blocking=True)
        outputs: list[Tensor] = []
        begin = 0
        # Between two such steps lies a stretch known beforehand: one call.
        for start, stop in zip([0, *own], [*own, len(counts)], strict=True):
            running = counts[start:stop]
            fed = trg_ids[begin : begin + sum(running)]
            if forced is not None and start:
                count = running[0]
                last = outputs[-1][-counts[start - 1] :]
                with torch.no_grad():
                    guess = self.decoder.logits(last[:count], shared).argmax(dim=1)
                if in_twos:
                    guess = guess[::2].repeat_interleave(2)
                first = torch.where(forced[:count, start - 1], fed[:count], guess)
                fed = torch.cat([first, fed[count:]])
                state = state.first(count)
            stretch, state, _ = self.decoder(fed, running, state, memories, shared)
            outputs.append(stretch)
            begin += len(fed)
        return torch.cat(outputs)

    def encode(self, batch: Batch) -> Decoding:
        """Read the source; returns where decoding begins."""
        encoded = self.encoder(batch.src_ids, batch.src_lens)
        state = self.bridge(encoded.state) if self.bridge else encoded.state
        shared = self.decoder.begin(len(batch.src_lens), batch.src_ids.device)
        return Decoding(self.decoder.read(encoded), shared, self.decoder.start(state))

    def step(self, token_ids: Tensor, decoding: Decoding) -> tuple[Tensor, Decoding, Tensor | None]:
        """Feed one token to each row, (batch,).

        Returns log-probabilities of the next token, (batch, target vocabulary) in float32, where
        decoding stands then, and the attention weights of the step, (batch, src_len): the top
        layer's where every layer has some.
        """
        memories, shared, state = decoding
        outputs, state, weights = self.decoder(token_ids, [len(token_ids)], state, memories, shared)
        log_probs = self.decoder.logits(outputs, shared).float().log_softmax(dim=1)
        return log_probs, Decoding(memories, shared, state), weights

    def parts(self) -> dict[str, int]:
        """Number of parameters of each part; a matrix that two parts share counts for the first."""
        decoder = self.decoder
        parts: dict[str, list[nn.Module | None]] = {
            "source embedding": [self.encoder.embedding],
            "encoder LSTM": [self.encoder.layers, self.encoder.norms],
            "target embedding": [decoder.embedding],
            "decoder LSTM": [decoder.lstm],
            "attention": [*decoder.attentions, decoder.readout if decoder.attention else None],
            "output layer": [
                decoder.output,
                decoder.fixnorm,
                None if decoder.attention else decoder.readout,
            ],
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
        if ".norms." in name or ".fixnorm." in name:  # begins as it is: neither scaled nor moved
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
