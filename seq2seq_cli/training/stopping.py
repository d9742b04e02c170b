"""Ctrl-C, SIGTERM and SIGHUP as a request that training heeds between two steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from seq2seq_cli.errors import Interrupted

_STDERR = 2
_REQUEST_TAKEN = "\nwarning: {}: {}; once more ends at once\n"


class StopRequest:
    """Set by a signal; a second Ctrl-C no longer waits."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.second: signal.Signals | None = None
        """What came after it."""
        self.ends_at_once = False
        """Within `at_once`."""

    def take(self, number: int) -> None:
        """Note a signal. Raises KeyboardInterrupt where nothing waits for it."""
        if self.is_set:
            self.second = signal.Signals(number)
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)

    @property
    def is_set(self) -> bool:
        return self.signal is not None

    def raise_if_set(self) -> None:
        """Raises Interrupted when a signal came."""
        if self.signal is not None:
            raise Interrupted(self.signal)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside the block, nothing waits for a signal's sake: what the block does can be done
        anew.

        Raises Interrupted when a signal came, even if a library made something else of it.
        """
        try:
            self.ends_at_once = True
            try:
                self.raise_if_set()
                yield
            finally:
                self.ends_at_once = False
        except BaseException:
            if self.second is None:
                self.raise_if_set()
            raise
        self.raise_if_set()


def _heeded() -> list[signal.Signals]:
    """Ctrl-C, SIGTERM, and the end of the terminal, unless nohup has told us to ignore it."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


@contextmanager
def stop_on_signals(
    answer: str = "finishing the step and saving",
) -> Iterator[StopRequest]:
    """Inside the block, Ctrl-C, SIGTERM and SIGHUP set the request instead of ending the process.

    answer: what the person is told.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.is_set and number not in (signal.SIGINT, signal.SIGTERM):
            return  # a terminal that closes says so more than once
        request.take(number)
        # A handler runs wherever the program is, in the middle of a log line too: a logger's
        # buffers may not be entered twice, the file below them may. train.log tells of the end.
        with suppress(OSError):
            name = signal.Signals(number).name
            os.write(_STDERR, _REQUEST_TAKEN.format(name, answer).encode())
        if request.ends_at_once:
            raise KeyboardInterrupt  # which no library takes for an error of its own

    before = {number: signal.signal(number, note) for number in _heeded()}
    try:
        yield request
    except KeyboardInterrupt as error:
        if request.second in (None, signal.SIGINT):
            raise
        raise Interrupted(request.second, "interrupted") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
