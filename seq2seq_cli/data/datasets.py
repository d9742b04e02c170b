"""Corpora that a config can name: built in, fetched once and kept, or on a hub."""

from __future__ import annotations

import io
import logging
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from seq2seq_cli.config import DataConfig
from seq2seq_cli.data import hubs, languages, phrasebook, tables
from seq2seq_cli.data.corpus import (
    OnFault,
    PairSource,
    iter_lines,
    parallel_source,
    read_lines,
)
from seq2seq_cli.data.downloads import cache_path, download, has_digest, own_path
from seq2seq_cli.errors import DataError
from seq2seq_cli.files import checksum

logger = logging.getLogger("seq2seq")

_MULTI30K_URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
_MULTI30K_SPLITS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
# Of the French and Czech files only MD5 sums are published. They tell a damaged file from a whole
# one; against tampering there is https.
_MULTI30K_DIGESTS = {
    "train.de.gz": "sha256:726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en.gz": "sha256:d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.fr.gz": "md5:6cb767741dcad3931f966fefbc05203f",
    "train.cs.gz": "md5:d9a5fc268917725a2b0efce3a0cc8607",
    "val.de.gz": "sha256:f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en.gz": "sha256:14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.fr.gz": "md5:93fc564584b7e5ba410c761ea5a1c682",
    "val.cs.gz": "md5:83cdc082f646b769095615384cf5c0ca",
    "test_2016_flickr.de.gz": (
        "sha256:9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"
    ),
    "test_2016_flickr.en.gz": (
        "sha256:611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"
    ),
    "test_2016_flickr.fr.gz": "md5:08dc7cd4a662f31718412de95ca9bfe3",
    "test_2016_flickr.cs.gz": "md5:3104872229daa1bef3b401d44dd2220b",
}
_MULTI30K_MAX_BYTES = 50_000_000  # the largest file has well under 1 MB

_TATOEBA_URL = "https://www.manythings.org/anki/"
# The zips are made anew now and then, so there are no checksums to hold them to. What is checked
# instead is that they are whole and hold what they should, within bounds that leave the largest of
# them (some 20 MB, 100 MB of text) plenty of room but keep a zip bomb out of memory.
_TATOEBA_MAX_ZIP_BYTES = 64_000_000
_TATOEBA_MAX_MEMBERS = 20
_TATOEBA_MAX_TEXT_BYTES = 300_000_000
_TATOEBA_MAX_LINE_BYTES = 1_000_000
_TATOEBA_LINES_LOOKED_AT = 10  # enough to tell English and its translation from anything else


def splits(config: DataConfig) -> tuple[str, ...]:
    """Return the names of the splits that the config's named corpus has itself.

    An `hf:` dataset is looked up, and fetched, for this. Raises DataError and DownloadError.
    """
    kind = _kind(config)
    if kind == "phrasebook":
        return tuple(phrasebook.SPLITS)
    if kind == "multi30k":
        return tuple(_MULTI30K_SPLITS)
    if kind == "hf":
        return hubs.hf_splits(config)
    return ("train",)


def pair_sources(config: DataConfig, split: str) -> list[PairSource] | None:
    """Return where the pairs of a split of the config's named corpus come from; what is not on this
    machine is fetched first. None when the corpus has no `valid` or `test` of its own.

    Raises DataError for another split that the corpus does not have, for a corpus that does not
    exist and for damaged files of a person's own; DownloadError when something cannot be fetched.
    """
    own = splits(config)
    if split in own:
        try:
            return _own_sources(config, split)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{error.filename}: cannot be read: {reason}") from error
    if split in ("valid", "test"):
        return None
    choices = tuple(dict.fromkeys(("train", "valid", "test", *own)))
    raise DataError(
        f"unknown split of {config.dataset}: {split!r}{hubs.did_you_mean(split, choices)}; "
        f"there are: {', '.join(choices)}"
    )


def _own_sources(config: DataConfig, split: str) -> list[PairSource]:
    kind = _kind(config)
    if kind == "phrasebook":
        return [_phrasebook_source(config, split)]
    if kind == "multi30k":
        return [_multi30k_source(config, split)]
    if kind == "tatoeba":
        return [_tatoeba_source(config)]
    if kind == "hf":
        return [hubs.hf_source(config, split)]
    path = hubs.kaggle_file(config)
    return tables.table_sources(path, config.columns, config.header, (config.source, config.target))


def _kind(config: DataConfig) -> str:
    assert config.dataset  # a config that names files of its own does not get here
    return config.dataset.partition(":")[0]


def _codes(config: DataConfig) -> tuple[str, str]:
    # The schema sees to it that these corpora come with both languages.
    assert config.source
    assert config.target
    return config.source, config.target


def _phrasebook_source(config: DataConfig, split: str) -> PairSource:
    source, target = _codes(config)

    def read(on_fault: OnFault) -> Iterator[tuple[int, str, str]]:
        for number, pair in enumerate(phrasebook.load(split, source, target), 1):
            yield number, *pair

    name = f"phrasebook {split}"
    return PairSource(name, name, read)


# ---------------------------------------------------------------- Multi30k


def _multi30k_source(config: DataConfig, split: str) -> PairSource:
    """Its files are taken from `$SEQ2SEQ_DATA/multi30k/` when they are there (as they are: they are
    the person's own), else from the cache, else from the network.
    """
    stem = _MULTI30K_SPLITS[split]
    source, target = (_find_multi30k(f"{stem}.{language}.gz") for language in _codes(config))
    return parallel_source(source, target)


def _find_multi30k(file_name: str) -> Path:
    """Return where a file of Multi30k is on this machine, fetching it if need be."""
    own = _find_own("multi30k", file_name, file_name.removesuffix(".gz"))
    if own:
        return own
    path = cache_path("multi30k", file_name)
    digest = _MULTI30K_DIGESTS[file_name]
    if path.is_file():
        algorithm, _, expected = digest.partition(":")
        if checksum(path, algorithm) == expected:
            return path
        logger.warning("%s is damaged; fetching it again", path)
    download(
        _MULTI30K_URL + file_name,
        path,
        has_digest(digest),
        max_bytes=_MULTI30K_MAX_BYTES,
        hint=_by_hand(f"multi30k/{file_name}"),
    )
    return path


def _find_own(corpus: str, *file_names: str) -> Path | None:
    """Return the first of these files that a person has in a folder of their own."""
    folder = own_path(corpus)
    if folder is None:
        return None
    for name in file_names:
        if (folder / name).is_file():
            return folder / name
    logger.info("%s is not in %s; using the cache or the network", file_names[0], folder)
    return None


def _by_hand(place: str) -> str:
    return (
        "; it can be fetched by hand too: set SEQ2SEQ_DATA to a folder "
        f"and save it there as {place}"
    )


# ---------------------------------------------------------------- Tatoeba


class _DamageError(Exception):
    """What is wrong with a zip, in words that go after its name."""


def _tatoeba_source(config: DataConfig) -> PairSource:
    """Lines `English, tab, translation[, tab, attribution]`, zipped, from manythings.org."""
    codes = [languages.tatoeba_code(code) for code in _codes(config)]
    from_english = codes[0] == "eng"
    other = codes[1] if from_english else codes[0]
    # A code becomes part of an address and of a file's name.
    if other == "eng" or not re.fullmatch("[a-z]{2,8}", other):
        raise DataError(f"tatoeba has no language {other!r} beside English")
    path = _find_tatoeba(other)
    member = f"{other}.txt"
    is_zip = path.suffix == ".zip"
    name = f"{path}:{member}" if is_zip else str(path)

    def read(on_fault: OnFault) -> Iterator[tuple[int, str, str]]:
        if not is_zip:
            yield from _tatoeba_pairs(read_lines(path, on_fault), name, from_english, on_fault)
            return
        try:
            lines = iter_lines(_member_lines(path, member), name, on_fault)
            yield from _tatoeba_pairs(lines, name, from_english, on_fault)
        except _DamageError as error:
            raise DataError(f"{path}: {error}") from error

    return PairSource(name, name, read)


def _find_tatoeba(code: str) -> Path:
    """Return where the pairs of English and another language are, fetching them if need be."""
    file_name, member = f"{code}-eng.zip", f"{code}.txt"
    own = _find_own("tatoeba", file_name, member)
    if own:
        problem = _tatoeba_problem(own, member) if own.suffix == ".zip" else None
        if problem is not None:
            raise DataError(f"{own}: {problem}")
        return own
    path = cache_path("tatoeba", file_name)
    if path.is_file():
        problem = _tatoeba_problem(path, member)
        if problem is None:
            return path
        logger.warning("%s is damaged (%s); fetching it again", path, problem)
    download(
        _TATOEBA_URL + file_name,
        path,
        lambda data: _tatoeba_problem(io.BytesIO(data), member),
        max_bytes=_TATOEBA_MAX_ZIP_BYTES,
        hint=_by_hand(f"tatoeba/{file_name}"),
        not_found=(
            f"; manythings.org offers no pairs of English and {code!r}: those it has are listed at "
            f"{_TATOEBA_URL}"
        ),
    )
    return path


def _tatoeba_problem(file: Path | IO[bytes], member: str) -> str | None:
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
            if num_lines <= _TATOEBA_LINES_LOOKED_AT and not is_pair:
                return f"{member}, line {number}: not a sentence, a tab and its translation"
    except (_DamageError, DataError) as error:
        return str(error)
    return None if num_lines else f"{member} is empty"


def _member_lines(file: Path | IO[bytes], member: str) -> Iterator[bytes]:
    """Yield the lines of a text inside a zip. What the zip says of sizes is not believed: the bytes
    are counted as they come out. Raises _DamageError.
    """
    try:
        if isinstance(file, Path) and file.stat().st_size > _TATOEBA_MAX_ZIP_BYTES:
            raise _DamageError(f"larger than {_TATOEBA_MAX_ZIP_BYTES:,} bytes")
        with (
            zipfile.ZipFile(file) as archive,
            archive.open(_only_member(archive, member)) as unpacked,
            io.BufferedReader(unpacked) as stream,  # type: ignore[type-var]
        ):
            num_bytes = 0
            while line := stream.readline(_TATOEBA_MAX_LINE_BYTES + 1):
                num_bytes += len(line)
                if len(line) > _TATOEBA_MAX_LINE_BYTES or num_bytes > _TATOEBA_MAX_TEXT_BYTES:
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
    if len(members) > _TATOEBA_MAX_MEMBERS:
        raise _DamageError(f"has {len(members):,} members; {_TATOEBA_MAX_MEMBERS} would be many")
    found = [member for member in members if member.filename == name]
    if len(found) != 1:
        raise _DamageError(f"holds {name} {len(found)} times, not once")
    if found[0].flag_bits & 0x1:
        raise _DamageError(f"{name} is encrypted")
    # Of the other methods a few bytes can unpack to very many before anyone counts them.
    if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _DamageError(f"{name} is compressed by an unusual method")
    return found[0]


def _tatoeba_pairs(
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
