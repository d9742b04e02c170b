"""From a config to ids: what is read, what is dropped, what is learned."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq_cli.config.data import DataConfig, WordsTokenizer
from seq2seq_cli.data import phrasebook
from seq2seq_cli.data.preparation import PreparedData, Split, prepare
from seq2seq_cli.data.splits import read_split
from seq2seq_cli.data.tokenizers import load_tokenizer
from seq2seq_cli.data.vocabulary import UNK_ID, TextCodec, Vocabulary
from seq2seq_cli.errors import ConfigError, DataError

TRAIN = [("a b", "x y"), ("b", "y z z"), ("a a a", "x")]
VALID = [("b a", "z")]


@pytest.fixture
def news() -> Iterator[list[str]]:
    """What is logged from now on."""
    messages: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("seq2seq")
    handler, level = Collect(logging.INFO), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield messages
    logger.setLevel(level)
    logger.removeHandler(handler)


def write(folder: Path, name: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Two files of lines; what a config says of them."""
    for side, suffix in enumerate(("src", "trg")):
        text = "".join(f"{pair[side]}\n" for pair in pairs)
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
    return {"source": str(folder / f"{name}.src"), "target": str(folder / f"{name}.trg")}


def config(
    folder: Path,
    train: list[tuple[str, str]] | None = None,
    valid: list[tuple[str, str]] | None = None,
    **more: Any,
) -> DataConfig:
    return DataConfig.model_validate(
        {
            "train": write(folder, "train", TRAIN if train is None else train),
            "valid": write(folder, "valid", VALID if valid is None else valid),
            "test": "none",
            **more,
        }
    )


def sources(split: Split, codec: TextCodec) -> list[str]:
    return [codec.decode(split.pairs.source[i]) for i in range(len(split.pairs))]


def targets(split: Split, codec: TextCodec) -> list[str]:
    return [codec.decode(split.pairs.target[i]) for i in range(len(split.pairs))]


@pytest.mark.parametrize("missing", ["train.src", "valid.trg"])
def test_files_that_are_not_there(tmp_path: Path, missing: str) -> None:
    data = config(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(DataError) as caught:
        prepare(data)
    assert str(caught.value) == f"{tmp_path / missing}: cannot be read: No such file or directory"


# ---------------------------------------------------------------- ids


def test_pairs_become_ids_and_come_back(tmp_path: Path) -> None:
    data = prepare(config(tmp_path, valid=[("b new", "z")]))
    for split, texts in [(data.train, TRAIN), (data.valid, [("b <unk>", "z")])]:
        assert sources(split, data.source) == [source for source, _ in texts]
        assert targets(split, data.target) == [target for _, target in texts]
    assert data.valid_texts == [("b new", "z")]
    assert data.source.vocabulary.tokens[4:] == ("a", "b")
    assert data.target.vocabulary.tokens[4:] == ("x", "y", "z")
    assert data.valid.pairs.source[0].tolist() == [5, UNK_ID]


def test_words_of_the_validation_data_are_not_learned(tmp_path: Path) -> None:
    data = prepare(config(tmp_path, valid=[("only here", "there too")]))
    assert "only" not in data.source.vocabulary.tokens
    assert data.valid.pairs.target[0].tolist() == [UNK_ID, UNK_ID]


def test_the_config_says_what_a_word_is_and_which_are_kept(tmp_path: Path) -> None:
    text: dict[str, Any] = {
        "tokenizer": {"kind": "whitespace", "lowercase": True},
        "vocabulary": {"min_freq": 2, "max_size": 1},
    }
    data = prepare(config(tmp_path, [("A. a. B a.", "X"), ("b", "x X")], **text))
    assert data.source.vocabulary.tokens[4:] == ("a.",)
    assert data.target.vocabulary.tokens[4:] == ("x",)


def test_empty_sides_and_long_pairs_are_dropped_and_counted(
    tmp_path: Path, news: list[str]
) -> None:
    train = [
        ("a", "x"),
        ("", "empty1"),
        ("empty2", ""),
        ("", ""),
        (" \t\u3000", "empty3"),
        ("a b c", "x y z"),  # as long as may be
        ("a b c d", "x"),
        ("a", "x y z z"),
        ("", "x y z z"),  # empty comes first
        ("b", "y"),
    ]
    valid = [("a b", "x"), ("", "y"), ("a a a a", "y")]
    data = prepare(config(tmp_path, train, valid, max_length=3))

    assert (data.train.num_empty, data.train.num_too_long) == (5, 2)
    assert sources(data.train, data.source) == ["a", "a b c", "b"]
    assert targets(data.train, data.target) == ["x", "x y z", "y"]
    assert data.valid_texts == [valid[0]]
    assert (data.valid.num_empty, data.valid.num_too_long) == (1, 1)
    assert news == [
        "training data: dropped 5 pairs with an empty side, 2 longer than 3 tokens",
        "validation data: dropped 1 pairs with an empty side, 1 longer than 3 tokens",
    ]
    # Nothing is learned from a text whose other side is empty.
    assert not {"empty1", "empty2", "empty3"} & {
        *data.source.vocabulary.tokens,
        *data.target.vocabulary.tokens,
    }


def test_nothing_is_said_when_nothing_is_dropped(tmp_path: Path, news: list[str]) -> None:
    data = prepare(config(tmp_path))
    assert (data.train.num_empty, data.train.num_too_long) == (0, 0)
    assert news == []


def test_a_shared_vocabulary_is_one_object_for_both_languages(tmp_path: Path) -> None:
    data = prepare(config(tmp_path, vocabulary={"shared": True}))
    assert data.source.vocabulary is data.target.vocabulary
    assert data.source.vocabulary.tokens[4:] == ("a", "b", "x", "y", "z")
    assert targets(data.train, data.source) == [target for _, target in TRAIN]
    apart = prepare(config(tmp_path))
    assert apart.source.vocabulary is not apart.target.vocabulary


def test_shared_counts_are_those_of_both_sides(tmp_path: Path) -> None:
    train = [("a a b", "c c"), ("b", "c b")]
    data = prepare(config(tmp_path, train, vocabulary={"shared": True, "max_size": 1}))
    assert data.source.vocabulary.tokens[4:] == ("b",)  # 3 of b, 3 of c, 2 of a


def test_subwords_are_learned_from_the_training_data(tmp_path: Path) -> None:
    pairs = [(pair.german, pair.english) for pair in phrasebook.generate(150, 1)]
    tokenizer = {"kind": "bpe", "size": 90}
    apart = prepare(config(tmp_path, pairs, pairs[:9], tokenizer=tokenizer))
    shared = prepare(
        config(tmp_path, pairs, pairs[:9], tokenizer=tokenizer, vocabulary={"shared": True})
    )
    assert apart.source.tokenizer.to_bytes() != apart.target.tokenizer.to_bytes()
    assert shared.source.tokenizer is shared.target.tokenizer
    for data in (apart, shared):
        assert max(len(data.source.vocabulary), len(data.target.vocabulary)) <= 90 + 4
        assert sources(data.train, data.source) == [source for source, _ in pairs]
        assert targets(data.valid, data.target) == [target for _, target in pairs[:9]]


def test_more_subwords_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.tokenizer\.size: 9000 .* yields at most \d+"):
        prepare(config(tmp_path, tokenizer={"kind": "bpe", "size": 9000}))


def test_codecs_that_are_given_are_used_as_they_are(tmp_path: Path) -> None:
    words = load_tokenizer(WordsTokenizer(), b"")
    codecs = TextCodec(words, Vocabulary(["b"])), TextCodec(words, Vocabulary(["z", "y", "x"]))
    data = prepare(config(tmp_path, vocabulary={"shared": True, "min_freq": 9}), codecs)
    assert data.source is codecs[0]
    assert data.target is codecs[1]
    assert data.train.pairs.source[0].tolist() == [UNK_ID, 4]
    assert data.train.pairs.target[0].tolist() == [6, 5]


def test_preparing_twice_gives_the_same(tmp_path: Path) -> None:
    pairs = [(pair.german, pair.english) for pair in phrasebook.generate(100, 2)]
    data = config(tmp_path, pairs, tokenizer={"kind": "unigram", "size": 80})
    first, second = prepare(data), prepare(data)
    assert first.source.vocabulary.tokens == second.source.vocabulary.tokens
    assert first.target.tokenizer.to_bytes() == second.target.tokenizer.to_bytes()
    assert first.train.pairs.source.ids.tolist() == second.train.pairs.source.ids.tolist()
    assert first.train.pairs.target.offsets.tolist() == second.train.pairs.target.offsets.tolist()


# ---------------------------------------------------------------- the cut

MANY = [(f"Satz {i}", f"sentence {i}") for i in range(300)]


def test_what_is_cut_is_not_trained_on(tmp_path: Path, news: list[str]) -> None:
    text = config(tmp_path, MANY, test=None).model_copy(update={"valid": None})
    data = prepare(text)
    valid, test = list(read_split(text, "valid")), list(read_split(text, "test"))
    assert valid
    assert test
    assert data.valid_texts == valid
    train = [pair for pair in MANY if pair not in {*valid, *test}]
    assert sources(data.train, data.source) == [source for source, _ in train]
    learned = {*data.source.vocabulary.tokens, *data.target.vocabulary.tokens}
    assert not learned & {source.split()[1] for source, _ in [*valid, *test]}
    assert news == [
        f"validation data: {len(valid)} pairs cut from the training data",
        f"test data: {len(test)} pairs cut from the training data",
    ]


@pytest.mark.parametrize("limit", [None, 5])
def test_the_limit_is_not_for_what_is_cut(tmp_path: Path, limit: int | None) -> None:
    text = config(tmp_path, MANY, limit=limit).model_copy(update={"valid": None})
    data = prepare(text)
    num_valid = len(list(read_split(text, "valid")))
    assert len(data.valid.pairs) == len(data.valid_texts) == num_valid > 5
    assert len(data.train.pairs) == (limit or len(MANY) - num_valid)


def test_a_cut_that_takes_nothing(tmp_path: Path) -> None:
    text = config(tmp_path).model_copy(update={"valid": None})
    with pytest.raises(DataError) as caught:
        prepare(text)
    assert str(caught.value) == (
        "the cut for validation (data.held_out.valid: 0.05) took none of 3 pairs: raise it, "
        "name data.valid files, or set data.valid: none"
    )


def test_doing_without_validation_data(tmp_path: Path, news: list[str]) -> None:
    text = config(tmp_path).model_copy(update={"valid": "none"})
    (tmp_path / "valid.src").unlink()
    data = prepare(text)
    assert len(data.train.pairs) == len(TRAIN)
    assert (len(data.valid.pairs), data.valid_texts) == (0, [])
    assert (data.valid.num_empty, data.valid.num_too_long) == (0, 0)
    assert news == []


# ---------------------------------------------------------------- subwords drawn at random

PHRASES = [(pair.german, pair.english) for pair in phrasebook.generate(120, 3)]


@pytest.mark.parametrize(
    ("tokenizer", "kept"),
    [
        ({"kind": "words"}, False),
        ({"kind": "characters"}, False),
        ({"kind": "bpe", "size": 120}, False),
        ({"kind": "bpe", "size": 120, "dropout": 0.1}, True),
        ({"kind": "unigram", "size": 120, "dropout": 0.1}, True),
    ],
    ids=str,
)
def test_texts_are_kept_where_subwords_are_sampled(
    tmp_path: Path, tokenizer: dict[str, Any], kept: bool
) -> None:
    train = [("", "x"), *PHRASES, ("wort " * 130, "word")]
    data = prepare(config(tmp_path, train, PHRASES[:5], tokenizer=tokenizer, max_length=120))
    assert (data.train.num_empty, data.train.num_too_long) == (1, 1)
    assert data.train_texts == (PHRASES if kept else [])
    assert len(data.train.pairs) == len(PHRASES)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("shared", [False, True])
def test_sampled_pairs_are_the_same_texts_in_other_pieces(
    tmp_path: Path, kind: str, shared: bool
) -> None:
    tokenizer = {"kind": kind, "size": 200, "dropout": 0.5}
    data = prepare(
        config(tmp_path, PHRASES, PHRASES[:5], tokenizer=tokenizer, vocabulary={"shared": shared})
    )
    indices = np.array([7, 3, 50, 3, 119, *range(20, 40)])
    drawn = data.sampled_train_pairs(indices, 5)
    assert len(drawn) == len(indices)
    for codec, plain, sampled, side in [
        (data.source, data.train.pairs.source, drawn.source, 0),
        (data.target, data.train.pairs.target, drawn.target, 1),
    ]:
        assert [codec.decode(sampled[i]) for i in range(len(indices))] == [
            PHRASES[index][side] for index in indices
        ]
        assert UNK_ID not in sampled.ids
        assert sampled.ids.min() > UNK_ID
        assert sampled.ids.max() < len(codec.vocabulary)
        assert any(sampled[i].tolist() != plain[index].tolist() for i, index in enumerate(indices))


def test_the_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    tokenizer = {"kind": "bpe", "size": 150, "dropout": 0.3}
    first, second = (
        prepare(config(tmp_path, PHRASES, PHRASES[:5], tokenizer=tokenizer)) for _ in range(2)
    )
    indices = np.arange(40)

    def drawn(data: PreparedData, seed: int) -> tuple[list[int], list[int]]:
        pairs = data.sampled_train_pairs(indices, seed)
        return pairs.source.ids.tolist(), pairs.target.ids.tolist()

    assert drawn(first, 1) == drawn(first, 1) == drawn(second, 1)
    assert drawn(first, 1) != drawn(first, 2)


def test_sampling_never_makes_a_side_too_long(tmp_path: Path) -> None:
    tokenizer = {"kind": "bpe", "size": 250, "dropout": 0.6}
    text = config(tmp_path, PHRASES, PHRASES[:5], tokenizer=tokenizer, max_length=20)
    data = prepare(text)
    indices = np.arange(len(data.train.pairs))
    drawn = data.sampled_train_pairs(indices, 1)
    free = replace(data, max_length=1000).sampled_train_pairs(indices, 1)
    num_kept = 0
    for plain, sampled, long in [
        (data.train.pairs.source, drawn.source, free.source),
        (data.train.pairs.target, drawn.target, free.target),
    ]:
        for index in range(len(indices)):
            fits = len(long[index]) <= 20
            num_kept += not fits
            wanted = long if fits else plain
            assert sampled[index].tolist() == wanted[index].tolist()
            assert len(sampled[index]) <= 20
    assert num_kept


# ---------------------------------------------------------------- nothing left


@pytest.mark.parametrize("train", [[], [("", "")], [("a", ""), ("", "x"), (" ", "x")]])
def test_training_data_without_a_pair(tmp_path: Path, train: list[tuple[str, str]]) -> None:
    with pytest.raises(DataError) as caught:
        prepare(config(tmp_path, train))
    assert str(caught.value) == "the training data has no pair with text on both sides"


@pytest.mark.parametrize(
    ("train", "valid", "message"),
    [
        (
            [("a b", "x"), ("a", "x y"), ("", "x")],
            [("a", "x")],
            "no training pair is left: 1 have an empty side, 2 are longer than data.max_length = 1",
        ),
        (
            [("a", "x")],
            [],
            "no validation pair is left: 0 have an empty side, 0 are longer than "
            "data.max_length = 1",
        ),
        (
            [("a", "x")],
            [("", "x"), ("a", ""), ("a a", "x")],
            "no validation pair is left: 2 have an empty side, 1 are longer than "
            "data.max_length = 1",
        ),
    ],
)
def test_no_pair_left(
    tmp_path: Path, train: list[tuple[str, str]], valid: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        prepare(config(tmp_path, train, valid, max_length=1))
    assert str(caught.value) == message
