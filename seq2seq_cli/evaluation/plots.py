"""Training curves as a picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from seq2seq_cli.files import atomic_write
from seq2seq_cli.training.metrics_log import Event

_BLUE, _ORANGE, _GREEN, _GREY = "#1f6fb4", "#d95f0e", "#2a8f4f", "#777777"


def draw_curves(path: Path, events: Sequence[Event], title: str) -> None:
    """Draw perplexity, BLEU, learning rate and teacher forcing over the steps into a PNG file.

    Raises OSError when the file cannot be written.
    """
    # Imported here: matplotlib takes a second to load. Its object interface needs no display.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it announces its font cache
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    train = [event for event in events if event["event"] == "train"]
    valid = [event for event in events if event["event"] == "valid"]
    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = figure.subplots(2, 2, sharex=True)

    def curve(axis: object, rows: Sequence[Event], key: str, label: str, **style: object) -> None:
        points = [(row["step"], row[key]) for row in rows if key in row]
        if points:
            axis.plot(*zip(*points, strict=True), label=label, **style)  # type: ignore[attr-defined]

    perplexity, scores, rate, forcing = axes.flat
    curve(perplexity, train, "perplexity", "training", color=_GREY, linewidth=1)
    marked = {"marker": "o", "markersize": 4}
    curve(perplexity, valid, "perplexity", "validation, teacher-forced", color=_BLUE, **marked)
    key = "free_running_perplexity"
    curve(perplexity, valid, key, "validation, free-running", color=_ORANGE, **marked)
    perplexity.set_yscale("log")
    perplexity.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    perplexity.yaxis.set_minor_locator(NullLocator())
    perplexity.yaxis.set_major_formatter("{x:g}")
    perplexity.set_title("Perplexity")
    if train or valid:
        perplexity.legend(frameon=False)
    curve(scores, valid, "bleu", "BLEU", color=_GREEN, **marked)
    scores.set_title("BLEU of the validation set")
    curve(rate, train, "learning_rate", "learning rate", color=_BLUE)
    rate.set_title("Learning rate")
    rate.set_ylim(bottom=0.0)
    curve(forcing, train, "teacher_forcing_ratio", "ratio", color=_BLUE)
    forcing.set_title("Teacher-forcing ratio")
    forcing.set_ylim(-0.05, 1.05)
    for axis in (rate, forcing):
        axis.set_xlabel("step")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
