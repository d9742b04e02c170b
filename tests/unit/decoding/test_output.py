"""What is printed of translations: one line for each, whatever is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from seq2seq_cli.decoding.nbest import Entry, Rescored, read_nbest
from seq2seq_cli.decoding.output import rescored_lines, score_lines, translation_lines
from seq2seq_cli.decoding.translator import Candidate, Score, Translation
from seq2seq_cli.text_io import InputLine


def candidate(
    text: str, score: float = -0.1, attention: list[list[float]] | None = None
) -> Candidate:
    return Candidate(text, text.split(), score, score / 3, False, attention)


def translation(source: str, *candidates: Candidate, flags: tuple[str, ...] = ()) -> Translation:
    return Translation(
        source, ["<sos>", *source.split(), "<eos>"], list(candidates), flags=list(flags)
    )


BLANK = Translation(" ", [], [Candidate("", [], 0.0, 0.0, False, None)], [])
TWO = translation("s t", candidate("a b", -1 / 3), candidate("c", -2.5))
TRANSLATIONS = [TWO, BLANK, translation("u", candidate("d"), candidate("e"))]
LINES = [InputLine(each.source) for each in TRANSLATIONS]


# ---------------------------------------------------------------- translations


def test_text_is_the_best_of_each_line() -> None:
    lines = translation_lines(LINES, iter(TRANSLATIONS), n_best=1, as_json=False)
    assert list(lines) == ["a b", "", "d"]


def test_a_list_of_moses_has_the_numbers_of_the_lines(tmp_path: Path) -> None:
    lines = list(translation_lines(LINES, iter(TRANSLATIONS), n_best=2, as_json=False))
    third = -1 / 3
    assert lines[:3] == [
        f"0 ||| a b ||| seq2seq= {third!r} ||| {third / 3!r}",
        f"0 ||| c ||| seq2seq= -2.5 ||| {-2.5 / 3!r}",
        "1 |||  ||| seq2seq= 0.0 ||| 0.0",
    ]
    (tmp_path / "list").write_text("".join(f"{line}\n" for line in lines))
    groups = list(read_nbest(tmp_path / "list", range(3)))
    assert [[entry.text for entry in group] for group in groups] == [["a b", "c"], [""], ["d", "e"]]
    assert groups[0][0].total == TWO.best.ranking


@pytest.mark.parametrize("n_best", [1, 2])
def test_json_is_what_the_contract_says(n_best: int) -> None:
    weights = [[0.12345678, 0.5, 0.3], [1 / 3, 1 / 3, 1 / 3]]
    full = translation("s", candidate("a b", attention=weights), candidate("c"), flags=("x", "y"))
    first, second = translation_lines(LINES[:2], [full, BLANK], n_best=n_best, as_json=True)
    assert json.loads(first) == {
        "source": "s",
        "translation": "a b",
        "score": -0.1,
        "n_best": [{"translation": "a b", "score": -0.1}, {"translation": "c", "score": -0.1}],
        "tokens": ["a", "b"],
        "source_tokens": ["<sos>", "s", "<eos>"],
        "attention": [[0.123457, 0.5, 0.3], [0.333333, 0.333333, 0.333333]],
        "flags": ["x", "y"],
    }
    assert json.loads(second) == {
        "source": " ",
        "translation": "",
        "score": 0.0,
        "n_best": [{"translation": "", "score": 0.0}],
        "tokens": [],
        "source_tokens": [],
        "attention": None,
        "flags": [],
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_lines_come_as_translations_do(as_json: bool) -> None:
    def endless() -> Iterator[InputLine]:
        while True:
            yield InputLine("s t")

    def coming() -> Iterator[Translation]:
        yield from (TWO, TWO)
        raise AssertionError("read before it was needed")

    lines = translation_lines(endless(), coming(), n_best=1, as_json=as_json)
    assert next(lines) == next(lines)


def test_what_was_done_to_lines_is_counted_once_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flags = [("truncated",), (), ("unknown_words",), ("truncated", "length_capped")]
    flagged = [translation("s", candidate("a"), flags=each) for each in flags]

    lines = [*LINES, InputLine("")]
    for _ in translation_lines(lines, flagged, n_best=1, as_json=True):
        assert not caplog.messages

    truncated, capped = caplog.messages
    assert "2" in truncated
    assert "data.max_length" in truncated
    assert "1" in capped
    assert "length limit" in capped


def test_nothing_is_said_of_lines_that_are_as_they_should_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert list(translation_lines(LINES, TRANSLATIONS, n_best=1, as_json=False))
    assert not caplog.messages


# ---------------------------------------------------------------- scores

PAIRS = [(InputLine("s t"), "a b"), (InputLine(""), ""), (InputLine(""), "a")]
SCORES = [
    Score(-1 / 3, ["a", "b"], ["unknown_words"]),
    Score(0.0, [], []),
    Score(-math.inf, [], []),
]


def test_a_printed_score_reads_as_the_same_number() -> None:
    lines = list(score_lines(PAIRS, iter(SCORES), as_json=False))
    assert [float(line) for line in lines] == [score.score for score in SCORES]
    assert lines[1:] == ["0.0", "-inf"]


def test_scores_as_json() -> None:
    found = [json.loads(line) for line in score_lines(PAIRS, iter(SCORES), as_json=True)]
    assert found[0] == {
        "source": "s t",
        "translation": "a b",
        "score": -1 / 3,
        "n_best": [],
        "tokens": ["a", "b"],
        "attention": None,
        "flags": ["unknown_words"],
    }
    assert [line["score"] for line in found[1:]] == [0.0, None]


# ---------------------------------------------------------------- rescored lists

GROUPS = [
    Rescored([Entry(0, "a b", "LM= -1", -0.5, ("0-0",)), Entry(0, "c", "", -1.5, ())], ()),
    Rescored([], ()),
    Rescored([Entry(2, "d", "", -1 / 3, ())], ["unknown_words"]),
]
SOURCES = [InputLine("s"), InputLine("nothing"), InputLine("t", ("invalid_utf8",))]


def test_the_best_of_a_rescored_list_and_blank_where_it_has_nothing() -> None:
    lines = rescored_lines(SOURCES, iter(GROUPS), n_best=1, as_json=False)
    assert list(lines) == ["a b", "", "d"]


def test_the_first_of_a_rescored_list_as_a_list() -> None:
    for n_best, num_lines in [(2, 3), (3, 3)]:
        lines = list(rescored_lines(SOURCES, iter(GROUPS), n_best=n_best, as_json=False))
        assert len(lines) == num_lines
        assert lines[0] == "0 ||| a b ||| LM= -1 ||| -0.5 ||| 0-0"
        assert lines[-1] == f"2 ||| d |||  ||| {-1 / 3!r}"


@pytest.mark.parametrize("n_best", [1, 2])
def test_a_rescored_list_as_json(n_best: int) -> None:
    lines = rescored_lines(SOURCES, iter(GROUPS), n_best=n_best, as_json=True)
    first, second, third = map(json.loads, lines)
    unknown: dict[str, object] = {"tokens": [], "attention": None, "flags": []}
    candidates = [{"translation": "a b", "score": -0.5}, {"translation": "c", "score": -1.5}]
    assert first == {
        "source": "s",
        "translation": "a b",
        "score": -0.5,
        "n_best": candidates[:n_best],
        **unknown,
    }
    blank = {"source": "nothing", "translation": "", "score": 0.0, "n_best": []}
    assert second == blank | unknown
    assert third["flags"] == ["invalid_utf8", "unknown_words"]
    assert third["n_best"] == [{"translation": "d", "score": -1 / 3}]


def test_a_group_for_each_source() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(rescored_lines(SOURCES, iter(GROUPS[:2]), n_best=1, as_json=False))
