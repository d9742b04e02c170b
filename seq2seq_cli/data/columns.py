"""Which columns of a table, or fields of an object, hold the pairs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence

from seq2seq_cli import languages
from seq2seq_cli.config.data import Column, Columns
from seq2seq_cli.errors import DataError

Codes = tuple[str | None, str | None]
"""Language codes of source and target, as far as the config names them."""

_MAX_LISTED = 50

# What names of columns are made of, beside the names and codes of languages.
_HEADER_WORD = re.compile(
    r"(source|src|target|trg|tgt|texts?|sentences?|translations?|words?|phrases?|input|output|id)"
)


def find_columns(
    name: str, found: Sequence[str], columns: Columns | None, codes: Codes
) -> tuple[int, int]:
    """Where source and target stand among the columns `found` in `name`.

    Without `columns`, they are those named like the languages: `de`, `German`, `translation.de`.

    Raises DataError, listing the columns there are, when they are not there or there twice.
    """
    there = f"there are: {listed(found)}"
    if columns is not None:
        source = _find(name, found, columns.source, there)
        target = _find(name, found, columns.target, there)
        if source == target:
            raise DataError(f"{name}: data.columns names the same column twice; {there}")
        return source, target
    places = of_languages(found, codes)
    if places is None:
        raise DataError(
            f"{name}: which columns? set data.columns: {{source: ..., target: ...}}; {there}"
        )
    return places


def of_languages(found: Sequence[str], codes: Codes) -> tuple[int, int] | None:
    """The one column named like the source language and the one named like the target."""
    ends = [column.lower().rpartition(".")[2] for column in found]
    source, target = (
        [index for index, end in enumerate(ends) if end in names]
        for names in (languages.names(code) if code else () for code in codes)
    )
    if len(source) != 1 or len(target) != 1 or source == target:
        return None
    return source[0], target[0]


def shown(name: str) -> str:
    """A cell as it fits into a line of an error."""
    text = name if name.isprintable() else ascii(name)
    return text if len(text) <= 60 else f"{text[:59]}…"


def listed(names: Collection[str]) -> str:
    """Names of columns as they fit into a line of an error; of very many, the first ones."""
    first = ", ".join(map(shown, itertools.islice(names, _MAX_LISTED)))
    num_more = len(names) - _MAX_LISTED
    return f"{first} and {num_more:,} more" if num_more > 0 else first


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


def looks_like_header(cells: Sequence[str], codes: Codes) -> bool:
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


def one_line(text: str) -> str:
    """A cell's text with a space for each line break."""
    return text.replace("\r\n", " ").replace("\n", " ")
