"""What all commands share."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest


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
