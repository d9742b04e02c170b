"""How much memory a block of code takes at its peak."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Inside the block, watches what of this process lies in memory; all allocators count, Python's
    and others'. Linux only: elsewhere nothing grows."""

    growth_mb = 0.0

    def __enter__(self) -> PeakMemory:
        if _STATUS.exists():
            Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
            self._before = _megabytes("VmRSS")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if _STATUS.exists():
            self.growth_mb = _megabytes("VmHWM") - self._before


def _megabytes(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    assert found is not None
    return int(found[1]) / 1024
