"""Lines in, from arguments, a file or a pipe; lines out, to stdout or a file."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seq2seq_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from seq2seq_cli.data.corpus import Lines

_SURROGATE = re.compile("[\ud800-\udfff]")
_CUT_CHARACTER = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,2}\Z")


class InputLine(NamedTuple):
    """A line to translate."""

    text: str
    flags: tuple[str, ...] = ()
    """invalid_utf8 (U+FFFD stands for what was no UTF-8), truncated (only its start was read)."""


def input_lines(texts: list[str], input_name: str | None) -> Iterable[InputLine]:
    """What is to be translated: the arguments, else the lines of --input, else those piped in.

    No line keeps the others from being translated: one that is not UTF-8, or longer than any line
    of text is, is flagged.
    Raises UsageError when there is nothing, or two things; DataError, as lines are read, for a file
    that cannot be read or is damaged, and for UTF-16.
    """
    # Imported here: reading files takes torch, and a wrong command line is answered without it.
    from seq2seq_cli.data.corpus import reading

    if texts and input_name:
        raise UsageError("give text to translate, or --input, not both")
    if texts:
        return _argument_lines(texts)
    if sys.stdin is None or (input_name is None and sys.stdin.isatty()):
        raise UsageError('nothing to translate: seq2seq translate "text", --input FILE, or a pipe')
    if input_name in (None, "-"):
        return _lines_of(nullcontext(sys.stdin.buffer), "standard input")
    path = Path(str(input_name))
    return _lines_of(reading(path), str(path))


def _argument_lines(texts: list[str]) -> Iterator[InputLine]:
    for line in itertools.chain.from_iterable(text.split("\n") for text in texts):
        # What was not UTF-8 on the command line arrives as lone surrogates.
        text, num_invalid = _SURROGATE.subn("\ufffd", line)
        yield InputLine(text, ("invalid_utf8",) if num_invalid else ())


def _lines_of(opened: AbstractContextManager[Lines], name: str) -> Iterator[InputLine]:
    from seq2seq_cli.data.corpus import iter_lines

    flags: list[str] = []  # of the line that is being read
    try:
        with opened as stream:
            raw_lines = _beginnings(stream, flags)
            for text in iter_lines(raw_lines, name, lambda *_: flags.append("invalid_utf8")):
                yield InputLine(text, tuple(flags))
                flags.clear()
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error


def _beginnings(stream: Lines, flags: list[str]) -> Iterator[bytes]:
    """Lines of bytes; of a line without end, which would fill any memory, the beginning."""
    from seq2seq_cli.data.corpus import MAX_LINE_BYTES

    while raw := stream.readline(MAX_LINE_BYTES):
        if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
            flags.append("truncated")
            raw = raw[:-3] + _CUT_CHARACTER.sub(b"", raw[-3:])
            while (rest := stream.readline(1 << 16)) and not rest.endswith(b"\n"):
                pass
        yield raw


def lines_beside(path: Path, lines: Iterable[InputLine]) -> Iterator[tuple[InputLine, str]]:
    """Yield each line of the input with its line of another file, as they are read.

    Raises DataError when one of them has more, after the lines that both have: who pipes a million
    lines through would rather see them than have them all held in memory first.
    """
    from seq2seq_cli.data.corpus import read_lines

    lines, others = iter(lines), read_lines(path)
    for number, (line, other) in enumerate(itertools.zip_longest(lines, others)):
        if line is None or other is None:
            num_lines = number + (line is not None) + sum(1 for _ in lines)
            num_others = number + (other is not None) + sum(1 for _ in others)
            raise DataError(
                f"{path}: has {num_others:,} lines, and the input has {num_lines:,}; line i of one "
                "goes with line i of the other"
            )
        yield line, other


def check_output(option: str, name: str) -> None:
    """Before the work, not after it. Raises UsageError."""
    path = Path(name)
    if name != "-" and (path.is_dir() or not path.parent.is_dir()):
        raise UsageError(f"{option} {name}: is a folder, or lies in none")
    if name != "-" and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{option} {name}: may not be written")


def write_lines(lines: Iterable[str], output_name: str) -> None:
    """To stdout (-) as they come, or to a file, whole or not at all. Raises OSError."""
    if output_name == "-":
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
        return
    from seq2seq_cli.files import atomic_write

    path = Path(output_name)
    # A pipe or a device is written to; only a file can be replaced as a whole.
    replaced = not path.exists() or path.is_file()
    with (
        atomic_write(path) if replaced else nullcontext(path) as target,
        target.open("wb") as file,
    ):
        file.writelines(line.encode() + b"\n" for line in lines)
