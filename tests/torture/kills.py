"""SIGKILL at random moments of a training, again and again, until it is done."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from seq2seq_cli.training.checkpoint import LAST, NEW, PREVIOUS
from tests.torture.harness import (
    BEGUN,
    SAVE_EVERY,
    Bench,
    Child,
    check,
    check_directory,
    check_messages,
    has_save,
    logged_steps,
    remove,
    say,
)


def kills(bench: Bench, count: int) -> Counter[str]:
    """How many kills came at which moment; all trainings come to the same end in spite."""
    draw, moments = bench.draw("kills"), Counter[str]()
    run = bench.folder / "killed"
    training, step = draw.choice(bench.trainings), 0
    while moments.total() < count or run.exists():
        with bench.train(training, run) as child:
            # Half of what it takes, so that most trainings are killed several times. With all
            # kills done, the last one may come to its end.
            delay = draw.uniform(0.0, 0.5 * training.seconds)
            if moments.total() < count and not child.wait(delay) and child.kill():
                step = _check_killed(child, run, step)
                moments[_moment(child, run)] += 1
                if moments.total() % 20 == 0:
                    say(f"  {moments.total()} kills")
                continue
            child.expect(0)
        training.compare(run)
        left = list(run.rglob(".*.tmp"))
        check(not left, f"what was being written when a kill came is still there: {left}")
        remove(run)
        # The next one prepares its data too, so that kills hit that.
        remove(bench.folder / "cache")
        training, step = draw.choice(bench.trainings), 0
    return moments


def _check_killed(child: Child, run: Path, step_before: int) -> int:
    """The step that is safe now."""
    text = child.stderr
    check_messages(text)
    # A save that was killed is no damage: that word is for what the disk or people did.
    check("error:" not in text and "damaged" not in text, f"after a kill, train says:\n{text}")
    step = check_directory(run) or 0
    check(step >= step_before, f"{run}: step {step_before} was saved, now it is {step}")
    lost = max(logged_steps(run), default=0) - step
    check(lost <= SAVE_EVERY, f"{run}: {lost} steps are lost, a save is due every {SAVE_EVERY}")
    return step


def _moment(child: Child, run: Path) -> str:
    new = run / NEW
    if new.exists() and new.stat().st_mtime > child.started:
        return "while saving"
    if (run / PREVIOUS).exists() and not (run / LAST).exists():
        return "between the renames of a save"
    if BEGUN not in child.stderr:
        return "while starting" if not has_save(run) else "while resuming"
    if any(str(child.pid) in path.name for path in run.glob(".*.tmp")):
        return "while writing another file"
    return "between saves" if has_save(run) else "before the first save"
