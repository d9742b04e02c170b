"""Where text comes from and goes to."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seq2seq_cli.errors import DataError, UsageError
from seq2seq_cli.text_io import InputLine, check_output, input_lines, lines_beside, write_lines


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> io.BytesIO:
    """Make that what is piped in; in a text encoding that nobody should use."""
    stream = io.BytesIO(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream, encoding="utf-16"))
    return stream


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------- lines in


def texts_of(texts: list[str], name: str | None) -> list[str]:
    return [line.text for line in input_lines(texts, name)]


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        (["a", "b c"], ["a", "b c"]),
        ([""], [""]),
        (["a\n\nb", "c\n"], ["a", "", "b", "c", ""]),
        (["a\u2028b\x0b\r", "ä🙂"], ["a\u2028b\x0b\r", "ä🙂"]),
    ],
)
def test_arguments_are_parted_at_line_feeds_only(
    texts: list[str], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, b"not this")
    assert list(input_lines(texts, None)) == list(map(InputLine, lines))


def test_an_argument_that_was_no_utf8() -> None:
    found = list(input_lines(["fine", os.fsdecode(b"Br\xffot\n\xc3\n\xc3\xa4")], None))
    assert found == [
        InputLine("fine"),
        InputLine("Br\ufffdot", ("invalid_utf8",)),
        InputLine("\ufffd", ("invalid_utf8",)),
        InputLine("ä"),
    ]


@pytest.mark.parametrize("name", [None, "-"])
def test_what_is_piped_in_is_utf8(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "\ufeffä 🙂\r\n\n\u2028x".encode())
    assert texts_of([], name) == ["ä 🙂", "", "\u2028x"]


def test_lines_are_read_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = pipe(monkeypatch, b"a\nb\nc\n")
    lines = iter(input_lines([], None))
    assert next(lines).text == "a"
    assert stream.read() == b"b\nc\n"


def test_a_file_packed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"not this")
    Path("in").write_bytes("ä\n\nb".encode())
    Path("in.gz").write_bytes(gzip.compress(Path("in").read_bytes()))
    assert texts_of([], "in") == ["ä", "", "b"]
    assert texts_of([], "in.gz") == ["ä", "", "b"]


# Each row: bytes, and the lines with their flags.
HOSTILE: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "nothing": (b"", []),
    "a byte order mark": (b"\xef\xbb\xbf", []),
    "a line end": (b"\n", [("", "")]),
    "a return": (b"\r", [("", "")]),
    "returns": (b"a\r\r\nb\rc\r\n\r\n", [("a\r", ""), ("b\rc", ""), ("", "")]),
    "nul": (b"\0\na\0b", [("\0", ""), ("a\0b", "")]),
    "a byte that is none": (b"a\xffb\nc\n", [("a\ufffdb", "invalid_utf8"), ("c", "")]),
    "half a character": (
        b"a\xc3\n\xa4\n",
        [("a\ufffd", "invalid_utf8"), ("\ufffd", "invalid_utf8")],
    ),
    "half at the end": (b"a\n\xf0\x9f", [("a", ""), ("\ufffd", "invalid_utf8")]),
    "a surrogate": (b"\xed\xa0\x80\n", [("\ufffd" * 3, "invalid_utf8")]),
    "an overlong slash": (b"\xc0\xaf\n", [("\ufffd" * 2, "invalid_utf8")]),
    "as many bytes as are read": (b"12345678\n", [("12345678", "truncated")]),
    "one less": (b"1234567\na\n", [("1234567", ""), ("a", "")]),
    "one less, no line end": (b"1234567", [("1234567", "")]),
    "many more": (
        b"1" * 100 + b"\n" + b"2" * 100_000,
        [("1" * 8, "truncated"), ("2" * 8, "truncated")],
    ),
    "a character cut": ("1234567ä\nä".encode(), [("1234567", "truncated"), ("ä", "")]),
    "one of four bytes": ("123456🙂\na".encode(), [("123456", "truncated"), ("a", "")]),
    "nothing but halves": (
        b"\x80" * 99 + b"\na",
        [("\ufffd" * 8, "truncated invalid_utf8"), ("a", "")],
    ),
}


@pytest.mark.parametrize(("content", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("name", ["-", "in", "in.gz"])
def test_no_line_is_dropped(
    content: bytes,
    expected: list[tuple[str, str]],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seq2seq_cli.data.corpus.MAX_LINE_BYTES", 8)
    pipe(monkeypatch, content)
    Path("in").write_bytes(content)
    Path("in.gz").write_bytes(gzip.compress(content))
    found = [(text, " ".join(flags)) for text, flags in input_lines([], name)]
    assert found == expected


def test_a_line_without_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not read of it is skipped in small pieces."""
    monkeypatch.setattr("seq2seq_cli.data.corpus.MAX_LINE_BYTES", 1000)
    sizes = []

    class Endless(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            sizes.append(size)
            return b"x" * size if len(sizes) < 100 else b""

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Endless()))
    [(text, flags)] = input_lines([], None)
    assert (len(text), flags) == (1000, ("truncated",))
    assert 0 < max(sizes) <= 1 << 16


def test_what_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "a\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"^standard input: looks like UTF-16"):
        list(input_lines([], None))
    with pytest.raises(DataError, match=r"^nowhere: cannot be read"):
        list(input_lines([], "nowhere"))


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be opened there")
def test_a_folder_piped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    class Folder(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Folder()))
    with pytest.raises(DataError, match=r"^standard input: cannot be read: Is a directory$"):
        list(input_lines([], None))


@pytest.mark.parametrize("name", ["in", "-"])
def test_two_inputs_are_one_too_many(name: str) -> None:
    with pytest.raises(UsageError, match="not both"):
        input_lines(["a"], name)


@pytest.mark.parametrize("stdin", [Terminal(io.BytesIO()), None], ids=["terminal", "closed"])
def test_no_input_at_all(stdin: Terminal | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(UsageError, match=r'^nothing to translate: seq2seq translate "text"'):
        input_lines([], None)


def test_a_terminal_that_is_asked_for_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(b"typed\n")))
    assert texts_of([], "-") == ["typed"]


def test_lines_beside_each_other() -> None:
    Path("b").write_text("x\n\ny\n")
    lines = [InputLine("a"), InputLine("b", ("invalid_utf8",)), InputLine("")]
    found = list(lines_beside(Path("b"), iter(lines)))
    assert found == list(zip(lines, ["x", "", "y"], strict=True))


def test_lines_beside_each_other_come_as_they_are_needed() -> None:
    Path("b").write_text("x\n")

    def coming() -> Iterator[InputLine]:
        yield InputLine("a")
        raise AssertionError("read before it was needed")

    assert next(lines_beside(Path("b"), coming())) == (InputLine("a"), "x")


@pytest.mark.parametrize(("num_first", "num_second"), [(2, 3), (3, 2), (0, 1), (1, 0), (0, 1500)])
def test_unequal_numbers_of_lines_are_both_named(num_first: int, num_second: int) -> None:
    Path("b").write_text("x\n" * num_second)
    with pytest.raises(DataError) as caught:
        list(lines_beside(Path("b"), [InputLine("a")] * num_first))
    assert str(caught.value).startswith(
        f"b: has {num_second:,} lines, and the input has {num_first:,};"
    )


# ---------------------------------------------------------------- lines out


def test_where_nothing_can_be_written() -> None:
    Path("folder").mkdir()
    Path("file").touch()
    for name in ("folder", "nowhere/out", "file/out"):
        with pytest.raises(UsageError, match=rf"^--output {name}: is a folder, or lies in none"):
            check_output("--output", name)
    for name in ("-", "file", "new", "folder/new"):
        check_output("--output", name)
    assert sorted(path.name for path in Path().rglob("*")) == ["file", "folder"]


@pytest.mark.skipif(os.name == "nt" or not os.geteuid(), reason="root may write anywhere")
@pytest.mark.parametrize("name", ["folder/new", "file"])
def test_what_may_not_be_written(name: str) -> None:
    Path("folder").mkdir(mode=0o500)
    Path("file").touch(mode=0o400)
    with pytest.raises(UsageError, match=rf"^--picture {name}: may not be written"):
        check_output("--picture", name)


def test_to_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_lines(["a", "", "b"], "-")
    assert capfdbinary.readouterr().out == b"a\n\nb\n"
    assert not list(Path().iterdir())


def test_to_a_file_as_utf8_with_line_feeds() -> None:
    write_lines(iter(["ä 🙂", "", "\u2028x\r"]), "out")
    assert Path("out").read_bytes() == "ä 🙂\n\n\u2028x\r\n".encode()
    write_lines([], "out")
    assert Path("out").read_bytes() == b""


def test_a_file_is_written_whole_or_not_at_all() -> None:
    def failing() -> Iterator[str]:
        yield "new"
        raise DataError("no more")

    Path("out").write_text("old")
    for name in ("out", "other"):
        with pytest.raises(DataError, match="no more"):
            write_lines(failing(), name)
    assert [(path.name, path.read_text()) for path in Path().iterdir()] == [("out", "old")]


def test_no_line_is_in_the_file_before_all_are() -> None:
    Path("out").write_text("old")

    def watching() -> Iterator[str]:
        yield "new"
        assert Path("out").read_text() == "old"

    write_lines(watching(), "out")
    assert Path("out").read_text() == "new\n"


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_pipe_is_written_to_and_stays_one() -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    check_output("--output", "pipe")
    write_lines(["a", "b"], "pipe")
    assert os.read(reader, 100) == b"a\nb\n"
    os.close(reader)
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)
