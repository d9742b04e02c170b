"""Ctrl-C and SIGTERM while a training runs, some of them twice in a row."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from random import Random

from seq2seq_cli.training.checkpoint import LAST
from tests.torture.harness import (
    BEGUN,
    SAVE_EVERY,
    VALIDATE_EVERY,
    Bench,
    Child,
    check,
    check_directory,
    logged_steps,
    remove,
    say,
)

_LONGEST_SECONDS = 20.0
"""From a signal to the end of the process: a step, a save and a busy machine."""


def stops(bench: Bench, count: int) -> Counter[str]:
    """How many stops of which kind there were; each is gone on from."""
    draw, kinds = bench.draw("stops"), Counter[str]()
    run = bench.folder / "stopped"
    training = draw.choice(bench.trainings)
    while kinds.total() < count or run.exists():
        with bench.train(training, run) as child:
            if kinds.total() < count and _is_reached(child, run, draw, training.seconds):
                kind = _stop(child, run, draw)
                if kind:
                    kinds[kind] += 1
                    if kinds.total() % 10 == 0:
                        say(f"  {kinds.total()} stops")
                if child.exit_code != 0:
                    continue
            child.expect(0)
        training.compare(run)
        remove(run)
        training = draw.choice(bench.trainings)
    return kinds


def _is_reached(child: Child, run: Path, draw: Random, seconds: float) -> bool:
    """Wait for a random moment of the training, every other time one within a validation; False
    when the training ended before."""
    if not child.wait_until(lambda: BEGUN in child.stderr):
        return False
    if draw.random() < 0.5:
        return not child.wait(draw.uniform(0.0, 0.7 * seconds))
    before = len(logged_steps(run))

    def is_validating() -> bool:
        steps = logged_steps(run)
        return len(steps) > before and steps[-1] % VALIDATE_EVERY == 0

    return child.wait_until(is_validating) and not child.wait(draw.uniform(0.0, 0.1))


def _stop(child: Child, run: Path, draw: Random) -> str:
    """Send what stops; returns what it was, nothing when the training had ended by then."""
    first = draw.choice([signal.SIGINT, signal.SIGTERM])
    is_twice = draw.random() < 0.25
    child.send(first)
    if is_twice:
        child.wait(draw.choice([0.001, 0.01, 0.1]))
        child.send(signal.SIGINT)
    check(child.wait(_LONGEST_SECONDS), f"{first.name} does not stop it:\n{child.stderr}")
    if child.exit_code == 0 or "try it:" in child.stderr:
        return ""  # it was over before the signal came
    step, made = check_directory(run) or 0, max(logged_steps(run), default=0)
    if is_twice:
        child.expect(130, 128 + first)
        check(made - step <= SAVE_EVERY, f"{run}: step {made} was made, {step} is saved")
        return f"{first.name}, then Ctrl-C"
    child.expect(128 + first)
    check(step == made, f"{run}: step {made} was made, {step} is saved")
    state = json.loads((run / LAST / "state.json").read_text(encoding="utf-8"))
    is_unvalidated = step % VALIDATE_EVERY == 0 and state["validated_step"] != step
    return first.name + (", before or while validating" if is_unvalidated else "")
