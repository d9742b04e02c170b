"""Small models with attention in each place and without, and translators around them."""

from __future__ import annotations

from typing import Any

import torch

from seq2seq_cli.config import TranslatorConfig
from seq2seq_cli.config.model import ModelConfig, NormalInit
from seq2seq_cli.data.batching import Batch, make_batch
from seq2seq_cli.data.tokenizers import load_tokenizer
from seq2seq_cli.data.vocabulary import EOS_ID, TextCodec, Vocabulary
from seq2seq_cli.model.model_file import TranslatorFile
from seq2seq_cli.model.seq2seq import Seq2Seq, initialise
from tests.unit.model.support import SOURCE_SIZE, TARGET_SIZE, sentences

CPU = torch.device("cpu")

PLACES = {
    "before": "additive",
    "input_feeding": "general",
    "deep": "dot",
    "every_layer": "additive",
}
ATTENTIONS = {"none": "none", **PLACES}
"""Places, each with one kind of attention."""


def searched_config(place: str) -> ModelConfig:
    attention = {"kind": ATTENTIONS[place]} | ({} if place == "none" else {"place": place})
    encoder = {"embedding_dim": 5, "hidden_size": 4, "num_layers": 2, "bidirectional": True}
    decoder = {"embedding_dim": 6, "hidden_size": 8, "num_layers": 2, "attention": attention}
    return ModelConfig.model_validate({"encoder": encoder, "decoder": decoder})


def searched_model(
    place: str,
    seed: int = 1,
    target_size: int = TARGET_SIZE,
    std: float = 1.5,
    source_size: int = SOURCE_SIZE,
) -> Seq2Seq:
    """A model whose choices, and looks at the source, differ from step to step."""
    model = Seq2Seq(searched_config(place), source_size, target_size)
    initialise(model, NormalInit(std=std), seed)
    with torch.no_grad():
        model.get_parameter("decoder.output.weight").mul_(0.5)  # no step is all too sure
    likelier(model, EOS_ID, 0.8)  # some translations end, some are cut
    return model.eval()


@torch.no_grad()
def likelier(model: Seq2Seq, token_id: int, by: float) -> None:
    """At every step; by: in nats, before normalising."""
    model.get_parameter("decoder.output.bias")[token_id] += by


def sources(*lengths: int, seed: int = 0) -> Batch:
    """Sentences of so many words."""
    return make_batch(sentences([*lengths], SOURCE_SIZE, seed), reverse_source=False)


SOURCE_WORDS = [f"s{number}" for number in range(SOURCE_SIZE - 4)]
TARGET_WORDS = [f"t{number}" for number in range(TARGET_SIZE - 4)]


def translator_file(
    place: str = "deep",
    seed: int = 5,
    *,
    source_words: list[str] = SOURCE_WORDS,
    target_words: list[str] = TARGET_WORDS,
    decoding: dict[str, Any] | None = None,
    **data: Any,
) -> TranslatorFile:
    """A translator of words s0, s1 ... to t0, t1 ..."""
    text = {"tokenizer": {"kind": "whitespace"}, **data}
    config = TranslatorConfig.model_validate(
        {"data": text, "model": searched_config(place), "decoding": decoding or {}}
    )
    tokenizer = load_tokenizer(config.data.tokenizer, b"")
    source, target = (
        TextCodec(tokenizer, Vocabulary(words)) for words in (source_words, target_words)
    )
    model = searched_model(place, seed, len(target.vocabulary), source_size=len(source.vocabulary))
    return TranslatorFile(config, source, target, model)
