"""What the toy draws: how its errors fall, and where the bottleneck is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq_cli.config.reverse_toy import Lengths
from seq2seq_cli.evaluation.pictures import BLUE, GREY, ORANGE, new_figure, plain, save_picture
from seq2seq_cli.reverse_toy.lesson import Lesson
from seq2seq_cli.reverse_toy.sweep import HIDDEN_SIZES, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_lesson(path: Path, lesson: Lesson) -> None:
    """Draw both errors over the steps, and exact matches over lengths where there are several.

    Raises UsageError for another kind of picture, OSError when the file cannot be written.
    """
    from matplotlib.ticker import LogLocator, NullLocator  # imported here: it takes a second

    by_length = lesson.scores.by_length()
    num_panels = 1 if len(by_length) == 1 else 2
    figure = new_figure(5.5 * num_panels, 4, layout="constrained")
    errors, *others = figure.subplots(1, num_panels, squeeze=False).flat
    steps = [entry.step for entry in lesson.history]
    for name, color, values in (
        ("teacher-forced", BLUE, [entry.losses.loss for entry in lesson.history]),
        ("free-running", ORANGE, [entry.losses.free_running_loss for entry in lesson.history]),
    ):
        errors.plot(steps, values, label=name, color=color, marker="o", markersize=4)
    errors.set_yscale("log")
    errors.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    errors.yaxis.set_minor_locator(NullLocator())
    errors.yaxis.set_major_formatter("{x:g}")
    errors.set_title(f"Error on sequences held out, {lesson.loss_unit}")
    errors.set_xlabel("step")
    errors.legend(frameon=False)
    plain(errors)
    for axes in others:
        shares = [100 * share for _, share in by_length.values()]
        axes.plot([*by_length], shares, color=BLUE, marker="o", markersize=4)
        axes.set_title("Sequences without a fault")
        _over_lengths(axes, lesson.config.length, [*by_length])
    save_picture(figure, path)


def draw_sweep(path: Path, sweep: Sweep) -> None:
    """Draw exact matches over lengths, a line for each hidden size; symbols without and with
    attention side by side.

    Raises UsageError for another kind of picture, OSError when the file cannot be written.
    """
    import matplotlib  # takes a second to load

    kinds = list(dict.fromkeys(model.attention for model in sweep.models))
    figure = new_figure(5.5 * len(kinds), 4, layout="constrained")
    colors = matplotlib.colormaps["viridis_r"]
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False).flat
    for kind, axes in zip(kinds, panels, strict=True):
        for model in sweep.models:
            if model.attention == kind:
                by_length = model.scores.by_length()
                axes.plot(
                    [*by_length],
                    [100 * share for _, share in by_length.values()],
                    label=str(model.hidden_size),
                    color=colors((HIDDEN_SIZES.index(model.hidden_size) + 1) / len(HIDDEN_SIZES)),
                    marker="o",
                    markersize=4,
                )
        _over_lengths(axes, sweep.config.length, [*by_length])
        if len(kinds) > 1:
            axes.set_title("without attention" if kind == "none" else f"{kind} attention")
    axes.legend(title="hidden size", loc="center right", frameon=False)
    save_picture(figure, path)


def _over_lengths(axes: Axes, trained: Lengths, tested: Sequence[int]) -> None:
    """Label axes of exact matches in percent over lengths; those not trained on lie in grey."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("length of the sequence")
    axes.set_ylabel("exact, %")
    axes.set_ylim(-4, 104)
    axes.set_xlim(tested[0] - 0.5, tested[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes)
    for begin, end in (
        (tested[0] - 0.5, min(trained.shortest, tested[-1] + 1) - 0.5),
        (max(trained.longest, tested[0] - 1) + 0.5, tested[-1] + 0.5),
    ):
        if begin < end:
            axes.axvspan(begin, end, color="#eeeeee", zorder=0)
            axes.text((begin + end) / 2, 100, "not trained on", ha="center", va="top", color=GREY)
