"""What a token is, and that tokens become the text again."""

from __future__ import annotations

import string
import sys
import threading
from collections.abc import Callable
from functools import cache

import pytest

from seq2seq_cli.config.data import (
    BpeTokenizer,
    CharactersTokenizer,
    SpacyTokenizer,
    TextConfig,
    TokenizerConfig,
    UnigramTokenizer,
    VocabularyConfig,
    WhitespaceTokenizer,
    WordsTokenizer,
)
from seq2seq_cli.data import phrasebook
from seq2seq_cli.data.subwords import SubwordTokenizer
from seq2seq_cli.data.tokenizers import (
    Tokenizer,
    Words,
    learn_tokenizers,
    load_tokenizer,
)
from seq2seq_cli.errors import ConfigError, ModelFileError

FAMILY = "👨‍👩‍👧"
Kind = type[BpeTokenizer] | type[UnigramTokenizer]

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
    CharactersTokenizer(),
    SpacyTokenizer(),
]


def rules(config: TokenizerConfig) -> Tokenizer:
    return load_tokenizer(config, b"", "en")


@pytest.mark.parametrize("config", RULE_BASED)
def test_rules_have_nothing_to_learn_or_keep(config: TokenizerConfig) -> None:
    def never(side: int) -> list[str]:
        raise AssertionError(f"the text of {side} was asked for")

    text = TextConfig(source="de", target="en", tokenizer=config)
    assert [tokenizer.to_bytes() for tokenizer in learn_tokenizers(text, never)] == [b"", b""]


@pytest.mark.parametrize("config", RULE_BASED)
@pytest.mark.parametrize(
    "text", ["", " ", "  ", "\t", "\n", "\r\n", "\r", "\xa0", "\u3000", "\u2028 \x85\x0b\x0c\x1c"]
)
def test_blank_text_has_no_tokens(config: TokenizerConfig, text: str) -> None:
    assert rules(config).tokenize(text) == []


@pytest.mark.parametrize("config", RULE_BASED)
def test_no_token_holds_a_line_feed_or_is_empty(config: TokenizerConfig) -> None:
    tokenizer = rules(config)
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


@pytest.mark.parametrize("config", [WhitespaceTokenizer(), WordsTokenizer(), SpacyTokenizer()])
def test_no_character_but_white_space_is_lost(config: TokenizerConfig) -> None:
    text = "".join(map(chr, [*range(0x3000), 0xFEFF, *range(0x1F000, 0x1FAFF)]))
    tokens = rules(config).tokenize(text)
    assert "".join("".join(tokens).split("\0")) == "".join(text.replace("\0", " ").split())


def test_text_of_the_phrasebook_survives_words() -> None:
    words = load_tokenizer(WordsTokenizer(), b"")
    for pair in phrasebook.generate(300, 3):
        for text in (pair.german, pair.english):
            assert words.detokenize(words.tokenize(text)) == text


# ---------------------------------------------------------------- words by language


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Er rief: „Komm!“, dann ‚geh‘; „nie“ sagte er nie."),
        ("deu", "Was? »Oft«, sagte sie."),
        ("de-AT", "„Hallo”, sagte er."),  # closed as English does: often typed so
        ("de", "Ach! Nein“, sagte er."),  # closes though nothing is open
        ("de_CH", "Sie sagt «gut» und geht."),
        ("da", "Han sagde »ja« og ”nej”."),
        ("cs", "Řekl „ano“ a »ne«."),
        ("hu", "Azt mondta: „igen” és »nem«."),
        ("pl", "Mówi „tak” i «nie»."),
        ("ro", "Zice „da” și pleacă."),
        ("sv", "Han sa ”ja” och »nej»."),
        ("fi", "Hän sanoi ”kyllä”, ja lähti."),
        ("en", "“Hi,” she said, ‘now’; no” and the dogs’ house."),
        ("ru", "Он сказал «да» и „нет“."),
        ("es", "Dijo «sí»: ¿de verdad? ¡No!"),
        ("fr", "Quoi ? Non ! Si : oui ; bien, dit-il."),
        ("fr", "Il dit « oui » et part."),
        ("fr-CA", "« Vraiment ?! » dit-elle (encore !)."),
        ("fra", "Il dit “non” à 10:30 … ?".replace(" …", "…")),
        ("it", "Dice «sì»: l’uomo, no!"),
        ("ar", "نعم، لا؛ ماذا؟"),
        ("zh", "你好，世界！"),  # noqa: RUF001
        (None, 'He said "yes", then "no"; «oui» »ja« („x“).'),
        ("tlh", 'He said "yes", then "no"; «oui» »ja« („x“).'),
    ],
)
def test_every_language_has_its_spaces(language: str | None, text: str) -> None:
    words = load_tokenizer(WordsTokenizer(), b"", language)
    assert words.detokenize(words.tokenize(text)) == text


@pytest.mark.parametrize(
    ("language", "tokens", "text"),
    [
        ("fr", "l' homme d’ eau", "l'homme d’eau"),
        ("en", "l' homme", "l' homme"),
        ("fr", "? oui", "? oui"),
        ("fr", "« »", "« »"),
        ("fr", "« ! »", "« ! »"),
        ("de", "a “ b « c", "a“ b« c"),
        (None, "a ” b", "a ” b"),
        ("en", "a ” b", "a” b"),
        ("sv", "” ” ” a ”", "”” ”a”"),
    ],
)
def test_tokens_of_every_language_can_be_put_together(
    language: str | None, tokens: str, text: str
) -> None:
    assert Words(WordsTokenizer(), language).detokenize(tokens.split()) == text


# ---------------------------------------------------------------- spelling


@pytest.mark.parametrize(
    ("config", "text", "tokens"),
    [
        (WordsTokenizer(nfc=True), "e\u0301te\u0301", ["été"]),
        (WordsTokenizer(lowercase=True), "İ", ["i\u0307"]),
        (WordsTokenizer(lowercase=True, nfc=True), "\u1e9b\u0323 J\u030c", ["ẛ\u0323", "ǰ"]),
        (WhitespaceTokenizer(nfc=True, lowercase=True), "E\u0301 x", ["é", "x"]),
        (SpacyTokenizer(nfc=True, lowercase=True), "E\u0301!", ["é", "!"]),
        (CharactersTokenizer(nfc=True), "e\u0301", ["é"]),
        (CharactersTokenizer(), "e\u0301", ["e", "\u0301"]),
        (CharactersTokenizer(lowercase=True), "ÄB", ["ä", "b"]),
    ],
)
def test_the_spelling_comes_first(config: TokenizerConfig, text: str, tokens: list[str]) -> None:
    assert rules(config).tokenize(text) == tokens


# ---------------------------------------------------------------- characters


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("ab c", "ab c"),
        ("  a \t\n b\0c\u3000", "a b c"),
        ("日本", "日本"),
        (FAMILY, FAMILY),
        ("▁ ▅ <unk>", "▁ ▅ <unk>"),
    ],
)
def test_characters(text: str, tokens: str) -> None:
    characters = load_tokenizer(CharactersTokenizer(), b"")
    assert characters.tokenize(text) == list(tokens)
    assert characters.detokenize(list(tokens)) == tokens


# ---------------------------------------------------------------- spaCy


@pytest.mark.parametrize(
    ("language", "text", "tokens"),
    [
        ("en", "I don't, it's.", "I do n't , it 's ."),
        ("en", "We'll go; they’ve “gone” (well).", "We 'll go ; they ’ve “ gone ” ( well ) ."),
        ("eng", "A well-known T-shirt cannot", "A well - known T - shirt can not"),
        ("en-GB", 'I\'m "gonna" be', 'I \'m " gon na " be'),
        ("en", "Mr. X met U.S. troops.", "Mr. X met U.S. troops ."),
        ("de", "Er trägt z.B. ein T-Shirt, „neu“.", "Er trägt z.B. ein T-Shirt , „ neu “ ."),
        ("fr", "L'homme d’ici, va-t-il là-bas ?", "L' homme d’ ici , va -t -il là - bas ?"),
    ],
)
def test_spacy_takes_apart_and_joins(language: str, text: str, tokens: str) -> None:
    spacy = load_tokenizer(SpacyTokenizer(), b"", language)
    assert spacy.tokenize(text) == tokens.split()
    assert spacy.detokenize(tokens.split()) == text


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("- a", "- a"),
        ("a -", "a -"),
        ("a - , b", "a -, b"),
        ("'s a", "'s a"),
        ("( a ) 's", "(a)'s"),
        ("", ""),
    ],
)
def test_odd_tokens_of_spacy(tokens: str, text: str) -> None:
    assert load_tokenizer(SpacyTokenizer(), b"", "en").detokenize(tokens.split()) == text


def test_spacy_takes_a_text_of_any_length() -> None:
    spacy = load_tokenizer(SpacyTokenizer(), b"", "en")
    assert spacy.tokenize("a  b\n" * 300_000) == ["a", "b"] * 300_000


@pytest.mark.parametrize(
    ("language", "message"),
    [
        (None, r"data\.tokenizer: spacy needs data\.source and data\.target, the languages$"),
        ("qq", "spacy has no rules for the language qq"),
        ("punctuation", "spacy has no rules for the language punctuation"),
        ("en.lex", "spacy has no rules for the language en.lex"),
        ("tha", "spacy needs more packages for the language th: .*PyThaiNLP"),
    ],
)
def test_languages_that_spacy_does_not_have(language: str | None, message: str) -> None:
    config = TextConfig(source="en", target=language, tokenizer=SpacyTokenizer())
    with pytest.raises(ConfigError, match=message):
        learn_tokenizers(config, lambda side: [])
    with pytest.raises(ModelFileError, match=message):
        load_tokenizer(config.tokenizer, b"", language)


def test_without_spacy_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    config = TextConfig(source="en", target="de", tokenizer=SpacyTokenizer())
    with pytest.raises(ConfigError, match=r"pip install 'seq2seq-cli\[spacy\]'$"):
        learn_tokenizers(config, lambda side: [])
    with pytest.raises(ModelFileError, match=r"pip install 'seq2seq-cli\[spacy\]'$"):
        load_tokenizer(config.tokenizer, b"", "en")


# ---------------------------------------------------------------- both sides


def side_texts(side: int) -> list[str]:
    return [(pair.german, pair.english)[side] for pair in phrasebook.generate(300, 1)]


@pytest.mark.parametrize("shared", [False, True])
def test_rules_follow_the_language_of_their_side(shared: bool) -> None:
    config = TextConfig(source="de", target="fr", vocabulary=VocabularyConfig(shared=shared))
    source, target = learn_tokenizers(config, side_texts)
    assert source.detokenize(["a", "!"]) == "a!"
    assert target.detokenize(["a", "!"]) == "a !"


@pytest.mark.parametrize("kind", [BpeTokenizer, UnigramTokenizer])
def test_subwords_of_each_side_or_of_both(kind: Kind) -> None:
    tokenizer = kind(size=150)
    source, target = learn_tokenizers(TextConfig(tokenizer=tokenizer), side_texts)
    expected = [SubwordTokenizer.learn(tokenizer, side_texts(side)) for side in (0, 1)]
    assert source.to_bytes() == expected[0].to_bytes()
    assert target.to_bytes() == expected[1].to_bytes()
    config = TextConfig(tokenizer=tokenizer, vocabulary=VocabularyConfig(shared=True))
    both, again = learn_tokenizers(config, side_texts)
    assert both is again
    together = SubwordTokenizer.learn(tokenizer, side_texts(0) + side_texts(1))
    assert both.to_bytes() == together.to_bytes()


# ---------------------------------------------------------------- subwords

SIZE = 150
both = pytest.mark.parametrize("kind", [BpeTokenizer, UnigramTokenizer])


@cache
def sentences() -> list[str]:
    return [pair.german for pair in phrasebook.generate(300, 1)]


@cache
def learned(kind: Kind) -> SubwordTokenizer:
    return SubwordTokenizer.learn(kind(size=SIZE), sentences())


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
    again = SubwordTokenizer.learn(kind(size=SIZE), iter(sentences()))
    assert again.to_bytes() == learned(kind).to_bytes()
    other = SubwordTokenizer.learn(kind(size=SIZE), sentences()[:250])
    assert other.to_bytes() != learned(kind).to_bytes()
    assert learned(BpeTokenizer).to_bytes() != learned(UnigramTokenizer).to_bytes()


@both
def test_lowercase_subwords(kind: Kind) -> None:
    tokenizer = SubwordTokenizer.learn(kind(size=SIZE, lowercase=True), sentences())
    loaded = load_tokenizer(kind(size=SIZE, lowercase=True), tokenizer.to_bytes())
    for text in sentences()[:50]:
        assert tokenizer.tokenize(text) == tokenizer.tokenize(text.lower())
        assert loaded.tokenize(text) == tokenizer.tokenize(text)
        assert tokenizer.detokenize(tokenizer.tokenize(text)) == text.lower()
    lower = SubwordTokenizer.learn(kind(size=SIZE), [text.lower() for text in sentences()])
    assert tokenizer.to_bytes() == lower.to_bytes()


@both
def test_too_many_subwords_are_refused_with_the_largest_number_possible(kind: Kind) -> None:
    def learn(size: int) -> None:
        SubwordTokenizer.learn(kind(size=size), sentences())

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
        SubwordTokenizer.learn(kind(size=size), sentences())


@both
@pytest.mark.parametrize("texts", [[], [""], [" ", "\0"]], ids=["none", "empty", "blank"])
def test_nothing_to_learn_from(kind: Kind, texts: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"^data\.tokenizer\.size: "):
        SubwordTokenizer.learn(kind(size=SIZE), texts)


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
    tokenizer = SubwordTokenizer.learn(kind(size=SIZE), [*sentences(), *odd])
    for text in sentences():
        assert tokenizer.detokenize(tokenizer.tokenize(text)) == text
    assert "\0" not in "".join(tokenizer.tokenize(odd[0]))
    # A NUL ends no line: what stands behind it is learned from as well.
    with_nul = [text.replace(" ", "\0") for text in sentences()]
    assert SubwordTokenizer.learn(kind(size=SIZE), with_nul).to_bytes() == (
        learned(kind).to_bytes()
    )


@both
def test_a_very_long_line_is_tokenised(kind: Kind) -> None:
    tokenizer = learned(kind)
    alone = tokenizer.tokenize("Frau")
    assert tokenizer.tokenize("Frau " * 50_000) == alone * 50_000


@both
def test_text_that_looks_like_the_machinery_of_subwords(kind: Kind) -> None:
    odd = ["▁", "▁▁ ▅", "a▁b ▁", "<unk>", "<s> </s>", "\ufffd", "\u2047", "\ue000"]
    # It knows none of these characters.
    beside = SubwordTokenizer.learn(kind(size=30), [str(number**3) for number in range(300)])
    among = SubwordTokenizer.learn(kind(size=SIZE), [*sentences(), *odd * 30])
    for tokenizer in (beside, among):
        for text in odd:
            tokens = tokenizer.tokenize(text)
            assert tokenizer.detokenize(tokens) == text
            assert "<unk>" not in tokens
    for tokens in among.tokenize("▁"), among.tokenize("▅"):
        assert set(tokens) <= set(among.pieces)  # learned, not left out


@both
def test_an_unknown_token_stands_alone(kind: Kind) -> None:
    assert learned(kind).detokenize(["▁a", "<unk>", "b", "▁c", "<unk>"]) == "a <unk> b c <unk>"
    assert learned(kind).detokenize(["<unk>"]) == "<unk>"


# ---------------------------------------------------------------- sampling


def with_dropout(kind: Kind, dropout: float) -> SubwordTokenizer:
    return SubwordTokenizer(kind(size=SIZE, dropout=dropout), learned(kind).to_bytes())


@both
def test_pieces_are_all_that_was_learned(kind: Kind) -> None:
    pieces = learned(kind).pieces
    assert len(pieces) == len(set(pieces)) == SIZE - 1  # one is <unk>
    assert "<unk>" not in pieces
    for dropout in (0.0, 0.5):
        drawn = with_dropout(kind, dropout).sample(sentences(), 3)
        assert {piece for line in drawn for piece in line} <= set(pieces)


@both
def test_without_dropout_nothing_is_drawn(kind: Kind) -> None:
    texts = [*sentences(), "", " ", "日本 <unk>"]
    best = [learned(kind).tokenize(text) for text in texts]
    assert learned(kind).sample(texts, 1) == best
    assert learned(kind).sample([], 1) == with_dropout(kind, 0.5).sample([], 1) == []


@both
def test_samples_depend_on_texts_and_seed_alone(kind: Kind) -> None:
    tokenizer = with_dropout(kind, 0.3)
    first = tokenizer.sample(sentences(), 7)
    assert tokenizer.sample(sentences(), 8) != first
    tokenizer.sample(sentences()[:5], 2**63 - 1)
    assert tokenizer.sample(sentences(), 7) == first
    again = with_dropout(kind, 0.3)
    assert again.sample(sentences(), 7) == first

    results: list[list[list[str]]] = []
    threads = [
        threading.Thread(target=lambda: results.append(again.sample(sentences(), 7)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [first] * 4


@both
def test_samples_spell_the_text(kind: Kind) -> None:
    texts = [*sentences(), "", "unseen 日本 ▁", "x" * 300]
    for dropout in (0.1, 0.9):
        tokenizer = with_dropout(kind, dropout)
        for text, tokens in zip(texts, tokenizer.sample(texts, 1), strict=True):
            assert tokenizer.detokenize(tokens) == text


@both
def test_more_dropout_makes_more_pieces(kind: Kind) -> None:
    def num_pieces(dropout: float) -> int:
        return sum(map(len, with_dropout(kind, dropout).sample(sentences(), 1)))

    assert num_pieces(0.0) < num_pieces(0.1) < num_pieces(0.5) < num_pieces(0.9)


def test_unigram_draws_the_share_of_words_that_was_asked_for() -> None:
    texts = ["unausgesprochenerweise"] * 4000
    best = learned(UnigramTokenizer).tokenize(texts[0])

    def share_of_others(dropout: float) -> float:
        drawn = with_dropout(UnigramTokenizer, dropout).sample(texts, 5)
        return sum(tokens != best for tokens in drawn) / len(texts)

    always = share_of_others(1.0)  # what is drawn may be the best one
    assert always > 0.5
    assert share_of_others(0.25) == pytest.approx(0.25 * always, abs=0.03)


@both
def test_pieces_never_span_words(kind: Kind) -> None:
    tokenizer = learned(kind)
    for text in [*sentences(), "日本 <unk> ▁ x"]:
        apart = [piece for word in text.split() for piece in tokenizer.tokenize(word)]
        assert tokenizer.tokenize(text) == apart
