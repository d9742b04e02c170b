"""Signals as requests."""

import logging
import signal
from pathlib import Path

import pytest

from seq2seq_cli.console import log_to
from seq2seq_cli.errors import Interrupted
from seq2seq_cli.training.stopping import stop_on_signals

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


def test_handlers_are_as_before_after_the_block() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with stop_on_signals():
        assert [signal.getsignal(number) for number in NUMBERS] != before
    assert [signal.getsignal(number) for number in NUMBERS] == before
