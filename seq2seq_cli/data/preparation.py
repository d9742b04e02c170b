"""From a config to training data: read, tokenise, count, number."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq_cli.config.data import DataConfig, TextConfig
from seq2seq_cli.data import cache
from seq2seq_cli.data.batching import FlatIds, FlatPairs, Indices
from seq2seq_cli.data.splits import TextPair, cut_splits, has_split, located_pairs
from seq2seq_cli.data.tokenizers import learn_tokenizers, load_tokenizer
from seq2seq_cli.data.vocabulary import Ids, TextCodec, Vocabulary, make_codecs
from seq2seq_cli.errors import DataError, ModelFileError

logger = logging.getLogger("seq2seq")


@dataclass(frozen=True)
class Split:
    """Pairs of a split that can be learned from, and how many were left out."""

    pairs: FlatPairs
    num_empty: int
    num_too_long: int


@dataclass(frozen=True)
class PreparedData:
    source: TextCodec
    target: TextCodec
    train: Split
    valid: Split
    """Without a pair where the config does without validation data."""
    train_texts: list[TextPair]
    """The pairs of `train` as text where subwords are sampled, else none."""
    valid_texts: list[TextPair]
    """The pairs of `valid` as text, for BLEU."""
    max_length: int

    def sampled_train_pairs(self, indices: Indices, seed: int) -> FlatPairs:
        """Training pairs cut into subwords at random, as `seed` says. A side that gets longer than
        max_length is cut as it always is instead."""
        sides = []
        for side, (codec, plain) in enumerate(
            [(self.source, self.train.pairs.source), (self.target, self.train.pairs.target)]
        ):
            texts = [self.train_texts[index][side] for index in indices]
            sampled = codec.encode_sampled(texts, seed)
            kept = [
                ids if len(ids) <= self.max_length else plain[index]
                for index, ids in zip(indices, sampled, strict=True)
            ]
            sides.append(FlatIds.from_sequences(kept))
        return FlatPairs(*sides)

    def digests(self) -> dict[str, str]:
        """Of what training and validation read: equal for equal data."""
        return {
            "train": _digest(self.train.pairs, self.train_texts),
            "valid": _digest(self.valid.pairs, self.valid_texts),
        }


def _digest(pairs: FlatPairs, texts: list[TextPair]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for side in (pairs.source, pairs.target):
        digest.update(f"{len(side)} {len(side.ids)}\n".encode())
        digest.update(side.offsets.data)
        digest.update(side.ids.data)
    for pair in texts:
        digest.update(json.dumps(pair).encode())
    return digest.hexdigest()


LogLines = list[tuple[int, str]]
"""Level and text."""


def prepare(config: DataConfig, codecs: tuple[TextCodec, TextCodec] | None = None) -> PreparedData:
    """Read the training and validation splits and turn them into ids, or take what an earlier run
    has made of them.

    `codecs` of source and target, from a model file of this config, are used as they are; without
    them, tokenizers and vocabularies are learned from the training split.

    Raises DataError and ConfigError (more subwords wanted than the data yields).
    """
    with _heard() as lines:
        files = cache.inputs(config)
    key = cache.key(config, files)
    kept = cache.load(key) if key else None
    if kept and (data := _unpacked(kept, config, codecs)):
        return data
    with _heard(beside=lines) as lines:
        data = _prepare(config, codecs)
    # Codecs that were given may know other data; files may have changed while they were read.
    if key and not codecs and cache.key(config, files) == key:
        cache.save(key, _packed(data, lines))
    return data


@contextmanager
def _heard(beside: Collection[tuple[int, str]] = ()) -> Iterator[LogLines]:
    """What is logged inside the block; lines that are `beside` it already are left out."""
    lines: LogLines = []

    def hear(record: logging.LogRecord) -> bool:
        line = record.levelno, record.getMessage()
        if line in beside:
            return False
        if record.levelno >= logging.INFO:
            lines.append(line)
        return True

    logger.addFilter(hear)
    try:
        yield lines
    finally:
        logger.removeFilter(hear)


def _packed(data: PreparedData, lines: LogLines) -> cache.Arrays:
    """The data as arrays, with what was logged of it."""
    facts = {
        "lines": lines,
        "dropped": [[split.num_empty, split.num_too_long] for split in (data.train, data.valid)],
        "texts": [data.train_texts, data.valid_texts],
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "facts": _to_array(json.dumps(facts, ensure_ascii=False).encode())
    }
    for side, codec in (("source", data.source), ("target", data.target)):
        arrays |= {f"{side}.{name}": _to_array(part) for name, part in _learned(codec).items()}
        for name, split in (("train", data.train), ("valid", data.valid)):
            ids: FlatIds = getattr(split.pairs, side)
            arrays |= {f"{name}.{side}.ids": ids.ids, f"{name}.{side}.offsets": ids.offsets}
    return arrays


def _unpacked(
    arrays: cache.Arrays, config: DataConfig, codecs: tuple[TextCodec, TextCodec] | None
) -> PreparedData | None:
    """The data of `_packed`, after logging what was logged then; None when it was made with other
    codecs, or its tokenizers do not work here."""
    learned = [
        {name: arrays[f"{side}.{name}"].tobytes() for name in ("tokenizer", "vocabulary")}
        for side in ("source", "target")
    ]
    if codecs and learned != [_learned(codec) for codec in codecs]:
        return None
    try:
        source, target = codecs or _load_codecs(config, *learned)
    except ModelFileError:
        return None
    facts = json.loads(arrays["facts"].tobytes())
    for level, text in facts["lines"]:
        logger.log(level, "%s", text)
    train, valid = (
        Split(
            FlatPairs(_flat_ids(arrays, f"{name}.source"), _flat_ids(arrays, f"{name}.target")),
            *dropped,
        )
        for name, dropped in zip(("train", "valid"), facts["dropped"], strict=True)
    )
    train_texts, valid_texts = ([(src, trg) for src, trg in pairs] for pairs in facts["texts"])
    return PreparedData(source, target, train, valid, train_texts, valid_texts, config.max_length)


def _flat_ids(arrays: cache.Arrays, name: str) -> FlatIds:
    return FlatIds(arrays[f"{name}.ids"], arrays[f"{name}.offsets"])


def _learned(codec: TextCodec) -> dict[str, bytes]:
    return {"tokenizer": codec.tokenizer.to_bytes(), "vocabulary": codec.vocabulary.to_bytes()}


def _load_codecs(
    config: TextConfig, source: dict[str, bytes], target: dict[str, bytes]
) -> tuple[TextCodec, TextCodec]:
    """Raises ModelFileError."""
    vocabulary = Vocabulary.from_bytes(source["vocabulary"])
    other = vocabulary
    if not config.vocabulary.shared:
        other = Vocabulary.from_bytes(target["vocabulary"])
    return (
        TextCodec(load_tokenizer(config.tokenizer, source["tokenizer"], config.source), vocabulary),
        TextCodec(load_tokenizer(config.tokenizer, target["tokenizer"], config.target), other),
    )


def _to_array(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)


def _prepare(config: DataConfig, codecs: tuple[TextCodec, TextCodec] | None) -> PreparedData:
    """As `prepare`, anew."""
    cut = cut_splits(config)
    splits = ("train", "valid") if has_split(config, "valid") else ("train",)
    texts: dict[str, list[TextPair]] = {"train": [], "valid": []}
    num_test = 0
    for pair in located_pairs(config, (*splits, "test") if "test" in cut else splits):
        if pair.split == "test":
            num_test += 1  # training does no more than count it
        else:
            texts[pair.split].append((pair.source, pair.target))
    train, valid = texts["train"], texts["valid"]
    if not any(source.strip() and target.strip() for source, target in train):
        raise DataError("the training data has no pair with text on both sides")
    if "valid" in cut:
        share = config.held_out.valid
        if not valid:
            raise DataError(
                f"the cut for validation (data.held_out.valid: {share}) took none of "
                f"{len(train):,} pairs: raise it, name data.valid files, or set data.valid: none"
            )
        logger.info("validation data: %s pairs cut from the training data", f"{len(valid):,}")
    if "test" in cut:
        logger.info("test data: %s pairs cut from the training data", f"{num_test:,}")
    source, target = codecs or _learn_codecs(config, train)
    train_split, train_texts = _to_ids(train, source, target, config.max_length)
    valid_split, valid_texts = _to_ids(valid, source, target, config.max_length)
    for name, split in [("training", train_split), ("validation", valid_split)]:
        if not len(split.pairs) and (name == "training" or "valid" in splits):
            raise DataError(
                f"no {name} pair is left: {split.num_empty:,} have an empty side, "
                f"{split.num_too_long:,} are longer than data.max_length = {config.max_length}"
            )
        if split.num_empty or split.num_too_long:
            logger.info(
                "%s data: dropped %s pairs with an empty side, %s longer than %s tokens",
                name,
                f"{split.num_empty:,}",
                f"{split.num_too_long:,}",
                config.max_length,
            )
    samples = source.samples or target.samples
    return PreparedData(
        source,
        target,
        train_split,
        valid_split,
        train_texts if samples else [],
        valid_texts,
        config.max_length,
    )


def _learn_codecs(config: TextConfig, pairs: list[TextPair]) -> tuple[TextCodec, TextCodec]:
    """Tokenizers and vocabularies of the pairs that have text on both sides."""

    def texts(side: int) -> Iterator[str]:
        return (pair[side] for pair in pairs if pair[0].strip() and pair[1].strip())

    tokenizers = learn_tokenizers(config, texts)
    counts: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for side, tokenizer in enumerate(tokenizers):
        for text in texts(side):
            counts[side].update(tokenizer.tokenize(text))
    return make_codecs(config, tokenizers, counts)


def _to_ids(
    texts: Iterable[TextPair], source: TextCodec, target: TextCodec, max_length: int
) -> tuple[Split, list[TextPair]]:
    """The ids of the pairs that can be learned from, and these pairs."""
    sources: list[Ids] = []
    targets: list[Ids] = []
    kept: list[TextPair] = []
    num_empty = num_too_long = 0
    for text in texts:
        src, trg = source.encode(text[0]), target.encode(text[1])
        if not len(src) or not len(trg):
            num_empty += 1
        elif max(len(src), len(trg)) > max_length:
            num_too_long += 1
        else:
            sources.append(src)
            targets.append(trg)
            kept.append(text)
    pairs = FlatPairs(FlatIds.from_sequences(sources), FlatIds.from_sequences(targets))
    return Split(pairs, num_empty, num_too_long), kept
