"""`metrics.jsonl`: one JSON object a line for each logged step and each validation."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seq2seq_cli.console import json_line

Event = dict[str, Any]


class MetricsLog:
    """Appends events to the file; each line is with the system when `append` returns."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        """keep_bytes: how much of an existing file belongs to the past of this training."""
        self._path = path
        kept = path.read_bytes()[:keep_bytes] if path.exists() else b""
        # A power cut may have taken the end of it, in the middle of a line.
        self.num_bytes = kept.rfind(b"\n") + 1
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self.num_bytes)

    def append(self, event: Event) -> None:
        """Raises OSError, and nothing of the event is in the file then."""
        rounded = {
            key: float(f"{value:.7g}") if isinstance(value, float) else value
            for key, value in event.items()
        }
        line = (json_line(rounded) + "\n").encode()
        with self._naming_file():
            self._file.truncate(self.num_bytes)  # of what an attempt that failed has left
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.num_bytes += len(line)

    def sync(self) -> None:
        """Put it on the disk. Raises OSError."""
        with self._naming_file():
            os.fsync(self._file.fileno())

    @contextmanager
    def _naming_file(self) -> Iterator[None]:
        """What fails on an open file says nothing of its name."""
        try:
            yield
        except OSError as error:
            error.filename = str(self._path)
            raise

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[Event]:
    """The events of a file, without lines that are damaged; none when there is no such file."""
    if not path.exists():
        return []
    events: list[Event] = []
    for line in path.read_bytes().split(b"\n"):
        with suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict) and {"event", "step"} <= event.keys():
                events.append(event)
    return events
