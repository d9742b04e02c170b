"""Tatoeba's sentence pairs with English, in the zips of manythings.org.

A zip holds one text with a pair a line: English, a tab, the translation, a tab, an attribution.
"""

from __future__ import annotations

import io
import logging
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from seq2seq_cli import languages
from seq2seq_cli.data.corpus import OnFault, PairSource, iter_lines, read_lines
from seq2seq_cli.data.downloads import by_hand, cache_path, download, find_own
from seq2seq_cli.errors import DataError

logger = logging.getLogger("seq2seq")

_URL = "https://www.manythings.org/anki/"
# The zips are made anew now and then, so there are no checksums to hold them to. What is checked
# instead is that they are whole and hold what they should, within bounds that leave the largest of
# them (some 20 MB, 100 MB of text) plenty of room but keep a zip bomb out of memory.
_MAX_ZIP_BYTES = 64_000_000
_MAX_MEMBERS = 20
_MAX_TEXT_BYTES = 300_000_000
_MAX_LINE_BYTES = 1_000_000
_LINES_LOOKED_AT = 10  # enough to tell English and its translation from anything else


class _DamageError(Exception):
    """What is wrong with a zip, in words that go after its name."""


def pair_source(source: str, target: str) -> PairSource:
    """Pairs of English and another language, whichever is the source, by their codes.

    Looked for in `$SEQ2SEQ_DATA/tatoeba/`, then in the cache, then fetched. Raises DataError for a
    pair that is not offered and a damaged file of a person's own, DownloadError, OSError.
    """
    codes = [languages.tatoeba_code(code) for code in (source, target)]
    from_english = codes[0] == "eng"
    other = codes[1] if from_english else codes[0]
    # A code becomes part of an address and of a file's name.
    if not re.fullmatch("[a-z]{2,8}", other):
        raise DataError(f"tatoeba has no language {other!r} beside English")
    path = _find(other)
    member = f"{other}.txt"
    is_zip = path.suffix == ".zip"
    name = f"{path}:{member}" if is_zip else str(path)

    def read(on_fault: OnFault) -> Iterator[tuple[int, str, str]]:
        if not is_zip:
            yield from _pairs(read_lines(path, on_fault), name, from_english, on_fault)
            return
        try:
            lines = iter_lines(_member_lines(path, member), name, on_fault)
            yield from _pairs(lines, name, from_english, on_fault)
        except _DamageError as error:
            raise DataError(f"{path}: {error}") from error

    return PairSource(name, name, read)


def _find(code: str) -> Path:
    """Return where the pairs of English and another language are, fetching them if need be."""
    file_name, member = f"{code}-eng.zip", f"{code}.txt"
    own = find_own("tatoeba", file_name, member)
    if own:
        problem = _problem(own, member) if own.suffix == ".zip" else None
        if problem is not None:
            raise DataError(f"{own}: {problem}")
        return own
    path = cache_path("tatoeba", file_name)
    if path.is_file():
        problem = _problem(path, member)
        if problem is None:
            return path
        logger.warning("%s is damaged (%s); fetching it again", path, problem)
    download(
        _URL + file_name,
        path,
        lambda data: _problem(io.BytesIO(data), member),
        max_bytes=_MAX_ZIP_BYTES,
        hint=by_hand(f"tatoeba/{file_name}"),
        not_found=(
            f"; manythings.org offers no pairs of English and {code!r}: those it has are listed at "
            f"{_URL}"
        ),
    )
    return path


def _problem(file: Path | IO[bytes], member: str) -> str | None:
    """Read a zip to its end and say what is wrong with it, if anything is."""

    def refuse(name: str, line: int, text: str) -> None:
        raise _DamageError(f"{name}, line {line}: {text}")

    num_lines = 0
    try:
        for number, line in enumerate(iter_lines(_member_lines(file, member), member, refuse), 1):
            if not line:
                continue
            num_lines += 1
            cells = line.split("\t")
            is_pair = len(cells) in (2, 3) and all(cell.strip() for cell in cells[:2])
            if num_lines <= _LINES_LOOKED_AT and not is_pair:
                return f"{member}, line {number}: not a sentence, a tab and its translation"
    except (_DamageError, DataError) as error:
        return str(error)
    return None if num_lines else f"{member} is empty"


def _member_lines(file: Path | IO[bytes], member: str) -> Iterator[bytes]:
    """Yield the lines of a text inside a zip. What the zip says of sizes is not believed: the bytes
    are counted as they come out. Raises _DamageError.
    """
    try:
        if isinstance(file, Path) and file.stat().st_size > _MAX_ZIP_BYTES:
            raise _DamageError(f"larger than {_MAX_ZIP_BYTES:,} bytes")
        with (
            zipfile.ZipFile(file) as archive,
            archive.open(_only_member(archive, member)) as unpacked,
            io.BufferedReader(unpacked) as stream,  # type: ignore[type-var]
        ):
            num_bytes = 0
            while line := stream.readline(_MAX_LINE_BYTES + 1):
                num_bytes += len(line)
                if len(line) > _MAX_LINE_BYTES or num_bytes > _MAX_TEXT_BYTES:
                    raise _DamageError(f"{member} unpacks to more than a text of sentence pairs")
                yield line
    except OSError as error:
        raise _DamageError(f"cannot be read: {error.strerror or error}") from error
    # The zipfile module has no one error for headers that make no sense.
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        OverflowError,
        RuntimeError,
    ) as error:
        raise _DamageError(f"damaged, or no zip file: {error or 'it ends too early'}") from error


def _only_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS:
        raise _DamageError(f"has {len(members):,} members; {_MAX_MEMBERS} would be many")
    found = [member for member in members if member.filename == name]
    if len(found) != 1:
        raise _DamageError(f"holds {name} {len(found)} times, not once")
    if found[0].flag_bits & 0x1:
        raise _DamageError(f"{name} is encrypted")
    # Of the other methods a few bytes can unpack to very many before anyone counts them.
    if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _DamageError(f"{name} is compressed by an unusual method")
    return found[0]


def _pairs(
    lines: Iterable[str], name: str, from_english: bool, on_fault: OnFault
) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        if not line:
            continue
        if len(cells) not in (2, 3):
            on_fault(name, number, f"cells in this line: {len(cells)}, there should be 2 or 3")
            continue
        english, translation = cells[:2]
        yield (number, english, translation) if from_english else (number, translation, english)
