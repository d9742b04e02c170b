"""A file is whole or it is not there, whatever happens while it is written."""

import errno
import fcntl
import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seq2seq_cli import files
from seq2seq_cli.errors import RunDirectoryError
from seq2seq_cli.files import (
    atomic_write,
    checksum,
    locked,
    patiently,
    write_bytes,
    write_text,
)


def test_a_new_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_hidden_beside_and_carries_the_pid(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as first, atomic_write(tmp_path / "a") as second:
        for temporary in (first, second):
            assert temporary.parent == tmp_path
            assert temporary.name.startswith(f".a.{os.getpid()}-")
            temporary.touch()
        assert first != second


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    program = (
        "import os, pathlib, sys\n"
        "from seq2seq_cli.files import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('ne')\n"
        "    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 9
    assert path.read_text() == "old"


def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    named_at_sync = []

    def record(descriptor: int) -> None:
        named_at_sync.append(path.exists())

    monkeypatch.setattr(os, "fsync", record)
    write_bytes(path, b"x")
    assert named_at_sync == [False, True]


def test_a_folder_that_cannot_be_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open

    def refuse_folders(path: Path, flags: int, mode: int = 0o777) -> int:
        if path.is_dir():
            raise PermissionError
        return really_open(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse_folders)
    write_bytes(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_link_is_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_writer_that_narrows_permissions_does_not_last(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "file") as temporary:
        temporary.chmod(0o600)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_bytes(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "nowhere" / "file", "x")


def test_text_is_utf8_with_its_line_ends_untouched(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "ä\r\nb\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa4\r\nb\n"


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
@pytest.mark.parametrize("size", [0, 3, 3_000_000])
def test_checksum_is_that_of_the_bytes(tmp_path: Path, algorithm: str, size: int) -> None:
    data = b"x" * size
    (tmp_path / "file").write_bytes(data)
    assert checksum(tmp_path / "file", algorithm) == hashlib.new(algorithm, data).hexdigest()


# ---------------------------------------------------------------- trying once more


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RETRY_SECONDS", 0.0)


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("num_failures", [0, 1, 2])
def test_what_fails_is_tried_once_more(num_failures: int, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def write() -> str:
        calls.append(1)
        if len(calls) <= num_failures:
            raise OSError(errno.ENOSPC, "full", "a/file")
        return "written"

    if num_failures == 2:
        with pytest.raises(OSError, match="full"):
            patiently(write)
    else:
        assert patiently(write) == "written"
    assert len(calls) == min(2, num_failures + 1)
    warning = "a/file: full; trying once more in 0 s"
    assert caplog.messages == [warning] * min(1, num_failures)


# ---------------------------------------------------------------- locks

HERE = socket.gethostname()


def other_process(folder: Path, ending: str) -> "subprocess.Popen[str]":
    """One that has the folder, and then ends in some way."""
    program = (
        "import sys; from pathlib import Path; from seq2seq_cli.files import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        f"    print('has it', flush=True); sys.stdin.read(); {ending}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "has it\n"
    return process


def test_a_folder_is_one_processes_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with other_process(folder, "pass") as process:
        with pytest.raises(RunDirectoryError) as caught, locked(folder):
            pass
        assert str(caught.value) == f"{folder}: is in use by process {process.pid} on {HERE}"
        assert process.poll() is None
        process.communicate("")
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []
    with locked(folder):
        assert (folder / ".lock").read_text() == f"process {os.getpid()} on {HERE}\n"


def test_what_a_killed_process_left_is_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    with other_process(folder, "import os; os.kill(os.getpid(), 9)") as process:
        process.communicate("")
    assert process.returncode == -9
    assert (folder / ".lock").read_text() == f"process {process.pid} on {HERE}\n"
    with caplog.at_level("INFO", logger="seq2seq"), locked(folder):
        pass
    assert caplog.messages == [f"taking over from process {process.pid} on {HERE}, which has ended"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", ["", "scrap", "process x on y\n", "\0" * 5000, "process 1"])
def test_a_lock_file_that_says_nothing_is_in_nobodys_way(content: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(content)
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {HERE}\n"


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), locked(tmp_path / "a" / "b"):
        raise ValueError("mine")
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert list((tmp_path / "a" / "b").iterdir()) == [tmp_path / "a" / "b" / "file"]
    with locked(tmp_path):
        pass
    assert tmp_path.exists()


@pytest.mark.parametrize(
    ("holder", "is_free"),
    [
        (f"process {os.getppid()} on {HERE}\n", False),
        (f"process 999999999 on {HERE}\n", True),
        (f"process {os.getpid()} on {HERE}\n", True),  # of a past life
        ("process 1 on elsewhere\n", False),
        ("", True),
    ],
    ids=["one that runs", "one that has ended", "a past life", "elsewhere", "nobody"],
)
def test_a_file_system_without_locks_goes_by_who_is_named(
    holder: str, is_free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    (tmp_path / ".lock").write_text(holder)
    if is_free:
        with locked(tmp_path):
            assert str(os.getpid()) in (tmp_path / ".lock").read_text()
        return
    with pytest.raises(RunDirectoryError, match="is in use by process") as caught, locked(tmp_path):
        pass
    advice = f"if that one has ended, remove {tmp_path / '.lock'}"
    assert (advice in str(caught.value)) is ("elsewhere" in holder)
    assert (tmp_path / ".lock").read_text() == holder
