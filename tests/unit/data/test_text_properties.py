"""What holds for any text whatsoever: reading, tokens, samples, vocabularies."""

from __future__ import annotations

import gzip
import itertools
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_cli.config.data import (
    BpeTokenizer,
    CharactersTokenizer,
    SpacyTokenizer,
    TokenizerConfig,
    UnigramTokenizer,
    WhitespaceTokenizer,
    WordsTokenizer,
)
from seq2seq_cli.data import corpus, phrasebook
from seq2seq_cli.data.subwords import SubwordTokenizer
from seq2seq_cli.data.tokenizers import Tokenizer, load_tokenizer
from seq2seq_cli.data.vocabulary import SPECIAL_TOKENS, Vocabulary

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

repeatable = settings(derandomize=True, deadline=None, max_examples=150, database=None)

# Any code point but surrogates, which no UTF-8 text holds; most of them are far from any language,
# so those that are close to something come on top.
ANY_CHARACTER = st.characters(exclude_categories=["Cs"])
TRICKY = st.sampled_from(
    [
        *" \t\r\0\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028\u3000",
        *"\u200b\u200d\ufeff\ufffd\ue000\U0010ffff",
        *"▁▅⁇<>/.,;:!?'’-\"“”„«»()[]…¿$%&@#_0123",
        *"abcdeinruABİΣß\u017fﬁéÄя日ไक\u0301\u0307\u0323\u093f🏽🇩",
        *["<unk>", "<s>", "</s>", "<pad>", "<eos>", "<0x0A>", " ▁", "👨‍👩‍👧", "Frau", "der Hund"],
    ]
)
texts = st.lists(st.one_of(TRICKY, ANY_CHARACTER), max_size=25).map("".join)
lines = texts.map(lambda text: text.replace("\n", " "))


def one_spaced(text: str) -> str:
    """White space and NUL as single spaces, and none at the ends."""
    return " ".join(text.replace("\0", " ").split())


# ---------------------------------------------------------------- reading

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstd.compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
@repeatable
@given(wanted=st.lists(lines, max_size=6), last_ends=st.booleans())
def test_lines_are_read_as_they_were_written(
    suffix: str, wanted: list[str], last_ends: bool
) -> None:
    """But for one "\\r" at the end of a line and a byte order mark at the start of the file."""
    data = "\n".join(wanted).encode() + (b"\n" if wanted and last_ends else b"")
    expected = [line.removesuffix("\r") for line in wanted]
    if expected:
        expected[0] = expected[0].removeprefix("\ufeff")
    if wanted and not last_ends and wanted[-1] in ("", "\ufeff"[: len(wanted) == 1]):
        expected.pop()  # without its end, an empty last line is none
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"text{suffix}"
        path.write_bytes(PACKERS[suffix](data))
        assert list(corpus.read_lines(path)) == expected


# ---------------------------------------------------------------- tokens


@cache
def learned(config: BpeTokenizer | UnigramTokenizer) -> SubwordTokenizer:
    pairs = phrasebook.generate(200, 1)
    return SubwordTokenizer.learn(config, [pair.german for pair in pairs])


BPE = BpeTokenizer(size=120, dropout=0.3)
UNIGRAM = UnigramTokenizer(size=120, dropout=0.5)


def tokenizer_of(config: TokenizerConfig, language: str | None = None) -> Tokenizer:
    if isinstance(config, BpeTokenizer | UnigramTokenizer):
        return learned(config)
    return load_tokenizer(config, b"", language)


@pytest.mark.parametrize("config", [BPE, UNIGRAM, CharactersTokenizer()])
@repeatable
@given(text=texts)
def test_nothing_but_white_space_changes(config: TokenizerConfig, text: str) -> None:
    tokenizer = tokenizer_of(config)
    tokens = tokenizer.tokenize(text)
    assert tokenizer.detokenize(tokens) == one_spaced(text)
    assert all(tokens)
    assert not any("\n" in token or token == "<unk>" for token in tokens)


@pytest.mark.parametrize("config", [BPE, UNIGRAM])
@repeatable
@given(several=st.lists(texts, max_size=4), seed=st.integers(0, 2**63 - 1))
def test_samples_spell_the_text_and_can_be_drawn_again(
    config: BpeTokenizer | UnigramTokenizer, several: list[str], seed: int
) -> None:
    tokenizer = learned(config)
    drawn = tokenizer.sample(several, seed)
    assert [tokenizer.detokenize(tokens) for tokens in drawn] == list(map(one_spaced, several))
    tokenizer.sample(["die Frau sieht den Hund"], seed ^ 1)
    assert tokenizer.sample(several, seed) == drawn


@pytest.mark.parametrize("config", [BPE, UNIGRAM])
@repeatable
@given(text=texts)
def test_words_are_split_by_themselves(config: BpeTokenizer | UnigramTokenizer, text: str) -> None:
    """What sampling builds on: no piece spans words, and no word looks at its neighbours."""
    tokenizer = learned(config)
    apart = [tokenizer.tokenize(word) for word in one_spaced(text).split(" ")]
    assert tokenizer.tokenize(text) == list(itertools.chain.from_iterable(apart))


@repeatable
@given(text=texts)
def test_whitespace_tokens_survive_being_joined(text: str) -> None:
    whitespace = tokenizer_of(WhitespaceTokenizer())
    tokens = whitespace.tokenize(text)
    assert whitespace.tokenize(whitespace.detokenize(tokens)) == tokens


LANGUAGES = st.sampled_from([None, "de", "en", "fr", "sv", "zh", "ar"])


@repeatable
@given(text=texts, language=LANGUAGES)
def test_words_keep_their_characters(text: str, language: str | None) -> None:
    """No character but white space goes or comes, in tokens and in what is put together. (The
    tokens of "a . 5" come back as "a. 5", those of "3 . 5" as other ones: where spaces were is what
    the tokens do not say.)"""
    words = tokenizer_of(WordsTokenizer(), language)
    tokens = words.tokenize(text)
    assert "".join("".join(tokens).split()) == "".join(text.split())
    joined = words.detokenize(tokens)
    assert joined == joined.strip()
    assert "".join(joined.split()) == "".join(text.split())


PLAIN_WORDS = st.text(st.characters(categories=["Ll", "Lu", "Lo"]), min_size=1, max_size=8)
PLAIN_TOKENS = st.lists(st.one_of(PLAIN_WORDS, st.sampled_from(list('.,;:!?()«»„“”"¿¡…%'))))


@repeatable
@given(tokens=PLAIN_TOKENS, language=LANGUAGES)
def test_tokens_of_plain_words_and_marks_survive_being_joined(
    tokens: list[str], language: str | None
) -> None:
    """Where marks are such as never stand inside a word, as apostrophes, hyphens and the dots of
    numbers do, all tokens come back."""
    words = tokenizer_of(WordsTokenizer(), language)
    assert words.tokenize(words.detokenize(tokens)) == tokens


@cache
def spacy_of(language: str) -> Tokenizer:
    return load_tokenizer(SpacyTokenizer(), b"", language)


@pytest.mark.parametrize("language", ["en", "de"])
@repeatable
@given(text=texts)
def test_spacy_keeps_the_characters(language: str, text: str) -> None:
    spacy = spacy_of(language)
    tokens = spacy.tokenize(text)
    assert not any(token.isspace() or "\n" in token for token in tokens)
    assert "".join(tokens) == one_spaced(text).replace(" ", "")
    assert spacy.detokenize(tokens).replace(" ", "") == "".join(tokens)


@pytest.mark.parametrize(
    "config",
    [
        WhitespaceTokenizer(lowercase=True, nfc=True),
        CharactersTokenizer(lowercase=True, nfc=True),
        WordsTokenizer(lowercase=True, nfc=True),
    ],
)
@repeatable
@given(text=texts)
def test_spelling_twice_is_spelling_once(config: TokenizerConfig, text: str) -> None:
    tokenizer = tokenizer_of(config)
    once = " ".join(tokenizer.tokenize(text))
    assert " ".join(tokenizer.tokenize(once)).split() == once.split()


# ---------------------------------------------------------------- vocabularies


@repeatable
@given(words=st.lists(texts.map(lambda text: text.replace("\n", "")).filter(bool), unique=True))
def test_a_vocabulary_comes_back_from_its_bytes(words: list[str]) -> None:
    """Tokens are never empty, and hold no line feed."""
    vocabulary = Vocabulary([word for word in words if word not in SPECIAL_TOKENS])
    again = Vocabulary.from_bytes(vocabulary.to_bytes())
    assert again.tokens == vocabulary.tokens
    assert again.to_ids(words).tolist() == vocabulary.to_ids(words).tolist()
