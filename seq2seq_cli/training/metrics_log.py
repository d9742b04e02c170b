"""`metrics.jsonl`: one JSON object a line for each logged step and each validation."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from seq2seq_cli.console import json_line

Event = dict[str, Any]


class MetricsLog:
    """Appends events to the file; each line is with the system when `append` returns."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        """keep_bytes: how much of an existing file belongs to the past of this training."""
        self._path = path
        self._file = path.open("ab", buffering=0)
        self.num_bytes = min(keep_bytes, path.stat().st_size)
        self._file.truncate(self.num_bytes)

    def append(self, event: Event) -> None:
        """Raises OSError, and nothing of the event is in the file then."""
        rounded = {
            key: float(f"{value:.7g}") if isinstance(value, float) else value
            for key, value in event.items()
        }
        line = (json_line(rounded) + "\n").encode()
        self._file.truncate(self.num_bytes)  # of what an attempt that failed has left
        if self._file.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self.num_bytes += len(line)

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[Event]:
    """The events of a file; none when there is no such file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
