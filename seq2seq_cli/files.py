"""Files that are whole or not there: atomic writes, checksums, and locks on folders."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from seq2seq_cli.errors import RunDirectoryError

if TYPE_CHECKING:
    import numpy.typing as npt

if os.name != "nt":
    import fcntl

logger = logging.getLogger("seq2seq")

RETRY_SECONDS = 2.0

_T = TypeVar("_T")

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
    except OSError as error:
        # What people know is the file itself; and a failed fsync names none.
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


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


def sum_of_arrays(arrays: Mapping[str, npt.NDArray[Any]], algorithm: str) -> str:
    """Return the hex digest of arrays with their names, types and shapes."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Put on the disk which names the folder holds, where the system can do that."""
    # The new name is in place by now: where a system cannot sync a folder, that is no failure.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def patiently(write: Callable[[], _T]) -> _T:
    """What `write` returns; where it fails it is called once more, a moment later: network folders
    come back, and disks that were full may not be any more.

    Raises OSError.
    """
    try:
        return write()
    except OSError as error:
        logger.warning("%s; trying once more in %g s", problem(error), RETRY_SECONDS)
    time.sleep(RETRY_SECONDS)
    return write()


def problem(error: OSError) -> str:
    """`FILE: what the system says`."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


# ---------------------------------------------------------------- locks

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside the block, the folder is this process's: its .lock names process and host.

    A folder that was not there is made, and goes again when the block leaves it empty. The system
    takes a lock off a process that ends, however it ends, so what such a process has left of
    itself in .lock is in nobody's way.

    Raises RunDirectoryError when another process has it, OSError.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(_lock(folder / LOCK)):
            try:
                yield
            finally:
                (folder / LOCK).unlink(missing_ok=True)
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()


def _lock(path: Path) -> IO[str]:
    """The open file of the lock, which closing it gives up."""
    while True:
        file = path.open("a+", encoding="utf-8", errors="replace")
        try:
            file.seek(0)
            holder = re.fullmatch(r"process (\d{1,9}) on (.{1,255})\n", file.read(1000))
            pid, host = (int(holder[1]), holder[2]) if holder else (0, "")
            if not _is_free(file, pid, host):
                who = f"process {pid} on {host}" if holder else "another process"
                elsewhere = host not in ("", socket.gethostname())
                advice = f"; if that one has ended, remove {path}" if elsewhere else ""
                raise RunDirectoryError(f"{path.parent}: is in use by {who}{advice}")
            # Who had it may have removed the file since it was opened: then that lock is no use.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    if holder:
                        logger.info("taking over from %s, which has ended", holder[0].strip())
                    file.truncate(0)
                    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
                    file.flush()
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_free(file: IO[str], pid: int, host: str) -> bool:
    """Whether the lock could be taken. Where a file system (or Windows) has no locks, it is free
    when the process named in it, by its number on its host, has ended."""
    if os.name != "nt":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:
            pass
    if not pid or (pid == os.getpid() and host == socket.gethostname()):
        return True
    if host != socket.gethostname() or os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
