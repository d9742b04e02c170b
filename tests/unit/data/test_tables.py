"""What the readers of tables make of people's files, the broken ones included."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from seq2seq_cli.config.data import Columns
from seq2seq_cli.data import tables
from seq2seq_cli.data.columns import Codes, find_columns, one_line
from seq2seq_cli.data.corpus import OnFault, refuse
from seq2seq_cli.data.tables import Header, table_sources
from seq2seq_cli.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

EN_DE = Columns(source="en", target="de")
CODES = ("en", "de")
LONG = "x" * 2_000_000
# Everything str.splitlines() would split on, but for "\n".
INNER_BREAKS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\rj"
PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd.compress}

Row = tuple[int, str, str]
Pair = tuple[str, str]


def make(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(PACKERS.get(path.suffix.lower(), bytes)(data))
    return path


def read(
    path: Path,
    columns: Columns | None = None,
    header: Header = "auto",
    codes: Codes = (None, None),
    on_fault: OnFault = refuse,
) -> list[Row]:
    """Numbers of lines, and pairs."""
    (origin,) = table_sources(path, columns, header, codes)
    assert origin.source_name == origin.target_name == str(path)
    return list(origin.read(on_fault))


def pairs_of(
    path: Path,
    columns: Columns | None = None,
    header: Header = "auto",
    codes: Codes = (None, None),
) -> list[Pair]:
    return [(source, target) for _, source, target in read(path, columns, header, codes)]


def error_of(
    path: Path,
    columns: Columns | None = None,
    header: Header = "auto",
    codes: Codes = (None, None),
) -> str:
    """The message of the error that reading the whole file ends in, without the file's name."""
    with pytest.raises(DataError) as caught:
        read(path, columns, header, codes)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


class Faults(list[tuple[int, str]]):
    """Lines with a fault, none of them a reason to stop."""

    def __call__(self, file: str, line: int, text: str) -> None:
        self.append((line, text))


# ---------------------------------------------------------------- CSV


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.zst", "T.CSV", "T.CSV.GZ"])
@pytest.mark.parametrize(
    ("content", "pairs"),
    [
        ("en,de\n", []),
        ("en,de\none,eins\n", [("one", "eins")]),
        ("de,id,en\neins,1,one", [("one", "eins")]),
        ("\ufeffen,de\r\none,eins\r\n", [("one", "eins")]),
        ('\ufeff"en","de"\none,eins\n', [("one", "eins")]),
        ("\n en , de \n\none,eins\n\n", [("one", "eins")]),
        ("en,de\n,\n,x\n", [("", ""), ("", "x")]),
        ('"en","de"\n"a, b","say ""c"""\n', [("a, b", 'say "c"')]),
        ('en,de\n"a\nb","c\r\nd"\ne,f\n', [("a b", "c d"), ("e", "f")]),
        ('en,de\n"a\n\nb\n","\nc"\n', [("a  b ", " c")]),
        ('en,de\n"a\rb",c\rd\ne,"f\r"\r\n', [("a\rb", "c\rd"), ("e", "f\r")]),
        ('en,de\n"a\r\r\nb",c\n', [("a\r b", "c")]),
        ('"en","Ger\nman",de\n"a","b","c"\n', [("a", "c")]),
        ('en,de\nit is 5" wide,x\n', [('it is 5" wide', "x")]),
        ("en,de\na\tb, c \n", [("a\tb", " c ")]),
        ("en,de\na\0b,\n", [("a\0b", "")]),
        (f'en,de\n{INNER_BREAKS},"{INNER_BREAKS}"\n', [(INNER_BREAKS, INNER_BREAKS)]),
        (f'en,de\n{LONG},"{LONG}"\n', [(LONG, LONG)]),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_csv(tmp_path: Path, name: str, content: str, pairs: list[Pair]) -> None:
    assert pairs_of(make(tmp_path / name, content), EN_DE) == pairs


def test_rows_are_numbered_by_the_line_they_start_on(tmp_path: Path) -> None:
    content = '\nen,de\n\na,b\n"c\nc\n",d\n\n\ne,"f\n"\ng,h'
    numbers = [number for number, _, _ in read(make(tmp_path / "t.csv", content), EN_DE)]
    assert numbers == [4, 5, 10, 12]


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz", "t.tsv.zst", "t.txt", "t.txt.zst"])
@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("en\tde\n", []),
        ("de\ten\neins\tone\r\n\n", [(2, "one", "eins")]),
        ("\ufeffen\tde\n\n\none\teins\n", [(4, "one", "eins")]),
        ('en\tde\n"a, b\t""c\n', [(2, '"a, b', '""c')]),
        ("en\tde\n\t\n\tx\n", [(2, "", ""), (3, "", "x")]),
        ("en\tde\na\rb\tc\r\r\n", [(2, "a\rb", "c\r")]),
        (f"en\tde\n{INNER_BREAKS}\t{LONG}\n", [(2, INNER_BREAKS, LONG)]),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_tsv(tmp_path: Path, name: str, content: str, rows: list[Row]) -> None:
    assert read(make(tmp_path / name, content), EN_DE) == rows


BAD_QUOTING = '; a quoted cell ends with a quote, and a quote within it is written ""'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", ": has no header, the line that names the columns"),
        ("t.csv", "\ufeff", ": has no header, the line that names the columns"),
        ("t.csv", "\n\n", ": has no header, the line that names the columns"),
        ("t.tsv", "", ": has no header, the line that names the columns"),
        ("t.csv", "en,fr\n", ": no column 'de'; there are: en, fr"),
        ("t.csv", "EN,de\n", ": no column 'en'; there are: EN, de"),
        ("t.tsv", "en,de\n", ": no column 'en'; there are: en,de"),
        (
            "t.csv",
            "en;de\n",
            ": no column 'en'; there are: en;de; cells are separated by commas, not by semicolons",
        ),
        ("t.tsv", "en\tde\tde\n", ": two columns are named 'de'; there are: en, de, de"),
        ("t.csv", "en,de\na,b\n\nc\n", ":4: cells in this row: 1, in the header: 2"),
        ("t.csv", 'en,de\n"a\n\na",b\nc\n', ":5: cells in this row: 1, in the header: 2"),
        ("t.csv", "en,de\nWell, yes,Ja\n", ":2: cells in this row: 3, in the header: 2"),
        ("t.csv", 'en,de\n""\n', ":2: cells in this row: 1, in the header: 2"),
        ("t.tsv", "en\tde\na\tb\nc\n", ":3: cells in this row: 1, in the header: 2"),
        ("t.tsv", "en\tde\n \n", ":2: cells in this row: 1, in the header: 2"),
        (
            "t.csv",
            'en,de\na,b\n"a" b,c\n',
            ":3: broken quoting in the row that starts here (',' expected after '\"')"
            + BAD_QUOTING,
        ),
        (
            "t.csv",
            'en,de\na,"b\nc,d\n\n',
            ":2: broken quoting in the row that starts here (unexpected end of data)" + BAD_QUOTING,
        ),
        (
            "t.csv",
            b"en,de\na,b\xe4\n",
            ":2: byte 0xE4 at column 4 of the line (byte 10 of the file) "
            "is not valid UTF-8; save the file as UTF-8",
        ),
        ("t.csv", "en,de\n".encode("utf-16"), ": looks like UTF-16; save the file as UTF-8"),
    ],
)
def test_bad_tables(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    assert error_of(make(tmp_path / name, content), EN_DE) == message


def test_of_very_many_columns_some_are_listed(tmp_path: Path) -> None:
    many = make(tmp_path / "many.csv", ",".join(f"c{number}" for number in range(50_000)))
    message = error_of(many)
    assert message.count(",") < 60
    assert "c0, c1, c2" in message
    assert "c49 and 49,950 more" in message
    few = make(tmp_path / "few.csv", ",".join(f"c{number}" for number in range(50)))
    assert "c48, c49; if that is" in error_of(few)


def test_reading_goes_on_after_faults_that_are_taken(tmp_path: Path) -> None:
    content = b'en,de\na,b\nc\nd\xff,"e\xfe\nf"\ng,h,i\n\nj,k\n'
    faults = Faults()
    rows = read(make(tmp_path / "t.csv", content), EN_DE, on_fault=faults)
    assert rows == [(2, "a", "b"), (4, "d\ufffd", "e\ufffd f"), (8, "j", "k")]
    assert [line for line, _ in faults] == [3, 4, 6]
    assert faults[0][1] == "cells in this row: 1, in the header: 2"
    assert faults[1][1].startswith("byte 0xFF at column 2 ")

    faults = Faults()
    rows = read(make(tmp_path / "t.tsv", b"a\tb\n\xff\nc\td\n"), on_fault=faults)
    assert rows == [(1, "a", "b"), (3, "c", "d")]
    assert [line for line, _ in faults] == [2, 2]
    assert faults[1][1] == "cells in this row: 1, in the first row: 2"


def test_broken_quoting_stops_in_any_case(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="broken quoting"):
        read(make(tmp_path / "t.csv", 'en,de\na,"b\n'), EN_DE, on_fault=Faults())


@pytest.mark.parametrize(("suffix", "kind"), [(".gz", "gzip"), (".zst", "zstd")])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl"])
def test_cut_off_tables(tmp_path: Path, name: str, suffix: str, kind: str) -> None:
    rows = {
        "t.csv": "en,de\n" + "".join(f"a{i},b{i}\n" for i in range(1000)),
        "t.tsv": "en\tde\n" + "".join(f"a{i}\tb{i}\n" for i in range(1000)),
        "t.jsonl": "".join(f'{{"en": "{i}", "de": "{i}"}}\n' for i in range(1000)),
    }
    whole = PACKERS[suffix](rows[name].encode())
    path = tmp_path / f"{name}{suffix}"
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert error_of(path, EN_DE).startswith(f": damaged or cut off {kind} file: "), size


# ---------------------------------------------------------------- which columns


@pytest.mark.parametrize(
    ("found", "columns", "codes", "places"),
    [
        (["en", "de"], EN_DE, (None, None), (0, 1)),
        (["de", "x", "en"], EN_DE, (None, None), (2, 0)),
        (["note", "en", "de", "note"], EN_DE, (None, None), (1, 2)),
        (["de", "en"], Columns(source=1, target=2), ("en", "de"), (0, 1)),
        (["a", "b", "c"], Columns(source=3, target="a"), (None, None), (2, 0)),
        (["de", "en"], None, ("en", "de"), (1, 0)),
        (["id", "English", "German"], None, ("en", "de"), (1, 2)),
        (["ENGLISH", "ger"], None, ("eng", "de-AT"), (0, 1)),
        (["id", "translation.de", "translation.en"], None, ("en", "de"), (2, 1)),
        (["qqq", "en"], None, ("qqq", "en"), (0, 1)),
    ],
)
def test_where_the_columns_are(
    found: list[str], columns: Columns | None, codes: Codes, places: tuple[int, int]
) -> None:
    assert find_columns("f", found, columns, codes) == places


WHICH = "f: which columns? set data.columns: {source: ..., target: ...}; there are: "


@pytest.mark.parametrize(
    ("found", "columns", "codes", "message"),
    [
        (["en", "fr"], EN_DE, CODES, "f: no column 'de'; there are: en, fr"),
        (["en", "de", "en"], EN_DE, CODES, "f: two columns are named 'en'; there are: en, de, en"),
        (["a", "b"], Columns(source=1, target=3), CODES, "f: no column 3, there are 2"),
        (["en", "fr"], None, CODES, f"{WHICH}en, fr"),
        (["en", "de"], None, (None, None), f"{WHICH}en, de"),
        (["en", "de"], None, ("en", None), f"{WHICH}en, de"),
        (["en", "de", "German"], None, CODES, f"{WHICH}en, de, German"),
        (["a.de", "b.de", "en"], None, CODES, f"{WHICH}a.de, b.de, en"),
    ],
)
def test_columns_that_are_not_there_or_twice(
    found: list[str], columns: Columns | None, codes: Codes, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        find_columns("f", found, columns, codes)
    assert str(caught.value) == message


# ---------------------------------------------------------------- headers

FIRST_TWO = Columns(source=1, target=2)


@pytest.mark.parametrize(
    ("first", "is_header"),
    [
        ("en|de", True),
        ("DE|EN", True),
        ("English|German", True),
        ("source|target", True),
        ("src|trg", True),
        ("text_de|text_en", True),
        ("German text|English (text)", True),
        ("sentence1|sentence2", True),
        ("en-text|de-text", True),
        ("de|Englisch", False),
        ("No.|No.", False),
        ("Go.|Geh.", False),
        ("Yes|Ja", False),
        ("he is|er ist", False),
        ("en de|de en", False),
        ("English!|German!", False),
        ("1|2", False),
        ("|", False),
        ("en|", False),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt.gz"])
def test_numbered_columns_may_have_a_header(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, first: str, is_header: bool
) -> None:
    separator = "," if ".csv" in name else "\t"
    path = make(tmp_path / name, f"{first}\na|b\n".replace("|", separator))
    row = (1, *first.split("|"))
    with caplog.at_level(logging.INFO, logger="seq2seq"):
        assert read(path, FIRST_TWO) == ([] if is_header else [row]) + [(2, "a", "b")]
        read(path, FIRST_TWO)
    what = "taken as the header" if is_header else "taken as a pair, not as a header"
    assert caplog.messages == [f"{path}: first line {what}: {' | '.join(first.split('|'))}"]


def test_only_the_numbered_columns_decide_on_a_header(tmp_path: Path) -> None:
    path = make(tmp_path / "t.csv", "key!,de,when?,en\n1,a,2,b\n")
    assert pairs_of(path, Columns(source=4, target=2)) == [("b", "a")]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
@pytest.mark.parametrize("first", ["en|de", "Go.|Geh."])
def test_what_is_said_of_a_header_is_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, first: str
) -> None:
    separator = "," if ".csv" in name else "\t"
    path = make(tmp_path / name, f"{first}\na|b\n".replace("|", separator))
    source, target = first.split("|")
    with caplog.at_level(logging.INFO, logger="seq2seq"):
        assert pairs_of(path, FIRST_TWO, header=True) == [("a", "b")]
        assert pairs_of(path, FIRST_TWO, header=False) == [(source, target), ("a", "b")]
        assert pairs_of(path, None, header=False) == [(source, target), ("a", "b")]
    assert caplog.messages == []


@pytest.mark.parametrize("header", ["auto", True])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.tsv.zst"])
@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("en|de", "en | de"),
        ("de|en", "en | de"),
        ("ID|German|English", "English | German"),
        (" de |text| en ", " en  |  de "),
    ],
)
def test_without_columns_the_languages_names_are_looked_for(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    header: Header,
    first: str,
    told: str,
) -> None:
    separator = "," if ".csv" in name else "\t"
    columns = [cell.strip() for cell in first.split("|")]
    row = "|".join(f"a {column}" for column in columns)
    path = make(tmp_path / name, f"{first}\n{row}\n".replace("|", separator))
    english, german = (f"a {cell.strip()}" for cell in told.split(" | "))
    with caplog.at_level(logging.INFO, logger="seq2seq"):
        assert pairs_of(path, None, header, CODES) == [(english, german)]
        assert pairs_of(path, None, header, ("de", "en")) == [(german, english)]
    lines = [f"{path}: first line taken as the header: {told}"] if header == "auto" else []
    assert caplog.messages[:1] == lines


@pytest.mark.parametrize("name", ["deu.txt", "deu.tsv", "deu.txt.gz"])
@pytest.mark.parametrize("attribution", ["", "\tCC-BY 2.0 (France) tatoeba.org #1 (a) & #2 (b)"])
@pytest.mark.parametrize("codes", [(None, None), CODES])
def test_lines_as_manythings_has_them(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    attribution: str,
    codes: Codes,
) -> None:
    path = make(tmp_path / name, f"No.\tNo.{attribution}\nRun!\tLauf!{attribution}\n")
    with caplog.at_level(logging.INFO, logger="seq2seq"):
        assert read(path, None, "auto", codes) == [(1, "No.", "No."), (2, "Run!", "Lauf!")]
        read(path, None, "auto", codes)
    assert caplog.messages == [
        f"{path}: first line taken as a pair, not as a header: No. | No."
    ]  # once, however often it is read


def test_named_columns_need_no_mention(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="seq2seq"):
        read(make(tmp_path / "t.csv", "en,de\na,b\n"), EN_DE)
    assert caplog.messages == []


def test_a_named_and_a_numbered_column(tmp_path: Path) -> None:
    path = make(tmp_path / "t.csv", "Go.,de\na,b\n")
    assert pairs_of(path, Columns(source=1, target="de")) == [("a", "b")]


PERHAPS = "; if that is a pair, set data.header: false"
HOW_TO_SAY = "set data.columns: {source: ..., target: ...}; there are: "


@pytest.mark.parametrize(
    ("name", "content", "header", "message"),
    [
        ("t.csv", "a,b\nc,d\n", "auto", f": which columns? {HOW_TO_SAY}a, b{PERHAPS}"),
        ("t.csv", "Go.,Geh.\n", "auto", f": which columns? {HOW_TO_SAY}Go., Geh.{PERHAPS}"),
        ("t.csv", "en,fr\nc,d\n", "auto", f": which columns? {HOW_TO_SAY}en, fr{PERHAPS}"),
        ("t.csv", "source,target\n", "auto", f": which columns? {HOW_TO_SAY}source, target"),
        ("t.tsv", "English\tFrench\n", "auto", f": which columns? {HOW_TO_SAY}English, French"),
        ("t.tsv", "a\tb\n", True, f": which columns? {HOW_TO_SAY}a, b"),
        ("t.csv", "en,de,German\n", "auto", f": which columns? {HOW_TO_SAY}en, de, German"),
        *[
            (
                "t.tsv",
                "\t".join("abcd"[:width]) + "\n",
                header,
                f": has {width} columns and no header that says which they are; "
                "set data.columns: {source: 1, target: 2}, counting from 1",
            )
            for width, header in [(1, "auto"), (1, False), (4, "auto"), (4, False)]
        ],
        ("t.csv", "", True, ": has no header, the line that names the columns"),
        ("t.tsv", "\n\n", True, ": has no header, the line that names the columns"),
    ],
)
def test_tables_that_do_not_say_what_they_hold(
    tmp_path: Path, name: str, content: str, header: Header, message: str
) -> None:
    assert error_of(make(tmp_path / name, content), None, header, CODES) == message


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.jsonl"])
@pytest.mark.parametrize("content", ["", "\n", "\r\n\n", "\ufeff"])
@pytest.mark.parametrize("columns", [None, FIRST_TWO])
@pytest.mark.parametrize("header", ["auto", False])
def test_an_empty_table_has_no_pair(
    tmp_path: Path, name: str, content: str, columns: Columns | None, header: Header
) -> None:
    assert read(make(tmp_path / name, content), columns, header, CODES) == []


def test_a_column_beyond_the_last(tmp_path: Path) -> None:
    path = make(tmp_path / "t.tsv", "a\tb\n")
    assert error_of(path, Columns(source=1, target=3)) == ": no column 3, there are 2"


def test_rows_are_as_wide_as_the_first(tmp_path: Path) -> None:
    path = make(tmp_path / "t.tsv", "Go.\tGeh.\nRun!\tLauf!\tCC-BY\n")
    assert error_of(path) == ":2: cells in this row: 3, in the first row: 2"


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    "name", ["corpus", "corpus.xlsx", "corpus.gz", "corpus.zst", ".csv", "a.csv.bz2", "a.json"]
)
def test_other_kinds_of_files_are_refused(name: str) -> None:
    with pytest.raises(DataError) as caught:
        table_sources(Path(name), EN_DE, "auto", CODES)
    assert str(caught.value) == (
        f"{name}: not a kind of file that holds pairs; name a .csv .tsv .txt .jsonl .parquet file "
        "(.gz or .zst as well) or two text files as {source: FILE, target: FILE}"
    )


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.jsonl", "t.csv.gz", "t.txt.zst"])
def test_a_table_that_is_not_there(tmp_path: Path, name: str) -> None:
    assert error_of(tmp_path / name) == ": cannot be read: No such file or directory"


def test_each_of_several_tables_has_its_own_header(tmp_path: Path) -> None:
    make(tmp_path / "part-1.tsv", "en\tde\na\tb\n")
    make(tmp_path / "part-2.tsv.zst", "de\ten\nd\tc\n")
    make(tmp_path / "part-3.tsv", "e\tf\n")
    make(tmp_path / "more.csv", "de,x,en\nh,,g\n")
    files = (tmp_path / "part-*", tmp_path / "more.csv")
    origins = table_sources(files, None, "auto", CODES)
    rows = [row for origin in origins for row in origin.read(refuse)]
    assert rows == [(2, "a", "b"), (2, "c", "d"), (1, "e", "f"), (2, "g", "h")]
    names = ["part-1.tsv", "part-2.tsv.zst", "part-3.tsv", "more.csv"]
    assert [origin.source_name for origin in origins] == [str(tmp_path / name) for name in names]


def test_a_pattern_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file has a name like this"):
        table_sources(tmp_path / "*.tsv", None, "auto", CODES)


# ---------------------------------------------------------------- JSON lines


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.jsonl.zst", "T.JSONL", "t.ndjson"])
@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('{"en": "a", "de": "b"}\n', [(1, "a", "b")]),
        ('\ufeff{"de": "b", "id": 1, "en": "a"}\r\n', [(1, "a", "b")]),
        ('\n{"en": "a", "de": "b"}\n \t\n\n{"en": "c", "de": "d"}', [(2, "a", "b"), (5, "c", "d")]),
        ('{"en": null, "de": ""}\n', [(1, "", "")]),
        ('{"translation": {"en": "a", "de": "b"}}\n', [(1, "a", "b")]),
        ('{"x": {"y": {"EN": "a"}, "German": "b"}}\n', [(1, "a", "b")]),
        ('{"en": "a\\nb\\r\\nc", "de": "d\\re\\u2028f"}\n', [(1, "a b c", "d\re\u2028f")]),
        ('{"en": "\\ud83d\\ude00", "de": "\\u00e4\\u0000"}\n', [(1, "😀", "ä\0")]),
        ('{"en": "a\u2028b\x85", "de": "c"}\n', [(1, "a\u2028b\x85", "c")]),
        ('{"en": "a", "de": "b", "n": 1e999, "l": [{"de": 1}]}\n', [(1, "a", "b")]),
        (f'{{"en": "{LONG}", "de": "b"}}\n', [(1, LONG, "b")]),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_json_lines(tmp_path: Path, name: str, content: str, rows: list[Row]) -> None:
    assert read(make(tmp_path / name, content), None, "auto", CODES) == rows


def test_json_fields_by_name(tmp_path: Path) -> None:
    path = make(tmp_path / "t.jsonl", '{"q": "a", "x": {"a b": "b"}, "en": "c", "de": "d"}\n')
    assert pairs_of(path, Columns(source="q", target="x.a b")) == [("a", "b")]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("x", "not valid JSON: Expecting value"),
        ('{"en": "a", "de": "b"', "not valid JSON: Expecting ',' delimiter"),
        ('{"en": "a", "de": "b"} {}', "not valid JSON: Extra data"),
        ("{'en': 'a'}", "not valid JSON: Expecting property name enclosed in double quotes"),
        ('{"en": "a\tb", "de": "b"}', "not valid JSON: Invalid control character at"),
        ("[" * 100_000, "not valid JSON: "),
        ('{"a":' * 100_000, "not valid JSON: "),
        ('["a", "b"]', "not a JSON object: {...}"),
        ('"a"', "not a JSON object: {...}"),
        ("null", "not a JSON object: {...}"),
        ("{}", "no field 'en'; there are: "),
        ('{"en": "a", "fr": "b"}', "no field 'de'; there are: en, fr"),
        ('{"en": "a", "x": {"de": "b"}}', "no field 'de'; there are: en, x.de"),
        ('{"en": 1, "de": "b"}', "en: not text but int"),
        ('{"en": "a", "de": ["b"]}', "de: not text but list"),
        ('{"en": "a", "de": true}', "de: not text but bool"),
        ('{"en": "a\\ud800b", "de": "b"}', "en: half a surrogate pair, which is no character"),
        ('{"en": "a", "de": "\\udc0d"}', "de: half a surrogate pair, which is no character"),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_faults_of_json_lines(tmp_path: Path, line: str, fault: str) -> None:
    whole = '{"en": "a", "de": "b"}\n'
    path = make(tmp_path / "t.jsonl", f"{whole}\n{line}\n{whole}")
    assert error_of(path, EN_DE).startswith(f":3: {fault}")
    faults = Faults()
    assert read(path, EN_DE, on_fault=faults) == [(1, "a", "b"), (4, "a", "b")]
    ((number, text),) = faults
    assert number == 3
    assert text.startswith(fault)
    if fault.startswith("no field"):
        assert text == fault


@pytest.mark.parametrize(
    ("content", "columns", "codes", "message"),
    [
        ('{"en": "a", "x": {"fr": "b"}}', EN_DE, CODES, ":1: no field 'de'; there are: en, x.fr"),
        ('{"en": "a", "fr": "b"}', None, CODES, f": which columns? {HOW_TO_SAY}en, fr"),
        ('{"en": "a", "de": "b"}', None, (None, "de"), f": which columns? {HOW_TO_SAY}en, de"),
        (
            '{"en": "a", "de": "b"}',
            FIRST_TWO,
            CODES,
            ": its columns have names, not numbers; there are: en, de",
        ),
    ],
)
def test_json_fields_that_are_not_there(
    tmp_path: Path, content: str, columns: Columns | None, codes: Codes, message: str
) -> None:
    assert error_of(make(tmp_path / "t.jsonl", content), columns, "auto", codes) == message


def test_the_fields_are_those_of_the_first_object(tmp_path: Path) -> None:
    content = 'x\n{"t": {"en": "a", "de": "b"}}\n{"en": "a", "de": "b"}\n{"t": {"en": "c"}}\n'
    faults = Faults()
    rows = read(make(tmp_path / "t.jsonl", content), None, "auto", CODES, faults)
    assert rows == [(2, "a", "b")]
    assert faults[1:] == [
        (3, "no field 't.en'; there are: en, de"),
        (4, "no field 't.de'; there are: t.en"),
    ]


# ---------------------------------------------------------------- Parquet


def write_parquet(path: Path, columns: dict[str, Any]) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "columns",
    [
        {"en": ["a", "c", None], "de": ["b", "d\ne", "f"]},
        {"id": [1, 2, 3], "de": ["b", "d\r\ne", "f"], "en": ["a", "c", ""]},
        {
            "en": pa.array(["a", "c", None], pa.large_string()),
            "de": pa.array(["b", "d\ne", "f"]).dictionary_encode(),
        },
        {
            "translation": [
                {"en": "a", "de": "b"},
                {"en": "c", "de": "d\ne"},
                {"en": None, "de": "f"},
            ]
        },
        {
            "x": pa.StructArray.from_arrays(
                [
                    pa.array(["a", "c", None]).dictionary_encode(),
                    pa.array([{"German": "b"}, {"German": "d\ne"}, {"German": "f"}]),
                ],
                ["English", "y"],
            )
        },
        {"t.en": ["a", "c", None], "t.de": ["b", "d\ne", "f"]},
        {
            "en.x": [1, 2, 3],
            "en": ["a", "c", None],
            "s": [{"t": {"de": "b"}}, {"t": {"de": "d\ne"}}, {"t": {"de": "f"}}],
        },
    ],
    ids=["plain", "more", "types", "nested", "deeper", "dots", "mixed"],
)
def test_parquet(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = write_parquet(tmp_path / "t.parquet", columns)
    rows = read(path, None, "auto", CODES)
    assert rows == [(1, "a", "b"), (2, "c", "d e"), (3, "", "f")]


def test_parquet_columns_by_name(tmp_path: Path) -> None:
    columns = {"q": ["a"], "a.b": ["b"], "s": [{"c.d": "x", "t": "c"}], "en": ["x"], "de": ["y"]}
    path = write_parquet(tmp_path / "t.parquet", columns)
    assert pairs_of(path, Columns(source="q", target="a.b")) == [("a", "b")]
    assert pairs_of(path, Columns(source="s.t", target="q")) == [("c", "a")]


def test_rows_inside_null_are_empty(tmp_path: Path) -> None:
    column = pa.array([None, {"en": "a", "de": "b"}, {"en": None, "de": None}])
    path = write_parquet(tmp_path / "t.parquet", {"translation": column})
    assert pairs_of(path, None, "auto", CODES) == [("", ""), ("a", "b"), ("", "")]
    nulls = write_parquet(tmp_path / "n.parquet", {"en": pa.nulls(2), "de": ["a", "b"]})
    assert pairs_of(nulls, None, "auto", CODES) == [("", "a"), ("", "b")]


def test_parquet_is_read_in_batches_with_rows_numbered_throughout(tmp_path: Path) -> None:
    numbers = range(1, 10_001)
    table = pa.table({"en": [f"a{i}" for i in numbers], "de": [f"b{i}" for i in numbers]})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=3000)
    rows = read(tmp_path / "t.parquet", EN_DE)
    assert rows == [(i, f"a{i}", f"b{i}") for i in numbers]


@pytest.mark.parametrize(
    ("columns", "wanted", "message"),
    [
        ({"en": ["a"], "fr": ["b"]}, EN_DE, ": no column 'de'; there are: en, fr"),
        (
            {"t": [{"en": "a", "fr": "b"}]},
            None,
            f": which columns? {HOW_TO_SAY}t.en, t.fr",
        ),
        (
            {"en": ["a"], "de": ["b"]},
            FIRST_TWO,
            ": its columns have names, not numbers; there are: en, de",
        ),
        ({"en": [1], "de": ["b"]}, EN_DE, ": column 'en' holds int64, not text"),
        ({"en": ["a"], "de": [b"b"]}, EN_DE, ": column 'de' holds binary, not text"),
        ({"en": ["a"], "de": [True]}, EN_DE, ": column 'de' holds bool, not text"),
    ],
)
def test_parquet_columns_that_cannot_be_used(
    tmp_path: Path, columns: dict[str, Any], wanted: Columns | None, message: str
) -> None:
    path = write_parquet(tmp_path / "t.parquet", columns)
    assert error_of(path, wanted, "auto", CODES) == message


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    bad = pa.array([b"a", b"\xff", b"c"])
    text = pa.Array.from_buffers(pa.string(), 3, bad.buffers())
    path = write_parquet(tmp_path / "t.parquet", {"en": text, "de": ["x", "y", "z"]})
    assert error_of(path, EN_DE) == ":2: not valid UTF-8"
    faults = Faults()
    assert read(path, EN_DE, on_fault=faults) == [(1, "a", "x"), (3, "c", "z")]
    assert faults == [(2, "not valid UTF-8")]


def test_damaged_parquet(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "t.parquet", {"en": ["a"] * 500, "de": ["b"] * 500})
    whole = path.read_bytes()
    for size in (0, 3, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert error_of(path, EN_DE).startswith(": damaged, or no Parquet file: "), size
    path.write_bytes(whole[:4] + b"\xff" * 40 + whole[44:])
    assert error_of(path, EN_DE)
    path.write_text("en,de\na,b\n" * 10)
    assert error_of(path, EN_DE).startswith(": damaged, or no Parquet file: ")
    path.unlink()
    assert error_of(path, EN_DE).startswith(": cannot be read: ")
    path.mkdir()
    assert error_of(path, EN_DE).startswith(": cannot be read: ")


def test_parquet_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "t.parquet", {"en": ["a"], "de": ["b"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert error_of(path, EN_DE) == (": Parquet needs pyarrow: pip install 'seq2seq-cli[parquet]'")


# ---------------------------------------------------------------- any text

repeatable = settings(derandomize=True, deadline=None, max_examples=150, database=None)
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(st.sampled_from("ab \t,;\"'\\\r\n\0\ufeff\u2028\x85\x1c#{}"), max_size=20),
)
pairs_of_texts = st.lists(st.tuples(texts, texts), max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def as_read(pairs: list[Pair]) -> list[Pair]:
    """Line breaks become spaces; a carriage return alone is none."""
    return [
        (re.sub("\r?\n", " ", source), re.sub("\r?\n", " ", target)) for source, target in pairs
    ]


@repeatable
@given(texts)
def test_one_line_has_no_line_break(text: str) -> None:
    assert one_line(text) == re.sub("\r?\n", " ", text)


@repeatable
@given(pairs_of_texts, st.sampled_from(["\r\n", "\n"]), st.sampled_from(["", ".gz", ".zst"]))
def test_what_csv_writers_write_is_read(
    folder: Path, pairs: list[Pair], line_end: str, suffix: str
) -> None:
    text = io.StringIO(newline="")
    if line_end == "\r\n":
        writer = csv.writer(text)
    else:  # it would leave a carriage return unquoted
        writer = csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([("en", "de"), *pairs])
    path = make(folder / f"t.csv{suffix}", text.getvalue())
    assert pairs_of(path, EN_DE) == as_read(pairs)


@repeatable
@given(pairs_of_texts, st.booleans(), st.sampled_from(["", ".gz", ".zst"]))
def test_what_json_writers_write_is_read(
    folder: Path, pairs: list[Pair], ascii_only: bool, suffix: str
) -> None:
    objects = [{"id": 1, "t": {"de": target, "en": source}} for source, target in pairs]
    lines = [json.dumps(value, ensure_ascii=ascii_only) + "\n" for value in objects]
    path = make(folder / f"t.jsonl{suffix}", "".join(lines))
    assert pairs_of(path, None, "auto", CODES) == as_read(pairs)


@repeatable
@given(pairs_of_texts)
def test_what_parquet_writers_write_is_read(folder: Path, pairs: list[Pair]) -> None:
    table = pa.table(
        {side: pa.array([pair[i] for pair in pairs], pa.string()) for i, side in enumerate(CODES)}
    )
    parquet.write_table(table, folder / "t.parquet")
    assert pairs_of(folder / "t.parquet", EN_DE) == as_read(pairs)


@repeatable
@given(pairs_of_texts)
def test_tabs_separate_whatever_stands_between_them(folder: Path, pairs: list[Pair]) -> None:
    def cell(text: str) -> str:
        return text.replace("\t", " ").replace("\n", " ")

    rows = [(f"{cell(source)}.", f"{cell(target)}.") for source, target in pairs]
    content = "en\tde\n" + "".join(f"{source}\t{target}\n" for source, target in rows)
    assert pairs_of(make(folder / "t.tsv", content), EN_DE) == rows


# ---------------------------------------------------------------- odd headers, names and lists


@pytest.mark.parametrize(
    ("content", "codes", "rows"),
    [
        ("score\tde\ten\n0.5\tja\tyes\n", ("de", "en"), [(2, "ja", "yes")]),
        ("\tde\ten\n0\tja\tyes\n", ("de", "en"), [(2, "ja", "yes")]),
        ("translation.de\ttranslation.en\nja\tyes\n", ("de", "en"), [(2, "ja", "yes")]),
        ("pt-BR\ten\nsim\tyes\n", ("pt-BR", "en"), [(2, "sim", "yes")]),
        ("No\tNo\nYes\tSí\n", ("en", "es"), [(1, "No", "No"), (2, "Yes", "Sí")]),
        ("ice\tis\n", ("en", "no"), [(1, "ice", "is")]),
        ("Go.\tGeh.\tCC-BY 2.0, tatoeba.org #1\n", ("de", "en"), [(1, "Geh.", "Go.")]),
        ("Go.\tGeh.\tCC-BY 2.0, tatoeba.org #1\n", ("en", "de"), [(1, "Go.", "Geh.")]),
        ("Go.\tGeh.\tCC-BY 2.0, tatoeba.org #1\n", (None, None), [(1, "Go.", "Geh.")]),
    ],
)
def test_first_lines_that_look_like_something_else(
    tmp_path: Path, content: str, codes: Codes, rows: list[Row]
) -> None:
    assert read(make(tmp_path / "t.tsv", content), None, "auto", codes) == rows


def test_first_lines_are_told_of_in_short(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make(tmp_path / "t.tsv", f"{LONG}\ta\x07b\n")
    with caplog.at_level("INFO", logger="seq2seq"):
        read(path, None)
    (message,) = caplog.messages
    assert len(message) < len(str(path)) + 200
    assert message.isprintable()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"en": "a", "de": "b", "en": "c"}', "not valid JSON: a field is there twice"),
        ('{"translation": {"en": "a", "de": "b", "de": "c"}}', "not valid JSON: a field is there"),
        ("[1] 2", "not valid JSON: Extra data at column 5"),
        ('{"e\\nn": 1}', "no field 'en'; there are: 'e\\nn'"),
    ],
)
def test_json_faults_fit_into_a_line(tmp_path: Path, content: str, fault: str) -> None:
    faults = Faults()
    assert read(make(tmp_path / "t.jsonl", content), EN_DE, on_fault=faults) == []
    ((_, text),) = faults
    assert text.startswith(fault)


def test_the_first_object_may_be_the_odd_one_out(tmp_path: Path) -> None:
    path = make(tmp_path / "t.jsonl", '{"en": "a"}\n{"en": "b", "de": "c"}\n')
    faults = Faults()
    assert read(path, EN_DE, on_fault=faults) == [(2, "b", "c")]
    assert [number for number, _ in faults] == [1]


def test_fields_inside_null_are_empty_in_json_too(tmp_path: Path) -> None:
    content = '{"translation": {"en": "a", "de": "b"}}\n{"translation": null}\n'
    assert read(make(tmp_path / "t.jsonl", content), None, "auto", CODES) == [
        (1, "a", "b"),
        (2, "", ""),
    ]


def test_parquet_with_a_column_twice(tmp_path: Path) -> None:
    table = pa.table([["a"], ["b"], ["c"]], names=["en", "de", "de"])
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="two columns are named 'de'"):
        read(tmp_path / "t.parquet", EN_DE)


def test_parquet_views_are_text(tmp_path: Path) -> None:
    columns = {"en": pa.array(["a"], pa.string_view()), "de": pa.array(["b"], pa.string_view())}
    assert pairs_of(write_parquet(tmp_path / "t.parquet", columns), EN_DE) == [("a", "b")]


@pytest.mark.parametrize("name", ["t.parquet.gz", "t.csv.gz.zst", "t.zst"])
def test_files_that_are_packed_too_often(name: str) -> None:
    with pytest.raises(DataError, match="not a kind of file that holds pairs"):
        read(Path(name), EN_DE)


def test_one_column_cannot_be_both_sides(tmp_path: Path) -> None:
    path = make(tmp_path / "t.csv", "de,x\nja,yes\n")
    with pytest.raises(DataError, match=r"which columns\?"):
        read(path, None, "auto", ("de", "de"))


@pytest.mark.parametrize("target", ["en", "en-GB", "en_US", "eng", "English"])
def test_manythings_has_english_first_whatever_it_is_called(tmp_path: Path, target: str) -> None:
    path = make(tmp_path / "fra.txt", "Go.\tVa !\tCC-BY 2.0, tatoeba.org #1\n")
    assert pairs_of(path, None, "auto", ("fr", target)) == [("Va !", "Go.")]


def test_a_name_and_a_number_of_one_column_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "t.csv", "English,French\nGo.,Va !\n")
    with pytest.raises(DataError, match="names the same column twice"):
        read(path, Columns(source=1, target="English"))


def test_lines_that_end_in_carriage_returns_are_told_of(tmp_path: Path) -> None:
    path = make(tmp_path / "t.csv", "de,en\rja,yes\rnein,no\r")
    with pytest.raises(DataError, match=r"its lines end in \\r alone"):
        read(path, EN_DE)


def test_numbers_of_any_length_in_other_fields_are_no_fault(tmp_path: Path) -> None:
    line = f'{{"en": "a", "de": "b", "id": {"9" * 5000}, "n": -{"1" * 30}}}\n'
    assert read(make(tmp_path / "t.jsonl", line), EN_DE) == [(1, "a", "b")]


def test_a_field_that_two_spellings_name_is_a_fault(tmp_path: Path) -> None:
    line = '{"translation.de": "x", "translation": {"de": "y"}, "en": "a"}\n'
    faults = Faults()
    assert read(make(tmp_path / "t.jsonl", line), EN_DE, on_fault=faults) == []
    assert [text for _, text in faults] == ["not valid JSON: a field is there twice"]


def test_a_list_of_objects_is_told_how_to_be_lines(tmp_path: Path) -> None:
    path = make(tmp_path / "t.jsonl", '[\n{"en": "a", "de": "b"}\n]\n')
    with pytest.raises(DataError, match="without a list around them"):
        read(path, EN_DE)


def test_names_that_no_object_has_are_one_error(tmp_path: Path) -> None:
    path = make(tmp_path / "t.jsonl", '{"en": "a", "fr": "b"}\n' * 500)
    faults = Faults()
    with pytest.raises(DataError, match="none of the first 100 objects has the pair: no field"):
        read(path, EN_DE, on_fault=faults)
    assert len(faults) == 100


def test_a_quote_that_never_closes_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_LINE_BYTES", 1000)
    path = make(tmp_path / "t.csv", 'en,de\na,b\n"c,d\n' + "e,f\n" * 1000)
    with pytest.raises(DataError, match=r":3: broken quoting in the row that starts here"):
        read(path, EN_DE)
