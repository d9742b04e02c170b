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
from seq2seq_cli.text_io import check_output, input_lines, lines_beside, write_lines


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
    assert list(input_lines(texts, None)) == lines


def test_an_argument_that_was_no_utf8() -> None:
    with pytest.raises(UsageError, match="not valid UTF-8"):
        input_lines(["fine", os.fsdecode(b"Br\xffot")], None)


@pytest.mark.parametrize("name", [None, "-"])
def test_what_is_piped_in_is_utf8(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "\ufeffä 🙂\r\n\n\u2028x".encode())
    assert list(input_lines([], name)) == ["ä 🙂", "", "\u2028x"]


def test_lines_are_read_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = pipe(monkeypatch, b"a\nb\nc\n")
    lines = iter(input_lines([], None))
    assert next(lines) == "a"
    assert stream.read() == b"b\nc\n"


def test_a_file_packed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"not this")
    Path("in").write_bytes("ä\n\nb".encode())
    Path("in.gz").write_bytes(gzip.compress(Path("in").read_bytes()))
    assert list(input_lines([], "in")) == ["ä", "", "b"]
    assert list(input_lines([], "in.gz")) == ["ä", "", "b"]


def test_faults_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"a\n\xff\n")
    with pytest.raises(DataError, match=r"^standard input:2: byte 0xFF"):
        list(input_lines([], None))
    with pytest.raises(DataError, match=r"^nowhere: cannot be read"):
        list(input_lines([], "nowhere"))


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
    assert list(input_lines([], "-")) == ["typed"]


def test_lines_beside_each_other() -> None:
    Path("b").write_text("x\n\ny\n")
    assert lines_beside(Path("b"), iter(["a", "b", ""])) == [("a", "x"), ("b", ""), ("", "y")]


@pytest.mark.parametrize(("num_first", "num_second"), [(2, 3), (3, 2), (0, 1), (1, 0), (0, 1500)])
def test_unequal_numbers_of_lines_are_both_named(num_first: int, num_second: int) -> None:
    Path("b").write_text("x\n" * num_second)
    with pytest.raises(DataError) as caught:
        lines_beside(Path("b"), ["a"] * num_first)
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
