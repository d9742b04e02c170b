"""Ctrl-C and SIGTERM as a request that training heeds between two steps."""

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

    @property
    def is_set(self) -> bool:
        return self.signal is not None

    def raise_if_set(self) -> None:
        """Raises Interrupted when a signal came."""
        if self.signal is not None:
            raise Interrupted(self.signal)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Inside the block, SIGTERM is an exception as Ctrl-C is: what is temporary gets removed."""
    is_received = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_received
        is_received = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if is_received:
            # Raised in the middle of a library, it may have come out of it as anything, or not.
            raise Interrupted(signal.SIGTERM, "interrupted")


@contextmanager
def stop_on_signals(
    answer: str = "finishing the step and saving",
) -> Iterator[StopRequest]:
    """Inside the block, Ctrl-C and SIGTERM set the request instead of ending the process.

    answer: what the person is told.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.is_set:
            raise KeyboardInterrupt
        request.signal = signal.Signals(number)
        # A handler runs wherever the program is, in the middle of a log line too: a logger's
        # buffers may not be entered twice, the file below them may. train.log tells of the end.
        with suppress(OSError):
            os.write(_STDERR, _REQUEST_TAKEN.format(request.signal.name, answer).encode())

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
