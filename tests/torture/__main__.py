"""Tries to lose a training.

    make torture
    python -m tests.torture [--short] [--only kills|stops|damages|writes] [--seed N]

Every part prints what it did in figures; the first thing that must not happen ends it all, with
exit code 1, and leaves the folder where it happened.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from seq2seq_cli import files
from seq2seq_cli.console import table
from tests.torture.damages import damages
from tests.torture.harness import Bench, Violation, say
from tests.torture.kills import kills
from tests.torture.stops import stops
from tests.torture.writes import writes

Part = Callable[[Bench, int], Counter[str]]
_PARTS: dict[str, tuple[Part, int, int]] = {
    "kills": (kills, 220, 6),
    "stops": (stops, 60, 4),
    "damages": (damages, 1000, 60),
    "writes": (writes, 40, 6),
}
"""Each part, and how often it tries: in full, in short."""
_STEPS, _STEPS_SHORT = 60, 16


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--short", action="store_true", help="half a minute of it")
    parser.add_argument("--only", choices=_PARTS, help="one part of it")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="seq2seq-torture-"))
    say(f"seed {options.seed}, in {folder}")
    try:
        rows = _torture(folder, options.seed, options.short, options.only)
    except Violation as violation:
        say(f"\nVIOLATION: {violation}\n")
        say(f"seed {options.seed}; everything is kept in {folder}, the command's stderr with it")
        return 1
    shutil.rmtree(folder)
    print(table(rows))
    return 0


def _torture(folder: Path, seed: int, is_short: bool, only: str | None) -> list[tuple[str, str]]:
    begin = time.perf_counter()
    if is_short:
        files.RETRY_SECONDS = 1.0  # half of the pause before a save that failed is tried again
    bench = Bench(folder, seed, _STEPS_SHORT if is_short else _STEPS)
    for training in bench.trainings:
        say(f"{training.name}: {training.seconds:.1f} s undisturbed")
    rows = [("seed", str(seed))]
    for name, (part, count, count_short) in _PARTS.items():
        if only in (None, name):
            say(name)
            since = time.perf_counter()
            figures = part(bench, count_short if is_short else count)
            rows.append((name, str(figures.total())))
            rows += [(f"  {what}", str(number)) for what, number in sorted(figures.items())]
            rows.append(("  seconds", f"{time.perf_counter() - since:.0f}"))
    num_same = sum(training.num_same for training in bench.trainings)
    rows.append(("trainings that ended with the same bits", str(num_same)))
    rows.append(("seconds in all", f"{time.perf_counter() - begin:.0f}"))
    return rows


if __name__ == "__main__":
    sys.exit(main())
