"""What all tests share."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# Models in tests are small: more threads than one only get in each other's way.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # and in the commands that tests start


@pytest.fixture(scope="session", autouse=True)
def _no_cache_but_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What lasts longer than a test, as runs that several look at, keeps out of the person's cache
    too."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_outside_influence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test sees no model, cache or downloads of the person who runs it."""
    monkeypatch.delenv("SEQ2SEQ_MODEL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _fresh_logging() -> None:
    """Commands that ran in this process have set up the program's logger; a test has it afresh."""
    logger = logging.getLogger("seq2seq")
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
    logger.handlers.clear()


@pytest.fixture
def corpora() -> Path:
    """The folder with Multi30k and others that $SEQ2SEQ_DATA names."""
    folder = os.environ.get("SEQ2SEQ_DATA")
    if not folder:
        pytest.skip("SEQ2SEQ_DATA names no folder with real corpora")
    return Path(folder)
