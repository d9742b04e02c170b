"""Where a model looked while it translated: attention weights as a picture, and for terminals.

After figure 3 of Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq_cli.console import harmless
from seq2seq_cli.errors import UsageError
from seq2seq_cli.evaluation.pictures import new_figure, picture_format, save_picture

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

logger = logging.getLogger("seq2seq")

_LABEL_COLUMNS = 24  # longer tokens are shortened
_CELL, _FONT_SIZE = 0.25, 9  # inches, points: lines of text at 45 degrees have room side by side
_BAR_GAP, _BAR_WIDTH, _BAR_HEIGHT = 0.25, 0.12, 1.25  # inches
_DPI, _LARGEST_SIDE = 144, 8000  # pixels: an inch, and of a matrix however long
_FONT = "DejaVu Sans"  # comes with matplotlib
_NAMED_CHARACTERS = 20
_SHADES = ((0.75, "█"), (0.5, "▓"), (0.25, "▒"), (0.05, "░"))
_LEGEND = "░ from 0.05, ▒ 0.25, ▓ 0.5, █ 0.75"


def draw_attention(
    path: Path,
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    weights: Sequence[Sequence[float]],
) -> None:
    """Draw weights (target tokens, source tokens) in 0..1 as a heatmap into a picture file.

    Its name says what kind: .png, .pdf or .svg. Equal content gives equal bytes. Characters that
    no installed font has become boxes, with a warning.

    Raises UsageError for another kind or no tokens, OSError when the file cannot be written.
    """
    picture_format(path)
    if not (source_tokens and target_tokens):
        raise UsageError(f"{path}: a sentence without tokens has no attention to draw")
    import matplotlib  # takes a second to load

    sources = [_label(token, _LABEL_COLUMNS) for token in source_tokens]
    targets = [_label(token, _LABEL_COLUMNS) for token in target_tokens]
    families = _families({c for label in (*sources, *targets) for c in label}, path)
    width, height = len(sources) * _CELL, len(targets) * _CELL
    with (
        matplotlib.rc_context(
            {
                "font.family": families,
                "font.size": _FONT_SIZE,
                "text.parse_math": False,  # tokens with $, _ and \ are no formulas
                "text.usetex": False,
            }
        ),
        warnings.catch_warnings(),
    ):
        # _families says it, once. The second is what older versions add for some scripts.
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support .* natively")
        figure = new_figure(width, height)
        # The matrix fills the figure; bbox_inches="tight" makes room for all that is around it.
        axes = figure.add_axes((0, 0, 1, 1))
        image = axes.imshow(
            weights, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
        )
        axes.xaxis.tick_top()
        axes.set_xticks(range(len(sources)), sources)
        if any(len(label) > 1 for label in sources):
            axes.tick_params(axis="x", pad=5)
            for text in axes.get_xticklabels():
                text.set(rotation=45, rotation_mode="anchor", ha="left", va="center")
        axes.set_yticks(range(len(targets)), targets)
        axes.set_xticks([index + 0.5 for index in range(len(sources) - 1)], minor=True)
        axes.set_yticks([index + 0.5 for index in range(len(targets) - 1)], minor=True)
        axes.grid(which="minor", color="#dddddd", linewidth=0.5)
        axes.tick_params(which="minor", length=0)
        bar = figure.add_axes(
            (
                1 + _BAR_GAP / width,
                1 - _BAR_HEIGHT / height,
                _BAR_WIDTH / width,
                _BAR_HEIGHT / height,
            )
        )
        figure.colorbar(image, cax=bar, ticks=[0, 0.25, 0.5, 0.75, 1], format="{x:g}")
        bar.set_ylabel("attention weight")
        dpi = min(_DPI, _LARGEST_SIDE / max(width, height))
        save_picture(figure, path, dpi=dpi, bbox_inches="tight")


def attention_blocks(
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    weights: Sequence[Sequence[float]],
    width: int | None = None,
) -> str:
    """Weights (target tokens, source tokens) in 0..1 as shaded blocks, for a terminal.

    Source words stand on steps above their columns. What is wider than `width` columns of the
    terminal becomes several panels, one below the other.
    """
    limit = _LABEL_COLUMNS if width is None else max(4, min(_LABEL_COLUMNS, width // 3))
    sources = [_label(token, limit) for token in source_tokens]
    targets = [_label(token, limit) for token in target_tokens]
    margin = max(map(_columns, targets), default=0) + 1
    lines: list[str] = []
    for start, end in _panels(sources, None if width is None else width - margin):
        for index, word in enumerate(sources[start:end]):
            lines.append(" " * margin + "│ " * index + word)
        for label, row in zip(targets, weights, strict=True):
            blocks = "".join(2 * _shade(weight) for weight in row[start:end])
            lines.append(f"{' ' * (margin - 1 - _columns(label))}{label} {blocks}".rstrip())
        lines.append("")
    return "\n".join([*lines, _LEGEND])


def _panels(words: Sequence[str], width: int | None) -> list[tuple[int, int]]:
    """Where each panel starts and ends: as many words as fit side by side, one at least."""
    starts = [0]
    for index, word in enumerate(words):
        end = 2 * (index - starts[-1]) + max(2, _columns(word))
        if width is not None and end > width and index > starts[-1]:
            starts.append(index)
    return list(zip(starts, [*starts[1:], len(words)], strict=True))


def _shade(weight: float) -> str:
    return next((shade for least, shade in _SHADES if weight >= least), " ")


def _label(token: str, limit: int) -> str:
    """A token as it can be shown, in at most `limit` columns. Blanks alone become `␣`."""
    text = re.sub(r"\s", " ", harmless(token).replace("\n", "\\n"))
    if text.isspace():
        text = "␣" * len(text)
    if _columns(text) <= limit:
        return text
    ends = itertools.accumulate(map(_columns, text))
    return text[: sum(1 for _ in itertools.takewhile(lambda end: end < limit, ends))] + "…"


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes: East Asian characters two, marks none."""
    return sum(
        0
        if unicodedata.category(c) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _families(characters: set[str], path: Path) -> list[str]:
    """The fonts to draw the characters with. Warns of those that no font has."""
    missing = _missing_from(_font(_FONT), characters)
    fallbacks = _fonts_with(missing) if missing else {}
    boxes = sorted(missing.difference(*fallbacks.values()))
    if boxes:
        unnamed = len(boxes) - _NAMED_CHARACTERS
        logger.warning(
            "%s: no installed font has %s%s: drawn as boxes. Installing a font that has them "
            "helps, such as Noto Sans CJK for Chinese, Japanese and Korean.",
            path,
            ", ".join(boxes[:_NAMED_CHARACTERS]),
            f" and {unnamed} more" if unnamed > 0 else "",
        )
    return [_FONT, *fallbacks]


def _fonts_with(characters: set[str]) -> dict[str, set[str]]:
    """As few installed font families as have the characters, each with those it can draw."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    # matplotlib keeps a list of fonts between runs: those installed since are not in it.
    for path in sorted({*findSystemFonts()} - {font.fname for font in fontManager.ttflist}):
        with contextlib.suppress(Exception):  # matplotlib, too, passes over what it cannot read
            fontManager.addfont(path)
    # Fonts of last resort have every character, as a box.
    names = {font.name for font in fontManager.ttflist}
    names = {name for name in names if not re.search("(?i)last ?resort", name)}
    drawn = {name: _drawn_by(name, characters) for name in sorted(names)}
    chosen: dict[str, set[str]] = {}
    while drawn:
        rest = characters.difference(*chosen.values())
        best = max(drawn, key=lambda name: (len(drawn[name] & rest), "Sans" in name))
        if not drawn[best] & rest:
            break
        chosen[best] = drawn.pop(best)
    return chosen


def _drawn_by(family: str, characters: set[str]) -> set[str]:
    """Those of the characters that a font has outlines for: fonts of coloured emoji have none."""

    def has_outline(character: str) -> bool:
        font.load_char(ord(character))
        return len(font.get_path()[0]) > 0

    try:
        font = _font(family)
        present = characters - _missing_from(font, characters)
        return {character for character in present if has_outline(character)}
    except (OSError, RuntimeError, ValueError):  # a font that is gone by now, or is damaged
        return set()


def _font(family: str) -> FT2Font:
    from matplotlib.font_manager import FontProperties, fontManager, get_font

    # Found as matplotlib finds it when it draws: a family may be several files.
    return get_font(fontManager.findfont(FontProperties(family=[family])))


def _missing_from(font: FT2Font, characters: set[str]) -> set[str]:
    known = font.get_charmap()
    return {character for character in characters if ord(character) not in known}
