"""Corpora that a config can name: built in, fetched once and kept, or on a hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from seq2seq_cli.config.data import DataConfig
from seq2seq_cli.data import hubs, phrasebook, tables, tatoeba
from seq2seq_cli.data.corpus import OnFault, PairSource, parallel_source
from seq2seq_cli.data.downloads import by_hand, cache_path, download, find_own, has_digest
from seq2seq_cli.errors import DataError, did_you_mean
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
        f"unknown split of {config.dataset}: {split!r}{did_you_mean(split, choices)}; "
        f"there are: {', '.join(choices)}"
    )


def _own_sources(config: DataConfig, split: str) -> list[PairSource]:
    kind = _kind(config)
    if kind == "phrasebook":
        return [_phrasebook_source(config, split)]
    if kind == "multi30k":
        return [_multi30k_source(config, split)]
    if kind == "tatoeba":
        return [tatoeba.pair_source(*_codes(config))]
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
    own = find_own("multi30k", file_name, file_name.removesuffix(".gz"))
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
        hint=by_hand(f"multi30k/{file_name}"),
    )
    return path
