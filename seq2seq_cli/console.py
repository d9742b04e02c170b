"""What people see: log lines and progress bars on stderr, data and tables on stdout."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any, Never

from tqdm import tqdm

logger = logging.getLogger("seq2seq")

_ACTING = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# A record with this attribute repeats what a progress bar shows; it goes to the terminal only when
# there is no bar.
SHOWN_BY_BAR = {"shown_by_bar": True}
# And one with this attribute is for train.log: the command itself tells the person.
SHOWN_BY_COMMAND = {"shown_by_command": True}


class _StderrHandler(logging.Handler):
    """Writes lines above a running progress bar; warnings and errors say what they are."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "shown_by_bar", False) and bars_are_shown():
            return
        if getattr(record, "shown_by_command", False):
            return
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        with suppress(OSError):  # a terminal that was closed is no reason to lose work
            tqdm.write(prefix + harmless(record.getMessage()), file=sys.stderr)


class _HarmlessFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


def harmless(text: str) -> str:
    """Text with escapes for the characters that would do something to a terminal: people's own
    sentences, and file and field names, go into messages. Line feeds stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c == "\n" or _only_shows(c) else ascii(c)[1:-1] for c in text)


def _only_shows(character: str) -> bool:
    """Languages have other spaces too, and joiners."""
    is_space = unicodedata.category(character) == "Zs"
    return character.isprintable() or is_space or character in "\u200c\u200d"


def configure_logging(level: int = logging.INFO) -> None:
    """Send the program's log lines of `level` and above to stderr."""
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    for handler in [handler for handler in logger.handlers if isinstance(handler, _StderrHandler)]:
        logger.removeHandler(handler)
    handler = _StderrHandler()
    handler.setLevel(level)
    logger.addHandler(handler)


class _LogFile(logging.FileHandler):
    """Does without the lines that cannot be written: who needs the room needs it for other files,
    and is told by them."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):  # of what is left in its buffer
            super().close()


@contextmanager
def log_to(path: Path) -> Iterator[Callable[[], None]]:
    """Inside the block, append log lines with their time to a file, --quiet or not, once the
    function that is handed out was called: until then they wait, and a block that ends without it
    leaves no file."""
    file = _LogFile(path, encoding="utf-8", delay=True)
    file.setFormatter(_HarmlessFormatter("%(asctime)s %(levelname)s %(message)s"))
    waiting = MemoryHandler(1 << 20, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    waiting.setLevel(logging.INFO)
    logger.addHandler(waiting)

    def begin() -> None:
        waiting.setTarget(file)
        waiting.flush()
        waiting.capacity = 1

    try:
        yield begin
    finally:
        logger.removeHandler(waiting)
        waiting.close()
        file.close()


@contextmanager
def hushed() -> Iterator[None]:
    """Inside the block, nothing is logged but warnings and errors; progress bars stay."""
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(before)


def bars_are_shown() -> bool:
    """Whether stderr is a terminal of some size and --quiet was not given."""
    try:
        has_room = all(os.get_terminal_size(sys.stderr.fileno()))
    except (OSError, ValueError):
        return False
    quiet = any(
        isinstance(handler, _StderrHandler) and handler.level > logging.INFO
        for handler in logger.handlers
    )
    return has_room and not quiet


def progress_bar(total: int | None, unit: str, description: str = "", done: int = 0) -> tqdm[Never]:
    """A bar on stderr where people look at it, nothing elsewhere."""
    return tqdm(
        total=total,
        initial=done,
        unit=unit,
        unit_scale=unit == "B",
        desc=description,
        file=sys.stderr,
        disable=not bars_are_shown(),
        dynamic_ncols=True,
        leave=False,
        mininterval=0.2,
        # tqdm's own format has no room for anything else at 80 columns.
        bar_format="{desc} {percentage:.0f}%|{bar:8}| {remaining} left{postfix}"
        if total
        else "{desc} {n_fmt}{unit}, {elapsed}{postfix}",
    )


def print_above_bars(line: str) -> None:
    """Print to stdout; a running progress bar makes way."""
    tqdm.write(line, file=sys.stdout)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows as aligned columns: the first to the left, the others to the right."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def json_line(values: Mapping[str, Any]) -> str:
    """One line of JSON. It knows no infinities: a perplexity beyond all numbers becomes null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
    line = json.dumps(finite, ensure_ascii=False, allow_nan=False)
    # JSON escapes the controls of ASCII; these act on terminals too, and stand inside strings only.
    return _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def duration(seconds: float) -> str:
    """`45 s`, `12 min 05 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(num_bytes: float) -> str:
    """`512 MB`, `1.4 GB`."""
    megabytes = num_bytes / 1e6
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 999.5 else f"{megabytes:.0f} MB"
