"""Readers of tables of sentence pairs; those with named fields are in `fields.py`.

A line break inside a cell becomes a space. Everything streams.
"""

from __future__ import annotations

import csv
import functools
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from seq2seq_cli.config.data import Columns
from seq2seq_cli.data.columns import (
    Codes,
    find_columns,
    looks_like_header,
    of_languages,
    one_line,
    shown,
)
from seq2seq_cli.data.corpus import (
    COMPRESSED,
    MAX_LINE_BYTES,
    OnFault,
    PairSource,
    expand,
    read_lines,
)
from seq2seq_cli.data.fields import read_objects, read_parquet
from seq2seq_cli.errors import DataError
from seq2seq_cli.languages import short_code

logger = logging.getLogger("seq2seq")

Header = bool | Literal["auto"]

_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".parquet")

# Stands for "\r" while the csv module, which would end a row there, looks at the text. Half a
# surrogate pair never comes out of UTF-8, so it cannot be part of anyone's text.
_CARRIAGE_RETURN = "\udc0d"


def table_sources(
    files: Path | tuple[Path, ...], columns: Columns | None, header: Header, codes: Codes
) -> list[PairSource]:
    """Tables, each with its own header where it has one.

    `.csv` is RFC 4180: cells with commas, quotes or line breaks are quoted. `.tsv` and `.txt` (the
    form of manythings.org) have no quoting: a tab ends a cell, always. `.jsonl` has an object a
    line, `.parquet` needs pyarrow. All but the last may be compressed (.gz, .zst).

    Raises DataError for a pattern that matches nothing and a file that is no table by its name.
    """
    return [_table_source(path, columns, header, codes) for path in expand(files)]


def _table_source(path: Path, columns: Columns | None, header: Header, codes: Codes) -> PairSource:
    suffix = _suffix(path)
    if suffix not in _SUFFIXES:
        raise DataError(
            f"{path}: not a kind of file that holds pairs; name a {' '.join(_SUFFIXES)} file "
            f"({' or '.join(COMPRESSED)} as well) or two text files as "
            "{source: FILE, target: FILE}"
        )

    def read(on_fault: OnFault) -> Iterator[tuple[int, str, str]]:
        if suffix == ".jsonl":
            return read_objects(path, columns, codes, on_fault)
        if suffix == ".parquet":
            return read_parquet(path, columns, codes, on_fault)
        return _read_cells(path, columns, header, codes, on_fault)

    return PairSource(str(path), str(path), read)


def _suffix(path: Path) -> str:
    name = Path(path.name.lower())
    is_compressed = name.suffix in COMPRESSED
    suffix = Path(name.stem).suffix if is_compressed else name.suffix
    if suffix == ".parquet" and is_compressed:  # it is compressed inside
        return f"{suffix}{name.suffix}"
    return suffix.replace(".ndjson", ".jsonl")


def _read_cells(
    path: Path, columns: Columns | None, header: Header, codes: Codes, on_fault: OnFault
) -> Iterator[tuple[int, str, str]]:
    rows = _rows(path, on_fault)
    first = next(rows, None)
    if first is None:
        if header is True or (columns and columns.has_names):
            raise DataError(f"{path}: has no header, the line that names the columns")
        return
    (source, target), has_header = _layout(path, first[1], columns, header, codes)
    width = len(first[1])
    for number, cells in rows if has_header else itertools.chain([first], rows):
        # A row that is too long is refused as well: an unquoted comma in a sentence would
        # otherwise move the wrong text into the wanted column, and nobody would notice.
        if len(cells) != width:
            where = "in the header" if has_header else "in the first row"
            on_fault(str(path), number, f"cells in this row: {len(cells)}, {where}: {width}")
            continue
        yield number, cells[source], cells[target]


def _layout(
    path: Path, first: Sequence[str], columns: Columns | None, header: Header, codes: Codes
) -> tuple[tuple[int, int], bool]:
    """Which columns hold the pairs, and whether the first row is a header."""
    try:
        return _find_layout(path, first, columns, header, codes)
    except DataError as error:
        hint, is_csv = "", _suffix(path) == ".csv"
        if any("\r" in cell for cell in first):
            hint = "; its lines end in \\r alone: save it with \\n"
        elif is_csv and len(first) == 1 and ";" in first[0]:
            hint = "; cells are separated by commas, not by semicolons"
        elif columns is None and header == "auto" and not looks_like_header(first, codes):
            hint = "; if that is a pair, set data.header: false" if is_csv else ""
        raise DataError(f"{error}{hint}") from None


def _find_layout(
    path: Path, first: Sequence[str], columns: Columns | None, header: Header, codes: Codes
) -> tuple[tuple[int, int], bool]:
    names = [cell.strip() for cell in first]
    if columns and columns.has_names:
        return find_columns(str(path), names, columns, codes), True
    if columns is not None:
        places = find_columns(str(path), names, columns, codes)
        has_header = header is True or (
            header == "auto" and looks_like_header([names[place] for place in places], codes)
        )
    else:
        has_header = header is True or (
            header == "auto"
            and (of_languages(names, codes) is not None or looks_like_header(names, codes))
        )
        # A CSV file nearly always has a header, one that only looks unlike others perhaps.
        if has_header or (header == "auto" and _suffix(path) == ".csv"):
            places = find_columns(str(path), names, None, codes)
            has_header = True
        elif len(first) == 3 and "tatoeba.org" in first[2] and short_code(codes[1] or "") == "en":
            places = 1, 0  # manythings.org has English first
        elif len(first) in (2, 3):
            places = 0, 1
        else:
            raise DataError(
                f"{path}: has {len(first)} columns and no header that says which they are; "
                "set data.columns: {source: 1, target: 2}, counting from 1"
            )
    if header == "auto":
        is_guess = has_header and of_languages(names, codes) is None
        _tell(path, has_header, is_guess, " | ".join(shown(first[place]) for place in places))
    return places, has_header


@functools.cache  # a table is read several times; once is enough to know
def _tell(path: Path, has_header: bool, is_guess: bool, first: str) -> None:
    what = "taken as the header" if has_header else "taken as a pair, not as a header"
    level = logging.WARNING if is_guess else logging.INFO
    logger.log(level, "%s: first line %s: %s", path, what, first)


def _rows(path: Path, on_fault: OnFault) -> Iterator[tuple[int, list[str]]]:
    """Yield each row's cells and the number of the line it starts on; blank lines are skipped."""
    if _suffix(path) != ".csv":
        for number, line in enumerate(read_lines(path, on_fault), 1):
            if line:
                yield number, line.split("\t")
        return
    csv.field_size_limit(MAX_LINE_BYTES)  # the module's own limit is 128 KiB
    lines = (line.replace("\r", _CARRIAGE_RETURN) + "\n" for line in read_lines(path, on_fault))
    # Strict, for else a quote that is never closed would quietly swallow the rest of the file.
    reader = csv.reader(lines, strict=True)
    number = 1
    try:
        for row in reader:
            if row:
                cells = [one_line(cell).replace(_CARRIAGE_RETURN, "\r") for cell in row]
                yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{number}: broken quoting in the row that starts here ({error}); "
            'a quoted cell ends with a quote, and a quote within it is written ""'
        ) from error
