"""From a config to training data: read, tokenise, count, number."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from seq2seq_cli.config import DataConfig, TextConfig
from seq2seq_cli.data import corpus, datasets
from seq2seq_cli.data.batching import FlatIds, FlatPairs
from seq2seq_cli.data.tokenizers import learn_tokenizer
from seq2seq_cli.data.vocabulary import Ids, TextCodec, Vocabulary
from seq2seq_cli.errors import DataError

logger = logging.getLogger("seq2seq")

TextPair = tuple[str, str]


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
    valid_texts: list[TextPair]
    """The pairs of `valid` as text, for BLEU."""


def read_split(config: DataConfig, split: str) -> Iterator[TextPair]:
    """All text pairs of a split, as they stand in the data.

    Raises DataError when the config has no such split or its files cannot be read.
    """
    if config.dataset:
        # The schema sees to it that a named corpus comes with both languages.
        assert config.source
        assert config.target
        return datasets.load(config.dataset, split, config.source, config.target)
    files = {"train": config.train, "valid": config.valid, "test": config.test}
    location = files.get(split)
    if location is None:
        there = ", ".join(name for name, place in files.items() if place)
        raise DataError(
            f"the config names no {split} data; there are {there}: choose one with --split, or "
            "score on files with --source FILE --reference FILE"
        )
    return corpus.read_pairs(location, config.columns)


def prepare(config: DataConfig, codecs: tuple[TextCodec, TextCodec] | None = None) -> PreparedData:
    """Read the training and validation splits and turn them into ids.

    `codecs` of source and target, from a model file, are used as they are; without them, tokenizers
    and vocabularies are learned from the training split.

    Raises DataError and ConfigError (more subwords wanted than the data yields).
    """
    train = list(read_split(config, "train"))
    valid = list(read_split(config, "valid"))
    usable = [pair for pair in train if pair[0].strip() and pair[1].strip()]
    if not usable:
        raise DataError("the training data has no pair with text on both sides")
    logger.debug("read %s training and %s validation pairs", f"{len(train):,}", f"{len(valid):,}")
    source, target = codecs or _learn_codecs(config, usable)
    del usable
    train_split, _ = _to_ids(train, source, target, config.max_length)
    valid_split, valid_texts = _to_ids(valid, source, target, config.max_length)
    prepared = PreparedData(source, target, train_split, valid_split, valid_texts)
    for name, split in [("training", prepared.train), ("validation", prepared.valid)]:
        if not len(split.pairs):
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
    return prepared


def _learn_codecs(config: TextConfig, pairs: list[TextPair]) -> tuple[TextCodec, TextCodec]:
    def learn(sides: tuple[int, ...]) -> TextCodec:
        def texts() -> Iterator[str]:
            return (pair[side] for pair in pairs for side in sides)

        tokenizer = learn_tokenizer(config.tokenizer, texts)
        counts: Counter[str] = Counter()
        for text in texts():
            counts.update(tokenizer.tokenize(text))
        return TextCodec(tokenizer, Vocabulary.from_counts(counts, config.vocabulary))

    if config.vocabulary.shared:
        codec = learn((0, 1))
        return codec, codec
    return learn((0,)), learn((1,))


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
