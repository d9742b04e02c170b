"""What is fuzzed. A new target: a function that takes bytes, and its name in TARGETS."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from seq2seq_cli.errors import SeqError
from tests.fuzz.config_target import config
from tests.fuzz.corpus_targets import parallel, table
from tests.fuzz.model_targets import changed_model_file, rebuilt_model_file
from tests.fuzz.save_target import save_folder
from tests.fuzz.translate_target import translate

MAX_SECONDS = 4.0
"""Of this process' own time, for one case: none takes one on an idle computer, and on a busy one
each counts up to twice."""

TARGETS: dict[str, Callable[[bytes], None]] = {
    "config": config,
    "parallel": parallel,
    "table": table,
    "model_file": changed_model_file,
    "rebuilt_model_file": rebuilt_model_file,
    "translate": translate,
    "save_folder": save_folder,
}

outcomes: Counter[str] = Counter()
"""How cases ended so far: `accepted`, or the kind of our own error."""


def run(name: str, data: bytes) -> str:
    """Run a case; gives how it ended. Errors that are not ours pass through, and so do those of
    ours that do not blame the input; AssertionError for a case that takes too long."""
    started = time.process_time()
    try:
        TARGETS[name](data)
        outcome = "accepted"
    except SeqError as error:
        if error.exit_code != 2 or not str(error).strip():
            raise
        outcome = type(error).__name__
    seconds = time.process_time() - started
    assert seconds < MAX_SECONDS, f"took {seconds:.1f} s"
    outcomes[outcome] += 1
    return outcome
