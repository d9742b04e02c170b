"""What all commands share: options, and how errors become lines and exit codes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, TextIO

import typer

from seq2seq_cli.console import configure_logging, harmless
from seq2seq_cli.errors import Interrupted, SeqError, UsageError

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[
    str | None, typer.Option("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.")
]


def _known_precision(name: str) -> str:
    if name not in ("auto", "float32", "bfloat16", "int8"):
        raise UsageError(f"--precision {name}: there are auto, float32, bfloat16 and int8")
    return name


Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        callback=_known_precision,
        metavar="P",
        help="float32, bfloat16 (faster on CPUs that have it), auto (bfloat16 on such CPUs), or "
        "int8 (for search; faster still, on CPUs with instructions for it).",
    ),
]

_TO_SAVE_MEMORY = (
    "lower training.batch_size (or --batch-size) or the sizes of the model; "
    "`seq2seq train --dry-run` measures what a config takes"
)


@contextmanager
def reporting(debug: bool = False, to_save_memory: str = _TO_SAVE_MEMORY) -> Iterator[None]:
    """Turn an error inside the block into its lines on stderr and an exit code."""
    try:
        yield
    except SeqError as error:
        _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        _fail("interrupted", 130, debug)
    except BrokenPipeError:
        # The reader of our output has gone (`seq2seq translate ... | head`): nothing is wrong.
        _drop(sys.stdout)
        sys.exit(0)
    except (MemoryError, RuntimeError) as error:
        # torch has an OutOfMemoryError for GPUs only, and a RuntimeError for the rest.
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        _fail(f"out of memory: {to_save_memory}", 1, debug)
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # it was stdout that failed
            _drop(sys.stdout)
        _fail(f"{error.filename or 'output'}: {error.strerror or error}", 1, debug)


def _fail(text: str, exit_code: int, debug: bool) -> None:
    # The end has come: one more Ctrl-C would only keep its reason from being told.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    if debug:
        traceback.print_exc()
    try:
        for line in text.split("\n"):
            print(f"error: {harmless(line)}", file=sys.stderr)
        sys.stderr.flush()
    except OSError:  # the terminal has gone
        _drop(sys.stderr)
    finally:
        signal.signal(signal.SIGINT, before)
    sys.exit(exit_code)


def _drop(stream: TextIO) -> None:
    """Let what is left in the stream's buffer go nowhere, else Python complains of it at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Inside the block, SIGTERM is an exception as Ctrl-C is: what is temporary gets removed."""
    is_received = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_received
        is_received = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if is_received:
            # Raised in the middle of a library, it may have come out of it as anything, or not.
            raise Interrupted(signal.SIGTERM, "interrupted")


_TORCH_SETTINGS = {
    # The system clears large tensors' memory 2 MB at a time, not 4 kB: a tenth of a training step.
    "THP_MEM_ALLOC_ENABLE": "1",
    # Batches have ever other shapes, and oneDNN would keep the code it makes for a thousand of
    # them, half a gigabyte. Making it again takes no longer.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16",
    "LRU_CACHE_CAPACITY": "16",
    # How long a thread that waits for the others keeps its core busy: a fraction of a millisecond
    # instead of several. A step waits thousands of times, and beside another busy program each
    # wait could take a time slice.
    "GOMP_SPINCOUNT": "10000",
}


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def _keep_freed_memory() -> None:
    """Let what a step of search has freed be there for the next one's large tensors, where the
    allocator is glibc's: asking the system for it again takes a quarter of greedy search's time.
    (Training is as fast without.)"""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    # The most that it takes: 32 MB.
    if mallopt is not None and mallopt(_M_MMAP_THRESHOLD, 1 << 25):
        mallopt(_M_TRIM_THRESHOLD, 1 << 28)


def import_torch() -> None:
    """Import torch, set up for what we do, in two thirds of the time it takes otherwise.

    The rest is the garbage collector going through what stays anyway: while it is imported, when
    the program ends, and now and then between.
    """
    if "torch" not in sys.modules:
        for name, value in _TORCH_SETTINGS.items():
            os.environ.setdefault(name, value)
        gc.disable()
        try:
            import torch  # noqa: F401
        finally:
            gc.freeze()
            gc.enable()
        _keep_freed_memory()


@contextmanager
def command(
    quiet: bool, verbose: bool, debug: bool, to_save_memory: str = _TO_SAVE_MEMORY
) -> Iterator[None]:
    """Log to stderr inside the block, at the level asked for; report errors, and Ctrl-C and SIGTERM
    as one: what is half written goes, what it would have replaced stays. (Training, once it has
    begun, answers signals itself.)"""
    configure_logging(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    with reporting(debug, to_save_memory), interrupted_by_sigterm():
        yield
