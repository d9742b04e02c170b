"""Small models and batches that the tests of model, training and decoding share."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq_cli.config.model import DecoderConfig, EncoderConfig, ModelConfig, UniformInit
from seq2seq_cli.data.batching import Batch, make_batch
from seq2seq_cli.data.vocabulary import PAD_ID, Ids
from seq2seq_cli.model.seq2seq import Decoding, Seq2Seq, initialise

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

KINDS = ("dot", "general", "additive")
PLACES = ("before", "input_feeding", "deep", "every_layer")
ATTENTIONS = [("none", "deep"), *itertools.product(KINDS, PLACES)]
"""Every kind and place; without attention there is one place."""


def small_config(
    kind: str = "none",
    place: str = "deep",
    *,
    num_layers: int = 2,
    residual: bool = False,
    layer_norm: bool = False,
    tied: str = "none",
    bidirectional: bool = False,
    word_vectors: bool = False,
    **others: object,
) -> ModelConfig:
    """An architecture whose sizes all differ wherever the parts named here allow it."""
    memory_size = 8 if kind in ("none", "dot") else 10
    stack = {"num_layers": num_layers, "residual": residual and num_layers > 1}
    encoder = {
        "embedding_dim": 6 if tied == "all" else 5,
        "hidden_size": memory_size // (2 if bidirectional else 1),
        "bidirectional": bidirectional,
    }
    attention: dict[str, object] = {"kind": kind}
    if kind != "none":
        attention |= {"place": place, "word_vectors": word_vectors}
    decoder = {"embedding_dim": 6, "hidden_size": 8, "attention": attention}
    return ModelConfig.model_validate(
        {
            "encoder": encoder | stack,
            "decoder": decoder | stack,
            "layer_norm": layer_norm,
            "tied_embeddings": tied,
            **others,
        }
    )


def _every_part() -> Iterator[tuple[str, ModelConfig]]:
    depths = [(1, False), (3, False), (3, True)]
    parts = itertools.product(ATTENTIONS, depths, (False, True), ("none", "target", "all"))
    for index, ((kind, place), (num_layers, residual), layer_norm, tied) in enumerate(parts):
        bidirectional, word_vectors = index % 2 == 1, kind != "none" and index % 5 < 3
        fixnorm = index % 7 < 3
        words = [kind, place, f"{num_layers} layers", f"tied {tied}"]
        words += ["residual"] * residual + ["norm"] * layer_norm + ["both ways"] * bidirectional
        words += ["word vectors"] * word_vectors
        words += ["fixnorm"] * fixnorm
        config = small_config(
            kind,
            place,
            num_layers=num_layers,
            residual=residual,
            layer_norm=layer_norm,
            tied=tied,
            bidirectional=bidirectional,
            word_vectors=word_vectors,
            fixnorm=fixnorm,
        )
        yield ", ".join(words), config


EVERY_PART = dict(_every_part())
"""All parts with all others; every other encoder is bidirectional, three in five contexts have word
vectors in them, three in seven output layers have rows of one length."""

PLAIN_AND_FULL = {
    f"{kind} {place} {words}": small_config(kind, place, **options)  # type: ignore[arg-type]
    for kind, place in ATTENTIONS
    for words, options in {
        "plain": {"num_layers": 1},
        "full": {
            "num_layers": 3,
            "residual": True,
            "layer_norm": True,
            "tied": "target",
            "bidirectional": True,
            "word_vectors": True,
            "fixnorm": True,
        },
    }.items()
}
"""Every kind and place of attention, with none of the other parts and with all of them."""


def small_model(config: ModelConfig, seed: int = 1) -> Seq2Seq:
    """A model with weights large enough that its states and choices differ from step to step."""
    target_size = SOURCE_SIZE if config.tied_embeddings == "all" else TARGET_SIZE
    model = Seq2Seq(config, SOURCE_SIZE, target_size)
    initialise(model, UniformInit(scale=0.7), seed)
    random = torch.Generator().manual_seed(seed)
    for norm in model.modules():
        if isinstance(norm, nn.LayerNorm):
            norm.weight.data.uniform_(0.5, 1.5, generator=random)
            norm.bias.data.uniform_(-0.5, 0.5, generator=random)
    if model.decoder.fixnorm:
        model.decoder.fixnorm.log_length.data.fill_(-0.2)
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
    return Batch(src, batch.src_lens, trg, batch.trg_lens)


def row(batch: Batch, index: int) -> Batch:
    """One sentence of a batch as a batch of its own, without padding."""
    src_len = int(batch.src_lens[index])
    trg_len = int(batch.trg_lens[index])
    return Batch(
        batch.src_ids[index : index + 1, :src_len],
        batch.src_lens[index : index + 1],
        batch.trg_ids[index : index + 1, :trg_len],
        batch.trg_lens[index : index + 1],
    )


def coins(batch: Batch, *rows: Sequence[bool]) -> Tensor:
    """For each step after the first, whether the true token is fed; rows go on and on."""
    width = batch.trg_ids.size(1) - 2
    return torch.tensor([list(itertools.islice(itertools.cycle(row), width)) for row in rows])


def assert_same_decoding(
    one: Decoding, other: Decoding, rtol: float | None = None, atol: float | None = None
) -> None:
    """Of memory and state; the weights that calls share are no part of where decoding stands."""
    torch.testing.assert_close(one.state, other.state, rtol=rtol, atol=atol)
    for memory, other_memory in zip(one.memories, other.memories, strict=True):
        torch.testing.assert_close(memory[:3], other_memory[:3], rtol=rtol, atol=atol)


def step_by_step_losses(model: Seq2Seq, batch: Batch, forced: Tensor | None = None) -> Tensor:
    """The plain loop over `step`: each real token's loss in nats, sentence by sentence."""
    decoding = model.encode(batch)
    losses = []
    fed = batch.trg_ids[:, 0]
    for step in range(batch.trg_ids.size(1) - 1):
        log_probs, decoding, _ = model.step(fed, decoding)
        wanted = batch.trg_ids[:, step + 1]
        losses.append(-log_probs.gather(1, wanted.unsqueeze(1)).squeeze(1))
        guess = log_probs.argmax(dim=1)
        if step + 2 < batch.trg_ids.size(1):
            fed = wanted if forced is None else torch.where(forced[:, step], wanted, guess)
    return torch.stack(losses, dim=1)[batch.trg_ids[:, 1:] != PAD_ID]
