"""Subword tokenizers out of files that anybody may have made."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import random
import struct
from typing import Any

import pytest
import sentencepiece

from seq2seq_cli.config.data import BpeTokenizer, UnigramTokenizer
from seq2seq_cli.data.subwords import SubwordTokenizer
from seq2seq_cli.errors import ModelFileError

TEXTS = ["der Hund schläft gut", "the dog sleeps well", "ein Haus am See"] * 5
SIZE = 26


@functools.cache
def learned(kind: str) -> bytes:
    config = BpeTokenizer(size=SIZE) if kind == "bpe" else UnigramTokenizer(size=SIZE)
    return SubwordTokenizer.learn(config, TEXTS).to_bytes()


def trained(**options: Any) -> bytes:
    model = io.BytesIO()
    all_options: dict[str, Any] = {"model_type": "bpe", "vocab_size": 40, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, **all_options | options
    )
    return model.getvalue()


IDS = {"unk_id": 0, "bos_id": -1, "eos_id": -1, "pad_id": -1}
IDENTITY = {"normalization_rule_name": "identity"}
BPE = learned("bpe")
FOREIGN = "is not one that this program has learned$"
DAMAGED = "is damaged$"
# Each row: the bytes, how many subwords the config names, and what is said. Fields that are added
# at the end of a message join those of their number before them.
HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", SIZE, "is empty$"),
    "another size": (BPE, SIZE + 1, "has 26 subwords, the config inside 27$"),
    "another kind": (learned("unigram"), SIZE, "is of another kind than bpe$"),
    "words": (
        trained(model_type="word", **IDS, **IDENTITY, vocab_size=9),
        9,
        "is of another kind than bpe$",
    ),
    "a normalizer": (trained(**IDS), 40, FOREIGN),
    "no prefix": (trained(**IDS, **IDENTITY, add_dummy_prefix=False), 40, FOREIGN),
    "special tokens": (trained(**IDENTITY), 40, FOREIGN),
    "tokens of control": (trained(**IDS, **IDENTITY, control_symbols=["<x>"]), 40, FOREIGN),
    "a second normalizer": (BPE + b"\x1a\x06\x12\x04\0\0\0\0", SIZE, DAMAGED + "|" + FOREIGN),
    "a second trainer": (BPE + b"\x12\x00", SIZE, FOREIGN),
    "another trainer": (BPE + b"\x12\x02\x18\x01", SIZE, FOREIGN),
    "a number without end": (b"\xff" * 1_000_000, SIZE, DAMAGED),
    "a field without end": (BPE + b"\x0a\x7f", SIZE + 1, DAMAGED),
    "a million little fields": (
        b"\x12\xff\xff\x7f" + b"\x0a\x00" * (1 << 20),
        SIZE,
        FOREIGN + "|" + DAMAGED,
    ),
    "test data": (BPE + b"\x22\x00", SIZE, FOREIGN),
    "unknown field": (BPE + b"\xfa\x7f\x00", SIZE, FOREIGN),
    "piece that is no text": (BPE + b"\x0a\x03\x0a\x01\xff", SIZE + 1, DAMAGED),
    "piece of nothing": (BPE + b"\x0a\x00", SIZE + 1, DAMAGED),
    **{
        f"score {score}": (BPE + b"\x0a\x08\x0a\x01Q\x15" + struct.pack("<f", score), 27, FOREIGN)
        for score in (math.nan, math.inf, -math.inf)
    },
}


@pytest.mark.parametrize(("data", "size", "message"), HOSTILE.values(), ids=HOSTILE)
def test_models_of_others_are_refused(data: bytes, size: int, message: str) -> None:
    with pytest.raises(ModelFileError, match="^the tokenizer inside (" + message + ")"):
        SubwordTokenizer(BpeTokenizer(size=size), data)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_mutated_models_are_refused_or_work(kind: str) -> None:
    config = BpeTokenizer(size=SIZE) if kind == "bpe" else UnigramTokenizer(size=SIZE)
    draw = random.Random(1)
    num_refused = 0
    for _ in range(2000):
        data = bytearray(learned(kind))
        for _ in range(draw.choice([1, 1, 3])):
            at = draw.randrange(len(data))
            data[at : at + draw.choice([0, 1, 1, 5])] = draw.randbytes(draw.choice([0, 1, 1, 5]))
        num_refused += 1
        with contextlib.suppress(ModelFileError):
            tokenizer = SubwordTokenizer(config, bytes(data))
            num_refused -= 1
            for text in (*TEXTS, "Ωmega <unk> 1"):
                tokenizer.detokenize(tokenizer.tokenize(text))
    assert 1000 < num_refused < 2000
