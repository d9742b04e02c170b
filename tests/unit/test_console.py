"""What goes to stderr and when; tables, durations and sizes for people."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seq2seq_cli.console import (
    SHOWN_BY_BAR,
    bars_are_shown,
    configure_logging,
    duration,
    harmless,
    json_line,
    log_to,
    progress_bar,
    size,
    table,
)

logger = logging.getLogger("seq2seq")


@pytest.fixture(autouse=True)
def _leave_the_logger_as_it_was() -> Iterator[None]:
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80, lines: int = 24) -> Terminal:
    """Make stderr one. No fixture: pytest puts its own stderr in place after the set-up."""
    stream = Terminal()
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((columns, lines)))
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def say_something_at_every_level() -> None:
    logger.debug("a %s", "detail")
    logger.info("some news")
    logger.warning("beware")
    logger.error("it broke")


# ---------------------------------------------------------------- tables and numbers


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ""),
        ([["a"]], "a"),
        ([["a", "1"], ["long", "1000"]], "a        1\nlong  1000"),
        ([["x", "yy", "z"], ["xx", "y", ""]], "x   yy  z\nxx   y"),
        ([["", "1"], ["a", "2"]], "   1\na  2"),
        ([["straße", "1"], ["b", "2"]], "straße  1\nb       2"),
    ],
)
def test_a_table_aligns_its_columns(rows: list[list[str]], expected: str) -> None:
    assert table(rows) == expected
    assert table(tuple(row) for row in rows) == expected


def test_a_table_with_a_cell_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        table([["a", "b"], ["c"]])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"),
        (0.04, "0.0 s"),
        (1.26, "1.3 s"),
        (9.9, "9.9 s"),
        (10, "10 s"),
        (45.4, "45 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (60, "1 min 00 s"),
        (725, "12 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (3600, "1 h 00 min"),
        (12_000, "3 h 20 min"),
        (360_059, "100 h 00 min"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, "0 MB"),
        (1_400_000, "1 MB"),
        (512e6, "512 MB"),
        (999e6, "999 MB"),
        (1e9, "1.0 GB"),
        (1_440_000_000, "1.4 GB"),
        (2e12, "2000.0 GB"),
    ],
)
def test_sizes(num_bytes: float, expected: str) -> None:
    assert size(num_bytes) == expected


# ---------------------------------------------------------------- logging

ALL = ["a detail", "some news", "warning: beware", "error: it broke"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [(logging.DEBUG, ALL), (logging.INFO, ALL[1:]), (logging.WARNING, ALL[2:])],
)
def test_stderr_gets_the_lines_of_the_level_and_stdout_nothing(
    level: int, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(level)
    say_something_at_every_level()
    printed = capsys.readouterr()
    assert printed.err.splitlines() == expected
    assert printed.out == ""


def test_configuring_again_replaces_what_was(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(logging.DEBUG)
    configure_logging(logging.WARNING)
    say_something_at_every_level()
    assert capsys.readouterr().err.splitlines() == ALL[2:]
    configure_logging()
    say_something_at_every_level()
    assert capsys.readouterr().err.splitlines() == ALL[1:]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING])
def test_a_log_file_gets_news_and_above_however_quiet_the_terminal_is(
    level: int, tmp_path: Path
) -> None:
    path = tmp_path / "train.log"
    configure_logging(level)
    with log_to(path) as begin:
        begin()
        say_something_at_every_level()
    lines = path.read_text(encoding="utf-8").splitlines()
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    wanted = ["INFO some news", "WARNING beware", "ERROR it broke"]
    assert len(lines) == len(wanted)
    for line, text in zip(lines, wanted, strict=True):
        assert re.fullmatch(f"{time} {text}", line)


def test_a_log_file_is_appended_to_and_left_alone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("before\n")
    configure_logging(logging.WARNING)
    with log_to(path) as begin:
        begin()
        logger.info("näher → 日本")
    after = path.read_text(encoding="utf-8")
    assert after.startswith("before\n")
    assert after.endswith(" INFO näher → 日本\n")
    logger.error("later")
    assert path.read_text(encoding="utf-8") == after


def test_a_log_file_begins_when_told_to_with_what_was_said_before(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    configure_logging(logging.WARNING)
    with log_to(path):
        logger.info("nothing comes of it")
    assert not path.exists()
    with log_to(path) as begin:
        logger.info("before")
        assert not path.exists()
        begin()
        logger.info("after")
        assert path.read_text().count("\n") == 2
    assert [line.rpartition(" ")[2] for line in path.read_text().splitlines()] == [
        "before",
        "after",
    ]


def test_a_log_file_that_cannot_be_written_is_no_reason_to_stop(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logging(logging.WARNING)
    with log_to(Path("/dev/full")) as begin:
        begin()
        logger.info("lost")
    assert capfd.readouterr() == ("", "")


def test_a_terminal_that_has_gone_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

        def fileno(self) -> int:
            return 0

    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((80, 24)))
    configure_logging()
    bar = progress_bar(10, " step")
    assert not bar.disable
    logger.warning("nobody reads it")
    bar.update(5)
    bar.refresh()
    bar.close()


def test_a_log_file_is_closed_when_the_block_fails(tmp_path: Path) -> None:
    configure_logging(logging.WARNING)
    before = logger.handlers[:]

    def fail() -> None:
        with log_to(tmp_path / "train.log"):
            assert len(logger.handlers) == len(before) + 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert logger.handlers == before


# ---------------------------------------------------------------- progress bars


def test_no_bar_off_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    assert not bars_are_shown()
    with progress_bar(10, "step", "training") as bar:
        bar.update(10)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("level", "shown"), [(logging.DEBUG, True), (logging.INFO, True), (logging.WARNING, False)]
)
def test_a_bar_on_the_terminal_unless_quiet(
    level: int, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_a_terminal(monkeypatch)
    configure_logging(level)
    assert bars_are_shown() is shown
    with progress_bar(100, "step", "epoch 3", done=40) as bar:
        bar.update(10)
        bar.refresh()
    drawn = terminal.getvalue()
    assert ("epoch 3" in drawn) is shown
    assert ("40%|" in drawn) is shown
    assert ("50%|" in drawn) is shown


def test_what_a_bar_shows_is_logged_only_where_there_is_no_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_a_terminal(monkeypatch)
    configure_logging()
    with log_to(tmp_path / "log") as begin:
        begin()
        logger.info("loss 3", extra=SHOWN_BY_BAR)
        logger.info("epoch ended")
    assert terminal.getvalue() == "epoch ended\n"
    assert "INFO loss 3\n" in (tmp_path / "log").read_text()


def test_without_a_bar_its_news_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logger.info("loss 3", extra=SHOWN_BY_BAR)
    assert capsys.readouterr().err == "loss 3\n"


def test_a_line_goes_above_a_running_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    configure_logging()
    with progress_bar(3, "step") as bar:
        bar.update(1)
        logger.info("news")
        assert bar.n == 1
    last = terminal.getvalue().rpartition("news\n")
    assert last[1]
    assert "\r" in last[0]  # the bar was cleared first
    assert "%|" in last[2]  # and drawn again below


def test_the_whole_bar_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = on_a_terminal(monkeypatch)
    configure_logging()
    with progress_bar(11_350, " step", "epoch 10/10", done=4_200) as bar:
        # Half an hour left, as far as the bar can tell.
        bar.start_t -= 1100
        bar.set_postfix_str("loss 2.628, ppl 13.8, 12,345 tokens/s")
    shown = stream.getvalue().split("\r")
    assert any("tokens/s" in line and len(line) <= 80 for line in shown), shown


def test_a_terminal_without_a_size_gets_lines_instead_of_a_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = on_a_terminal(monkeypatch, columns=0, lines=0)
    configure_logging()
    assert not bars_are_shown()
    logger.info("loss 3", extra=SHOWN_BY_BAR)
    assert "loss 3" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Spaß : ça va\u202f? – „ja“", "Spaß : ça va\u202f? – „ja“"),
        ("क\u200dष", "क\u200dष"),
        ("two\nlines", "two\nlines"),
        ("ring\x07 \x1b]0;title\x07", "ring\\x07 \\x1b]0;title\\x07"),
        ("\x9b31m \u202e \u2028", "\\x9b31m \\u202e \\u2028"),
        ("tab\t cr\r", "tab\\t cr\\r"),
    ],
)
def test_text_of_others_does_nothing_to_a_terminal(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_logged_sentences_do_nothing_to_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()
    with log_to(tmp_path / "train.log") as begin:
        begin()
        logging.getLogger("seq2seq").warning("source %s", "\x1b]0;pwned\x07")
    assert "\x1b" not in capsys.readouterr().err
    assert "\x1b" not in (tmp_path / "train.log").read_text()


def test_json_does_nothing_to_a_terminal_and_says_the_same() -> None:
    values = {"text": "\x1b[0m \x9b \u202e ü \u200c"}
    line = json_line(values)
    assert not any(character in line for character in "\x1b\x9b\u202e")
    assert json.loads(line) == values
