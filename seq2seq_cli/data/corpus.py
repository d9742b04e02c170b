"""Readers of people's text files: lines, and pairs of lines. Everything streams.

A line ends at "\n" and nowhere else (one "\r" before it is dropped), so that line i of one file
stays beside line i of the other whatever other separators the text holds: U+2028, NEL, form feeds.
No pair is dropped here, not even one with an empty side.
"""

from __future__ import annotations

import codecs
import contextlib
import glob
import gzip
import itertools
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seq2seq_cli.config.data import ParallelFiles
from seq2seq_cli.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSED = (".gz", ".zst")
MAX_LINE_BYTES = 1 << 24
"""A few bytes of a compressed file can unpack to a line that fills any memory."""


class Lines(Protocol):
    """What of a binary stream is used."""

    def readline(self, size: int, /) -> bytes: ...


OnFault = Callable[[str, int, str], None]
"""Told of a line that cannot be taken as it is: file, number of the line, what is wrong."""


def refuse(file: str, line: int, text: str) -> None:
    """Raises DataError: for readers that take no faults."""
    raise DataError(f"{file}:{line}: {text}")


@dataclass(frozen=True)
class PairSource:
    """Somewhere that pairs come from: two text files, a table, a member of an archive ..."""

    source_name: str
    """What errors and reports call the file of the source side."""
    target_name: str
    """The same for the target side; equal when one file holds both."""
    read: Callable[[OnFault], Iterator[tuple[int, str, str]]]
    """Yields each pair with the number of its line. A fault that is no reason to stop (a line that
    is not UTF-8, a row with too many cells) goes to the function given; raises DataError for others
    (a damaged archive, files of unequal length)."""


def bounded_lines(stream: Lines, name: str) -> Iterator[bytes]:
    """Yield the lines of a binary stream. Raises DataError for one that does not end."""
    for number in itertools.count(1):
        raw = stream.readline(MAX_LINE_BYTES)
        if not raw:
            return
        if len(raw) == MAX_LINE_BYTES:
            raise DataError(
                f"{name}:{number}: longer than {MAX_LINE_BYTES:,} bytes: no line of text is"
            )
        yield raw


def iter_lines(raw_lines: Iterable[bytes], name: str, on_fault: OnFault = refuse) -> Iterator[str]:
    """Yield lines of bytes as UTF-8 text; `name` is what errors call where they come from.

    A byte order mark at the start is dropped. A byte that is not UTF-8 is a fault; where it is none
    that stops, the line comes with U+FFFD in its place.
    Raises DataError for UTF-16; errors of the lines themselves pass through.
    """
    position = 0  # bytes before this line
    for number, raw in enumerate(raw_lines, 1):
        if number == 1 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{name}: looks like UTF-16; save the file as UTF-8")
        if number == 1 and raw == codecs.BOM_UTF8:
            return  # an empty file, as some editors save it
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        encoding = "utf-8-sig" if number == 1 else "utf-8"
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError as error:
            before = error.object[: error.start]  # without a byte order mark
            offset = position + len(line) - len(error.object) + error.start
            on_fault(
                name,
                number,
                f"byte 0x{error.object[error.start]:02X} at column {len(before.decode()) + 1} of "
                f"the line (byte {offset + 1} of the file) is not valid UTF-8; "
                "save the file as UTF-8",
            )
            text = line.decode(encoding, errors="replace")
        yield text
        position += len(raw)


def read_lines(path: Path, on_fault: OnFault = refuse) -> Iterator[str]:
    """Yield the lines of a text file, unpacked when its name ends in .gz or .zst; see `iter_lines`.

    Raises DataError for a file that cannot be read and for a damaged compressed file.
    """
    with reading(path) as stream:
        yield from iter_lines(bounded_lines(stream, str(path)), str(path), on_fault)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Lines]:
    """A file's bytes, unpacked when its name ends in .gz or .zst.

    Raises DataError, also inside the block, for a file that cannot be read or is damaged.
    """
    try:
        with path.open("rb") as file, contextlib.ExitStack() as stack:
            stream: Lines = file
            suffix = path.suffix.lower()
            # No compressed file is this short, but both modules read it as an empty text.
            if suffix in COMPRESSED and not file.peek(1):
                raise EOFError("it has no bytes")
            if suffix == ".gz":
                stream = stack.enter_context(contextlib.closing(gzip.GzipFile(fileobj=file)))
            elif suffix == ".zst":
                stream = stack.enter_context(contextlib.closing(zstd.ZstdFile(file)))
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error, zstd.ZstdError) as error:
        kind = "gzip" if path.suffix.lower() == ".gz" else "zstd"
        raise DataError(f"{path}: damaged or cut off {kind} file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_parallel(
    source_path: Path, target_path: Path, on_fault: OnFault = refuse
) -> Iterator[tuple[int, str, str]]:
    """Yield line i of one file with line i of the other, and i.

    Raises DataError as `read_lines` does and, after the pairs there are, when one file has more
    lines than the other.
    """
    source_lines = read_lines(source_path, on_fault)
    target_lines = read_lines(target_path, on_fault)
    pairs = itertools.zip_longest(source_lines, target_lines)
    for number, (source, target) in enumerate(pairs, 1):
        if source is None or target is None:
            num_source = number - 1 + (source is not None) + sum(1 for _ in source_lines)
            num_target = number - 1 + (target is not None) + sum(1 for _ in target_lines)
            raise DataError(
                f"{source_path} has {num_source:,} lines but {target_path} has {num_target:,}; "
                "line i of one has to translate line i of the other"
            )
        yield number, source, target


def parallel_source(source: Path, target: Path) -> PairSource:
    """Two text files with a sentence a line."""
    return PairSource(
        str(source), str(target), lambda on_fault: read_parallel(source, target, on_fault)
    )


def parallel_sources(files: ParallelFiles) -> list[PairSource]:
    """Two text files, or as many of one side as of the other.

    Raises DataError for a pattern that matches nothing and for unequal numbers of files.
    """
    sources, targets = expand(files.source), expand(files.target)
    if len(sources) != len(targets):
        raise DataError(
            f"{len(sources)} source files but {len(targets)} target files: "
            f"{sources[0]} ... and {targets[0]} ..."
        )
    pairs = list(zip(sources, targets, strict=True))
    if isinstance(files.source, Path) and isinstance(files.target, Path):
        for source, target in pairs:
            parts = _wild_parts(files.source, source), _wild_parts(files.target, target)
            if None not in parts and parts[0] != parts[1]:
                raise DataError(
                    f"{source} and {target} do not seem to belong together; "
                    "list the files instead of a pattern to pair them"
                )
    return [parallel_source(*paths) for paths in pairs]


def _wild_parts(pattern: Path, path: Path) -> tuple[str, ...] | None:
    """What stands in a file's path for the wildcards of its pattern; None when it has none."""
    pieces = re.split(r"(\*\*|\*|\?|\[[^]]+\])", str(pattern))
    wild = {"**": "(.*)", "*": "([^/\\\\]*)"}
    expression = "".join(
        wild.get(piece, "(.)") if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    )
    found = re.fullmatch(expression, str(path), re.DOTALL)
    return found.groups() or None if found else None


def expand(files: Path | tuple[Path, ...]) -> list[Path]:
    """The files that paths and patterns (part-*.tsv) stand for, those of a pattern in the order of
    their names, hidden ones left out. A file that is called like a pattern is that file.

    Raises DataError for a pattern that matches no file.
    """
    paths: list[Path] = []
    for path in files if isinstance(files, tuple) else (files,):
        try:
            if not glob.has_magic(str(path)) or path.exists():
                paths.append(path)
                continue
            # What is there is taken by its name: a folder may have brackets in it too.
            start = next((parent for parent in path.parents if parent.exists()), Path(path.anchor))
            found = sorted(
                file
                for file in start.glob(str(path.relative_to(start)))
                if file.is_file() and not file.name.startswith(".")
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataError(f"{path}: cannot be looked for: {reason}") from error
        if not found:
            raise DataError(f"{path}: no file has a name like this")
        paths += found
    return paths
