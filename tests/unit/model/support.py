"""Small models and batches that the tests of model, training and decoding share."""

import numpy as np
import torch

from seq2seq_cli.config.model import DecoderConfig, EncoderConfig, ModelConfig, UniformInit
from seq2seq_cli.data.batching import Batch, make_batch
from seq2seq_cli.data.vocabulary import Ids
from seq2seq_cli.model.seq2seq import Seq2Seq, initialise

SOURCE_SIZE, TARGET_SIZE = 23, 19

ARCHITECTURES = {
    "one layer": ModelConfig(
        encoder=EncoderConfig(embedding_dim=5, hidden_size=7, num_layers=1),
        decoder=DecoderConfig(embedding_dim=6, hidden_size=7, num_layers=1),
    ),
    "deep": ModelConfig(
        encoder=EncoderConfig(embedding_dim=5, hidden_size=7, num_layers=3),
        decoder=DecoderConfig(embedding_dim=6, hidden_size=7, num_layers=3),
    ),
    "bidirectional, sizes that fit": ModelConfig(
        encoder=EncoderConfig(embedding_dim=5, hidden_size=4, num_layers=2, bidirectional=True),
        decoder=DecoderConfig(embedding_dim=6, hidden_size=8, num_layers=2),
    ),
    "bridge over depths": ModelConfig(
        encoder=EncoderConfig(embedding_dim=5, hidden_size=7, num_layers=3),
        decoder=DecoderConfig(embedding_dim=6, hidden_size=7, num_layers=1),
    ),
    "bridge over sizes": ModelConfig(
        encoder=EncoderConfig(embedding_dim=5, hidden_size=6, num_layers=1, bidirectional=True),
        decoder=DecoderConfig(embedding_dim=6, hidden_size=9, num_layers=2),
    ),
}


def small_model(config: ModelConfig, seed: int = 1) -> Seq2Seq:
    """A model with weights large enough that its states and choices differ from step to step."""
    model = Seq2Seq(config, SOURCE_SIZE, TARGET_SIZE)
    initialise(model, UniformInit(scale=0.7), seed)
    return model.eval()


def sentences(lengths: list[int], vocabulary_size: int, seed: int = 0) -> list[Ids]:
    random = np.random.default_rng(seed)
    return [random.integers(4, vocabulary_size, size).astype(np.int32) for size in lengths]


def small_batch(
    src_lens: tuple[int, ...] = (3, 7, 1, 7, 5), trg_lens: tuple[int, ...] = (4, 2, 6, 1, 6)
) -> Batch:
    return make_batch(
        sentences([*src_lens], SOURCE_SIZE),
        sentences([*trg_lens], TARGET_SIZE),
        reverse_source=False,
    )


def widened(batch: Batch, columns: int) -> Batch:
    """The same sentences with that many more columns of padding."""
    src, trg = (
        torch.nn.functional.pad(ids, (0, columns)) for ids in (batch.src_ids, batch.trg_ids)
    )
    return Batch(src, batch.src_lens, trg)


def row(batch: Batch, index: int) -> Batch:
    """One sentence of a batch as a batch of its own, without padding."""
    src_len = int(batch.src_lens[index])
    trg_len = int((batch.trg_ids[index] != 0).sum())
    return Batch(
        batch.src_ids[index : index + 1, :src_len],
        batch.src_lens[index : index + 1],
        batch.trg_ids[index : index + 1, :trg_len],
    )
