"""What all commands share."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seq2seq_cli import command_line
from seq2seq_cli.command_line import interrupted_by_sigterm, reporting
from seq2seq_cli.errors import Interrupted
from tests.unit.training.support import library_ended_by_sigterm


def test_torch_is_imported_once_and_garbage_is_collected_after() -> None:
    program = """
import gc
from seq2seq_cli.command_line import import_torch
import_torch()
import torch
first = gc.get_freeze_count()
assert gc.isenabled() and first > 100_000, first
kept = [[] for _ in range(1000)]
import_torch()
assert gc.isenabled() and gc.get_freeze_count() == first
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_user_has_set_for_torch_stays() -> None:
    program = """
import os
from seq2seq_cli.command_line import import_torch
import_torch()
print(os.environ["GOMP_SPINCOUNT"], "LRU_CACHE_CAPACITY" in os.environ)
"""
    command = [sys.executable, "-c", program]
    own = os.environ | {"GOMP_SPINCOUNT": "5"}
    done = subprocess.run(command, capture_output=True, text=True, env=own)
    assert (done.returncode, done.stdout) == (0, "5 True\n"), done.stderr


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators do as they like")
def test_freed_memory_is_used_again() -> None:
    """Where it is handed back to the system, each round takes some 60 MB from it anew."""
    program = """
import resource
from seq2seq_cli.command_line import import_torch
import_torch()
import torch

def faults():
    held = [torch.ones(5_000_000) for _ in range(3)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

faults()
before = faults()
for _ in range(10):
    after = faults()
print(after - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Ten rounds take at least 300 otherwise, and more where a page is not 2 MB.
    assert int(done.stdout) < 100


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemError, ImportError, None])
def test_sigterm_interrupts_whatever_a_library_makes_of_it(
    error: type[BaseException] | None,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"^interrupted$") as caught, interrupted_by_sigterm():
        library_ended_by_sigterm(error)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(SystemError, match="mine"), interrupted_by_sigterm():
        raise SystemError("mine")


def test_the_exit_code_is_right_where_nobody_can_be_told() -> None:
    program = (
        "from seq2seq_cli.command_line import reporting\n"
        "from seq2seq_cli.errors import Interrupted\n"
        "with reporting(), reporting():\n"
        "    raise Interrupted(1)\n"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", program], stderr=full, check=False)
    assert done.returncode == 129


def test_a_ctrl_c_does_not_keep_an_error_from_being_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(text: str) -> str:
        signal.raise_signal(signal.SIGINT)
        return text

    monkeypatch.setattr(command_line, "harmless", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as caught, reporting():
        raise Interrupted(signal.SIGTERM, "stopped")
    assert caught.value.code == 143
    assert capsys.readouterr().err == "error: stopped\n"
    assert signal.getsignal(signal.SIGINT) == before
