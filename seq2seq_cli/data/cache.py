"""Prepared data kept between runs: training the same text again begins without preparing it again.

An entry is a safetensors file of flat arrays, which are mapped into memory, with the sum that tells
a damaged one. Its name is a hash of all that it depends on: the config, the content of the files,
the code and the packages that read and cut them. So an entry is not used for anything else; those
not used for long make room for new ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import unicodedata
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt
import safetensors
import safetensors.numpy

from seq2seq_cli import __version__
from seq2seq_cli.config.data import DataConfig, ParallelFiles
from seq2seq_cli.data import datasets
from seq2seq_cli.data.corpus import expand, parallel_sources
from seq2seq_cli.data.downloads import cache_path
from seq2seq_cli.files import atomic_write, checksum, sum_of_arrays

logger = logging.getLogger("seq2seq")

MAX_BYTES = 2 << 30
"""Of all entries together."""

_PACKAGES = ("sentencepiece", "regex", "spacy")  # what they make of a text may change
_SUM = "blake2b"

Arrays = Mapping[str, npt.NDArray[Any]]


class Input(NamedTuple):
    """A file that a split is read from."""

    split: str
    path: Path
    label: str
    """What counts beside the content: of text, its side and how it is packed; of a table, where it
    lies, for the log names it."""


def inputs(config: DataConfig) -> list[Input] | None:
    """The files of training and validation data; None when they cannot be told, as those of the
    hub's datasets. What is not on this machine is fetched first.

    Raises DataError for files that are not there, DownloadError.
    """
    found: list[Input] = []
    for split, place in (("train", config.train), ("valid", config.valid)):
        if isinstance(place, ParallelFiles):
            parallel_sources(place)  # whether they go together
            for side, files in (("source", place.source), ("target", place.target)):
                paths = expand(files)
                found += [Input(split, path, f"{side} {path.suffix.lower()}") for path in paths]
        elif isinstance(place, Path | tuple):
            found += [Input(split, path, str(path)) for path in expand(place)]
        elif config.dataset and config.dataset != "phrasebook":  # which is code
            for origin in datasets.pair_sources(config, split) or ():
                for name in (origin.source_name, origin.target_name):
                    # ARCHIVE:MEMBER names what is inside a file.
                    paths = [Path(name), Path(name.rpartition(":")[0])]
                    path = next((path for path in paths if path.is_file()), None)
                    if path is None:
                        return None
                    found.append(Input(split, path, name))
    # A pipe, say, gives its bytes but once. Path.is_file raises for names that no file can have.
    are_files = all(os.path.isfile(file.path) for file in found)  # noqa: PTH113
    return found if are_files else None


def key(config: DataConfig, files: list[Input] | None) -> str | None:
    """The name of the entry for a config and its `inputs`; None when there can be none."""
    if files is None:
        return None
    places = {"train": config.train, "valid": config.valid, "test": config.test}
    try:
        parts = [
            __version__,
            _code(),
            unicodedata.unidata_version,
            [_version(package) for package in _PACKAGES],
            config.model_dump(mode="json", exclude=set(places)),
            [place if place in (None, "none") else "files" for place in places.values()],
            [[file.split, file.label, checksum(file.path, _SUM)] for file in files],
        ]
    except OSError as error:  # whoever reads them says more
        logger.debug("%s: cannot be read: %s", error.filename, error.strerror)
        return None
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def load(name: str) -> Arrays | None:
    """The arrays of an entry; None when it is not there or damaged."""
    try:
        path = _path(name)
        with safetensors.safe_open(path, framework="pt") as file:
            wanted = (file.metadata() or {}).get(_SUM)
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
        if wanted == sum_of_arrays(arrays, _SUM):
            with contextlib.suppress(OSError):
                os.utime(path)  # those used last stay longest
            logger.debug("using the prepared data in %s", path)
            return arrays
    except FileNotFoundError:
        return None
    except (safetensors.SafetensorError, TypeError):  # TypeError: not of numpy's types
        pass
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        logger.debug("prepared data cannot be looked for: %s", error)
        return None
    logger.warning("%s is damaged; preparing the data anew", path)
    return None


def save(name: str, arrays: Arrays) -> None:
    """Keep an entry, where that can be done."""
    try:
        path = _path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            safetensors.numpy.save_file(
                dict(arrays), temporary, metadata={_SUM: sum_of_arrays(arrays, _SUM)}
            )
        _make_room(path)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        logger.debug("prepared data is not kept: %s", error)


def _path(name: str) -> Path:
    return cache_path("prepared", f"{name}.safetensors")


def _make_room(newest: Path) -> None:
    """Delete what was not used for longest, until the rest is small enough."""
    files = {path: path.stat() for path in newest.parent.iterdir() if path != newest}
    num_bytes = newest.stat().st_size
    for path in sorted(files, key=lambda path: files[path].st_mtime_ns, reverse=True):
        num_bytes += files[path].st_size
        if num_bytes > MAX_BYTES:
            path.unlink(missing_ok=True)


def _code() -> str:
    """A hash of the package's code: whoever changes it would else be served what it made before."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
