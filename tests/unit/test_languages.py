"""Languages by the codes and names that people write."""

from __future__ import annotations

import pytest

from seq2seq_cli import languages


@pytest.mark.parametrize(
    ("code", "short", "tatoeba"),
    [
        ("de", "de", "deu"),
        ("deu", "de", "deu"),
        ("ger", "de", "deu"),
        ("DE", "de", "deu"),
        ("de-AT", "de", "deu"),
        ("de_AT", "de", "deu"),
        ("German", "de", "deu"),
        ("en-US", "en", "eng"),
        ("no", "nb", "nob"),
        ("zh", "zh", "cmn"),
        ("zh-Hant-TW", "zh", "cmn"),
        ("cmn", "zh", "cmn"),
        ("fas", "fa", "pes"),
        ("lav", "lv", "lvs"),
        ("qqq", "qqq", "qqq"),
        ("QQQ-x", "qqq", "qqq"),
    ],
)
def test_codes(code: str, short: str, tatoeba: str) -> None:
    assert languages.short_code(code) == short
    assert languages.tatoeba_code(code) == tatoeba


@pytest.mark.parametrize(
    ("code", "known"),
    [
        ("fr", {"fr", "fra", "fre", "french", "français"}),
        ("FRE", {"fr", "fra", "fre", "french", "français"}),
        ("nor", {"no", "nb", "nob", "norwegian"}),
        ("qqq", {"qqq"}),
    ],
)
def test_names(code: str, known: set[str]) -> None:
    names = languages.names(code)
    assert known <= names
    assert all(languages.names(name) == names for name in known)
    assert all(name == name.lower() for name in names)


def test_a_regional_code_is_a_name_too() -> None:
    assert languages.names("pt-BR") == languages.names("pt") | {"pt-br", "pt_br"}
    assert languages.names("zh_CN") == languages.names("zh") | {"zh-cn", "zh_cn"}


def test_a_word_is_a_name_or_none() -> None:
    assert all(map(languages.is_name, ["de", "deu", "ger", "german", "deutsch", "español"]))
    assert not any(map(languages.is_name, ["German", "de-at", "qqq", "", "text"]))


def test_no_code_stands_for_two_languages() -> None:
    rows = [line.lower().split() for line in languages._TABLE.strip().splitlines()]
    owners: dict[str, int] = {}
    for number, row in enumerate(rows):
        for name in row:
            assert owners.setdefault(name, number) == number, name
