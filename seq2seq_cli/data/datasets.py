"""Corpora that a config can name: built in, or fetched once and kept."""

import difflib
import hashlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from email.message import Message
from pathlib import Path
from typing import IO

from seq2seq_cli.config import CORPUS_LANGUAGES
from seq2seq_cli.console import progress_bar
from seq2seq_cli.data import phrasebook
from seq2seq_cli.data.corpus import read_parallel
from seq2seq_cli.errors import DataError, DownloadError
from seq2seq_cli.files import checksum, write_bytes

logger = logging.getLogger("seq2seq")

NAMES: tuple[str, ...] = tuple(CORPUS_LANGUAGES)

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

_MAX_BYTES = 50_000_000  # the largest file of Multi30k has well under 1 MB
_TIMEOUT_SECONDS = 30
_WAITS_SECONDS = (2, 8)  # between the attempts, so there are three


def languages(name: str) -> tuple[str, ...]:
    """Return the codes of the languages a corpus has. Raises DataError for an unknown name."""
    _check("dataset", name, NAMES)
    return CORPUS_LANGUAGES[name]


def splits(name: str) -> tuple[str, ...]:
    """Return the names of a corpus' splits. Raises DataError for an unknown name."""
    _check("dataset", name, NAMES)
    return tuple(phrasebook.SPLITS if name == "phrasebook" else _MULTI30K_SPLITS)


def load(name: str, split: str, source: str, target: str) -> Iterator[tuple[str, str]]:
    """Return the pairs of one split of a corpus; Multi30k is looked for, or fetched, first.

    Its files are taken from `$SEQ2SEQ_DATA/multi30k/` when they are there (as they are: they are
    the person's own), else from the cache, else from the network.

    Raises DataError for a name, split or language that does not exist, for a corpus paired with
    itself and for an unreadable file; DownloadError when a file cannot be fetched.
    """
    _check(f"split of {name}", split, splits(name))
    _check(f"language of {name}", source, languages(name))
    _check(f"language of {name}", target, languages(name))
    if source == target:
        raise DataError(
            f"source and target are both {source!r}; {name} has: {', '.join(languages(name))}"
        )
    if name == "phrasebook":
        return iter(phrasebook.load(split, source, target))
    stem = _MULTI30K_SPLITS[split]
    try:
        source_path = _find_multi30k(f"{stem}.{source}.gz")
        target_path = _find_multi30k(f"{stem}.{target}.gz")
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return read_parallel(source_path, target_path)


def download(
    url: str, path: Path, digest: str, *, max_bytes: int = _MAX_BYTES, hint: str = ""
) -> None:
    """Fetch a file over https; it gets its name only when whole and with the right checksum.

    `digest` is "ALGORITHM:HEX". Network errors, bodies cut short and a server's own failures are
    tried three times. `hint` is added to the error when the network is what failed. The file is
    held in memory, so `max_bytes` bounds that too.

    Raises DownloadError, and leaves what was at `path` as it was.
    """
    data = _fetch_patiently(url, path.name, max_bytes, hint)
    algorithm, _, expected = digest.partition(":")
    found = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DownloadError(
            f"{url}: not the file that was expected: its {algorithm} sum is {found}, "
            f"it should be {expected}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written: {error.strerror or error}") from error


class HttpsOnlyRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects within https; anything else could be read and changed on the way."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            fp.close()
            raise DownloadError(f"{req.full_url}: redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


_opener = urllib.request.build_opener(HttpsOnlyRedirects)


def _check(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        close = difflib.get_close_matches(value, choices, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise DataError(f"unknown {what}: {value!r}{hint}; there are: {', '.join(choices)}")


def _find_multi30k(file_name: str) -> Path:
    """Return where a file of Multi30k is on this machine, fetching it if need be."""
    own_data = os.environ.get("SEQ2SEQ_DATA")
    if own_data:
        folder = Path(own_data).expanduser() / "multi30k"
        for path in (folder / file_name, folder / file_name.removesuffix(".gz")):
            if path.is_file():
                return path
        logger.info("%s is not in %s; using the cache or the network", file_name, folder)
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    path = cache_home / "seq2seq" / "multi30k" / file_name
    digest = _MULTI30K_DIGESTS[file_name]
    if path.is_file():
        algorithm, _, expected = digest.partition(":")
        if checksum(path, algorithm) == expected:
            return path
        logger.warning("%s is damaged; fetching it again", path)
    url = _MULTI30K_URL + file_name
    hint = (
        "; it can be fetched by hand too: set SEQ2SEQ_DATA to a folder "
        f"and save it there as multi30k/{file_name}"
    )
    download(url, path, digest, hint=hint)
    return path


def _fetch_patiently(url: str, label: str, max_bytes: int, hint: str) -> bytes:
    for wait in (*_WAITS_SECONDS, None):
        try:
            return _fetch(url, label, max_bytes)
        except urllib.error.HTTPError as error:
            error.close()
            problem = f"the server answers {error.code} {error.reason}"
            if error.code < 500 and error.code != 429:  # 429: too many requests just now
                break
        except (OSError, http.client.HTTPException) as error:
            problem = f"{getattr(error, 'reason', error)}" or type(error).__name__
        if wait is not None:
            logger.warning("%s: %s; trying again in %d s", url, problem, wait)
            time.sleep(wait)
    raise DownloadError(f"{url}: cannot be fetched: {problem}{hint}")


def _fetch(url: str, label: str, max_bytes: int) -> bytes:
    """Return the body at `url`, in one attempt.

    Raises DownloadError where another attempt would not help; OSError (HTTPError is one) and
    HTTPException where it may.
    """
    if not url.startswith("https://"):
        raise DownloadError(f"{url}: only https is fetched")
    logger.info("fetching %s", url)
    data = bytearray()
    with _opener.open(url, timeout=_TIMEOUT_SECONDS) as response:
        length: int | None = response.length
        with progress_bar(length, "B", label) as bar:
            while chunk := response.read(1 << 16):
                data += chunk
                bar.update(len(chunk))
                if len(data) > max_bytes:
                    raise DownloadError(f"{url}: larger than {max_bytes:,} bytes; not fetched")
    if length is not None and len(data) < length:
        raise ConnectionError(f"the connection ended after {len(data):,} of {length:,} bytes")
    return bytes(data)
