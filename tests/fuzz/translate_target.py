"""Text of any bytes for a model to translate, through the real command."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from seq2seq_cli import cli
from seq2seq_cli.errors import SeqError
from tests.fuzz.cases import Case, folder, write, write_text
from tests.fuzz.model_targets import CONFIGS, model_path

_LINE_PIECES = [
    piece.encode()
    for piece in (
        *(
            "Hund",
            "der",
            "Haus",
            ",",
            ".",
            "'",
            '"',
            "(",
            "<unk>",
            "<eos>",
            "<pad>",
            "\u2581",
            "|||",
        ),
        *("\u2585", "\x1c", "\x1d", "e\u0301", "\u0301", "\U0001f600", "\u200d", "\u202e", "\xa0"),
        *(
            "0 ||| a ||| x= 1 ||| -1.5\n",
            "1 ||| ||| ||| 0\n",
            "a\tb\n",
            "a\tb\t0.5\n",
            "-1",
            "1e999",
        ),
        *(" ", " ", " ", "\n", "\n", "\n", "\r\n", "\r", "\t", "\0", "\ufeff", "\u2028", "\x85"),
        *("\x1b[2J", "a" * 200, "x " * 40, "\u0130", "\ufdfa", "\u1e9e", "0 ||| "),
    )
] + [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xff\xfe"]
_FLAGS = ["invalid_utf8", "truncated", "unknown_words", "length_capped"]


def translate(data: bytes) -> None:
    """A line out for each line in, whatever is in them, in each form that can be asked for."""
    case = Case(data)
    index = case.number(len(CONFIGS))
    form = case.pick((*_FORMS, "text", "text"))
    as_json = form == "json" or case.number(4) == 3
    ending = Case(case.take(8))
    second = case.take(case.number(60)) if form in ("score", "rescore", "dictionary") else b""
    text = case.rest() if case.number(4) == 3 else case.text(_LINE_PIECES)
    options: dict[str, Any] = _FORMS[form]
    num_lines = None
    if form == "arguments":
        texts = [word.decode(errors="surrogateescape") for word in text.split(b"\0")[:4]]
        options = {"texts": texts}
        num_lines = len(texts) + text.count(b"\n") if len(texts) < 4 else None
    else:
        path = write_text(Case(b"") if form == "piped" else ending, "case.txt", text)
        options = {**options, "input_name": "-" if form == "piped" else str(path)}
        if path.suffix == ".txt":
            whole = text.removeprefix(codecs.BOM_UTF8)
            num_lines = whole.count(b"\n") + (whole != b"" and not whole.endswith(b"\n"))
    if form == "score":
        options["targets"] = write("case.second", _of_lines(second, num_lines or 0))
    elif form == "rescore":
        options["nbest_list"] = write("case.second", Case(second).text(_LINE_PIECES))
    elif form == "dictionary":
        options["dictionary"] = write("case.second", Case(second).text(_LINE_PIECES))
    written = _translated(model_path(index), text, {**options, "as_json": as_json})
    if form == "n_best" and not as_json:
        numbers = {int(line.partition(" ||| ")[0]) for line in written}
        num_written = len(numbers)
        assert numbers == set(range(num_written)), "a line has no translation"
    else:
        num_written = len(written)
    assert num_lines in (None, num_written), f"{num_lines} lines in, {num_written} out"
    for line in written if as_json else ():
        flags = json.loads(line)["flags"]
        assert flags == [flag for flag in _FLAGS if flag in flags]


_FORMS: dict[str, dict[str, Any]] = {
    "text": {},
    "json": {},
    "piped": {},
    "arguments": {},
    "score": {},
    "rescore": {},
    "n_best": {"n_best": 2},
    "dictionary": {"replace_unk": True},
    "drawn": {"temperature": 1.0, "seed": 3},
}


def _translated(model: Path, piped: bytes, options: dict[str, Any]) -> list[str]:
    """The lines that `seq2seq translate` writes; raises the error that it reports."""
    output = folder() / "case.out"
    limits: dict[str, Any] = {} if {"targets", "nbest_list"} & {*options} else {"max_length": 4}
    with (
        contextlib.redirect_stderr(io.StringIO()) as told,
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped))),
    ):
        try:
            cli.translate(
                models=[str(model)], output_name=str(output), quiet=True, **limits, **options
            )
        except SystemExit as end:
            if isinstance(end.__context__, SeqError):
                raise end.__context__ from None
            raise AssertionError(f"ended with {end.code}: {told.getvalue()}") from end
    written = output.read_bytes().decode().split("\n")
    assert written.pop() == "", "the last line has no end"
    return written


def _of_lines(text: bytes, num_lines: int) -> bytes:
    """Mostly as many lines as that; few texts have as many as another by chance."""
    lines = (text.split(b"\n") + [b""] * num_lines)[: num_lines + (len(text) % 9 == 8)]
    return b"".join(line + b"\n" for line in lines)
