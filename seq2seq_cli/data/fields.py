"""Readers of pairs in named fields: JSON lines and Parquet. Line breaks in texts become spaces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq_cli.config.data import Columns
from seq2seq_cli.config.sections import is_encodable
from seq2seq_cli.data.columns import Codes, find_columns, listed, one_line, shown
from seq2seq_cli.data.corpus import OnFault, read_lines
from seq2seq_cli.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_ENOUGH_WITHOUT = 100  # objects without the wanted fields: then their names are wrong


def read_objects(
    path: Path, columns: Columns | None, codes: Codes, on_fault: OnFault
) -> Iterator[tuple[int, str, str]]:
    wanted: tuple[str, str] | None = None
    num_pairs = num_without = 0
    for number, line in enumerate(read_lines(path, on_fault), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_without_repeats, parse_int=_number)
            fields = flatten(value) if isinstance(value, dict) else None
        except (ValueError, RecursionError) as error:
            problem = str(error)
            if isinstance(error, json.JSONDecodeError):
                problem = f"{error.msg} at column {error.colno}"
            on_fault(str(path), number, f"not valid JSON: {problem}{_list_hint(line)}")
            continue
        if fields is None:
            on_fault(str(path), number, f"not a JSON object: {{...}}{_list_hint(line)}")
            continue
        if wanted is None and columns and not columns.has_numbers:
            # Whether they are there is asked of each object: the first one may be the odd one out.
            wanted = str(columns.source), str(columns.target)
        elif wanted is None:
            wanted = named_columns(str(path), list(fields), columns, codes)
        pair = text_fields(fields, wanted)
        if not isinstance(pair, str):
            num_pairs += 1
            yield number, *pair
            continue
        on_fault(str(path), number, pair)
        num_without += 1
        if not num_pairs and num_without == _ENOUGH_WITHOUT:
            raise DataError(f"{path}: none of the first {num_without} objects has the pair: {pair}")


def _list_hint(line: str) -> str:
    is_list = line.lstrip().startswith("[")
    return "; write an object a line, without a list around them" if is_list else ""


def _number(digits: str) -> int | float:
    """A whole number; Python will not read one of thousands of digits, and nobody asks for it."""
    return int(digits) if len(digits) < 20 else float(digits)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a field is there twice")
    return value


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields of an object, those of objects inside by dotted names: `translation.de`.

    Raises ValueError for a name that comes about twice.
    """
    fields: dict[str, Any] = {}
    for name, inner in value.items():
        found = (
            flatten(inner, f"{prefix}{name}.")
            if isinstance(inner, Mapping)
            else {f"{prefix}{name}": inner}
        )
        if not fields.keys().isdisjoint(found):
            raise ValueError("a field is there twice")
        fields |= found
    return fields


def named_columns(
    name: str, found: Sequence[str], columns: Columns | None, codes: Codes
) -> tuple[str, str]:
    """Names of the source and target fields, where fields have names only; see `find_columns`."""
    if columns is not None and columns.has_numbers:
        raise DataError(f"{name}: its columns have names, not numbers; there are: {listed(found)}")
    source, target = find_columns(name, found, columns, codes)
    return found[source], found[target]


def text_fields(fields: Mapping[str, Any], wanted: tuple[str, str]) -> tuple[str, str] | str:
    """The two texts, or what is wrong with them; null is an empty text."""
    texts = []
    for name in wanted:
        if name not in fields and not _is_in_null(name, fields):
            return f"no field {name!r}; there are: {listed(fields)}"
        text = fields.get(name)
        text = "" if text is None else text
        if not isinstance(text, str):
            return f"{shown(name)}: not text but {type(text).__name__}"
        if not is_encodable(text):
            return f"{shown(name)}: half a surrogate pair, which is no character"
        texts.append(one_line(text))
    return texts[0], texts[1]


def _is_in_null(name: str, fields: Mapping[str, Any]) -> bool:
    """Whether the field would be inside one that is null."""
    parts = name.split(".")
    outer = (".".join(parts[:end]) for end in range(1, len(parts)))
    return any(prefix in fields and fields[prefix] is None for prefix in outer)


# ---------------------------------------------------------------- Parquet


def read_parquet(
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
