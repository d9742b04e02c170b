"""Picture files: kinds, how they are written, and what is never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from seq2seq_cli.errors import UsageError
from seq2seq_cli.evaluation.pictures import new_figure, picture_format, plain, save_picture

BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


def some_figure(top: float = 3.0) -> Figure:
    figure = new_figure(4, 3, layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 2, 3], [1.0, 2.0, top], label="line", marker="o")
    axes.legend()
    return figure


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.png", "png"), ("a.PNG", "png"), ("a.b.pdf", "pdf"), ("x/ä.Svg", "svg"), ("-.png", "png")],
)
def test_the_name_says_the_kind(name: str, kind: str) -> None:
    assert picture_format(Path(name)) == kind


@pytest.mark.parametrize("name", ["a.jpg", "a.png.tmp", "a.png ", "a", "png", ".png", "-"])
def test_other_kinds_are_refused_with_those_there_are(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for refuse in (lambda: picture_format(path), lambda: save_picture(some_figure(), path)):
        with pytest.raises(UsageError, match=rf"{name}: .*\.png, \.pdf or \.svg"):
            refuse()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.b.pdf", "a.svg"])
def test_equal_content_gives_equal_files_of_the_kind_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    contents = []
    for top in (3.0, 3.0, 4.0):
        save_picture(some_figure(top), path)
        contents.append(path.read_bytes())

    assert contents[0] == contents[1] != contents[2]
    assert contents[0].startswith(BEGINNINGS[picture_format(path)])
    for word in (b"Software", b"CreationDate", b"<dc:date>"):
        assert word not in contents[0]
    assert list(tmp_path.iterdir()) == [path]


def run_python(code: str, folder: Path, **changes: str) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "DISPLAY"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), **changes}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, env=environment)


def test_another_process_writes_the_same(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from seq2seq_cli.evaluation.pictures import save_picture; "
        f"from {__name__} import BEGINNINGS, some_figure; "
        "[save_picture(some_figure(), Path(f'there.{kind}')) for kind in BEGINNINGS]"
    )
    run_python(code, tmp_path, PYTHONHASHSEED="1")
    for kind in BEGINNINGS:
        save_picture(some_figure(), tmp_path / f"here.{kind}")
        here, there = (tmp_path / f"{name}.{kind}" for name in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()


def test_a_figure_has_the_size_asked_for_in_inches(tmp_path: Path) -> None:
    for dpi in (110.0, 50.0):
        save_picture(new_figure(4, 3), tmp_path / "a.png", dpi=dpi)
        assert imread(tmp_path / "a.png").shape[:2] == (3 * dpi, 4 * dpi)
    save_picture(new_figure(4, 3), tmp_path / "a.png")
    assert imread(tmp_path / "a.png").shape[:2] == (330, 440)


def test_no_display_is_needed(tmp_path: Path) -> None:
    """Not even where the person has chosen to draw in windows."""
    code = (
        "import sys; from pathlib import Path; "
        "from seq2seq_cli.evaluation.pictures import new_figure, save_picture; "
        "assert 'matplotlib' not in sys.modules; "
        "save_picture(new_figure(1, 1), Path('a.png')); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    run_python(code, tmp_path, MPLBACKEND="tkagg")
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize("problem", [OSError("full"), KeyboardInterrupt(), RuntimeError("bad")])
def test_what_goes_wrong_leaves_the_old_picture(
    problem: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    save_picture(some_figure(), path)
    before = path.read_bytes()

    def half_written(figure: Figure, target: Path, **options: object) -> None:
        target.write_bytes(b"\x89PNG and no more")
        raise problem

    monkeypatch.setattr(Figure, "savefig", half_written)
    with pytest.raises(type(problem)):
        save_picture(some_figure(4.0), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        save_picture(some_figure(), tmp_path / "none" / "a.png")


def test_plain_axes_have_a_grid_and_two_sides() -> None:
    axes = new_figure(2, 2).subplots()
    plain(axes)
    shown = {name for name, spine in axes.spines.items() if spine.get_visible()}
    assert shown == {"left", "bottom"}
    assert all(line.get_visible() for line in axes.get_xgridlines() + axes.get_ygridlines())
