"""Readers of tables of sentence pairs: CSV, tab-separated text, JSON lines, Parquet.

A line break inside a cell becomes a space. Everything streams.
"""

from __future__ import annotations

import csv
import functools
import itertools
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seq2seq_cli.config.data import Column, Columns
from seq2seq_cli.data import languages
from seq2seq_cli.data.corpus import COMPRESSED, OnFault, PairSource, expand, read_lines
from seq2seq_cli.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger("seq2seq")

Header = bool | Literal["auto"]
Codes = tuple[str | None, str | None]
"""Language codes of source and target, as far as the config names them."""

_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".parquet")

# Stands for "\r" while the csv module, which would end a row there, looks at the text. Half a
# surrogate pair never comes out of UTF-8, so it cannot be part of anyone's text.
_CARRIAGE_RETURN = "\udc0d"

# What names of columns are made of, beside the names and codes of languages.
_HEADER_WORD = re.compile(
    r"(source|src|target|trg|tgt|texts?|sentences?|translations?|words?|phrases?|input|output|id)"
)


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
            return _read_objects(path, columns, codes, on_fault)
        if suffix == ".parquet":
            return _read_parquet(path, columns, codes, on_fault)
        return _read_cells(path, columns, header, codes, on_fault)

    return PairSource(str(path), str(path), read)


def _suffix(path: Path) -> str:
    name = Path(path.name.lower())
    is_compressed = name.suffix in COMPRESSED
    suffix = Path(name.stem).suffix if is_compressed else name.suffix
    if suffix == ".parquet" and is_compressed:  # it is compressed inside
        return f"{suffix}{name.suffix}"
    return suffix.replace(".ndjson", ".jsonl")


def one_line(text: str) -> str:
    """A cell's text with a space for each line break."""
    return text.replace("\r\n", " ").replace("\n", " ")


# ---------------------------------------------------------------- columns


def find_columns(
    name: str, found: Sequence[str], columns: Columns | None, codes: Codes
) -> tuple[int, int]:
    """Where source and target stand among the columns `found` in `name`.

    Without `columns`, they are those named like the languages: `de`, `German`, `translation.de`.

    Raises DataError, listing the columns there are, when they are not there or there twice.
    """
    there = f"there are: {', '.join(map(_shown, found))}"
    if columns is not None:
        return _find(name, found, columns.source, there), _find(name, found, columns.target, there)
    places = _of_languages(found, codes)
    if places is None:
        raise DataError(
            f"{name}: which columns? set data.columns: {{source: ..., target: ...}}; {there}"
        )
    return places


def _of_languages(found: Sequence[str], codes: Codes) -> tuple[int, int] | None:
    """The one column named like the source language and the one named like the target."""
    source, target = (
        [
            index
            for index, column in enumerate(found)
            if code and column.lower().rpartition(".")[2] in languages.names(code)
        ]
        for code in codes
    )
    if len(source) != 1 or len(target) != 1 or source == target:
        return None
    return source[0], target[0]


def _shown(name: str) -> str:
    """A cell as it fits into a line of an error."""
    text = name if name.isprintable() else ascii(name)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _find(name: str, found: Sequence[str], wanted: Column, there: str) -> int:
    if isinstance(wanted, int):
        if wanted > len(found):
            raise DataError(f"{name}: no column {wanted}, there are {len(found)}")
        return wanted - 1
    if found.count(wanted) != 1:
        problem = (
            f"two columns are named {wanted!r}" if wanted in found else f"no column {wanted!r}"
        )
        raise DataError(f"{name}: {problem}; {there}")
    return found.index(wanted)


def _looks_like_header(cells: Sequence[str], codes: Codes) -> bool:
    """Whether every cell names a column: a language, perhaps with such words as `text` beside it.

    Where the config names the languages, no other codes count: "No" is no Norwegian in an English
    text. Without such a word, a language stands alone: "he is" are no two languages.
    """
    known = frozenset[str]().union(*(languages.names(code) for code in codes if code))

    def is_language(word: str) -> bool:
        is_any = languages.is_name(word) and (len(word) > 3 or not all(codes))
        return word in known or is_any

    for cell in cells:
        words = re.findall(r"[^\W\d_]+", cell.lower())
        plain = [word for word in words if not _HEADER_WORD.fullmatch(word)]
        is_sentence = bool(re.search(r"[^\w\s/\-()]", cell)) or len(plain) == len(words) > 1
        if not words or is_sentence or not all(map(is_language, plain)):
            return False
    return len(set(cells)) == len(cells)


# ---------------------------------------------------------------- cells


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
    names = [cell.strip() for cell in first]
    if columns and columns.has_names:
        return find_columns(str(path), names, columns, codes), True
    if columns is not None:
        places = find_columns(str(path), names, columns, codes)
        has_header = header is True or (
            header == "auto" and _looks_like_header([names[place] for place in places], codes)
        )
    else:
        has_header = header is True or (
            header == "auto"
            and (_of_languages(names, codes) is not None or _looks_like_header(names, codes))
        )
        # A CSV file nearly always has a header, one that only looks unlike others perhaps.
        if has_header or (header == "auto" and _suffix(path) == ".csv"):
            places = find_columns(str(path), names, None, codes)
            has_header = True
        elif len(first) == 3 and "tatoeba.org" in first[2] and codes[1] in ("en", "eng"):
            places = 1, 0  # manythings.org has English first
        elif len(first) in (2, 3):
            places = 0, 1
        else:
            raise DataError(
                f"{path}: has {len(first)} columns and no header that says which they are; "
                "set data.columns: {source: 1, target: 2}, counting from 1"
            )
    if header == "auto":
        _tell(path, has_header, " | ".join(_shown(first[place]) for place in places))
    return places, has_header


@functools.cache  # a table is read several times; once is enough to know
def _tell(path: Path, has_header: bool, first: str) -> None:
    what = "taken as the header" if has_header else "taken as a pair, not as a header"
    logger.info("%s: first line %s: %s", path, what, first)


def _rows(path: Path, on_fault: OnFault) -> Iterator[tuple[int, list[str]]]:
    """Yield each row's cells and the number of the line it starts on; blank lines are skipped."""
    if _suffix(path) != ".csv":
        for number, line in enumerate(read_lines(path, on_fault), 1):
            if line:
                yield number, line.split("\t")
        return
    csv.field_size_limit(2**31 - 1)  # the module's own limit is 128 KiB; this is the largest int
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


# ---------------------------------------------------------------- fields


def _read_objects(
    path: Path, columns: Columns | None, codes: Codes, on_fault: OnFault
) -> Iterator[tuple[int, str, str]]:
    wanted: tuple[str, str] | None = None
    for number, line in enumerate(read_lines(path, on_fault), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_without_repeats)
            fields = flatten(value) if isinstance(value, dict) else None
        except (ValueError, RecursionError) as error:
            problem = str(error)
            if isinstance(error, json.JSONDecodeError):
                problem = f"{error.msg} at column {error.colno}"
            on_fault(str(path), number, f"not valid JSON: {problem}")
            continue
        if fields is None:
            on_fault(str(path), number, "not a JSON object: {...}")
            continue
        if wanted is None and columns and not columns.has_numbers:
            # Whether they are there is asked of each object: the first one may be the odd one out.
            wanted = str(columns.source), str(columns.target)
        elif wanted is None:
            wanted = named_columns(str(path), list(fields), columns, codes)
        pair = text_fields(fields, wanted)
        if isinstance(pair, str):
            on_fault(str(path), number, pair)
        else:
            yield number, *pair


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a field is there twice")
    return value


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields of an object, those of objects inside by dotted names: `translation.de`."""
    fields: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            fields |= flatten(inner, f"{prefix}{name}.")
        else:
            fields[f"{prefix}{name}"] = inner
    return fields


def named_columns(
    name: str, found: Sequence[str], columns: Columns | None, codes: Codes
) -> tuple[str, str]:
    """Names of the source and target fields, where fields have names only; see `find_columns`."""
    if columns is not None and columns.has_numbers:
        there = ", ".join(map(_shown, found))
        raise DataError(f"{name}: its columns have names, not numbers; there are: {there}")
    source, target = find_columns(name, found, columns, codes)
    return found[source], found[target]


def text_fields(fields: Mapping[str, Any], wanted: tuple[str, str]) -> tuple[str, str] | str:
    """The two texts, or what is wrong with them; null is an empty text."""
    texts = []
    for name in wanted:
        if name not in fields and not _is_in_null(name, fields):
            return f"no field {name!r}; there are: {', '.join(map(_shown, fields))}"
        text = fields.get(name)
        text = "" if text is None else text
        if not isinstance(text, str):
            return f"{name}: not text but {type(text).__name__}"
        if not _is_utf8(text):
            return f"{name}: half a surrogate pair, which is no character"
        texts.append(one_line(text))
    return texts[0], texts[1]


def _is_in_null(name: str, fields: Mapping[str, Any]) -> bool:
    """Whether the field would be inside one that is null."""
    parts = name.split(".")
    outer = (".".join(parts[:end]) for end in range(1, len(parts)))
    return any(prefix in fields and fields[prefix] is None for prefix in outer)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---------------------------------------------------------------- Parquet


def _read_parquet(
    path: Path, columns: Columns | None, codes: Codes, on_fault: OnFault
) -> Iterator[tuple[int, str, str]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path}: Parquet needs pyarrow: pip install 'seq2seq-cli[parquet]'"
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            types = _columns(file.schema_arrow)
            wanted = named_columns(str(path), [name for name, _ in types], columns, codes)
            for name, kind in types:
                if name in wanted and not _is_text(kind):
                    raise DataError(f"{path}: column {name!r} holds {kind}, not text")
            for batch in file.iter_batches(batch_size=4096, columns=list(dict.fromkeys(wanted))):
                for fields in _text_rows(batch, wanted):
                    number += 1
                    pair = "not valid UTF-8" if fields is None else text_fields(fields, wanted)
                    if isinstance(pair, str):
                        on_fault(str(path), number, pair)
                    else:
                        yield number, *pair
    except (pa.ArrowException, UnicodeDecodeError) as error:  # an ArrowException may be an OSError
        reason = str(error).split("\n")[0]
        raise DataError(f"{path}: damaged, or no Parquet file: {reason}") from error
    except OSError as error:
        reason = error.strerror or str(error).split("\n")[0]
        raise DataError(f"{path}: cannot be read: {reason}") from error


def _columns(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    """Columns and their types, those inside others by dotted names."""
    import pyarrow as pa

    types: list[tuple[str, pa.DataType]] = []

    def add(field: pa.Field[Any], prefix: str) -> None:
        if pa.types.is_struct(field.type):
            for index in range(field.type.num_fields):
                add(field.type.field(index), f"{prefix}{field.name}.")
        else:
            types.append((f"{prefix}{field.name}", field.type))

    for field in schema:
        add(field, "")
    return types


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    )


def _text_rows(batch: pa.RecordBatch, wanted: tuple[str, str]) -> Iterator[dict[str, Any] | None]:
    """Each row's wanted fields; None for a row whose text is not UTF-8."""
    from pyarrow import compute

    columns = {}
    for name in wanted:
        parts = name.split(".")
        # A name may itself have dots in it: the longest one that is there is meant.
        top = next(
            ".".join(parts[:end])
            for end in range(len(parts), 0, -1)
            if ".".join(parts[:end]) in batch.schema.names
        )
        column: Any = batch.column(top)
        inner = name.removeprefix(top).removeprefix(".")
        columns[name] = compute.struct_field(column, inner.split(".")) if inner else column
    for row in range(batch.num_rows):
        try:
            yield {name: column[row].as_py() for name, column in columns.items()}
        except UnicodeDecodeError:
            yield None
