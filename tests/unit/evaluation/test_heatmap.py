"""Pictures of attention, looked at from outside and by their parts, and blocks, read back."""

from __future__ import annotations

import itertools
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.transforms import Bbox

from seq2seq_cli.errors import UsageError
from seq2seq_cli.evaluation.heatmap import attention_blocks, draw_attention

BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
WORDS = ["ein", "Fußgängerzone", ".", "▁ge", "Donau" * 12, "W", "gehört", "<eos>"]


def words(count: int) -> list[str]:
    return [WORDS[index % len(WORDS)] for index in range(count)]


def some_weights(num_targets: int, num_sources: int) -> list[list[float]]:
    draws = np.random.default_rng(1).dirichlet(np.full(num_sources, 0.3), num_targets)
    rows: list[list[float]] = draws.tolist()
    return rows


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn into files."""
    drawn: list[Figure] = []
    save: Callable[..., None] = Figure.savefig

    def save_and_keep(figure: Figure, *args: object, **options: object) -> None:
        drawn.append(figure)
        save(figure, *args, **options)
        figure.draw_without_rendering()  # extents are those at the figure's own resolution again

    monkeypatch.setattr(Figure, "savefig", save_and_keep)
    return drawn


@pytest.fixture
def only_dejavu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the fonts that come with matplotlib, that of last resort among them."""
    names = ("DejaVu Sans", "Last Resort High-Efficiency")
    fonts = [font for font in font_manager.fontManager.ttflist if font.name in names]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    installed(monkeypatch)


def installed(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(file) for file in files])


def make_font(folder: Path, name: str, characters: str, has_outlines: bool = True) -> Path:
    """A font file whose characters are black squares, or nothing at all."""
    pen = TTGlyphPen(None)
    if has_outlines:
        pen.moveTo((0, 0))
        for corner in ((0, 800), (800, 800), (800, 0)):
            pen.lineTo(corner)
        pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord(character): "square" for character in characters})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": name, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(folder / f"{name}.ttf")
    return folder / f"{name}.ttf"


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_equal_content_gives_equal_files_of_the_kind_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    contents = []
    for _ in range(2):
        draw_attention(path, ["ein", "Haus"], ["a", "house"], [[0.9, 0.1], [0.2, 0.8]])
        contents.append(path.read_bytes())
        path.unlink()

    assert contents[0] == contents[1]
    assert contents[0].startswith(BEGINNINGS[kind])


def test_other_kinds_are_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.jpg: .*\.png, \.pdf or \.svg"):
        draw_attention(tmp_path / "a.jpg", ["a"], ["b"], [[1.0]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("sources", "targets"), [([], ["a"]), (["a"], []), ([], [])])
def test_nothing_to_draw_is_refused(sources: list[str], targets: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without tokens"):
        draw_attention(tmp_path / "a.png", sources, targets, [[] for _ in targets])


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        draw_attention(tmp_path / "none" / "a.png", ["a"], ["b"], [[1.0]])


def test_cells_have_the_colours_of_their_weights(tmp_path: Path, figures: list[Figure]) -> None:
    weights = [[0.0, 0.25, 0.75], [0.6, 0.4, 0.0]]
    draw_attention(tmp_path / "a.png", ["x", "y", "z"], ["first", "second"], weights)

    axes = figures[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {0}
    pixels = imread(tmp_path / "a.png")
    to_inches = figures[0].dpi_scale_trans.inverted()
    box = figures[0].get_tightbbox().padded(0.1)
    scale = pixels.shape[1] / box.width
    for row, column in np.ndindex(2, 3):
        # Where the labels say that the cell is.
        centre = axes.transData.transform((axes.get_xticks()[column], axes.get_yticks()[row]))
        x, y = to_inches.transform(centre)
        shown = pixels[round((box.y1 - y) * scale), round((x - box.x0) * scale)]
        expected = matplotlib.colormaps["Blues"](weights[row][column])
        assert shown == pytest.approx(expected, abs=0.01)
    first, second = (label.get_window_extent() for label in axes.get_yticklabels())
    assert first.y0 > second.y1
    assert all(label.get_window_extent().y0 > first.y1 for label in axes.get_xticklabels())


@pytest.mark.parametrize(
    ("sources", "targets"),
    [
        (["a"], ["b"]),
        (["W", "Ŵ", "@"] * 3, ["x" * 60]),
        (["WW"] * 3, ["Ŵg"] * 3),
        (words(1), words(2)),
        (words(40), words(3)),
        (words(3), words(40)),
        (words(100), words(100)),
    ],
)
def test_labels_neither_overlap_nor_are_cut_off(
    sources: list[str],
    targets: list[str],
    tmp_path: Path,
    figures: list[Figure],
    only_dejavu: None,
) -> None:
    path = tmp_path / "a.png"
    draw_attention(path, sources, targets, some_weights(len(targets), len(sources)))

    pixels = imread(path)[..., :3]
    for edge in (pixels[:8], pixels[-8:], pixels[:, :8], pixels[:, -8:]):
        assert (edge == 1).all()
    assert pixels.min() < 0.2
    axes, bar = figures[0].axes
    across, down = axes.get_xticklabels(), axes.get_yticklabels()
    assert (len(across), len(down)) == (len(sources), len(targets))
    assert all(columns(label.get_text()) <= 24 for label in [*across, *down])
    assert not any(upper.y0 < lower.y1 for upper, lower in neighbours(extents(down)))
    matrix, beside = axes.get_window_extent(), bar.get_tightbbox()
    assert all(extent.x1 < matrix.x0 and extent.width > 0 for extent in extents(down))
    for extent in extents(across):
        assert extent.y0 > matrix.y1
        assert beside is None or not extent.overlaps(beside)
    if across[0].get_rotation() == 0:
        assert not any(left.x1 > right.x0 for left, right in neighbours(extents(across)))
    else:
        assert {label.get_rotation() for label in across} == {45}
        distance = matrix.width / len(sources) * np.sin(np.pi / 4)
        for label in across:
            label.set_rotation(0)
        assert all(extent.height < distance for extent in extents(across))


def extents(labels: Sequence[matplotlib.text.Text]) -> list[Bbox]:
    return [label.get_window_extent() for label in labels]


def neighbours(boxes: list[Bbox]) -> list[tuple[Bbox, Bbox]]:
    return list(itertools.pairwise(boxes))


def test_a_sentence_without_end_becomes_a_picture_of_some_size(tmp_path: Path) -> None:
    draw_attention(tmp_path / "a.png", words(230), ["a"], some_weights(1, 230))

    assert 8000 <= imread(tmp_path / "a.png").shape[1] < 8300


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_tokens_are_no_formulas(
    kind: str, tmp_path: Path, figures: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    tokens = ["$x$", r"$\nonsense{$", "_", "x_i^2", "\\", "%", "{", "אני", "أحب", "#\\$"]

    draw_attention(tmp_path / f"a.{kind}", tokens, tokens, some_weights(10, 10))

    labels = figures[0].axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == tokens
    assert not any(label.get_parse_math() or label.get_usetex() for label in labels)


@pytest.mark.usefixtures("only_dejavu")
@pytest.mark.parametrize("kind", BEGINNINGS)
def test_characters_without_font_are_named_once(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"a.{kind}"

    draw_attention(path, ["我", "我们", "hi"], ["한", "é"], some_weights(2, 3))

    assert path.read_bytes().startswith(BEGINNINGS[kind])
    (message,) = caplog.messages
    assert f"{path}: no installed font has 们, 我, 한: drawn as boxes" in message
    assert "Noto Sans CJK" in message
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    caplog.clear()
    draw_attention(path, [chr(0x4E00 + i) for i in range(23)], ["a"], some_weights(1, 23))
    assert "一, 丁" in caplog.text
    assert f"{chr(0x4E00 + 19)} and 3 more:" in caplog.text


@pytest.mark.usefixtures("only_dejavu")
def test_only_warnings_about_glyphs_are_kept_from_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: warnings.warn("other", stacklevel=1))

    with pytest.warns(UserWarning, match="other"):
        draw_attention(tmp_path / "a.png", ["我"], ["b"], [[1.0]])


@pytest.mark.usefixtures("only_dejavu")
def test_fonts_installed_since_matplotlib_looked_are_used(
    tmp_path: Path,
    figures: list[Figure],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a.png"
    example = (path, ["我们", "a"], ["我", "b"], [[1.0, 0.0], [0.0, 1.0]])
    draw_attention(*example)
    boxes = path.read_bytes()
    caplog.clear()
    damaged = tmp_path / "damaged.ttf"
    damaged.write_bytes(b"no font")
    installed(
        monkeypatch,
        damaged,
        make_font(tmp_path, "Colour Emoji Test", "我们a", has_outlines=False),
        make_font(tmp_path, "Half Sans Test", "我"),
        *(make_font(tmp_path, f"Whole Test {number}", "们我") for number in (3, 1, 2)),
    )

    draw_attention(*example)

    assert caplog.messages == []
    labels = figures[1].axes[0].get_xticklabels()
    assert labels[0].get_fontfamily() == ["DejaVu Sans", "Whole Test 1"]
    assert path.read_bytes() != boxes


@pytest.mark.usefixtures("only_dejavu")
def test_fonts_without_outlines_are_as_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(
        monkeypatch,
        make_font(tmp_path, "Colour Test", "我", has_outlines=False),
        make_font(tmp_path, "Some Test", "们"),
    )

    draw_attention(tmp_path / "a.png", ["我们"], ["a"], [[1.0]])

    assert "no installed font has 我:" in caplog.text


# ---------------------------------------------------------------- blocks


def columns(text: str) -> int:
    seen = [c for c in text if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
    return len(seen) + sum(unicodedata.east_asian_width(c) in ("W", "F") for c in seen)


def shades(weights: Sequence[float]) -> str:
    limits = (0.05, 0.25, 0.5, 0.75)
    return "".join(2 * " ░▒▓█"[sum(weight >= least for least in limits)] for weight in weights)


def is_label_of(label: str, token: str, limit: int) -> bool:
    """Whole where it fits, the most of it otherwise."""
    if columns(token) <= limit:
        return label == token
    is_start = label.endswith("…") and token.startswith(label[:-1])
    return is_start and limit - 2 < columns(label) <= limit


TOKENS = st.lists(
    st.text("abcß我한ア\uff31🙂\u0301\u200d", min_size=1, max_size=40), min_size=1, max_size=30
)


@settings(deadline=None)
@given(data=st.data(), sources=TOKENS, targets=TOKENS, width=st.integers(35, 150))
def test_blocks_hold_every_weight_below_its_word_and_keep_to_the_width(
    data: st.DataObject, sources: list[str], targets: list[str], width: int
) -> None:
    row = st.lists(st.floats(0, 1), min_size=len(sources), max_size=len(sources))
    weights = data.draw(st.lists(row, min_size=len(targets), max_size=len(targets)))

    *panels, legend = attention_blocks(sources, targets, weights, width).split("\n\n")

    assert legend == "░ from 0.05, ▒ 0.25, ▓ 0.5, █ 0.75"
    limit = min(24, width // 3)
    done = 0
    for panel in panels:
        lines = panel.split("\n")
        assert max(map(columns, lines)) <= width
        header, rows = lines[: -len(targets)], lines[-len(targets) :]
        margin = header[0].rindex(" ") + 1
        end = done + len(header)
        for index, (line, token) in enumerate(zip(header, sources[done:end], strict=True)):
            start = " " * margin + "│ " * index
            assert line.startswith(start)
            assert is_label_of(line.removeprefix(start), token, limit)
        for line, token, row_weights in zip(rows, targets, weights, strict=True):
            label = line.split()[0]
            before, cells = line.split(label, 1)
            assert is_label_of(label, token, limit)
            assert columns(before + label) == margin - 1
            assert cells == f" {shades(row_weights[done:end])}".rstrip()
        done = end
    assert done == len(sources)


def test_blocks_look_like_this() -> None:
    sources, targets = ["Ein", "Mann", "schläft"], ["A", "man", "is我", "sleepi\u0308ng"]
    weights = [[1.0, 0.0, 0.0], [0.249, 0.749, 0.002], [0.04, 0.04, 0.499], [0.0, 0.049, 0.75]]

    lines = attention_blocks(sources, targets, weights).split("\n")

    assert lines == [
        "         Ein",
        "         │ Mann",
        "         │ │ schläft",
        "       A ██",
        "     man ░░▓▓",
        "    is我     ▒▒",
        "sleepi\u0308ng     ██",
        "",
        "░ from 0.05, ▒ 0.25, ▓ 0.5, █ 0.75",
    ]


def test_panels_are_as_few_as_fit() -> None:
    sources, weights = words(30), some_weights(4, 30)
    whole = attention_blocks(sources, words(4), weights)
    width = max(map(columns, whole.split("\n")))

    assert whole.count("\n\n") == 1
    assert attention_blocks(sources, words(4), weights, width) == whole
    assert attention_blocks(sources, words(4), weights, width - 1).count("\n\n") == 2


def test_the_narrowest_panel_has_one_word() -> None:
    blocks = attention_blocks(["Haus", "Maus"], ["house"], [[1.0, 0.0]], width=1)

    assert blocks.split("\n")[:-1] == ["     Haus", "hou… ██", "", "     Maus", "hou…", ""]


def test_tokens_do_nothing_to_a_terminal() -> None:
    tokens = ["a\nb", "\x1b[31m", "\u202e", " ", "\u3000\u3000", "a\u00a0b", "\udce4"]

    blocks = attention_blocks(["x"], tokens, [[1.0]] * len(tokens))

    labels = [line.removesuffix(" ██").lstrip() for line in blocks.split("\n")[1:-2]]
    assert labels == ["a\\nb", "\\x1b[31m", "\\u202e", "␣", "␣␣", "a b", "\\udce4"]
    assert attention_blocks(tokens, ["x"], [[0.0] * 7]).replace("\n", "").isprintable()


def test_blocks_of_nothing_are_a_legend() -> None:
    assert attention_blocks([], [], [], 80).split() == attention_blocks(["a"], [], []).split()[1:]
