"""Named corpora: what there is, where it is looked for, and fetching it safely."""

import functools
import gzip
import hashlib
import http.client
import logging
import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seq2seq_cli.data import datasets, phrasebook
from seq2seq_cli.data.datasets import HttpsOnlyRedirects, download
from seq2seq_cli.errors import DataError, DownloadError

BODY = b"some bytes " * 20_000
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"

Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(body: bytes = BODY, code: int = 200, **headers: str) -> Answer:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


CUT_MIDWAY = answer(BODY[:100_000], Content_Length=str(len(BODY)))


def send_without_length(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(BODY)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """Gives the next of its answers to each request; the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = [answer()]
        self.requested: list[str] = []
        self.url = f"https://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *args: object) -> None:
        pass


class WithoutTls(urllib.request.HTTPSHandler):
    """Opens https:// addresses without encryption: all but TLS is then what people run."""

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(http.client.HTTPConnection, req)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    opener = urllib.request.build_opener(
        HttpsOnlyRedirects, WithoutTls, urllib.request.ProxyHandler({})
    )
    monkeypatch.setattr(datasets, "_opener", opener)
    monkeypatch.setattr(datasets, "_WAITS_SECONDS", (0, 0))
    with Server() as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no SEQ2SEQ_DATA."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SEQ2SEQ_DATA", raising=False)
    return tmp_path / "cache" / "seq2seq" / "multi30k"


@pytest.fixture
def multi30k(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A Multi30k of one pair, on the local server."""
    files = {"val.de.gz": gzip.compress(b"Hallo\n"), "val.fr.gz": gzip.compress(b"Bonjour\n")}
    server.answers = [lambda handler: answer(files[handler.path[1:]])(handler)]
    digests = {
        "val.de.gz": f"sha256:{hashlib.sha256(files['val.de.gz']).hexdigest()}",
        "val.fr.gz": f"md5:{hashlib.md5(files['val.fr.gz']).hexdigest()}",
    }
    monkeypatch.setattr(datasets, "_MULTI30K_URL", server.url)
    monkeypatch.setattr(datasets, "_MULTI30K_DIGESTS", digests)
    return files


# --- what there is ---


def test_what_there_is() -> None:
    assert datasets.NAMES == ("phrasebook", "multi30k")
    assert datasets.languages("phrasebook") == ("de", "en")
    assert datasets.languages("multi30k") == ("de", "en", "fr", "cs")
    assert datasets.splits("phrasebook") == ("train", "valid", "test", "test_novel")
    assert datasets.splits("multi30k") == ("train", "valid", "test")


def test_every_file_of_multi30k_has_a_checksum() -> None:
    names = {
        f"{stem}.{language}.gz"
        for stem in ("train", "val", "test_2016_flickr")
        for language in datasets.languages("multi30k")
    }
    assert set(datasets._MULTI30K_DIGESTS) == names
    for digest in datasets._MULTI30K_DIGESTS.values():
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", digest)


@pytest.mark.parametrize("split", ["train", "valid", "test", "test_novel"])
def test_phrasebook(split: str) -> None:
    pairs = list(datasets.load("phrasebook", split, "de", "en"))
    assert pairs == phrasebook.load(split, "de", "en")
    assert pairs
    swapped = [(target, source) for source, target in pairs]
    assert list(datasets.load("phrasebook", split, "en", "de")) == swapped


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("multi30", "train", "de", "en"),
            "unknown dataset: 'multi30' (did you mean multi30k?); there are: phrasebook, multi30k",
        ),
        (
            ("tatoeba", "train", "de", "en"),
            "unknown dataset: 'tatoeba'; there are: phrasebook, multi30k",
        ),
        (
            ("multi30k", "val", "de", "en"),
            "unknown split of multi30k: 'val' (did you mean valid?); there are: train, valid, test",
        ),
        (
            ("phrasebook", "train", "fr", "en"),
            "unknown language of phrasebook: 'fr'; there are: de, en",
        ),
        (
            ("multi30k", "train", "de", "enn"),
            "unknown language of multi30k: 'enn' (did you mean en?); there are: de, en, fr, cs",
        ),
        (
            ("multi30k", "train", "de", "de"),
            "source and target are both 'de'; multi30k has: de, en, fr, cs",
        ),
    ],
)
def test_asking_for_what_there_is_not(arguments: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        datasets.load(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("function", [datasets.languages, datasets.splits])
def test_what_an_unknown_corpus_has(function: Callable[[str], tuple[str, ...]]) -> None:
    with pytest.raises(DataError, match="unknown dataset: 'wmt14'; there are: phrasebook"):
        function("wmt14")


# --- where Multi30k is looked for ---


def test_multi30k_is_fetched_once(multi30k: dict[str, bytes], server: Server, cache: Path) -> None:
    for _ in range(2):
        assert list(datasets.load("multi30k", "valid", "de", "fr")) == [("Hallo", "Bonjour")]
    assert server.requested == ["/val.de.gz", "/val.fr.gz"]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == multi30k


def test_a_damaged_file_in_the_cache_is_fetched_again(
    multi30k: dict[str, bytes], server: Server, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir(parents=True)
    (cache / "val.de.gz").write_bytes(multi30k["val.de.gz"][:-1])
    (cache / "val.fr.gz").write_bytes(multi30k["val.fr.gz"])
    assert list(datasets.load("multi30k", "valid", "fr", "de")) == [("Bonjour", "Hallo")]
    assert server.requested == ["/val.de.gz"]
    assert (cache / "val.de.gz").read_bytes() == multi30k["val.de.gz"]
    assert caplog.messages == [f"{cache / 'val.de.gz'} is damaged; fetching it again"]


def test_own_files_come_first_and_as_they_are(
    multi30k: dict[str, bytes],
    server: Server,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = tmp_path / "own" / "multi30k"
    own.mkdir(parents=True)
    monkeypatch.setenv("SEQ2SEQ_DATA", str(own.parent))
    (own / "val.de.gz").write_bytes(gzip.compress(b"Servus\n"))
    (own / "val.fr").write_bytes(b"Salut\n")
    assert list(datasets.load("multi30k", "valid", "de", "fr")) == [("Servus", "Salut")]
    assert server.requested == []
    (own / "val.fr").unlink()
    assert list(datasets.load("multi30k", "valid", "de", "fr")) == [("Servus", "Bonjour")]
    assert server.requested == ["/val.fr.gz"]
    assert not (cache / "val.de.gz").exists()


def test_the_cache_is_in_the_home_folder_by_default(
    multi30k: dict[str, bytes], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(datasets.load("multi30k", "valid", "de", "fr")) == [("Hallo", "Bonjour")]
    assert (tmp_path / ".cache" / "seq2seq" / "multi30k" / "val.de.gz").exists()


def test_without_network_the_error_says_what_to_do(
    multi30k: dict[str, bytes], server: Server, cache: Path
) -> None:
    server.answers = [hang_up]
    with pytest.raises(DownloadError) as caught:
        datasets.load("multi30k", "valid", "de", "fr")
    assert str(caught.value) == (
        f"{server.url}val.de.gz: cannot be fetched: Remote end closed connection without response; "
        "it can be fetched by hand too: set SEQ2SEQ_DATA to a folder "
        "and save it there as multi30k/val.de.gz"
    )
    assert caught.value.exit_code == 1
    assert not cache.exists()


def test_a_cache_that_cannot_be_written(multi30k: dict[str, bytes], cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"val\.de\.gz: cannot be written: "):
        datasets.load("multi30k", "valid", "de", "fr")


# --- fetching ---


@pytest.mark.parametrize("send", [answer(), send_without_length])
def test_download(server: Server, tmp_path: Path, send: Answer) -> None:
    server.answers = [send]
    path = tmp_path / "new" / "folder" / "file"
    download(server.url + "file", path, DIGEST)
    assert path.read_bytes() == BODY
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "failures",
    [[CUT_MIDWAY], [answer(b"", 500)], [answer(b"", 429)], [hang_up], [hang_up, CUT_MIDWAY]],
)
def test_passing_failures_are_tried_again(
    server: Server, tmp_path: Path, failures: list[Answer], caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [*failures, answer()]
    download(server.url, tmp_path / "file", DIGEST)
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(server.requested) == len(failures) + 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * len(failures)


@pytest.mark.parametrize(
    ("failure", "num_requests", "message"),
    [
        (
            CUT_MIDWAY,
            3,
            "cannot be fetched: the connection ended after 100,000 of 220,000 bytes; hint",
        ),
        (
            hang_up,
            3,
            "cannot be fetched: Remote end closed connection without response; hint",
        ),
        (
            answer(b"", 503),
            3,
            "cannot be fetched: the server answers 503 Service Unavailable; hint",
        ),
        (answer(b"", 404), 1, "cannot be fetched: the server answers 404 Not Found; hint"),
        (
            answer(b"", 302, Location="http://127.0.0.1/file"),
            1,
            "redirects to http://127.0.0.1/file, which is not https",
        ),
        (
            answer(b"", 302, Location="ftp://127.0.0.1/file"),
            1,
            "redirects to ftp://127.0.0.1/file, which is not https",
        ),
        (answer(BODY * 2), 1, "larger than 300,000 bytes; not fetched"),
        (
            answer(b"a login page"),
            1,
            "not the file that was expected: its sha256 sum is "
            f"{hashlib.sha256(b'a login page').hexdigest()}, it should be {DIGEST[7:]}",
        ),
    ],
)
def test_failures_leave_everything_as_it_was(
    server: Server, tmp_path: Path, failure: Answer, num_requests: int, message: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    server.answers = [failure]
    with pytest.raises(DownloadError) as caught:
        download(server.url, path, DIGEST, max_bytes=300_000, hint="; hint")
    assert str(caught.value) == f"{server.url}: {message}"
    assert len(server.requested) == num_requests
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_redirects_within_https_are_followed(server: Server, tmp_path: Path) -> None:
    server.answers = [answer(b"", 302, Location="/elsewhere"), answer()]
    download(server.url + "file", tmp_path / "file", DIGEST)
    assert server.requested == ["/file", "/elsewhere"]
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize("url", ["http://127.0.0.1/file", "file:///etc/hostname", "ftp://a/b"])
def test_only_https_is_fetched(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match=re.escape(f"{url}: only https is fetched")):
        download(url, tmp_path / "file", DIGEST)


def test_redirects_are_watched_outside_of_tests_too() -> None:
    handlers = datasets._opener.handlers  # type: ignore[attr-defined]
    redirecting = [h for h in handlers if isinstance(h, urllib.request.HTTPRedirectHandler)]
    assert [type(handler) for handler in redirecting] == [HttpsOnlyRedirects]


def test_waits_grow() -> None:
    waits = datasets._WAITS_SECONDS
    assert len(waits) == 2
    assert 0 < waits[0] < waits[1]
