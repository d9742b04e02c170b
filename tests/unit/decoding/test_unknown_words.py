"""What stands in for <unk>, and the dictionaries it is looked up in."""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_cli.decoding.unknown_words import read_dictionary, replace_unknown
from seq2seq_cli.errors import DataError

repeatable = settings(derandomize=True, deadline=None, max_examples=150, database=None)

COMPOSED, DECOMPOSED = "Bär", unicodedata.normalize("NFD", "Bär")


def make(folder: Path, content: str) -> Path:
    path = folder / "words.tsv"
    path.write_bytes(content.encode())
    return path


# ---------------------------------------------------------------- dictionaries


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", {}),
        ("Hund\tdog\nKatze\tcat\r\n", {"Hund": "dog", "Katze": "cat"}),
        ("Hund dog\nKatze \t cat\n", {"Hund": "dog", "Katze": "cat"}),
        ("\n \nHund\tdog\n\t\n", {"Hund": "dog"}),
        ("Zug  express train \n", {"Zug": "express train"}),
        ("guten Tag\tgood day\n", {"guten Tag": "good day"}),
        ("Hund\tdog\nHund\thound\n", {"Hund": "dog"}),
        ("Hund\thound\t0.2\nHund\tdog\t0.7\nHund\tcur\t.1\n", {"Hund": "dog"}),
        ("Hund\tdog\t-0.1\nHund\thound\t-3e1\n", {"Hund": "dog"}),
        ("Hund\tdog\t0.5\nHund\thound\t0.5\n", {"Hund": "dog"}),
        ("Hund\thound\nHund\tdog\t-9\n", {"Hund": "dog"}),
        ("Hund\tdog\t-9\nHund\thound\n", {"Hund": "dog"}),
        ("hund\thound\nHund\tdog\n", {"hund": "hound", "Hund": "dog"}),
        (f"{DECOMPOSED}\t{DECOMPOSED}\n", {COMPOSED: DECOMPOSED}),
        (f"{DECOMPOSED}\tbear\n{COMPOSED}\tbeer\n", {COMPOSED: "bear"}),
    ],
)
def test_dictionaries(tmp_path: Path, content: str, expected: dict[str, str]) -> None:
    assert read_dictionary(make(tmp_path, content)) == expected


def test_a_packed_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "words.gz"
    path.write_bytes(gzip.compress(b"Hund\tdog\n"))

    assert read_dictionary(path) == {"Hund": "dog"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Katze", "no translation of 'Katze'; write a word, a tab and its translation"),
        ("Katze\t", "no translation of 'Katze'"),
        ("Katze\t \t0.5", "no translation of 'Katze'"),
        ("\tcat", "no word before the tab"),
        ("Katze\tcat\tnoun", "'noun' after the translation is no number"),
        ("Katze\tcat\t", "'' after the translation is no number"),
        ("Katze\tcat\tnan", "'nan' after the translation is no number"),
        ("Katze\tcat\tinf", "'inf' after the translation is no number"),
        ("Katze\tcat\t0.5\tnoun", r"'0.5\tnoun' after the translation is no number"),
    ],
)
def test_faults(tmp_path: Path, line: str, message: str) -> None:
    path = make(tmp_path, f"Hund\tdog\n\n{line}\n")

    with pytest.raises(DataError) as caught:
        read_dictionary(path)
    assert str(caught.value).startswith(f"{path}:3: {message}")


# ---------------------------------------------------------------- replacing


def test_each_unknown_word_takes_the_word_it_looks_at() -> None:
    tokens = ["the", "<unk>", "and", "<unk>", "<unk>"]
    source = ["der", "Uhu", "und", "Luchs"]
    attention = [
        [0.1, 0.9, 0.0, 0.0],
        [0.2, 0.5, 0.2, 0.1],
        [0.0, 0.0, 1.0, 0.0],
        [0.1, 0.1, 0.1, 0.7],
        [0.4, 0.4, 0.1, 0.1],  # of equals, the first
    ]
    dictionary = {"Uhu": "eagle owl", "und": "or"}

    found = replace_unknown(tokens, attention, source, dictionary)

    assert found == ["the", "eagle owl", "and", "Luchs", "der"]
    assert tokens[1] == "<unk>"  # the given list is as it was


@pytest.mark.parametrize(
    ("word", "dictionary", "expected"),
    [
        ("Uhu", {"Uhu": "owl", "uhu": "glue"}, "owl"),
        ("Uhu", {"uhu": "glue"}, "glue"),
        ("uhu", {"Uhu": "owl"}, "uhu"),
        (DECOMPOSED, {COMPOSED: "bear"}, "bear"),
        (DECOMPOSED, {COMPOSED.lower(): "bear"}, "bear"),
        (DECOMPOSED, {}, DECOMPOSED),  # copied as it is
    ],
)
def test_a_word_is_looked_up(word: str, dictionary: dict[str, str], expected: str) -> None:
    assert replace_unknown(["<unk>"], [[1.0]], [word], dictionary) == [expected]


def test_without_source_words_nothing_is_replaced() -> None:
    assert replace_unknown(["a", "<unk>"], [[], []], [], {"a": "b"}) == ["a", "<unk>"]


@repeatable
@given(
    st.lists(st.sampled_from(["a", "<unk>", "<eos>", "<UNK>"]), max_size=6),
    st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, max_size=4),
    st.data(),
)
def test_nothing_but_unknown_words_changes(
    tokens: list[str], source: list[str], data: st.DataObject
) -> None:
    row = st.lists(st.floats(0.0, 1.0), min_size=len(source), max_size=len(source))
    attention = [data.draw(row) for _ in tokens]

    found = replace_unknown(tokens, attention, source, {"x": "X"})

    assert len(found) == len(tokens)
    for token, new, weights in zip(tokens, found, attention, strict=True):
        word = source[weights.index(max(weights))]
        assert new == (("X" if word == "x" else word) if token == "<unk>" else token)


@pytest.mark.parametrize("attention", [[[1.0]], [[1.0, 0.0], [1.0, 0.0]]])
def test_attention_has_the_shape_of_the_sentences(attention: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="zip"):
        replace_unknown(["<unk>"], attention, ["x", "y"], {})
