"""What a token is, and that tokens become the text again."""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import cache

import pytest

from seq2seq_cli.config import (
    BpeTokenizer,
    TokenizerConfig,
    UnigramTokenizer,
    WhitespaceTokenizer,
    WordsTokenizer,
)
from seq2seq_cli.data import phrasebook
from seq2seq_cli.data.tokenizers import Tokenizer, learn_tokenizer, load_tokenizer
from seq2seq_cli.errors import ConfigError, ModelFileError

FAMILY = "👨‍👩‍👧"

# ---------------------------------------------------------------- words: text and tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello, world!", "Hello , world !"),
        ("Wait... what?!", "Wait . . . what ? !"),
        ("Well… yes: no; fine.", "Well … yes : no ; fine ."),
        # Apostrophes and hyphens inside a word belong to it.
        ("don't", "don't"),
        ("it’s O'Neil's", "it’s O'Neil's"),
        ("aujourd'hui, l’homme", "aujourd'hui , l’homme"),
        ("the well-known T-Shirt", "the well-known T-Shirt"),
        ("a 5-year-old e‐mail", "a 5-year-old e‐mail"),
        ("snake_case", "snake_case"),
        # Numbers stay whole; the full stop after one does not belong to it.
        ("3.5 and 1,000.50", "3.5 and 1,000.50"),
        ("at 10:30.", "at 10:30 ."),
        ("in 2014, 3.", "in 2014 , 3 ."),
        ("50% off", "50 % off"),
        ("10:30-11:00", "10:30-11:00"),
        ("x² + ½", "x² + ½"),
        # Quotation marks and brackets.
        ('"Hi," she said.', '" Hi , " she said .'),
        ('She said "yes" and "no".', 'She said " yes " and " no " .'),
        ("“Hi,” she said.", "“ Hi , ” she said ."),
        ("„Hallo“, sagte er.", "„ Hallo “ , sagte er ."),
        ("Er rief: „Komm!“ und ging.", "Er rief : „ Komm ! “ und ging ."),
        ("‘Hi’ there", "‘ Hi ’ there"),
        ("Il dit «oui» et part.", "Il dit « oui » et part ."),
        ("(a) [b] {c}", "( a ) [ b ] { c }"),
        ("see (page 3), please", "see ( page 3 ) , please"),
        ("(„Hi“)", "( „ Hi “ )"),
        ('("Hi")', '( " Hi " )'),
        ("¿Qué? ¡Sí!", "¿ Qué ? ¡ Sí !"),
        # Other scripts: combining marks belong to their letters.
        ("क्षत्रिय नमस्ते दुनिया", "क्षत्रिय नमस्ते दुनिया"),
        ("हिन्दी में", "हिन्दी में"),
        ("e\u0301te\u0301 été", "e\u0301te\u0301 été"),
        ("עִברִית", "עִברִית"),
        ("ไทยภาษา", "ไทยภาษา"),
        ("Straße, Übung, Ärger!", "Straße , Übung , Ärger !"),
        ("Привет, мир!", "Привет , мир !"),
        # One emoji as people see it is one token.
        (f"my {FAMILY} here", f"my {FAMILY} here"),
        ("👍🏽!", "👍🏽 !"),
        ("go 🇩🇪 🇫🇷", "go 🇩🇪 🇫🇷"),
        ("❤️ it", "❤️ it"),
    ],
)
def test_words_come_apart_and_together(text: str, tokens: str) -> None:
    words = load_tokenizer(WordsTokenizer(), b"")
    assert words.tokenize(text) == tokens.split(" ")
    assert words.detokenize(tokens.split(" ")) == text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # Here the white space of the text is lost; only the tokens are promised.
        ("a , b", ["a", ",", "b"]),
        ("  two   spaces ", ["two", "spaces"]),
        ("a\tb\xa0c\u3000d\u2028e\x85f", ["a", "b", "c", "d", "e", "f"]),
        ("one\ntwo\r\nthree\rfour", ["one", "two", "three", "four"]),
        ("U.S.A.", ["U", ".", "S", ".", "A", "."]),
        ("a,b.c", ["a", ",", "b", ".", "c"]),
        ("3.a", ["3", ".", "a"]),
        ("the dogs' 'house'", ["the", "dogs", "'", "'", "house", "'"]),
        ("-5 a- -b a--b", ["-", "5", "a", "-", "-", "b", "a", "-", "-", "b"]),
        ("$5.99/kg", ["$", "5.99", "/", "kg"]),
        ("me@x.org", ["me", "@", "x", ".", "org"]),
        ("🇩🇪🇫🇷" + FAMILY + FAMILY, ["🇩🇪", "🇫🇷", FAMILY, FAMILY]),
        ("a\0b", ["a", "\0", "b"]),
        ("\u0301", ["\u0301"]),
    ],
)
def test_words_that_are_not_put_together_as_they_were(text: str, tokens: list[str]) -> None:
    assert load_tokenizer(WordsTokenizer(), b"").tokenize(text) == tokens


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([], ""),
        (["a"], "a"),
        ([".", "a"], ". a"),
        (["(", ")"], "()"),
        (['"'], '"'),
        (['"', '"', '"', "a"], '"" "a'),
        (["a", '"', "b"], 'a "b'),
        (["„", "a", "(", "b", ")", "“", "c"], "„a (b)“ c"),
        (["„", "a", "“", "b", "„", "c", "“"], "„a“ b „c“"),
        (["“", "a", "”", "“", "b", "”"], "“a” “b”"),
        (["<unk>", ",", "<unk>"], "<unk>, <unk>"),
    ],
)
def test_any_words_can_be_put_together(tokens: list[str], text: str) -> None:
    assert load_tokenizer(WordsTokenizer(), b"").detokenize(tokens) == text


@pytest.mark.parametrize(
    ("config", "text", "tokens"),
    [
        (WordsTokenizer(), "ÄRGER Straße", ["ÄRGER", "Straße"]),
        (WordsTokenizer(lowercase=True), "ÄRGER Straße I'M!", ["ärger", "straße", "i'm", "!"]),
        (WhitespaceTokenizer(), "Hello, World!", ["Hello,", "World!"]),
        (WhitespaceTokenizer(lowercase=True), "Hello, WORLD!", ["hello,", "world!"]),
        (WhitespaceTokenizer(), " a\tb \n c\xa0d ", ["a", "b", "c", "d"]),
        (WhitespaceTokenizer(), f"({FAMILY}) नमस्ते।", [f"({FAMILY})", "नमस्ते।"]),
    ],
)
def test_lowercase_and_white_space(config: TokenizerConfig, text: str, tokens: list[str]) -> None:
    assert load_tokenizer(config, b"").tokenize(text) == tokens


def test_whitespace_joins_by_single_spaces() -> None:
    whitespace = load_tokenizer(WhitespaceTokenizer(), b"")
    assert whitespace.detokenize(["Hello,", "world!", "(", "x"]) == "Hello, world! ( x"
    assert whitespace.detokenize([]) == ""


RULE_BASED: list[TokenizerConfig] = [
    WhitespaceTokenizer(),
    WhitespaceTokenizer(lowercase=True),
    WordsTokenizer(),
    WordsTokenizer(lowercase=True),
]


@pytest.mark.parametrize("config", RULE_BASED)
def test_rules_have_nothing_to_learn_or_keep(config: TokenizerConfig) -> None:
    def never() -> list[str]:
        raise AssertionError("the text was asked for")

    assert learn_tokenizer(config, never).to_bytes() == b""


@pytest.mark.parametrize("config", RULE_BASED)
@pytest.mark.parametrize(
    "text", ["", " ", "  ", "\t", "\n", "\r\n", "\r", "\xa0", "\u3000", "\u2028 \x85\x0b\x0c\x1c"]
)
def test_blank_text_has_no_tokens(config: TokenizerConfig, text: str) -> None:
    assert load_tokenizer(config, b"").tokenize(text) == []


@pytest.mark.parametrize("config", RULE_BASED)
def test_no_token_holds_a_line_feed_or_is_empty(config: TokenizerConfig) -> None:
    tokenizer = load_tokenizer(config, b"")
    beside = [
        *string.printable,
        "é",
        "\u0301",
        "\u200d",
        "👍",
        "🏽",
        "🇩",
        "\u2028",
        "\x85",
        "\ufeff",
    ]
    for left in beside:
        for right in beside:
            tokens = tokenizer.tokenize(f"{left}\n{right}\r\n{left}")
            assert all(tokens)
            assert "\n" not in "".join(tokens)


@pytest.mark.parametrize("config", [WhitespaceTokenizer(), WordsTokenizer()])
def test_no_character_but_white_space_is_lost(config: TokenizerConfig) -> None:
    text = "".join(map(chr, [*range(0x3000), 0xFEFF, *range(0x1F000, 0x1FAFF)]))
    tokens = load_tokenizer(config, b"").tokenize(text)
    assert "".join("".join(tokens).split()) == "".join(text.split())


def test_text_of_the_phrasebook_survives_words() -> None:
    words = load_tokenizer(WordsTokenizer(), b"")
    for pair in phrasebook.generate(300, 3):
        for text in (pair.german, pair.english):
            assert words.detokenize(words.tokenize(text)) == text


# ---------------------------------------------------------------- subwords

SIZE = 150
Kind = type[BpeTokenizer] | type[UnigramTokenizer]
both = pytest.mark.parametrize("kind", [BpeTokenizer, UnigramTokenizer])


@cache
def sentences() -> list[str]:
    return [pair.german for pair in phrasebook.generate(300, 1)]


@cache
def learned(kind: Kind) -> Tokenizer:
    return learn_tokenizer(kind(size=SIZE), sentences)


@both
def test_learned_text_comes_back(kind: Kind) -> None:
    tokenizer = learned(kind)
    for text in sentences():
        tokens = tokenizer.tokenize(text)
        assert tokenizer.detokenize(tokens) == text
        assert len(tokens) > len(text.split())
    pieces = {token for text in sentences() for token in tokenizer.tokenize(text)}
    assert len(pieces) <= SIZE
    assert max(map(len, pieces)) > 3  # more than characters was learned


@both
@pytest.mark.parametrize(
    "text",
    [
        "Hello, world!",
        "unseen: 日本 नमस्ते Привет",
        FAMILY + " 👍🏽!",
        "e\u0301te\u0301 ﬁ ½ ™",  # characters stay as they are: no normalisation
        "<unk> <s> </s> <pad> <eos>",
        "\u200b \ufeff",
        "x" * 10_000,
    ],
)
def test_new_text_comes_back(kind: Kind, text: str) -> None:
    tokens = learned(kind).tokenize(text)
    assert learned(kind).detokenize(tokens) == text


@both
@pytest.mark.parametrize(
    "text", ["", " ", "     ", "\0", " \0 \0", "\t", "\xa0", "\n", "\u2028 \x1c"]
)
def test_blank_text_has_no_subwords(kind: Kind, text: str) -> None:
    assert learned(kind).tokenize(text) == []
    assert learned(kind).detokenize([]) == ""


@both
def test_spaces_are_single_and_a_nul_is_one(kind: Kind) -> None:
    tokenizer = learned(kind)
    assert tokenizer.tokenize("  die   Frau ") == tokenizer.tokenize("die Frau")
    assert tokenizer.tokenize("die\0Frau") == tokenizer.tokenize("die Frau")


@both
def test_the_bytes_make_the_same_tokenizer(kind: Kind) -> None:
    data = learned(kind).to_bytes()
    again = load_tokenizer(kind(size=SIZE), data)
    assert again.to_bytes() == data
    for text in [*sentences(), "unseen 日本"]:
        assert again.tokenize(text) == learned(kind).tokenize(text)


@both
def test_learning_is_deterministic_and_reads_the_text(kind: Kind) -> None:
    again = learn_tokenizer(kind(size=SIZE), lambda: iter(sentences()))
    assert again.to_bytes() == learned(kind).to_bytes()
    other = learn_tokenizer(kind(size=SIZE), lambda: sentences()[:250])
    assert other.to_bytes() != learned(kind).to_bytes()
    assert learned(BpeTokenizer).to_bytes() != learned(UnigramTokenizer).to_bytes()


@both
def test_lowercase_subwords(kind: Kind) -> None:
    tokenizer = learn_tokenizer(kind(size=SIZE, lowercase=True), sentences)
    loaded = load_tokenizer(kind(size=SIZE, lowercase=True), tokenizer.to_bytes())
    for text in sentences()[:50]:
        assert tokenizer.tokenize(text) == tokenizer.tokenize(text.lower())
        assert loaded.tokenize(text) == tokenizer.tokenize(text)
        assert tokenizer.detokenize(tokenizer.tokenize(text)) == text.lower()
    lower = learn_tokenizer(kind(size=SIZE), lambda: [text.lower() for text in sentences()])
    assert tokenizer.to_bytes() == lower.to_bytes()


@both
def test_too_many_subwords_are_refused_with_the_largest_number_possible(kind: Kind) -> None:
    def learn(size: int) -> None:
        learn_tokenizer(kind(size=size), sentences)

    with pytest.raises(ConfigError) as caught:
        learn(50_000)
    before, _, limit = str(caught.value).rpartition(" at most ")
    assert before == (
        f"data.tokenizer.size: 50000 {kind().kind} subwords cannot be learned from the training "
        "data: it yields"
    )
    learn(int(limit))
    with pytest.raises(ConfigError, match=f"at most {limit}$"):
        learn(int(limit) + 1)


@both
@pytest.mark.parametrize("size", [8, 20])
def test_too_few_subwords_for_the_characters_there_are(kind: Kind, size: int) -> None:
    with pytest.raises(ConfigError, match=rf"^data\.tokenizer\.size: {size} "):
        learn_tokenizer(kind(size=size), sentences)


@both
@pytest.mark.parametrize("texts", [[], [""], [" ", "\0"]], ids=["none", "empty", "blank"])
def test_nothing_to_learn_from(kind: Kind, texts: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"^data\.tokenizer\.size: "):
        learn_tokenizer(kind(size=SIZE), lambda: texts)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "headless": lambda data: data[7:],
    "longer": lambda data: data + b"more",
    "backwards": lambda data: data[::-1],
    "text": lambda data: b"not a model",
    "zeros": lambda data: bytes(len(data)),
}


@both
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_bytes_are_refused(kind: Kind, damage: str) -> None:
    data = DAMAGES[damage](learned(kind).to_bytes())
    with pytest.raises(ModelFileError, match="tokenizer"):
        load_tokenizer(kind(size=SIZE), data)


@both
def test_texts_with_nul_characters_and_very_long_lines_are_learned_from(kind: Kind) -> None:
    odd = ["die\0Frau \0", "Frau " * 2_000, "Frau " * 400_000, "\0" * 100_000, "Haus" * 500]
    tokenizer = learn_tokenizer(kind(size=SIZE), lambda: [*sentences(), *odd])
    for text in sentences():
        assert tokenizer.detokenize(tokenizer.tokenize(text)) == text
    assert "\0" not in "".join(tokenizer.tokenize(odd[0]))
    # A NUL ends no line: what stands behind it is learned from as well.
    with_nul = [text.replace(" ", "\0") for text in sentences()]
    assert learn_tokenizer(kind(size=SIZE), lambda: with_nul).to_bytes() == (
        learned(kind).to_bytes()
    )


@both
def test_a_very_long_line_is_tokenised(kind: Kind) -> None:
    tokenizer = learned(kind)
    alone = tokenizer.tokenize("Frau")
    assert tokenizer.tokenize("Frau " * 50_000) == alone * 50_000
