"""Configs: files of any bytes, shipped ones with lines changed, and --set values over them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from seq2seq_cli.config import Config
from seq2seq_cli.config.reverse_toy import SymbolsConfig
from seq2seq_cli.config_file import (
    dump_config,
    load_config,
    load_reverse_toy_config,
    parse_override,
    section_of,
    shipped_configs,
)
from tests.fuzz.cases import Case, write

ODD_VALUES = [
    *("", "null", "~", "no", "true", "auto", "none", "de", "epoch", "loss", "phrasebook"),
    *("0", "1", "-1", "1e5", "1e400", "1e-400", "9" * 400, "0x10", "1_000", "0.5", ".nan", ".inf"),
    *("\u0663", "\xb2", "1-9", "9-1", "-", "cuda:" + "9" * 30, "inf", "nan", "Infinity", "1e18"),
    *("[]", "{}", "[1, 2]", "[[]]", "[null]", "{a: {b: {c: d}}}", "{kind: none}", "{kind: [1]}"),
    *("{kind: {}}", "{kind: null}", "{kind: bpe}", "{kind: linear, start: 0}", "{null: 1}"),
    *("{1: 2}", "{[a]: b}", "{? : }", "&a [*a]", "&a {b: *a}", "*a", "*other", "&a x", "&other {}"),
    *("{<<: *a}", "{<<: {kind: adam}}", "<<", "!!python/object/apply:os.system [x]", "!!int x"),
    *(
        "!!binary aGk=",
        "!!set {a}",
        "!!null x",
        "!x",
        "!<",
        "'",
        '"',
        "'\\0'",
        '"\\0"',
        '"\\ud800"',
    ),
    *('"\\U99999999"', '"\\x85"', "\u2028", "\x85", "\x00", "\ufeff", "\ud800", "@x", "`", "%TAG"),
    *("---", "...", "|", ">-", "a: b: c", "? a", "- a", "# a", ":", ",", "[" * 30, "{a: " * 30),
    *(
        "a.csv",
        "*.tsv",
        "~/a.csv",
        "~nobody/a.csv",
        "~\0",
        "../..",
        "/",
        ".",
        "hf:a/b",
        "hf:..",
        "hf:",
    ),
    *("kaggle:a/b/c.csv", "kaggle:a/b/../c.csv", "tatoeba", "x" * 300, "[a.csv, {source: b}]"),
    *(
        "{source: a, target: b}",
        "{source: [a], target: [b, c]}",
        "{source: , target: }",
        "%",
        "1:2",
    ),
]
_PIECES = [
    piece.encode(errors="surrogatepass")
    for piece in (*ODD_VALUES, "\n", "\n", "\n  ", ": ", "\t", "\r\n", "- ", " ", "data:", "model:")
]


def config(data: bytes) -> None:
    """What loads can be written, and loads again as the same."""
    case = Case(data)
    kind = case.pick(("changed", "changed", "set", "set", "pieces", "bytes"))
    text = _shipped(case)
    if kind == "bytes":
        text = case.rest()
    elif kind == "pieces":
        text = case.text(_PIECES)
    elif kind == "changed":
        text = _changed(case, text)
    is_toy = kind != "changed" and case.number(4) == 3
    keys = _keys(SymbolsConfig if is_toy else Config)
    overrides = [
        parse_override(f"{case.pick(keys)}={_value(case)}")
        for _ in range(1 + case.number(4) if kind == "set" else case.number(2))
    ]
    if is_toy:
        path = None if kind == "set" else write("case.yaml", text)
        load_reverse_toy_config(path, overrides)
        return
    loaded = load_config(str(write("case.yaml", text)), overrides)
    again = load_config(str(write("again.yaml", dump_config(loaded).encode())))
    assert again == loaded, "a config that was written is read as another one"


@functools.cache
def _shipped_texts() -> list[bytes]:
    return [path.read_bytes() for path in shipped_configs().values()]


def _shipped(case: Case) -> bytes:
    return case.pick(_shipped_texts())


def _changed(case: Case, text: bytes) -> bytes:
    """With some lines that are changed, moved, gone or there twice."""
    lines = text.split(b"\n")
    for _ in range(1 + case.number(4)):
        place, kind = case.number(len(lines)), case.number(7)
        key, colon, value = lines[place].partition(b":")
        if kind == 0:  # the value
            new = _value(case).encode(errors="surrogatepass")
            lines[place] = key + colon + b" " + new
        elif kind == 1:  # the key
            other = case.pick(lines).partition(b":")[0].strip()
            lines[place] = key[: len(key) - len(key.lstrip())] + other + colon + value
        elif kind == 2:  # the indentation
            lines[place] = b" " * case.number(30) + lines[place].lstrip()
        elif kind == 3:
            other_place = case.number(len(lines))
            lines[place], lines[other_place] = lines[other_place], lines[place]
        elif kind == 4:
            lines.insert(place, case.pick(lines))
        elif kind == 5 and len(lines) > 1:
            del lines[place]
        else:
            lines[place] = case.edited(lines[place], _PIECES, 1)
    return b"\n".join(lines)


def _value(case: Case) -> str:
    if case.number(8):
        return case.pick(ODD_VALUES)
    return case.take(1 + case.number(30)).decode(errors="surrogateescape")


@functools.cache
def _keys(schema: type[Any]) -> list[str]:
    """Every dotted key of a config, and some that are none."""
    return [*dict.fromkeys(_keys_of(schema, "")), "x", "data.x.y", "=", "", ".", "seed.a", "a b"]


def _keys_of(section: type[Any], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        inner = section_of(field.annotation)
        for one in inner.values() if isinstance(inner, Mapping) else [inner]:
            if one is not None:
                yield from _keys_of(one, f"{prefix}{name}.")
