"""Lines in, from arguments, a file or a pipe; lines out, to stdout or a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from seq2seq_cli.errors import DataError, UsageError


def input_lines(texts: list[str], input_name: str | None) -> Iterable[str]:
    """What is to be translated: the arguments, else the lines of --input, else those piped in.

    Raises UsageError when there is nothing, or two things; DataError, as lines are read.
    """
    # Imported here: reading files takes torch, and a wrong command line is answered without it.
    from seq2seq_cli.data.corpus import bounded_lines, iter_lines, read_lines

    if texts and input_name:
        raise UsageError("give text to translate, or --input, not both")
    if texts:
        return _argument_lines(texts)
    if sys.stdin is None or (input_name is None and sys.stdin.isatty()):
        raise UsageError('nothing to translate: seq2seq translate "text", --input FILE, or a pipe')
    if input_name in (None, "-"):
        name = "standard input"
        return iter_lines(bounded_lines(sys.stdin.buffer, name), name)
    return read_lines(Path(str(input_name)))


def _argument_lines(texts: list[str]) -> list[str]:
    try:
        # What was not UTF-8 on the command line arrives as lone surrogates.
        return [line for text in texts for line in text.encode().decode().split("\n")]
    except UnicodeEncodeError as error:
        raise UsageError("the text to translate is not valid UTF-8") from error


def lines_beside(path: Path, lines: Iterable[str]) -> list[tuple[str, str]]:
    """Each line of the input with its line of another file.

    Raises DataError when one of them has more.
    """
    from seq2seq_cli.data.corpus import read_lines

    first, second = list(lines), list(read_lines(path))
    if len(first) != len(second):
        raise DataError(
            f"{path}: has {len(second):,} lines, and the input has {len(first):,}; line i of one "
            "goes with line i of the other"
        )
    return list(zip(first, second, strict=True))


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
        atomic_write(path) if replaced else contextlib.nullcontext(path) as target,
        target.open("wb") as file,
    ):
        file.writelines(line.encode() + b"\n" for line in lines)
