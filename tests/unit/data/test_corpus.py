"""What the readers make of people's files, the broken ones included."""

import gzip
import io
import os
import re
from pathlib import Path

import pytest

from seq2seq_cli.config import Columns, ParallelFiles
from seq2seq_cli.data.corpus import (
    iter_lines,
    read_lines,
    read_pairs,
    read_parallel,
    read_table,
)
from seq2seq_cli.errors import DataError

EN_DE = Columns(source="en", target="de")
LONG = "x" * 2_000_000
# Everything str.splitlines() would split on, but for "\n".
INNER_BREAKS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\rj"


def make(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def error_of(path: Path, columns: Columns | None = None) -> str:
    """The message of the error that reading the whole file ends in."""
    with pytest.raises(DataError) as caught:
        list(read_pairs(path, columns) if columns else read_lines(path))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["file.txt", "file.txt.gz"])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("", []),
        ("\n", [""]),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\n\n", ["a", ""]),
        ("a\nb", ["a", "b"]),
        ("a\r\n\r\nb\r\n", ["a", "", "b"]),
        ("a\r\r\n", ["a\r"]),
        (" a \t\n", [" a \t"]),
        ("a\0b\n", ["a\0b"]),
        (INNER_BREAKS + "\nlast\n", [INNER_BREAKS, "last"]),
        ("\ufeffa\nb\n", ["a", "b"]),
        ("\ufeff", []),
        ("\ufeff\n", [""]),
        ("a\n\ufeffb\n", ["a", "\ufeffb"]),
        (LONG + "\n" + LONG, [LONG, LONG]),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_lines(tmp_path: Path, name: str, content: str, lines: list[str]) -> None:
    assert list(read_lines(make(tmp_path / name, content))) == lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\xe4r\n", "2: byte 0xE4 at column 2 of the line (byte 4 of the file)"),
        ("äö\n".encode() + b"\xff", "2: byte 0xFF at column 1 of the line (byte 6 of the file)"),
        ("äö".encode() + b"\xff", "1: byte 0xFF at column 3 of the line (byte 5 of the file)"),
        (b"\xef\xbb\xbfa\xe4", "1: byte 0xE4 at column 2 of the line (byte 5 of the file)"),
        (b"a\r\n\xc3\r\n", "2: byte 0xC3 at column 1 of the line (byte 4 of the file)"),
        (b"\xed\xa0\x80\n", "1: byte 0xED at column 1 of the line (byte 1 of the file)"),
    ],
)
@pytest.mark.parametrize("name", ["file.txt", "file.txt.gz"])
def test_bad_utf8_is_named_to_the_byte(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = make(tmp_path / name, content)
    assert error_of(path) == f"{path}:{message} is not valid UTF-8; save the file as UTF-8"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_recognised(tmp_path: Path, encoding: str) -> None:
    path = make(tmp_path / "file.txt", "\ufeffHallo\n".encode(encoding))
    assert error_of(path) == f"{path}: looks like UTF-16; save the file as UTF-8"


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    missing = tmp_path / "missing.txt"
    assert error_of(missing) == f"{missing}: cannot be read: No such file or directory"
    assert error_of(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = make(tmp_path / "file.txt", "a\n")
    path.chmod(0)
    assert error_of(path) == f"{path}: cannot be read: Permission denied"


def test_damaged_gzip_files(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"line {i}\n" for i in range(1000)).encode())
    path = tmp_path / "file.gz"
    damaged = f"{path}: damaged or cut off gzip file: "
    for size in (0, 1, 5, 15, 1000, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert error_of(path).startswith(damaged), size
    for position in (0, 2, 10, 100, 1000, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x7F]) + whole[position + 1 :])
        assert error_of(path).startswith(damaged), position
    path.write_bytes(b"plain text\n")
    assert error_of(path) == damaged + "Not a gzipped file (b'pl')"


def test_lines_of_a_stream_carry_the_given_name() -> None:
    assert list(iter_lines(io.BytesIO(b"a\r\nb"), "-")) == ["a", "b"]
    with pytest.raises(DataError, match=re.escape("standard input:1: byte 0xE4")):
        list(iter_lines(io.BytesIO(b"\xe4"), "standard input"))


def test_lines_are_read_as_they_are_asked_for() -> None:
    stream = io.BytesIO(b"a\nb\n\xff\n")
    lines = iter_lines(stream, "-")
    assert [next(lines), next(lines)] == ["a", "b"]


def test_parallel_files(tmp_path: Path) -> None:
    source = make(tmp_path / "train.de.gz", "eins\n\nzwei\u2028drei\r\n")
    target = make(tmp_path / "train.en", "one\nempty\ntwo")
    pairs = [("eins", "one"), ("", "empty"), ("zwei\u2028drei", "two")]
    assert list(read_parallel(source, target)) == pairs
    assert list(read_pairs(ParallelFiles(source=source, target=target))) == pairs
    assert list(read_pairs(ParallelFiles(source=source, target=target), EN_DE)) == pairs


@pytest.mark.parametrize(("num_source", "num_target"), [(3, 1), (1, 3), (0, 2), (1, 0), (2, 1234)])
def test_unequal_line_counts(tmp_path: Path, num_source: int, num_target: int) -> None:
    source = make(tmp_path / "s", "a\n" * num_source)
    target = make(tmp_path / "t", "b\n" * num_target)
    pairs = read_parallel(source, target)
    for _ in range(min(num_source, num_target)):
        assert next(pairs) == ("a", "b")
    with pytest.raises(DataError) as caught:
        next(pairs)
    assert str(caught.value) == (
        f"{source} has {num_source:,} lines but {target} has {num_target:,}; "
        "line i of one has to translate line i of the other"
    )


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV"])
@pytest.mark.parametrize(
    ("content", "pairs"),
    [
        ("en,de\n", []),
        ("en,de\none,eins\n", [("one", "eins")]),
        ("de,id,en\neins,1,one", [("one", "eins")]),
        ("\ufeffen,de\r\none,eins\r\n", [("one", "eins")]),
        ("\n en , de \n\none,eins\n\n", [("one", "eins")]),
        ("en,de\n,\n,x\n", [("", ""), ("", "x")]),
        ('"en","de"\n"a, b","say ""c"""\n', [("a, b", 'say "c"')]),
        ('en,de\n"a\nb","c\r\nd"\ne,f\n', [("a b", "c d"), ("e", "f")]),
        ('en,de\nit is 5" wide,x\n', [('it is 5" wide', "x")]),
        ("en,de\na\tb, c \n", [("a\tb", " c ")]),
        (f'en,de\n{INNER_BREAKS},"{INNER_BREAKS}"\n', [(INNER_BREAKS, INNER_BREAKS)]),
        (f'en,de\n{LONG},"{LONG}"\n', [(LONG, LONG)]),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_csv(tmp_path: Path, name: str, content: str, pairs: list[tuple[str, str]]) -> None:
    path = make(tmp_path / name, content)
    assert list(read_pairs(path, EN_DE)) == list(read_table(path, EN_DE)) == pairs


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz"])
@pytest.mark.parametrize(
    ("content", "pairs"),
    [
        ("en\tde\n", []),
        ("de\ten\neins\tone\r\n\n", [("one", "eins")]),
        ('en\tde\n"a, b\t""c\n', [('"a, b', '""c')]),
        ("en\tde\n\t\n\tx\n", [("", ""), ("", "x")]),
        (f"en\tde\n{INNER_BREAKS}\t{LONG}\n", [(INNER_BREAKS, LONG)]),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_tsv(tmp_path: Path, name: str, content: str, pairs: list[tuple[str, str]]) -> None:
    assert list(read_pairs(make(tmp_path / name, content), EN_DE)) == pairs


BAD_QUOTING = '; a quoted cell ends with a quote, and a quote within it is written ""'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", ": has no header, the line that names the columns"),
        ("t.csv", "\n\n", ": has no header, the line that names the columns"),
        ("t.tsv", "", ": has no header, the line that names the columns"),
        ("t.csv", "en,fr\n", ": no column 'de'; there are: en, fr"),
        ("t.tsv", "en,de\n", ": no column 'en'; there are: en,de"),
        ("t.csv", "en;de\n", ": no column 'en'; there are: en;de"),
        ("t.tsv", "en\tde\tde\n", ": two columns are named 'de'; there are: en, de, de"),
        ("t.csv", "en,de\na,b\n\nc\n", ":4: cells in this row: 1, in the header: 2"),
        ("t.csv", 'en,de\n"a\n\na",b\nc\n', ":5: cells in this row: 1, in the header: 2"),
        ("t.csv", "en,de\nWell, yes,Ja\n", ":2: cells in this row: 3, in the header: 2"),
        ("t.tsv", "en\tde\na\tb\nc\n", ":3: cells in this row: 1, in the header: 2"),
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
    ],
)
def test_bad_tables(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = make(tmp_path / name, content)
    assert error_of(path, EN_DE) == f"{path}{message}"


def test_an_unwanted_column_may_be_there_twice(tmp_path: Path) -> None:
    path = make(tmp_path / "t.csv", "note,en,de,note\n1,a,b,2\n")
    assert list(read_pairs(path, EN_DE)) == [("a", "b")]


def test_a_table_needs_columns(tmp_path: Path) -> None:
    path = make(tmp_path / "t.csv", "English,French\na,b\n")
    with pytest.raises(DataError) as caught:
        read_pairs(path)
    assert str(caught.value) == (
        f"{path}: which columns? set data.columns: {{source: ..., target: ...}}; "
        "there are: English, French"
    )


@pytest.mark.parametrize("name", ["corpus.txt", "corpus", "corpus.xlsx", "corpus.gz", ".csv"])
def test_other_kinds_of_files_are_refused(name: str) -> None:
    with pytest.raises(DataError) as caught:
        read_pairs(Path(name), EN_DE)
    assert str(caught.value) == (
        f"{name}: not a kind of file that holds pairs; name a .csv or .tsv file "
        "(.gz as well) or two text files as {source: FILE, target: FILE}"
    )
