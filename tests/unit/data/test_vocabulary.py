"""Which words get an id, in which order, and how they are kept."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from seq2seq_cli.config.data import (
    BpeTokenizer,
    TextConfig,
    UnigramTokenizer,
    VocabularyConfig,
    VocabularySizes,
    WhitespaceTokenizer,
    WordsTokenizer,
)
from seq2seq_cli.data import phrasebook
from seq2seq_cli.data.subwords import SubwordTokenizer
from seq2seq_cli.data.tokenizers import learn_tokenizers, load_tokenizer
from seq2seq_cli.data.vocabulary import (
    EOS_ID,
    PAD_ID,
    SOS_ID,
    SPECIAL_TOKENS,
    UNK_ID,
    TextCodec,
    Vocabulary,
    make_codecs,
)
from seq2seq_cli.errors import ModelFileError


def words(vocabulary: Vocabulary) -> list[str]:
    assert vocabulary.tokens[:4] == ("<pad>", "<unk>", "<sos>", "<eos>")
    return list(vocabulary.tokens[4:])


def from_text(text: str, max_size: int | None = None, min_freq: int = 1) -> Vocabulary:
    return Vocabulary.from_counts(Counter(text.split()), min_freq, max_size)


def test_the_special_tokens_come_first() -> None:
    assert (PAD_ID, UNK_ID, SOS_ID, EOS_ID) == (0, 1, 2, 3)
    assert [SPECIAL_TOKENS[index] for index in (PAD_ID, UNK_ID, SOS_ID, EOS_ID)] == [
        "<pad>",
        "<unk>",
        "<sos>",
        "<eos>",
    ]
    assert len(Vocabulary([])) == 4


@pytest.mark.parametrize(
    ("text", "max_size", "min_freq", "expected"),
    [
        ("", None, 1, []),
        ("b a b", None, 1, ["b", "a"]),
        ("c b a", None, 1, ["a", "b", "c"]),
        ("b b a a c c c", None, 1, ["c", "a", "b"]),
        ("ä z Z 1 a", None, 1, ["1", "Z", "a", "z", "ä"]),
        # Rare words go, those exactly as frequent as asked for stay.
        ("a a a b b c", None, 2, ["a", "b"]),
        ("a a a b b c", None, 4, []),
        # The most frequent, and among equals the first by alphabet.
        ("d c b a d", 2, 1, ["d", "a"]),
        ("a a a b b c", 1, 2, ["a"]),
        ("a a a b b c", 3, 2, ["a", "b"]),
        ("a b", 100, 1, ["a", "b"]),
        # Words spelt like special tokens are none.
        ("<eos> <eos> a <pad> <unk> <sos>", None, 1, ["a"]),
        ("<eos> <eos> a b", 2, 1, ["a", "b"]),
        ("<EOS> <s> </s>", None, 1, ["</s>", "<EOS>", "<s>"]),
    ],
)
def test_words_are_ordered_by_frequency_then_alphabet(
    text: str, max_size: int | None, min_freq: int, expected: list[str]
) -> None:
    assert words(from_text(text, max_size, min_freq)) == expected


def test_the_order_of_counting_does_not_matter() -> None:
    tokens = [f"w{index}" for index in range(50) for _ in range(index % 7 + 1)]
    expected = from_text(" ".join(tokens))
    for seed in range(5):
        random.Random(seed).shuffle(tokens)
        assert from_text(" ".join(tokens)).tokens == expected.tokens


def test_ids_and_tokens_answer_each_other() -> None:
    vocabulary = from_text("der der Hund bellt")
    assert vocabulary.to_ids(["der", "Hund", "der"]).tolist() == [4, 5 + 0, 4]
    assert vocabulary.to_ids(["der"]).dtype == np.int32
    for index, token in enumerate(vocabulary.tokens[4:], 4):
        assert vocabulary.to_ids([token]).tolist() == [index]
        assert vocabulary.to_tokens([index]) == [token]
    assert vocabulary.to_tokens(range(4)) == list(SPECIAL_TOKENS)
    assert len(vocabulary) == 7


def test_no_tokens_are_no_ids() -> None:
    ids = from_text("a").to_ids([])
    assert ids.shape == (0,)
    assert ids.dtype == np.int32


@pytest.mark.parametrize("token", ["<eos>", "<pad>", "<sos>", "<unk>", "unseen", "A", ""])
def test_what_is_not_a_word_of_the_data_is_unknown(token: str) -> None:
    vocabulary = from_text("a <eos> <pad> <sos> <unk> a")
    assert vocabulary.to_ids(["a", token]).tolist() == [4, UNK_ID]


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        ["a"],
        ["b", "a", "c"],
        ["▁der", "▁", "Ü", "日本", "👨‍👩‍👧", "क्षत्रिय"],
        ["\r", "\u2028", "\x85", "\x0b", "\x1c", "a b", " "],
        ["\0", "\ufeff", "\x7f"],
    ],
)
def test_bytes_round_trip(tokens: list[str]) -> None:
    vocabulary = Vocabulary(tokens)
    data = vocabulary.to_bytes()
    again = Vocabulary.from_bytes(data)
    assert again.tokens == vocabulary.tokens
    assert again.to_bytes() == data
    ids = list(range(4, 4 + len(tokens)))
    assert again.to_ids(tokens).tolist() == ids


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a\nb\na", "twice"),
        (b"a\n\nb\n", "twice"),  # the empty word, two times
        (b"a\n<eos>", "twice"),
        (b"<pad>", "twice"),
        (b"a\n\xff", "UTF-8"),
        (b"caf\xc3", "UTF-8"),
        (b"\xed\xa0\x80", "UTF-8"),  # half a surrogate pair
    ],
)
def test_damaged_bytes_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ModelFileError, match=problem):
        Vocabulary.from_bytes(data)


def test_a_codec_takes_raw_text_to_ids_and_back() -> None:
    codec = TextCodec(
        load_tokenizer(WordsTokenizer(lowercase=True), b""), from_text("hello , world !")
    )
    ids = codec.encode("Hello, World!")
    assert ids.dtype == np.int32
    assert [codec.vocabulary.tokens[index] for index in ids] == ["hello", ",", "world", "!"]
    assert codec.decode(ids.tolist()) == "hello, world!"
    assert codec.decode(ids) == "hello, world!"
    assert codec.encode("Hello, <eos>").tolist()[2:] == [UNK_ID] * 3
    assert codec.decode([UNK_ID, *ids[1:]]) == "<unk>, world!"


@pytest.mark.parametrize("text", ["", " ", "\t \u3000\xa0"])
def test_a_codec_makes_nothing_of_blank_text(text: str) -> None:
    codec = TextCodec(load_tokenizer(WordsTokenizer(), b""), from_text("a"))
    assert codec.encode(text).tolist() == []
    assert codec.decode([]) == ""


# ---------------------------------------------------------------- both sides


def counted(source: str, target: str) -> tuple[Counter[str], Counter[str]]:
    return Counter(source.split()), Counter(target.split())


@pytest.mark.parametrize(
    "tokens", ["<unk>", "a <unk> b .", "<unk> <unk> .", "a b <unk>", "a b", ""]
)
def test_a_translation_with_unknown_words_has_its_ids_again(tokens: str) -> None:
    # Cut into words, the "<unk>" that decoding writes would be three unknown words.
    tokenizer = load_tokenizer(WordsTokenizer(), b"", "en")
    codec = TextCodec(tokenizer, Vocabulary(["a", "b", "."]))
    ids = codec.vocabulary.to_ids(tokens.split()).tolist()
    assert codec.encode_translation(codec.decode(ids)).tolist() == ids


def test_each_side_has_its_vocabulary() -> None:
    config = TextConfig(source="de", target="fr", vocabulary=VocabularyConfig(min_freq=2))
    tokenizers = learn_tokenizers(config, lambda side: [])
    counts = counted("a a b <eos> <eos>", "x x x y y z")
    source, target = make_codecs(config, tokenizers, counts)
    assert words(source.vocabulary) == ["a"]
    assert words(target.vocabulary) == ["x", "y"]
    assert (source.tokenizer, target.tokenizer) == tokenizers
    assert counts == counted("a a b <eos> <eos>", "x x x y y z")


def test_a_shared_vocabulary_is_one_of_both_sides() -> None:
    config = TextConfig(
        source="de", target="fr", vocabulary=VocabularyConfig(min_freq=2, shared=True)
    )
    tokenizers = learn_tokenizers(config, lambda side: [])
    source, target = make_codecs(config, tokenizers, counted("a b c c", "b d d d"))
    assert source.vocabulary is target.vocabulary
    assert words(source.vocabulary) == ["d", "b", "c"]
    assert (source.tokenizer, target.tokenizer) == tokenizers


@pytest.mark.parametrize(
    ("sizes", "source", "target"),
    [
        (VocabularySizes(), ["a", "b", "c"], ["d", "b", "e"]),
        (VocabularySizes(source=2), ["a", "b"], ["d", "b", "e"]),
        (VocabularySizes(source=1, target=2), ["a"], ["d", "b"]),
        (VocabularySizes(source=9, target=1), ["a", "b", "c"], ["d"]),
    ],
)
def test_each_side_has_its_size(
    sizes: VocabularySizes, source: list[str], target: list[str]
) -> None:
    config = TextConfig(vocabulary=VocabularyConfig(max_size=sizes))
    tokenizers = learn_tokenizers(config, lambda side: [])
    codecs = make_codecs(config, tokenizers, counted("a a a b b c", "d d d b b e"))
    assert [words(codec.vocabulary) for codec in codecs] == [source, target]


def test_the_size_of_a_shared_vocabulary_is_that_of_both_sides_together() -> None:
    vocabulary = VocabularyConfig(max_size=VocabularySizes(source=2, target=2), shared=True)
    config = TextConfig(vocabulary=vocabulary)
    tokenizers = learn_tokenizers(config, lambda side: [])
    source, target = make_codecs(config, tokenizers, counted("a a a b b c", "c c c c b"))
    assert source.vocabulary is target.vocabulary
    assert words(source.vocabulary) == ["c", "a"]  # c five times, a and b three


def side_texts(side: int) -> list[str]:
    return [(pair.german, pair.english)[side] for pair in phrasebook.generate(200, 1)]


@pytest.mark.parametrize("kind", [BpeTokenizer, UnigramTokenizer])
@pytest.mark.parametrize("shared", [False, True])
def test_with_dropout_every_piece_has_an_id(
    kind: type[BpeTokenizer] | type[UnigramTokenizer], shared: bool
) -> None:
    def codecs(dropout: float, min_freq: int = 1) -> tuple[TextCodec, TextCodec]:
        config = TextConfig(
            tokenizer=kind(size=120, dropout=dropout),
            vocabulary=VocabularyConfig(shared=shared, min_freq=min_freq),
        )
        tokenizers = learn_tokenizers(config, side_texts)
        first, second = (
            Counter(piece for text in side_texts(side) for piece in tokenizers[side].tokenize(text))
            for side in (0, 1)
        )
        return make_codecs(config, tokenizers, (first, second))

    for side, codec in enumerate(codecs(0.3)):
        assert isinstance(codec.tokenizer, SubwordTokenizer)
        assert set(words(codec.vocabulary)) == set(codec.tokenizer.pieces)
        drawn = codec.encode_sampled(side_texts(side), 1)
        assert all(UNK_ID not in ids for ids in drawn)
        assert [codec.decode(ids) for ids in drawn] == side_texts(side)
        assert all(ids.dtype == np.int32 for ids in drawn)
        again = codec.encode_sampled(side_texts(side), 1)
        assert [ids.tolist() for ids in again] == [ids.tolist() for ids in drawn]
        best = [codec.encode(text).tolist() for text in side_texts(side)]
        assert [ids.tolist() for ids in drawn] != best
    # Each counts once more, not more often: who is asked for twice must have been seen.
    for twice, once in zip(codecs(0.3, min_freq=2), codecs(0.0), strict=True):
        assert set(words(twice.vocabulary)) == set(words(once.vocabulary))
    for codec in codecs(0.0):
        assert isinstance(codec.tokenizer, SubwordTokenizer)
        assert set(words(codec.vocabulary)) <= set(codec.tokenizer.pieces)
        drawn = codec.encode_sampled(side_texts(0), 1)
        assert [ids.tolist() for ids in drawn] == [
            codec.encode(text).tolist() for text in side_texts(0)
        ]


def test_sampling_leaves_rules_alone() -> None:
    codec = TextCodec(load_tokenizer(WhitespaceTokenizer(), b""), from_text("a b"))
    texts = ["a b", "", "b c"]
    found = codec.encode_sampled(texts, 1)
    assert [ids.tolist() for ids in found] == [codec.encode(text).tolist() for text in texts]
    assert codec.encode_sampled([], 1) == []
