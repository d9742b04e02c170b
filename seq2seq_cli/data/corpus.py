"""Readers of people's text files: lines, and pairs of lines. Everything streams.

A line ends at "\\n" and nowhere else (one "\\r" before it is dropped), so that line i of one file
stays beside line i of the other whatever other separators the text holds: U+2028, NEL, form feeds.
No pair is dropped here, not even one with an empty side.
"""

import codecs
import csv
import gzip
import itertools
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from seq2seq_cli.config import Columns, ParallelFiles
from seq2seq_cli.errors import DataError

# Stands for "\r" while the csv module, which would end a row there, looks at the text. Half a
# surrogate pair never comes out of UTF-8, so it cannot be part of anyone's text.
_CARRIAGE_RETURN = "\udc0d"


def iter_lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the lines of UTF-8 text from a binary stream; `name` is what errors call it.

    A byte order mark at the start is dropped. Memory is bounded by the longest line.
    Raises DataError for a byte that is not UTF-8; errors of the stream itself pass through.
    """
    position = 0  # bytes before this line
    for number, raw in enumerate(stream, 1):
        if number == 1 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{name}: looks like UTF-16; save the file as UTF-8")
        if number == 1 and raw == codecs.BOM_UTF8:
            return  # an empty file, as some editors save it
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            before = error.object[: error.start]  # without a byte order mark
            offset = position + len(line) - len(error.object) + error.start
            raise DataError(
                f"{name}:{number}: byte 0x{error.object[error.start]:02X} at column "
                f"{len(before.decode()) + 1} of the line (byte {offset + 1} of the file) "
                "is not valid UTF-8; save the file as UTF-8"
            ) from error
        yield text
        position += len(raw)


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, gunzipped when its name ends in .gz; see `iter_lines`.

    Raises DataError for a file that cannot be read, a damaged gzip file, a byte that is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            if path.suffix.lower() != ".gz":
                yield from iter_lines(file, str(path))
                return
            if not file.peek(1):  # no gzip file is this short, but gzip reads it as an empty text
                raise EOFError("it has no bytes")
            with gzip.GzipFile(fileobj=file) as unzipped:
                yield from iter_lines(unzipped, str(path))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged or cut off gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_parallel(source_path: Path, target_path: Path) -> Iterator[tuple[str, str]]:
    """Yield line i of one file with line i of the other.

    Raises DataError as `read_lines` does and, after the pairs there are, when one file has more
    lines than the other.
    """
    source_lines, target_lines = read_lines(source_path), read_lines(target_path)
    pairs = itertools.zip_longest(source_lines, target_lines)
    for num_pairs, (source, target) in enumerate(pairs):
        if source is None or target is None:
            num_source = num_pairs + (source is not None) + sum(1 for _ in source_lines)
            num_target = num_pairs + (target is not None) + sum(1 for _ in target_lines)
            raise DataError(
                f"{source_path} has {num_source:,} lines but {target_path} has {num_target:,}; "
                "line i of one has to translate line i of the other"
            )
        yield source, target


def read_table(path: Path, columns: Columns) -> Iterator[tuple[str, str]]:
    """Yield two cells of each row of a .csv or .tsv file (or .gz of it) with a header line.

    CSV is RFC 4180: cells with commas, quotes or line breaks are quoted; a line break in a cell
    becomes a space. TSV has no quoting: a tab ends a cell, always. Blank lines are skipped.

    Raises DataError as `read_lines` does and for a missing header, a wanted column that is not
    there or there twice, a row with more or fewer cells than the header, and broken quoting.
    """
    rows = _read_rows(path)
    header = _read_header(path, rows)
    source, target = (_find_column(path, header, name) for name in (columns.source, columns.target))
    for line_number, cells in rows:
        # A row that is too long is refused as well: an unquoted comma in a sentence would
        # otherwise move the wrong text into the wanted column, and nobody would notice.
        if len(cells) != len(header):
            raise DataError(
                f"{path}:{line_number}: cells in this row: {len(cells)}, "
                f"in the header: {len(header)}"
            )
        yield cells[source], cells[target]


def read_pairs(
    location: Path | ParallelFiles, columns: Columns | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a table or of two text files (for which `columns` means nothing).

    Raises DataError as `read_table` and `read_parallel` do, for a path that is no table by its
    name, and for a table without `columns`.
    """
    if isinstance(location, ParallelFiles):
        return read_parallel(location.source, location.target)
    if _table_suffix(location) not in (".csv", ".tsv"):
        raise DataError(
            f"{location}: not a kind of file that holds pairs; name a .csv or .tsv file "
            "(.gz as well) or two text files as {source: FILE, target: FILE}"
        )
    if columns is None:
        header = _read_header(location, _read_rows(location))
        raise DataError(
            f"{location}: which columns? set data.columns: {{source: ..., target: ...}}; "
            f"there are: {', '.join(header)}"
        )
    return read_table(location, columns)


def _table_suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each row's cells and the number of the line it starts on; blank lines are skipped."""
    if _table_suffix(path) == ".tsv":
        for number, line in enumerate(read_lines(path), 1):
            if line:
                yield number, line.split("\t")
        return
    csv.field_size_limit(2**31 - 1)  # the module's own limit is 128 KiB; this is the largest int
    lines = (line.replace("\r", _CARRIAGE_RETURN) + "\n" for line in read_lines(path))
    # Strict, for else a quote that is never closed would quietly swallow the rest of the file.
    reader = csv.reader(lines, strict=True)
    number = 1
    try:
        for row in reader:
            if row:
                yield number, [_one_line(cell) for cell in row]
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{number}: broken quoting in the row that starts here ({error}); "
            'a quoted cell ends with a quote, and a quote within it is written ""'
        ) from error


def _one_line(cell: str) -> str:
    return cell.replace("\n", " ").replace(_CARRIAGE_RETURN, "\r")


def _read_header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    for _, cells in rows:
        return [cell.strip() for cell in cells]
    raise DataError(f"{path}: has no header, the line that names the columns")


def _find_column(path: Path, header: list[str], name: str) -> int:
    if header.count(name) != 1:
        problem = f"two columns are named {name!r}" if name in header else f"no column {name!r}"
        raise DataError(f"{path}: {problem}; there are: {', '.join(header)}")
    return header.index(name)
