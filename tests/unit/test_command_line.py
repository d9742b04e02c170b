"""What all commands share."""

from __future__ import annotations

import subprocess
import sys


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
