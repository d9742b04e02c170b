"""Where corpora lie on this machine, and fetching them safely over https."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO

from seq2seq_cli import __version__
from seq2seq_cli.console import progress_bar
from seq2seq_cli.errors import DownloadError
from seq2seq_cli.files import write_bytes

logger = logging.getLogger("seq2seq")

Check = Callable[[bytes], str | None]
"""Says what is wrong with a file that was fetched; None: nothing."""

_TIMEOUT_SECONDS = 30
_WAITS_SECONDS = (2, 8)  # between the attempts, so there are three


def own_path(*names: str) -> Path | None:
    """The place of a person's own copy, in the folder that $SEQ2SEQ_DATA names, if it names one."""
    folder = os.environ.get("SEQ2SEQ_DATA")
    return Path(folder).expanduser().joinpath(*names) if folder else None


def cache_path(*names: str) -> Path:
    """The place of a file that was, or will be, fetched."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache_home.joinpath("seq2seq", *names)


def has_digest(digest: str) -> Check:
    """The check that a file has a checksum, given as "ALGORITHM:HEX"."""
    algorithm, _, expected = digest.partition(":")

    def check(data: bytes) -> str | None:
        found = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
        if found == expected:
            return None
        return f"its {algorithm} sum is {found}, it should be {expected}"

    return check


def download(
    url: str, path: Path, check: Check, *, max_bytes: int, hint: str = "", not_found: str = ""
) -> None:
    """Fetch a file over https; it gets its name only when whole and when `check` finds no fault.

    Network errors, bodies cut short and a server's own failures are tried three times. `hint` is
    added to the error when the network is what failed; `not_found`, in its place, when the server
    has no such file. The file is held in memory, so `max_bytes` bounds that too.

    Raises DownloadError, and leaves what was at `path` as it was.
    """
    data = _fetch_patiently(url, path.name, max_bytes, hint, not_found)
    problem = check(data)
    if problem is not None:
        raise DownloadError(f"{url}: not the file that was expected: {problem}")
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


def _fetch_patiently(url: str, label: str, max_bytes: int, hint: str, not_found: str) -> bytes:
    for wait in (*_WAITS_SECONDS, None):
        try:
            return _fetch(url, label, max_bytes)
        except urllib.error.HTTPError as error:
            error.close()
            reason = " ".join(str(error.reason).split())  # of endless redirects it has three lines
            problem = f"the server answers {error.code} {reason}"
            if error.code == 404 and not_found:
                hint = not_found
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
    # Some servers, that of manythings.org among them, answer 406 to the name Python gives itself.
    request = urllib.request.Request(url, headers={"User-Agent": f"seq2seq-cli/{__version__}"})
    data = bytearray()
    with _opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
        length: int | None = response.length
        too_large = DownloadError(f"{url}: larger than {max_bytes:,} bytes; not fetched")
        if length is not None and length > max_bytes:
            raise too_large
        with progress_bar(length, "B", label) as bar:
            while chunk := response.read(1 << 16):
                data += chunk
                bar.update(len(chunk))
                if len(data) > max_bytes:
                    raise too_large
    if length is not None and len(data) < length:
        raise ConnectionError(f"the connection ended after {len(data):,} of {length:,} bytes")
    return bytes(data)


def find_own(corpus: str, *file_names: str) -> Path | None:
    """Return the first of these files that a person has in a folder of their own."""
    folder = own_path(corpus)
    if folder is None:
        return None
    for name in file_names:
        if (folder / name).is_file():
            return folder / name
    logger.info("%s is not in %s; using the cache or the network", file_names[0], folder)
    return None


def by_hand(place: str) -> str:
    """Advice for an error: where a file that a person has fetched is looked for."""
    return (
        "; it can be fetched by hand too: set SEQ2SEQ_DATA to a folder "
        f"and save it there as {place}"
    )
