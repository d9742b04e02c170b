"""Bytes as decisions: both hypothesis and libFuzzer make and shrink bytes."""

from __future__ import annotations

import atexit
import functools
import gzip
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

_T = TypeVar("_T")


class Case:
    """Decisions taken from bytes, one after the other; behind their end, each is the first one."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    @property
    def is_used_up(self) -> bool:
        return not self._left

    def take(self, size: int) -> bytes:
        """The next bytes, fewer where they end."""
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._left))

    def number(self, limit: int) -> int:
        """From 0 up to, not including, `limit`. It takes a byte more than it needs, so that no
        number is far rarer than others."""
        return int.from_bytes(self.take((limit.bit_length() + 7) // 8 + 1)) % limit

    def flag(self) -> bool:
        return self.number(2) == 1

    def pick(self, options: Sequence[_T]) -> _T:
        return options[self.number(len(options))]

    def text(self, pieces: Sequence[bytes]) -> bytes:
        """Some of the pieces, with bytes of any kind between them."""
        found = bytearray()
        while not self.is_used_up:
            index = self.number(len(pieces) + len(pieces) // 8 + 1)
            found += pieces[index] if index < len(pieces) else self.take(1 + self.number(4))
        return bytes(found)

    def edited(self, data: bytes, pieces: Sequence[bytes], num_edits: int) -> bytes:
        """The bytes with so many places of them changed."""
        for _ in range(num_edits):
            start = self.number(len(data) + 1)
            kind = self.number(5)
            if kind == 0:  # one bit
                flipped = bytes(byte ^ (1 << self.number(8)) for byte in data[start : start + 1])
                data = data[:start] + flipped + data[start + 1 :]
            elif kind == 1:  # put in
                data = data[:start] + self.pick(pieces) + data[start:]
            elif kind == 2:  # written over
                new = self.take(1 + self.number(8))
                data = data[:start] + new + data[start + len(new) :]
            elif kind == 3:  # taken out
                data = data[:start] + data[start + 1 + self.number(64) :]
            else:  # from elsewhere
                other = self.number(len(data) + 1)
                data = data[:start] + data[other : other + 1 + self.number(64)] + data[start:]
        return data


@functools.cache
def folder() -> Path:
    """Where cases lie while they run, in memory if there is such a place."""
    memory = Path("/dev/shm")
    path = tempfile.mkdtemp(prefix="seq2seq-fuzz-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


def write(name: str, data: bytes) -> Path:
    """A file of this name in the folder, in place of the one before it."""
    path = folder() / name
    path.write_bytes(data)
    return path


ENDINGS = ("", "", "", ".gz", ".zst")


def write_text(case: Case, name: str, data: bytes) -> Path:
    """A file of text, perhaps compressed, and that perhaps damaged."""
    ending = case.pick(ENDINGS)
    if ending:
        data = gzip.compress(data, 1, mtime=0) if ending == ".gz" else zstd.compress(data)
        data = case.edited(data, [data], case.pick((0, 0, 1, 2)))
    return write(name + ending, data)
