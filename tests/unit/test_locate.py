"""Which model is meant when none, or just a name, is given."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from seq2seq_cli.errors import UsageError
from seq2seq_cli.locate import BEST_MODEL, ModelLocation, locate_models


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def locate_one(*given: str) -> ModelLocation:
    [found] = locate_models(given)
    return found


def make_run(run_dir: str, seconds: float = 0) -> Path:
    """A run directory whose model was written so many seconds after some moment."""
    path = Path(run_dir)
    path.mkdir(parents=True)
    (path / BEST_MODEL).touch()
    os.utime(path / BEST_MODEL, (1e9 + seconds, 1e9 + seconds))
    return path


def test_the_model_written_last_is_taken() -> None:
    make_run("runs/b", 1)
    latest = make_run("runs/c", 3)
    make_run("runs/d", 2)
    assert locate_one() == ModelLocation(latest / BEST_MODEL, latest)
    os.utime("runs/b/best.safetensors", (1e9 + 4, 1e9 + 4))
    assert locate_one().run_dir == Path("runs/b")


def test_the_age_of_the_model_counts_not_that_of_the_run() -> None:
    make_run("runs/a", 2)
    make_run("runs/b", 1)
    Path("runs/b/config.yaml").touch()
    Path("runs/c").mkdir()  # began last, has no model yet
    assert locate_one().run_dir == Path("runs/a")


@pytest.mark.parametrize("later", ["a", "b"])
def test_a_difference_of_nanoseconds_is_seen(later: str) -> None:
    for name in ("a", "b"):
        moment = 10**18 + 20 * (name == later)
        os.utime(make_run(f"runs/{name}") / BEST_MODEL, ns=(moment, moment))
    assert locate_one().run_dir == Path("runs") / later


def test_a_choice_that_was_not_asked_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    make_run("runs/a")
    logger = logging.getLogger("seq2seq")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, "seq2seq"):
            locate_one("a")
            assert not caplog.messages
            locate_one()
            assert set(caplog.messages) == {f"using {Path('runs/a') / BEST_MODEL}"}
    finally:
        logger.removeHandler(caplog.handler)


@pytest.mark.parametrize("name", ["runs/a", "a", "runs/a/", "./runs/a", "elsewhere/x"])
def test_a_run_by_its_directory_or_name(name: str) -> None:
    make_run("runs/a", 1)
    make_run("runs/b", 2)
    make_run("elsewhere/x", 3)
    run_dir = Path(name) if "/" in name else Path("runs") / name
    assert locate_one(name) == ModelLocation(run_dir / BEST_MODEL, run_dir)


@pytest.mark.parametrize("name", ["m.bin", "copies/best.safetensors"])
def test_a_file_on_its_own_has_no_run(name: str) -> None:
    make_run("runs/b")
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).touch()
    assert locate_one(name) == ModelLocation(Path(name), None)


@pytest.mark.parametrize("has_config", [True, False])
def test_a_save_of_a_run_holds_a_model_too(has_config: bool) -> None:
    run_dir = make_run("runs/a")
    (run_dir / "last").mkdir()
    (run_dir / "last" / "model.safetensors").touch()
    if has_config:
        (run_dir / "config.yaml").touch()
    found = locate_one("runs/a/last")
    assert found == ModelLocation(
        run_dir / "last" / "model.safetensors", run_dir if has_config else None
    )


def test_a_run_here_comes_before_one_of_that_name_under_runs() -> None:
    make_run("runs/a")
    Path("a").mkdir()
    assert locate_one("a").run_dir == Path("runs/a")  # ./a holds no model
    make_run("a/a").rename("a/moved")
    (Path("a") / BEST_MODEL).touch()
    assert locate_one("a").run_dir == Path("a")


def test_the_environment_chooses_and_the_command_line_beats_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for index, name in enumerate(["a", "b", "c"]):
        make_run(f"runs/{name}", index)
    assert locate_one().run_dir == Path("runs/c")
    monkeypatch.setenv("SEQ2SEQ_MODEL", "runs/a")
    assert locate_one().run_dir == Path("runs/a")
    assert locate_one("b").run_dir == Path("runs/b")
    monkeypatch.setenv("SEQ2SEQ_MODEL", "")
    assert locate_one().run_dir == Path("runs/c")


def test_without_a_model_the_error_says_how_to_make_one() -> None:
    with pytest.raises(UsageError, match="`seq2seq train --config quickstart`"):
        locate_one()
    Path("runs/unfinished").mkdir(parents=True)
    with pytest.raises(UsageError, match="no trained model under runs/"):
        locate_one()


@pytest.mark.parametrize("name", ["nosuch", "runs/nosuch", "nosuch.safetensors"])
@pytest.mark.parametrize("through", ["argument", "environment"])
def test_a_name_that_means_nothing(
    name: str, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("runs/a")  # never taken in its stead
    if through == "environment":
        monkeypatch.setenv("SEQ2SEQ_MODEL", name)
    with pytest.raises(UsageError) as caught:
        locate_models([name] if through == "argument" else [])
    shown = f"{name} (from SEQ2SEQ_MODEL)" if through == "environment" else name
    assert str(caught.value) == f"{shown}: no such model file, run directory or run under runs/"


def test_a_run_directory_without_a_model() -> None:
    Path("runs/young").mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        locate_one("runs/young")
    assert str(caught.value).startswith(f"runs/young: holds no {BEST_MODEL}")


def test_a_directory_named_like_a_model_is_none() -> None:
    make_run("runs/a")
    Path("runs/b/best.safetensors").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"^runs/b: holds no"):
        locate_one("runs/b")


def test_several_models_come_in_the_order_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("runs/a", 1)
    make_run("runs/b", 2)
    Path("m.bin").touch()
    monkeypatch.setenv("SEQ2SEQ_MODEL", "runs/b")  # one for all of them, or not at all

    assert locate_models(["m.bin", "a", "m.bin", "runs/b"]) == [
        ModelLocation(Path("m.bin"), None),
        ModelLocation(Path("runs/a") / BEST_MODEL, Path("runs/a")),
        ModelLocation(Path("m.bin"), None),
        ModelLocation(Path("runs/b") / BEST_MODEL, Path("runs/b")),
    ]


@pytest.mark.parametrize("names", [["a", "nosuch"], ["nosuch", "a"]])
def test_one_of_several_that_means_nothing_is_named(names: list[str]) -> None:
    make_run("runs/a")
    with pytest.raises(UsageError, match=r"^nosuch: no such model file"):
        locate_models(names)
