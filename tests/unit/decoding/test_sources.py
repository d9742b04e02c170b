"""How lines are read and cut: a book on one line takes no longer than a page."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_cli.config.data import TextConfig
from seq2seq_cli.data.tokenizers import Tokenizer, learn_tokenizers
from seq2seq_cli.decoding import sources as sources_module
from seq2seq_cli.decoding.sources import BatchLimit, Sources, even_batches, first_tokens, pools
from tests.unit.decoding.support import translator_file

KINDS = {
    "whitespace": {},
    "words": {},
    "characters": {},
    "bpe": {"size": 40},
    "unigram": {"size": 30},
}
WORDS = ["der", "hund", "sieht", "den", "baum", "don't", "3.5", "häuser", "a\u0301", "漢字", "🙂."]
TEXTS = [" ".join(WORDS[start:] + WORDS[:start]) for start in range(len(WORDS))] * 20


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    configs = {
        kind: TextConfig.model_validate({"tokenizer": {"kind": kind, **options}})
        for kind, options in KINDS.items()
    }
    return {kind: learn_tokenizers(config, lambda _: TEXTS)[0] for kind, config in configs.items()}


@pytest.mark.parametrize("kind", KINDS)
@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(
    words=st.lists(st.sampled_from([*WORDS, "", "\t", "\u3000", "\0", "x" * 20]), max_size=60),
    limit=st.integers(1, 6),
)
def test_the_first_tokens_are_those_of_the_whole_line(
    tokenizers: dict[str, Tokenizer], kind: str, words: Sequence[str], limit: int
) -> None:
    text = " ".join(words)
    tokens = tokenizers[kind].tokenize(text)
    expected = (tokens[:limit], len(tokens) > limit)
    assert first_tokens(tokenizers[kind], text, limit) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", ["", "der hund ", " " * 1_000_000, "\0" * 1_000_000])
def test_tokens_behind_whatever_stands_before_them(
    tokenizers: dict[str, Tokenizer], kind: str, start: str
) -> None:
    text = f"{start}{'der hund ' * 3}"
    tokens = tokenizers[kind].tokenize(text)
    for limit in (1, 5, 100):
        assert first_tokens(tokenizers[kind], text, limit)[0] == tokens[:limit]


BOOKS = {
    "words": "der hund sieht " * 70_000,
    "letters": "derhund" * 150_000,
    "a letter": "d" * 1_000_000,
    "digits": "1." * 500_000,
    "apostrophes": "d'" * 500_000,
    "dots": "." * 1_000_000,
    "brackets": "([" * 500_000,
    "unknown letters": "漢" * 1_000_000,
    "marks": "a" + "\u0301" * 1_000_000,
    "flags": "🇩🇪" * 250_000,
    "joined": "👩\u200d" * 250_000,
    "directions": "\u202e\u2066" * 500_000,
    "controls": "\x1b\x07" * 500_000,
    "nul": "\0" * 1_000_000,
    "spaces": " " * 1_000_000,
    "a word, then no space": "der " + "🇩🇪" * 250_000,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", BOOKS.values(), ids=BOOKS.keys())
def test_a_megabyte_on_one_line_is_soon_read(
    tokenizers: dict[str, Tokenizer], kind: str, text: str
) -> None:
    begin = time.perf_counter()
    tokens, is_truncated = first_tokens(tokenizers[kind], text, 100)
    # A tenth of it is what the slowest takes; some are quadratic, and would take an hour.
    assert time.perf_counter() - begin < 5
    assert len(tokens) <= 100
    assert is_truncated == (len(tokens) == 100)


def test_the_cut_is_flagged() -> None:
    lines = ["s1 s2 s3", "s1 s2 s3 s4", "s1  s2\ts3 ", "", "s1 " * 100_000]
    sources = Sources(translator_file(max_length=3), lines)
    assert [sources.flags(index) for index in range(len(lines))] == [
        *([], ["truncated"], [], [], ["truncated"])
    ]
    assert all(len(ids) <= 3 for ids in sources.ids)
    assert sources.tokens(1) == ["<sos>", "s1", "s2", "s3", "<eos>"]


# ---------------------------------------------------------------- pools and batches


def test_pools_hold_so_many_lines_or_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "POOL_BATCHES", 2)
    monkeypatch.setattr(sources_module, "POOL_CHARACTERS", 10)
    limit = BatchLimit(2)
    assert list(pools(["a"] * 9, limit)) == [["a"] * 4, ["a"] * 4, ["a"]]
    long = "x" * 10
    assert list(pools(["a", long, long, "a"], limit)) == [["a", long], [long], ["a"]]
    assert list(pools([("a", long), (long, "a"), ("", "")], limit)) == [
        *([("a", long)], [(long, "a")], [("", "")])
    ]
    assert list(pools([], limit)) == []


def test_a_long_target_takes_the_place_of_many() -> None:
    sources = Sources(translator_file(), ["s1"] * 6)
    limit = BatchLimit(3, tokens=20)
    assert [len(batch) for batch in even_batches([sources], limit)] == [3, 3]
    targets = [5, 5, 5, 5, 1000, 15]
    batches = [[targets[i] for i in batch] for batch in even_batches([sources], limit, targets)]
    assert batches == [[5, 5, 5], [5], [15], [1000]]
