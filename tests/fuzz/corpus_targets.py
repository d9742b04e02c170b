"""Training text: two files of lines, and tables of every kind."""

from __future__ import annotations

import codecs
import functools
import io
from typing import Any

from seq2seq_cli.config.data import DataConfig
from seq2seq_cli.data.splits import located_pairs
from tests.fuzz.cases import Case, write, write_text

_TEXT_PIECES = [
    piece.encode(errors="surrogatepass")
    for piece in (
        *("Hund", "dog", "Straße", "e\u0301", "\U0001f600", "<unk>", "<eos>", "\u2581", "\u2585"),
        *(" ", " ", "\n", "\n", "\n", "\r\n", "\r", "\t", "\0", "\ufeff", "\u2028", "\x85", "\x1c"),
        *(
            "\xa0",
            "\u200b",
            "\u202e",
            "\x0b",
            "\x0c",
            "\x1b[31m",
            "\ud800",
            "a" * 300,
            "\u0301" * 40,
        ),
        "\udcff",
    )
] + [b"\xff", b"\xff\xfe", b"\xc3", b"\xf0\x9f", b"\xed\xa0\x80", b"\xc0\x80"]
_TABLE_PIECES = [
    *(b",", b",", b"\t", b"\t", b"\n", b"\n", b'"', b'""', b'","', b";", b"|", b"'", b"\\"),
    *(b'"a\nb",c\n', b'"x ""y""\r\nz",\n', b'de,en\n"a\n",b\n'),
    *(b"de", b"en", b"German", b"English", b"source", b"target", b"text_de", b"translation.de"),
    *(b"de,en\n", b"de\ten\n", b"German,English\n", b"a,b\n", b"a\tb\tCC-BY tatoeba.org #1\n"),
    *_TEXT_PIECES,
]
_JSON_PIECES = [
    *(b'{"de": "a", "en": "b"}\n', b'{"translation": {"de": "a", "en": null}}\n', b'{"de.x": 1}'),
    *(b'{"de": "a\\nb", "en": "c\\r\\n"}\n',),
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b'"de": ', b'"en": ', b'"de": "x", ', b"null"),
    *(b"true", b"NaN", b"-Infinity", b"1e999", b"1" * 5000, b"[" * 2000, b'{"a": ' * 2000, b"\\u"),
    *(b'"\\ud800"', b'"\\u0000"', b'"\\n"', b"{}\n", b'{"": {"": 1}}\n', b'{"de": {"de": {}}}\n'),
    *_TEXT_PIECES,
]
_NAMES = [".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet"]
_COLUMNS: list[Any] = [
    None,
    {"source": 1, "target": 2},
    {"source": 3, "target": 1},
    {"source": "de", "target": "en"},
    {"source": "translation.de", "target": "translation.en"},
]


def parallel(data: bytes) -> None:
    """Line i of one file answers line i of the other."""
    case = Case(data)
    middle = case.number(len(data) + 1)
    halves = Case(case.take(middle)), case
    paths, wanted = [], []
    for half, name in zip(halves, ("case.de", "case.en"), strict=True):
        kind = half.number(3)
        text = half.rest() if kind == 2 else half.text(_TEXT_PIECES)
        paths.append(write_text(Case(text[-20:]), name, text))
        wanted.append(_lines(text))
    source, target = map(str, paths)
    pairs = _read({"train": {"source": source, "target": target}}, refuses=case.flag())
    if {path.suffix for path in paths} == {".de", ".en"}:  # what was packed may be damaged
        assert sorted(pairs) == sorted(zip(*wanted, strict=True)), "not the lines that are there"


def _lines(text: bytes) -> list[str]:
    """The lines, as simply as can be."""
    lines = text.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r").decode(errors="replace") for line in lines]


def table(data: bytes) -> None:
    """A pair is two texts of one line each."""
    case = Case(data)
    name = case.pick(_NAMES)
    columns = case.pick(_COLUMNS)
    has_names = columns and isinstance(columns["source"], str)
    header = case.pick(("auto", True) if has_names else ("auto", True, False))
    options = {"columns": columns, "header": header}
    if case.number(4) == 3:
        options["source"] = options["target"] = None
    refuses = case.flag()
    if name == ".parquet":
        path = write(f"case{name}", case.edited(_parquet(), _TEXT_PIECES, case.number(4)))
    else:
        ending = Case(case.take(8))
        pieces = _JSON_PIECES if "json" in name else _TABLE_PIECES
        start = case.pick((b"", b"de,en\n", b"de\ten\n"))
        text = case.rest() if case.number(3) == 2 else case.text(pieces)
        path = write_text(ending, f"case{name}", start + text)
    for source, target in _read({"train": str(path), **options}, refuses=refuses):
        assert "\n" not in source + target


def _read(options: dict[str, Any], *, refuses: bool) -> list[tuple[str, str]]:
    """The pairs of all splits; a fault is no reason to stop unless the reader refuses."""
    values = {"source": "de", "target": "en", **options}
    config = DataConfig.model_validate(values)
    arguments = () if refuses else (lambda file, line, text: None,)
    splits = ("train", "valid", "test")
    pairs = [(pair.source, pair.target) for pair in located_pairs(config, splits, *arguments)]
    for source, target in pairs:
        (source + target).encode()  # half a surrogate pair is no text
    return pairs


@functools.cache
def _parquet() -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    names = {"source": "de", "target": "en"}
    rows = [{"de": f"Hund {i}", "en": f"dog {i}"} for i in range(20)]
    columns = {name: [row[name] for row in rows] for name in names.values()}
    table = pa.table({**columns, "translation": rows})
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()
