"""Fetching files: whole and checked, or not at all. And where they are looked for."""

import contextlib
import functools
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

from seq2seq_cli import __version__
from seq2seq_cli.data import downloads
from seq2seq_cli.data.downloads import HttpsOnlyRedirects, download, has_digest
from seq2seq_cli.errors import DownloadError

BODY = b"some bytes " * 20_000
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
LIMIT = 300_000

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


def send_without_end(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(BODY)


PROMISE_MUCH = answer(b"", Content_Length=str(10**18))


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """Gives the next of its answers to each request; the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = [answer()]
        self.requested: list[str] = []
        self.user_agents: list[str | None] = []
        self.url = f"https://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        self.server.user_agents.append(self.headers["User-Agent"])
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *args: object) -> None:
        pass


class WithoutTls(urllib.request.HTTPSHandler):
    """Opens https:// addresses without encryption: all but TLS is then what people run."""

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(http.client.HTTPConnection, req)


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on this machine that downloads reach, as if it spoke TLS; no waits between them."""
    opener = urllib.request.build_opener(
        HttpsOnlyRedirects, WithoutTls, urllib.request.ProxyHandler({})
    )
    monkeypatch.setattr(downloads, "_opener", opener)
    monkeypatch.setattr(downloads, "_WAITS_SECONDS", (0, 0))
    with Server() as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as server:
        yield server


def fetch(url: str, path: Path, *, hint: str = "", not_found: str = "") -> None:
    check = has_digest(DIGEST)
    download(url, path, check, max_bytes=LIMIT, hint=hint, not_found=not_found)


@pytest.mark.parametrize("send", [answer(), send_without_length])
def test_download(server: Server, tmp_path: Path, send: Answer) -> None:
    server.answers = [send]
    path = tmp_path / "new" / "folder" / "file"
    fetch(server.url + "file", path)
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
    fetch(server.url, tmp_path / "file")
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
        (
            answer(b"", 302, Location="HTTP://127.0.0.1/file"),
            1,
            "redirects to http://127.0.0.1/file, which is not https",
        ),
        (
            answer(b"", 302, Location="file:///etc/passwd"),
            1,
            "cannot be fetched: the server answers 302 Found - Redirection to url "
            "'file:///etc/passwd' is not allowed; hint",
        ),
        (
            answer(b"", 302, Location="/again"),
            5,
            "cannot be fetched: the server answers 302 The HTTP server returned a redirect error "
            "that would lead to an infinite loop. The last 30x error message was: Found; hint",
        ),
        (answer(BODY * 2), 1, "larger than 300,000 bytes; not fetched"),
        (send_without_end, 1, "larger than 300,000 bytes; not fetched"),
        (PROMISE_MUCH, 1, "larger than 300,000 bytes; not fetched"),
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
        fetch(server.url, path, hint="; hint")
    assert str(caught.value) == f"{server.url}: {message}"
    assert len(server.requested) == num_requests
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_redirects_within_https_are_followed(server: Server, tmp_path: Path) -> None:
    server.answers = [answer(b"", 302, Location="/elsewhere"), answer()]
    fetch(server.url + "file", tmp_path / "file")
    assert server.requested == ["/file", "/elsewhere"]
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize("url", ["http://127.0.0.1/file", "file:///etc/hostname", "ftp://a/b"])
def test_only_https_is_fetched(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match=re.escape(f"{url}: only https is fetched")):
        fetch(url, tmp_path / "file")


def test_redirects_are_watched_outside_of_tests_too() -> None:
    handlers = downloads._opener.handlers  # type: ignore[attr-defined]
    redirecting = [h for h in handlers if isinstance(h, urllib.request.HTTPRedirectHandler)]
    assert [type(handler) for handler in redirecting] == [HttpsOnlyRedirects]


def test_waits_grow() -> None:
    waits = downloads._WAITS_SECONDS
    assert len(waits) == 2
    assert 0 < waits[0] < waits[1]


def test_a_file_that_the_server_does_not_have(server: Server, tmp_path: Path) -> None:
    server.answers = [answer(b"", 404)]
    with pytest.raises(DownloadError, match=r"answers 404 Not Found; ask elsewhere$"):
        fetch(server.url, tmp_path / "file", hint="; hint", not_found="; ask elsewhere")


def test_the_program_gives_its_own_name(server: Server, tmp_path: Path) -> None:
    server.answers = [answer(b"", 302, Location="/elsewhere"), answer()]
    fetch(server.url, tmp_path / "file")
    assert server.user_agents == [f"seq2seq-cli/{__version__}"] * 2


def test_where_files_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SEQ2SEQ_DATA", raising=False)
    assert downloads.own_path("corpus", "file") is None
    monkeypatch.setenv("SEQ2SEQ_DATA", "")
    assert downloads.own_path("corpus", "file") is None
    monkeypatch.setenv("SEQ2SEQ_DATA", "~/data")
    assert downloads.own_path("corpus", "file") == tmp_path / "home" / "data" / "corpus" / "file"
    assert downloads.cache_path("a", "b") == tmp_path / "cache" / "seq2seq" / "a" / "b"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert downloads.cache_path("a") == tmp_path / "home" / ".cache" / "seq2seq" / "a"
