"""Signals as requests."""

import logging
import signal
from pathlib import Path

import pytest

from seq2seq_cli.console import log_to
from seq2seq_cli.errors import Interrupted
from seq2seq_cli.training.stopping import stop_on_signals
from tests.unit.training.support import library_ended_by_sigterm

NUMBERS = [signal.SIGINT, signal.SIGTERM]


class _SignalWithinALine(logging.Handler):
    """Sends a signal while a record is being written; `depth` tells how many are at a time."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self.number = number
        self.depth = self.deepest = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        if self.depth == 1:
            signal.raise_signal(self.number)
        self.depth -= 1


@pytest.mark.parametrize("number", NUMBERS)
def test_signal_in_the_middle_of_a_log_line_writes_no_other_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    logger = logging.getLogger("seq2seq")
    handler = _SignalWithinALine(number)
    logger.addHandler(handler)
    try:
        with log_to(tmp_path / "train.log") as begin, stop_on_signals() as stop:
            begin()
            logger.error("a line")
    finally:
        logger.removeHandler(handler)
    assert handler.deepest == 1
    assert stop.signal == number
    assert (tmp_path / "train.log").read_text().count("\n") == 1
    assert f"{number.name}: finishing the step and saving" in capfd.readouterr().err


@pytest.mark.parametrize("number", NUMBERS)
def test_first_signal_is_a_request_and_the_second_ends(number: signal.Signals) -> None:
    with stop_on_signals() as stop:
        stop.raise_if_set()
        signal.raise_signal(number)
        with pytest.raises(Interrupted):
            stop.raise_if_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


@pytest.mark.parametrize(("second", "code"), [(signal.SIGINT, None), (signal.SIGTERM, 143)])
def test_the_second_signal_says_how_it_ends(second: signal.Signals, code: int | None) -> None:
    def stop_twice() -> None:
        with stop_on_signals():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(second)

    if code is None:
        with pytest.raises(KeyboardInterrupt):
            stop_twice()
    else:
        with pytest.raises(Interrupted) as caught:
            stop_twice()
        assert caught.value.exit_code == code


def test_a_terminal_that_closes_says_so_more_than_once() -> None:
    with stop_on_signals() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        assert stop.signal == signal.SIGHUP
        with pytest.raises(Interrupted) as caught:
            stop.raise_if_set()
        assert caught.value.exit_code == 129


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemError, ImportError, None])
def test_within_at_once_a_signal_ends_whatever_a_library_makes_of_it(
    error: type[BaseException] | None,
) -> None:
    with stop_on_signals() as stop:
        with pytest.raises(Interrupted), stop.at_once():
            library_ended_by_sigterm(error)
        assert stop.signal == signal.SIGTERM


def test_within_at_once_other_errors_stay_what_they_are() -> None:
    with stop_on_signals() as stop, pytest.raises(SystemError, match="mine"), stop.at_once():
        raise SystemError("mine")


def test_handlers_are_as_before_after_the_block() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with stop_on_signals():
        assert [signal.getsignal(number) for number in NUMBERS] != before
    assert [signal.getsignal(number) for number in NUMBERS] == before
