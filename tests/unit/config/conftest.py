"""Tests of configs stand in a folder of their own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _stand_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
