"""Files that are whole or not there: atomic writes and checksums."""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

_numbers = itertools.count()  # with the pid: no two writers ever share a temporary file


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Hand out a path beside `path` to write to; when the block ends well, it becomes `path`.

    A reader, or a crash at any moment, finds the old file or the whole new one, never a part of
    it, and after a normal return the new file is on the disk. When the block raises (Ctrl-C
    included) the temporary file is removed and the old file stays. Only a killed process leaves
    its temporary file behind: hidden, named `.NAME.PID-NUMBER.tmp`. The folder has to exist. A
    symbolic link is followed: what it points to is replaced.

    Raises OSError when the file cannot be written.
    """
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # what this person's files have; some libraries narrow it
        yield temporary
        temporary.chmod(mode)
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file as `atomic_write` does. Raises OSError."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, its line ends as they are, as `atomic_write` does. Raises OSError."""
    write_bytes(path, text.encode())


def checksum(path: Path, algorithm: str) -> str:
    """Return the hex digest of a file of any size; `algorithm` is a name that hashlib knows.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        # Sums here tell damaged files from whole ones; a FIPS build refuses md5 otherwise.
        new_hash = lambda: hashlib.new(algorithm, usedforsecurity=False)  # noqa: E731
        return hashlib.file_digest(file, new_hash).hexdigest()


def _sync_folder(folder: Path) -> None:
    # The new name is in place by now: where a system cannot sync a folder, that is no failure.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
