"""From a config to training data: read, tokenise, count, number."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from seq2seq_cli.config.data import DataConfig, TextConfig
from seq2seq_cli.data.batching import FlatIds, FlatPairs, Indices
from seq2seq_cli.data.splits import TextPair, cut_splits, has_split, located_pairs
from seq2seq_cli.data.tokenizers import learn_tokenizers
from seq2seq_cli.data.vocabulary import Ids, TextCodec, make_codecs
from seq2seq_cli.errors import DataError

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


def prepare(config: DataConfig, codecs: tuple[TextCodec, TextCodec] | None = None) -> PreparedData:
    """Read the training and validation splits and turn them into ids.

    `codecs` of source and target, from a model file, are used as they are; without them, tokenizers
    and vocabularies are learned from the training split.

    Raises DataError and ConfigError (more subwords wanted than the data yields).
    """
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
