"""Picture files: which kinds there are, how they begin and how they are written."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq_cli.errors import UsageError
from seq2seq_cli.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What each kind of picture would say about its making: equal content gives equal bytes without.
_UNSAID: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}
logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it announces its font cache

BLUE, ORANGE, GREEN, GREY = "#1f6fb4", "#d95f0e", "#2a8f4f", "#777777"


def picture_format(path: Path) -> str:
    """`png`, `pdf` or `svg`, as the name ends. Raises UsageError for any other end."""
    ending = path.suffix.lower().removeprefix(".")
    if ending not in _UNSAID:
        problem = f"nothing can draw .{ending} here" if ending else "the name has no ending"
        raise UsageError(f"{path}: {problem}; a picture is a .png, .pdf or .svg file")
    return ending


def new_figure(width: float, height: float, **options: Any) -> Figure:
    """An empty figure of so many inches that needs no display."""
    # Imported here: matplotlib takes a second to load.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), **options)
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes) -> None:
    """A light grid, and no frame on the sides without a scale."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def save_picture(figure: Figure, path: Path, *, dpi: float = 110, **options: Any) -> None:
    """Write a figure whole or not at all; its name says what kind. Equal content gives equal bytes.

    Raises UsageError for another kind, OSError when the file cannot be written.
    """
    import matplotlib

    kind = picture_format(path)
    with matplotlib.rc_context({"svg.hashsalt": "seq2seq"}), atomic_write(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=dpi, metadata=_UNSAID[kind], **options)
