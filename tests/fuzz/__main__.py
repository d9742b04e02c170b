"""Fuzzes one target in this process: `python -m tests.fuzz NAME --cases=N [--seed=S]` with
hypothesis, `python -m tests.fuzz NAME -runs=N ...` with atheris and libFuzzer's own options.

On a failure, hypothesis prints the shortest case, and libFuzzer the file that has it; the case
itself runs again with `python -m tests.fuzz NAME FILE`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import time
import warnings

MAX_GROWTH_MB = 500


def main() -> None:
    warnings.simplefilter("error")
    logging.disable()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seed", type=int)
    arguments, others = parser.parse_known_args()
    if arguments.cases:
        with_hypothesis(arguments.name, arguments.cases, arguments.seed)
    else:
        with_atheris(arguments.name, others)


def with_hypothesis(name: str, num_cases: int, seed: int | None) -> None:
    """Prints what it found as a line of JSON."""
    import torch

    from tests.fuzz.engines import check_with_hypothesis
    from tests.fuzz.memory import PeakMemory
    from tests.fuzz.targets import outcomes, run

    torch.set_num_threads(1)
    seed = random.randrange(1 << 32) if seed is None else seed
    print(f"{name}: seed {seed}", file=sys.stderr, flush=True)
    run(name, b"")  # imports, and the models that cases change
    outcomes.clear()
    started = time.process_time()
    with PeakMemory() as memory:
        check_with_hypothesis(name, num_cases, seed)
    seconds = time.process_time() - started
    assert memory.growth_mb < MAX_GROWTH_MB, f"{name} took {memory.growth_mb:.0f} MB"
    found = {
        "target": name,
        "seed": seed,
        "cases": outcomes.total(),
        "milliseconds_per_case": round(1000 * seconds / outcomes.total(), 2),
        "growth_mb": round(memory.growth_mb),
        "outcomes": dict(outcomes),
    }
    print(json.dumps(found))


def with_atheris(name: str, options: list[str]) -> None:
    """Never returns: libFuzzer ends the process, without any of Python's cleaning up."""
    import atheris

    from tests.fuzz.cases import folder

    folder()
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
    with atheris.instrument_imports(include=["seq2seq_cli"]):
        from tests.fuzz.targets import run
    import torch

    torch.set_num_threads(1)
    run(name, b"")
    atheris.Setup([sys.argv[0], *options], lambda data: run(name, data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
