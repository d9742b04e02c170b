"""n-best lists: what is read is what stands there, and what is written reads back."""

from __future__ import annotations

import gzip
import itertools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_cli.decoding.nbest import Entry, format_entry, read_nbest, rescore, rescored
from seq2seq_cli.decoding.translator import Translator
from seq2seq_cli.errors import DataError
from tests.unit.decoding.support import CPU, translator_file

repeatable = settings(derandomize=True, deadline=None, max_examples=150, database=None)

finite = st.floats(allow_nan=False, allow_infinity=False)
log_probs = st.floats(max_value=0.0, allow_nan=False)
nearly_bars = st.text(st.sampled_from("|| a-0."), max_size=12)
texts = st.one_of(nearly_bars, st.text(st.characters(exclude_categories=["Cs"]), max_size=12)).map(
    lambda text: text.replace("\n", " ").strip()
)
fields = texts.filter(lambda text: "|||" not in text)
any_entry = st.builds(
    Entry, st.integers(0, 6), texts, fields, finite, st.lists(fields, max_size=2).map(tuple)
)


def make(folder: Path, content: str) -> Path:
    path = folder / "list.nbest"
    path.write_bytes(content.encode())
    return path


def error_of(path: Path, num_sentences: int) -> str:
    """The message of the error that reading the whole list ends in, without the file's name."""
    with pytest.raises(DataError) as caught:
        list(read_nbest(path, range(num_sentences)))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}:")
    return message.removeprefix(f"{path}:")


def entry(total: float, text: str = "") -> Entry:
    return Entry(0, text, "", total, ())


# ---------------------------------------------------------------- reading


def test_a_list_of_moses(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        "1 ||| the dog  ||| LM= -12.5 TM= -1 -2 ||| -4.25 ||| 0-0 1-1 ||| \n"
        "1 |||  ||| LM= -13 ||| -5e0\r\n"
        "\n"
        "3 ||| a | b || c ||| ||| +7\n",
    )

    assert list(read_nbest(path, range(5))) == [
        [],
        [
            Entry(1, "the dog", "LM= -12.5 TM= -1 -2", -4.25, ("0-0 1-1", "")),
            Entry(1, "", "LM= -13", -5.0, ()),
        ],
        [],
        [Entry(3, "a | b || c", "", 7.0, ())],
        [],
    ]


@pytest.mark.parametrize("num_sentences", [0, 1, 3])
def test_an_empty_list_is_one_for_each_source_line(tmp_path: Path, num_sentences: int) -> None:
    assert list(read_nbest(make(tmp_path, "\n"), range(num_sentences))) == [[]] * num_sentences


def test_lists_come_one_by_one_and_packed(tmp_path: Path) -> None:
    path = tmp_path / "list.gz"
    path.write_bytes(gzip.compress(b"0 ||| a ||| ||| 1\n2 ||| b ||| ||| 2\n5 ||| c ||| ||| 3\n"))

    lists = read_nbest(path, range(3))

    # The fault at the end is met only when all before it is told.
    assert [[found.text for found in next(lists)] for _ in range(3)] == [["a"], [], ["b"]]
    with pytest.raises(DataError, match=r":3: ID 5, but the source has 3 lines"):
        next(lists)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 ||| a ||| -1", "fields in this line: 3; an entry has four or more"),
        ("a", "fields in this line: 1;"),
        ("one ||| a ||| f ||| -1", "ID 'one' is no whole number from 0 up"),
        ("-1 ||| a ||| f ||| -1", "ID '-1' is no whole number from 0 up"),
        ("1.0 ||| a ||| f ||| -1", "ID '1.0' is no whole number from 0 up"),
        ("² ||| a ||| f ||| -1", "ID '²' is no whole number from 0 up"),
        (" ||| a ||| f ||| -1", "ID '' is no whole number from 0 up"),
        (f"{'9' * 5000} ||| a ||| f ||| -1", f"ID '{'9' * 60}' is no whole number"),
        ("3 ||| a ||| f ||| -1", "ID 3, but the source has 3 lines; IDs count from 0"),
        ("0 ||| a ||| f ||| -1", "ID 0 after ID 1; the entries of a source line stand together"),
        ("2 ||| a ||| f ||| high", "total score 'high' is no finite number"),
        ("2 ||| a ||| f ||| ", "total score '' is no finite number"),
        ("2 ||| a ||| f ||| nan", "total score 'nan' is no finite number"),
        ("2 ||| a ||| f ||| -inf", "total score '-inf' is no finite number"),
        ("2 ||| a ||| f ||| 1e999", "total score '1e999' is no finite number"),
    ],
    ids=lambda value: value[:20],
)
def test_faults(tmp_path: Path, line: str, message: str) -> None:
    path = make(tmp_path, f"1 ||| a ||| f ||| -1\n\n{line}\n")

    assert error_of(path, 3).startswith(f"3: {message}")


def test_an_id_that_comes_back_is_a_fault(tmp_path: Path) -> None:
    path = make(tmp_path, "".join(f"{number} ||| a ||| f ||| 0\n" for number in (0, 1, 1, 0)))

    assert error_of(path, 2).startswith("4: ID 0 after ID 1;")


# ---------------------------------------------------------------- writing


@repeatable
@given(entries=st.lists(any_entry, max_size=6))
def test_what_is_written_reads_back(entries: list[Entry]) -> None:
    entries.sort(key=lambda entry: entry.sentence)
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder), "".join(f"{format_entry(entry)}\n" for entry in entries))
        lists = list(read_nbest(path, range(7)))

    assert len(lists) == 7
    assert all(found.sentence == number for number, some in enumerate(lists) for found in some)
    for found, written in zip(itertools.chain(*lists), entries, strict=True):
        assert (found.total, found.features, found.rest) == (
            written.total,
            written.features,
            written.rest,
        )
        if "|||" in written.text:
            assert found.text.replace(" ", "") == written.text.replace(" ", "")
        else:
            assert found.text == written.text


def test_the_form_of_a_line() -> None:
    written = format_entry(Entry(12, "a ||| b||||c || d", "LM= -1", -0.1, ("0-0",)))

    assert written == "12 ||| a | | | b| | | |c || d ||| LM= -1 ||| -0.1 ||| 0-0"


# ---------------------------------------------------------------- rescoring


@pytest.mark.parametrize("total", [-3.0, 0.0, 5.5])
@pytest.mark.parametrize("score", [-12.345, -0.1, -math.inf])
def test_weights_of_nothing_and_all_leave_one_of_the_two(total: float, score: float) -> None:
    assert rescore([entry(total)], [score], 0.0)[0].total == total
    assert rescore([entry(total)], [score], 1.0)[0].total == score


def test_the_even_average_puts_the_best_first() -> None:
    entries = [entry(-1.0, "a"), entry(-2.0, "b"), entry(-3.0, "c"), entry(-4.0, "d")]

    rescored = rescore(entries, [-9.0, -math.inf, -3.0, -6.0], 0.5)

    assert [(found.text, found.total) for found in rescored] == [
        ("c", -3.0),
        ("a", -5.0),  # equal to the next, and before it
        ("d", -5.0),
        ("b", -math.inf),
    ]


def test_a_total_takes_a_share_of_each() -> None:
    assert rescore([entry(-10.0)], [-20.0], 0.25)[0].total == pytest.approx(-12.5)


def test_the_score_joins_the_features_and_all_else_stays() -> None:
    full = Entry(3, "a b", "LM= -1 -2", -1.0, ("0-0", "x"))
    bare = Entry(3, "c", "", -2.0, ())

    rescored = rescore([full, bare], [-12.345, -math.inf], 0.0)

    assert rescored == [
        Entry(3, "a b", "LM= -1 -2 seq2seq= -12.345", -1.0, ("0-0", "x")),
        Entry(3, "c", "seq2seq= -inf", -2.0, ()),
    ]


@repeatable
@given(
    scored=st.lists(st.tuples(st.sampled_from([-1.0, -2.0, -7.5]), log_probs), max_size=8),
    weight=st.floats(0.0, 1.0),
)
def test_rescoring_sorts_and_keeps_the_order_of_equals(
    scored: list[tuple[float, float]], weight: float
) -> None:
    entries = [entry(total, str(number)) for number, (total, _) in enumerate(scored)]

    rescored = rescore(entries, [score for _, score in scored], weight)

    assert not any(math.isnan(found.total) for found in rescored)
    ranks = [(-found.total, int(found.text)) for found in rescored]
    assert ranks == sorted(ranks)
    assert {rank for _, rank in ranks} == set(range(len(scored)))


def test_as_many_scores_as_entries() -> None:
    with pytest.raises(ValueError, match="shorter"):
        rescore([entry(0.0), entry(1.0)], [0.0], 0.5)


# ---------------------------------------------------------------- with a model

SOURCES = ["s1 s2 s3", "", "s4 huh", "s5", "  ", "s6 s7"]
GROUPS = [
    [Entry(0, f"t{number} t3", f"LM= {number}", -number / 7, ("0-0",)) for number in range(5)],
    [],
    [Entry(2, "t1 t1 t1", "", -1.0, ()), Entry(2, "", "", -9.0, ())],
    [Entry(3, "unheard of", "", 0.0, ())],
    [],
    [],
]


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator([translator_file()], CPU)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_each_group_is_rescored_with_the_scores_of_its_texts(
    translator: Translator, weight: float, batch_size: int
) -> None:
    groups = list(rescored(translator, SOURCES, iter(GROUPS), weight, batch_size))

    assert len(groups) == len(SOURCES)
    for source, entries, (found, _) in zip(SOURCES, GROUPS, groups, strict=True):
        scores = translator.score((source, entry.text) for entry in entries)
        expected = rescore(entries, [score.score for score in scores], weight)
        assert [entry.text for entry in found] == [entry.text for entry in expected]
        assert [entry.total for entry in found] == pytest.approx(
            [entry.total for entry in expected], rel=1e-5
        )
        assert all(entry.features.count("seq2seq= ") == 1 for entry in found)
        assert {entry.rest for entry in found} == {entry.rest for entry in entries}


def test_the_scores_of_the_model_decide(translator: Translator) -> None:
    (first, _), *_ = rescored(translator, SOURCES, GROUPS, 1.0, 64)

    assert [entry.text for entry in first] != [entry.text for entry in GROUPS[0]]
    assert [entry.total for entry in first] == sorted(
        (float(entry.features.rpartition("seq2seq= ")[2]) for entry in first), reverse=True
    )


def test_what_a_model_finds_impossible_leaves_the_list(translator: Translator) -> None:
    groups = [[Entry(0, "t1", "", -1.0, ()), Entry(0, "", "", -2.0, ())]]

    # The source is blank, and so is its translation.
    for weight in (0.5, 1.0):
        [([left], _)] = rescored(translator, [" "], groups, weight, 64)
        assert left.text == ""
        assert math.isfinite(left.total)
    [(both, _)] = rescored(translator, [" "], groups, 0.0, 64)
    assert [entry.total for entry in both] == [-1.0, -2.0]


@pytest.mark.parametrize("num_lines", [0, 1, 3])
def test_a_list_without_entries_is_one_for_each_line(
    translator: Translator, num_lines: int
) -> None:
    groups = rescored(translator, ["s1"] * num_lines, iter([[]] * num_lines), 0.5, 64)

    assert list(groups) == [([], ())] * num_lines


def test_groups_are_taken_as_they_are_needed(translator: Translator) -> None:
    def groups() -> Iterator[list[Entry]]:
        for _ in range(1000):
            yield GROUPS[3]
        raise AssertionError("all of it was read")

    found = rescored(translator, itertools.repeat(SOURCES[3]), groups(), 0.5, 2)

    assert next(found) == next(found)
