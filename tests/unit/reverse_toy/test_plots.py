"""The toy's pictures, looked at from outside and by their parts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from seq2seq_cli.config.reverse_toy import Lengths, NumbersConfig, ReverseToyConfig, SymbolsConfig
from seq2seq_cli.errors import UsageError
from seq2seq_cli.model.scoring import Losses
from seq2seq_cli.reverse_toy import plots
from seq2seq_cli.reverse_toy.lesson import Lesson
from seq2seq_cli.reverse_toy.plots import draw_lesson, draw_sweep
from seq2seq_cli.reverse_toy.sweep import HIDDEN_SIZES, Sweep, SweptModel
from seq2seq_cli.reverse_toy.task import Answer, Progress, Scores

BEGINNINGS = {"png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF", "svg": b"<?xml"}
HISTORY = [
    Progress(step, Losses(30 / 4**number, 35 / 3**number))
    for number, step in enumerate(range(600, 6001, 600))
]
FEW = Lengths(3, 3)


def scores_of(shares: dict[int, float]) -> Scores:
    """With that share of exact answers for each length, of 20 answers."""
    found = [
        Answer([1] * length, [1] * length, [1] * length, number < round(20 * share))
        for length, share in shares.items()
        for number in range(20)
    ]
    return Scores(Losses(0.1, 0.2), found)


def lesson_of(shares: dict[int, float], trained: Lengths = FEW, **changes: Any) -> Lesson:
    values: dict[str, Any] = {
        "config": NumbersConfig(length=trained),
        "scores": scores_of(shares),
        "bleu": None,
        "examples": [],
        "loss_unit": "mean squared error",
        "history": HISTORY,
        "seconds": 1.0,
    }
    return Lesson(**{**values, **changes})


def shares_of(size: int, attention: str) -> dict[int, float]:
    """Those of a model in the sweeps of these tests, none as another's."""
    return {
        length: min(1.0, 0.9 if attention != "none" else size / 16 / length)
        - (HIDDEN_SIZES.index(size) / 20)
        for length in range(1, 7)
    }


def sweep_of(config: ReverseToyConfig, kinds: Iterable[str] = ("none",)) -> Sweep:
    models = [
        SweptModel(size, kind, scores_of(shares_of(size, kind)), 1.0)
        for kind in kinds
        for size in HIDDEN_SIZES
    ]
    return Sweep(config, models, 10.0)


NUMBERS = sweep_of(NumbersConfig(length=Lengths(1, 3)))
SYMBOLS = sweep_of(SymbolsConfig(length=Lengths(2, 3)), ["none", "additive"])


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures drawn, none of them written."""
    drawn: list[Figure] = []

    def keep(figure: Figure, path: Path) -> None:
        figure.draw_without_rendering()
        drawn.append(figure)

    monkeypatch.setattr(plots, "save_picture", keep)
    return drawn


def points(axes: Axes) -> dict[str, list[list[float]]]:
    """Those of each line, by its label."""
    return {
        str(line.get_label()): np.asarray(line.get_xydata()).round(9).tolist()
        for line in axes.lines
    }


def unseen_spans(axes: Axes) -> list[tuple[float, float]]:
    """Where it is grey."""
    return [(span.get_x(), span.get_x() + span.get_width()) for span in axes.patches]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("kind", BEGINNINGS)
@pytest.mark.parametrize("draw", ["lesson", "sweep"])
def test_equal_content_gives_equal_files_of_the_kind_named(
    kind: str, draw: str, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.{kind}" for number in range(3)]
    if draw == "lesson":
        for path, share in zip(paths, (0.5, 0.5, 0.7), strict=True):
            draw_lesson(path, lesson_of({3: 1.0, 4: share}))
    else:
        for path, sweep in zip(paths, (NUMBERS, NUMBERS, SYMBOLS), strict=True):
            draw_sweep(path, sweep)

    first, again, other = (path.read_bytes() for path in paths)
    assert first == again != other
    assert first.startswith(BEGINNINGS[kind])
    assert sorted(tmp_path.iterdir()) == paths
    if kind == "png":
        assert min(imread(paths[0]).shape[:2]) > 300


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.txt"])
def test_other_kinds_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"{name}: .*\.png, \.pdf or \.svg"):
        draw_lesson(tmp_path / name, lesson_of({3: 1.0}))
    with pytest.raises(UsageError, match=rf"{name}: .*\.png, \.pdf or \.svg"):
        draw_sweep(tmp_path / name, NUMBERS)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        draw_lesson(tmp_path / "none" / "a.png", lesson_of({3: 1.0}))


# ---------------------------------------------------------------- a lesson


def test_a_lesson_of_one_length_is_its_errors(figures: list[Figure]) -> None:
    draw_lesson(Path("a.png"), lesson_of({3: 0.5}, loss_unit="apples"))

    (errors,) = figures[0].axes
    assert errors.get_title() == "Error on sequences held out, apples"
    assert errors.get_xlabel() == "step"
    assert errors.get_yscale() == "log"
    assert points(errors) == {
        "teacher-forced": [[step, round(losses.loss, 9)] for step, losses in HISTORY],
        "free-running": [[step, round(losses.free_running_loss, 9)] for step, losses in HISTORY],
    }
    legend = errors.get_legend()
    assert legend
    assert [label.get_text() for label in legend.get_texts()] == [*points(errors)]
    assert len({line.get_color() for line in errors.lines}) == 2


def test_a_lesson_of_several_has_their_shares_beside(figures: list[Figure]) -> None:
    shares = {2: 0.95, 3: 1.0, 4: 0.25, 5: 0.0}
    draw_lesson(Path("a.png"), lesson_of(shares, Lengths(2, 3)))

    errors, lengths = figures[0].axes
    assert len(points(errors)) == 2
    (line,) = points(lengths).values()
    assert line == [[length, 100 * share] for length, share in shares.items()]
    assert (lengths.get_xlabel(), lengths.get_ylabel()) == ("length of the sequence", "exact, %")
    low, high = lengths.get_ylim()
    assert low < 0.0 < 100.0 < high
    assert errors.get_window_extent().x1 < lengths.get_window_extent().x0


def test_one_report_is_enough(figures: list[Figure]) -> None:
    draw_lesson(Path("a.png"), lesson_of({3: 0.5}, history=HISTORY[:1]))
    assert all(len(line) == 1 for line in points(figures[0].axes[0]).values())


@pytest.mark.parametrize(
    ("trained", "tested", "expected"),
    [
        ((2, 5), (2, 5), []),
        ((2, 3), (2, 6), [(3.5, 6.5)]),
        ((4, 6), (2, 6), [(1.5, 3.5)]),
        ((4, 5), (2, 7), [(1.5, 3.5), (5.5, 7.5)]),
        ((1, 9), (4, 5), []),
        ((3, 3), (10, 12), [(9.5, 12.5)]),
        ((30, 31), (4, 5), [(3.5, 5.5)]),
    ],
)
def test_lengths_not_trained_on_lie_in_grey(
    trained: tuple[int, int],
    tested: tuple[int, int],
    expected: list[tuple[float, float]],
    figures: list[Figure],
) -> None:
    shares = dict.fromkeys(range(tested[0], tested[1] + 1), 0.5)
    draw_lesson(Path("a.png"), lesson_of(shares, Lengths(*trained)))

    lengths = figures[0].axes[1]
    assert unseen_spans(lengths) == expected
    assert [text.get_text() for text in lengths.texts] == ["not trained on"] * len(expected)
    for text, (begin, end) in zip(lengths.texts, expected, strict=True):
        assert begin < text.get_position()[0] < end
    left, right = lengths.get_xlim()
    assert left < tested[0] <= tested[1] < right
    assert all(left <= begin < end <= right for begin, end in expected)
    assert all(tick == round(tick) for tick in lengths.get_xticks())


# ---------------------------------------------------------------- a sweep


def assert_lines(axes: Axes, kind: str) -> None:
    """One for each hidden size, each in a colour of its own."""
    assert points(axes) == {
        str(size): [
            [length, 5 * round(20 * share)] for length, share in shares_of(size, kind).items()
        ]
        for size in HIDDEN_SIZES
    }
    assert len({to_rgb(line.get_color()) for line in axes.lines}) == len(HIDDEN_SIZES)


def test_numbers_are_one_panel(figures: list[Figure]) -> None:
    draw_sweep(Path("a.png"), NUMBERS)

    (axes,) = figures[0].axes
    assert_lines(axes, "none")
    assert axes.get_title() == ""
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("length of the sequence", "exact, %")
    assert unseen_spans(axes) == [(3.5, 6.5)]
    legend = axes.get_legend()
    assert legend
    assert legend.get_title().get_text() == "hidden size"
    assert [label.get_text() for label in legend.get_texts()] == ["4", "8", "16", "32", "64"]


def test_symbols_without_and_with_attention_are_two(figures: list[Figure]) -> None:
    draw_sweep(Path("a.png"), SYMBOLS)

    without, attending = figures[0].axes
    assert without.get_title() == "without attention"
    assert attending.get_title() == "additive attention"
    assert_lines(without, "none")
    assert_lines(attending, "additive")
    assert without.get_window_extent().x1 < attending.get_window_extent().x0
    assert without.get_ylim() == attending.get_ylim()
    for axes in (without, attending):
        assert unseen_spans(axes) == [(0.5, 1.5), (3.5, 6.5)]
    colors = [[to_rgb(line.get_color()) for line in axes.lines] for axes in (without, attending)]
    assert colors[0] == colors[1]
    assert sum(axes.get_legend() is not None for axes in (without, attending)) == 1


def test_a_sweep_tested_on_one_length_is_drawn(figures: list[Figure]) -> None:
    models = [SweptModel(size, "none", scores_of({4: 0.5}), 1.0) for size in HIDDEN_SIZES]
    draw_sweep(Path("a.png"), Sweep(NumbersConfig(length=FEW), models, 1.0))
    (axes,) = figures[0].axes
    assert [*points(axes).values()] == [[[4.0, 50.0]]] * 5
