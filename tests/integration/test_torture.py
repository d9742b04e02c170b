"""The short form of `make torture`: a few of each of its tries to lose a training."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import TIMEOUT_SECONDS

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="bends what only Linux lets it bend")
def test_no_training_is_lost_and_no_damage_goes_unseen() -> None:
    command = [sys.executable, "-m", "tests.torture", "--short", "--seed", "1"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=2 * TIMEOUT_SECONDS
    )
    assert done.returncode == 0, done.stderr
    figures = {
        found[1]: int(found[2]) for found in re.finditer(r"(?m)^ *(\S.*?) +(\d+)$", done.stdout)
    }
    at_least = {"kills": 6, "stops": 4, "damages": 60, "writes": 6}
    assert {name: figures[name] for name in at_least if figures[name] < at_least[name]} == {}
    for name in ("last/", "last.previous/", "both saves", "model file"):
        assert any(what.startswith(name) for what in figures), done.stdout
    assert figures["trainings that ended with the same bits"] >= 8
