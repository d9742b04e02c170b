"""Training curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seq2seq_cli.evaluation.pictures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    new_figure,
    plain,
    save_picture,
)
from seq2seq_cli.training.metrics_log import Event
from seq2seq_cli.training.schedules import Plan

_POINTS = 400


def draw_curves(path: Path, events: Sequence[Event], title: str, plan: Plan) -> None:
    """Draw perplexity, BLEU, learning rate and teacher forcing over the steps into a PNG file.

    The two schedules are drawn as planned, to the end, and as they have been so far.

    Raises OSError when the file cannot be written.
    """
    from matplotlib.ticker import LogLocator, NullLocator  # imported here: it takes a second

    train = [event for event in events if event["event"] == "train"]
    valid = [event for event in events if event["event"] == "valid"]
    figure = new_figure(10, 7, layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(2, 2, sharex=True)

    def curve(axis: object, rows: Sequence[Event], key: str, label: str, **style: object) -> None:
        points = [(row["step"], row[key]) for row in rows if key in row]
        if points:
            axis.plot(*zip(*points, strict=True), label=label, **style)  # type: ignore[attr-defined]

    perplexity, scores, rate, forcing = axes.flat
    curve(perplexity, train, "perplexity", "training", color=GREY, linewidth=1)
    marked = {"marker": "o", "markersize": 4}
    curve(perplexity, valid, "perplexity", "validation, teacher-forced", color=BLUE, **marked)
    key = "free_running_perplexity"
    curve(perplexity, valid, key, "validation, free-running", color=ORANGE, **marked)
    perplexity.set_yscale("log")
    perplexity.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    perplexity.yaxis.set_minor_locator(NullLocator())
    perplexity.yaxis.set_major_formatter("{x:g}")
    perplexity.set_title("Perplexity")
    if perplexity.lines:
        perplexity.legend(frameon=False)
    if any("bleu" in event for event in valid):
        curve(scores, valid, "bleu", "BLEU", color=GREEN, **marked)
        scores.set_title("BLEU of the validation set")
    else:
        curve(scores, valid, "train_loss", "loss", color=GREY, **marked)
        scores.set_title("Training loss (no validation data)")
    ahead = _planned_schedules(plan)
    planned = {"color": GREY, "linestyle": "--", "linewidth": 1}
    in_steps = plan.training.learning_rate_schedule.kind in ("halving", "plateau")
    shape = {"drawstyle": "steps-post" if in_steps else "default"}
    curve(rate, ahead, "learning_rate", "planned", **planned, **shape)
    curve(rate, train, "learning_rate", "so far", color=BLUE, linewidth=2, **shape)
    rate.set_title("Learning rate")
    rate.set_ylim(bottom=0.0)
    curve(forcing, ahead, "teacher_forcing_ratio", "planned", **planned)
    curve(forcing, train, "teacher_forcing_ratio", "so far", color=BLUE, linewidth=2)
    forcing.set_title(f"Teacher-forcing ratio, {plan.training.teacher_forcing.kind}")
    forcing.set_ylim(-0.05, 1.05)
    for axis in (rate, forcing):
        axis.set_xlabel("step")
        if axis.lines:
            axis.legend(frameon=False)
    for axis in axes.flat:
        plain(axis)
    save_picture(figure, path)


def _planned_schedules(plan: Plan) -> list[Event]:
    """Learning rate and teacher forcing at some hundred steps of the plan."""
    if plan.steps is None:
        return []
    points: list[Event] = []
    for number in range(_POINTS):
        step = round(number * (plan.steps - 1) / (_POINTS - 1))
        point: Event = {
            "step": step + 1,  # as metrics count: updates done
            "teacher_forcing_ratio": plan.teacher_forcing_ratio(step),
        }
        rate = plan.learning_rate(step)
        points.append(point if rate is None else {**point, "learning_rate": rate})
    return points
