"""Whatever is piped in: line i of the output answers line i of the input."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.conftest import (
    TIMEOUT_SECONDS,
    Result,
    Trained,
    assert_refused,
    call_command,
    command,
    environment,
    objects,
    snapshot,
)
from tests.integration.test_translate_command import num_lines

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def translate(trained: Trained, *arguments: str | Path, stdin: bytes = b"") -> Result:
    result = call_command("translate", *arguments, cwd=trained.folder, stdin=stdin)
    assert result.code == 0, result.err
    return result


def warnings(result: Result) -> list[str]:
    return [line for line in result.err.split("\n") if line.startswith("warning: ")]


# ---------------------------------------------------------------- any bytes at all

# What people's files have been seen to hold, and bytes that nobody's should.
SCRAPS = [
    *(
        text.encode()
        for text in ("Anna mag Brot.", "Der Mann", " ", "\t", "\u3000", "\u2028", "🙂")
    ),
    *(
        text.encode()
        for text in ("e\u0301\u0301", "\u202e", "\u200b", "\ufeff", "\U000e0001", "\x85")
    ),
    *(b"\0", b"\r", b"\x1b[31m", b"\x0c", b"\x1c", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f"),
    *(b"<unk>", b"<eos>", b"|||", b"\\n", b"%s", b"[bold]", b"{0}", b"x" * 3000),
]


@settings(
    derandomize=True,
    deadline=None,
    max_examples=15,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    lines=st.lists(
        st.one_of(
            st.lists(st.sampled_from(SCRAPS), max_size=6).map(b"".join),
            st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")),
        ),
        max_size=12,
    ),
    end=st.sampled_from([b"", b"\n", b"\r\n"]),
)
def test_a_line_out_for_each_line_in(trained: Trained, lines: list[bytes], end: bytes) -> None:
    text = b"\n".join(lines) + end
    if text.startswith(UTF16_MARKS) or text == b"\xef\xbb\xbf":
        return
    plain = translate(trained, stdin=text)
    assert len(plain.lines) == num_lines(text)

    found = objects(translate(trained, "--json", stdin=text))
    assert [line["translation"] for line in found] == plain.lines
    for raw, line in zip(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), found, strict=False):
        read = raw.removesuffix(b"\r").decode(errors="replace")
        assert line["source"] == read
        assert ("invalid_utf8" in line["flags"]) == (raw.decode(errors="ignore").encode() != raw)
        assert bool(line["source_tokens"]) == bool(line["tokens"]) or line["flags"]


# Each row: a line, and its flags; the model knows the words of `sentence_pairs`.
FLAGGED: dict[str, tuple[bytes, list[str]]] = {
    "as it should be": (b"Anna mag Brot.", []),
    "no UTF-8": (b"Anna mag \xff Brot.", ["invalid_utf8", "unknown_words"]),
    "only bad bytes": (b"\xff\xfe\xfd", ["invalid_utf8", "unknown_words"]),
    "too long": (b"Anna mag Brot. " * 100, ["truncated"]),
    "too long and no UTF-8 behind": (b"Anna " * 999 + b"\xff", ["invalid_utf8", "truncated"]),
    "a megabyte": (b"Brot " * 200_000, ["truncated"]),
    "a word of a megabyte": (b"x" * 1_000_000, ["unknown_words"]),
    "a megabyte of dots": (b"." * 1_000_000, ["truncated"]),
    "a megabyte of spaces": (b" " * 1_000_000, []),
    "a megabyte of flags": ("🇩🇪".encode() * 125_000, ["truncated", "unknown_words"]),
    "empty": (b"", []),
    "blank": (" \t\u00a0\u3000\u2028\r".encode(), []),
    "no width": ("\u200b\u200d\u2060".encode(), ["unknown_words"]),
    "nul": (b"\0", ["unknown_words"]),
    "a return inside": (b"Anna\rmag\r\rBrot.", []),
    "unknown words only": (b"Xylophon spielt Zither", ["unknown_words"]),
}


def test_flags_say_what_was_done(trained: Trained) -> None:
    text = b"".join(line + b"\n" for line, _ in FLAGGED.values())
    result = translate(trained, "--json", stdin=text)
    found = [
        [flag for flag in line["flags"] if flag != "length_capped"] for line in objects(result)
    ]
    assert dict(zip(FLAGGED, found, strict=True)) == {
        name: flags for name, (_, flags) in FLAGGED.items()
    }


def test_lines_beside_bad_ones_are_translated_as_ever(trained: Trained) -> None:
    lines = [b"Anna mag Brot.", b"\xff" * 50, b"Der Mann mag Wasser!"]
    alone = translate(trained, stdin=lines[0] + b"\n" + lines[2])
    first, _, last = translate(trained, stdin=b"\n".join(lines)).lines
    assert [first, last] == alone.lines


def test_what_is_longer_than_any_line_is_read_as_far_as_that(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seq2seq_cli.data.corpus.MAX_LINE_BYTES", 16)
    text = b"Anna mag Brot.  " + b"x" * 100_000 + b"\nDer Mann.\n"
    result = translate(trained, "--json", stdin=text)
    first, second = objects(result)
    assert (first["source"].strip(), first["flags"]) == ("Anna mag Brot.", ["truncated"])
    assert second["source"] == "Der Mann."
    assert first["translation"] == translate(trained, "Anna mag Brot.").lines[0]
    [warning] = warnings(result)
    assert "1 line was longer" in warning


# ---------------------------------------------------------------- what is told, in every mode

BAD = b"Brot.\nAnna \xff mag.\n" + b"Brot " * 300 + b"\n\xff\n"
INVALID = "2 lines were not valid UTF-8; U+FFFD stands for what was not (the first: line 2)"
CUT = "1 line was longer than is read of a line (data.max_length) and cut (line 3)"


@pytest.mark.parametrize(
    ("mode", "way"),
    [
        *((mode, "-") for mode in ("plain", "json", "n-best", "score", "rescore", "quiet")),
        *((mode, "in to out") for mode in ("plain", "score", "rescore")),
        ("plain", "in"),
    ],
)
def test_counts_are_told_once_at_the_end(
    trained: Trained, empty_dir: Path, mode: str, way: str
) -> None:
    (empty_dir / "in").write_bytes(BAD)
    (empty_dir / "targets").write_text("bread\n" * 4)
    (empty_dir / "list").write_text("".join(f"{n} ||| bread ||| ||| -1\n" for n in range(4)))
    words: dict[str, Sequence[str | Path]] = {
        "plain": [],
        "json": ["--json"],
        "n-best": ["--n-best", "2"],
        "score": ["--score", empty_dir / "targets"],
        "rescore": ["--rescore", empty_dir / "list"],
        "quiet": ["--quiet"],
    }
    source = empty_dir / "in" if way != "-" else "-"
    output: list[str | Path] = ["--output", empty_dir / "out"] if way == "in to out" else []
    result = translate(trained, *words[mode], "--input", source, *output, stdin=BAD)
    told = [line for line in warnings(result) if "length limit" not in line]
    assert told == [f"warning: {INVALID}", f"warning: {CUT}"]
    out = (empty_dir / "out").read_text() if output else result.out
    assert out.count("\n") == 4 * (2 if mode == "n-best" else 1)


@pytest.mark.parametrize("mode", ["--score", "--rescore"])
def test_flags_of_scored_lines(trained: Trained, empty_dir: Path, mode: str) -> None:
    (empty_dir / "--score").write_text("bread\n" * 4)
    (empty_dir / "--rescore").write_text("".join(f"{n} ||| a ||| ||| -1\n" for n in range(4)))
    found = objects(translate(trained, "--json", mode, empty_dir / mode, stdin=BAD))
    assert [line["flags"] for line in found] == [
        *([], ["invalid_utf8", "unknown_words"], ["truncated"], ["invalid_utf8", "unknown_words"])
    ]


@pytest.mark.parametrize("words", [[], ["--json"], ["--n-best", "2"], ["--score"], ["--rescore"]])
def test_nothing_in_is_nothing_out(trained: Trained, empty_dir: Path, words: list[str]) -> None:
    (empty_dir / "empty").touch()
    beside = [str(empty_dir / "empty")] if words and words[-1].endswith("score") else []
    options = [*words, *beside]
    for text in ([], ["--input", str(empty_dir / "empty")]):
        result = translate(trained, "--quiet", *options, *text)
        assert (result.out, result.err) == ("", "")
    translate(trained, *options, "--output", empty_dir / "out")
    assert (empty_dir / "out").read_bytes() == b""


def test_a_long_target_is_scored(trained: Trained, empty_dir: Path) -> None:
    (empty_dir / "targets").write_text("bread " * 20_000 + "\nbread\n")
    result = translate(trained, "--score", empty_dir / "targets", "Brot.", "Brot.")
    first, second = map(float, result.lines)
    assert first < second < 0


def test_scores_of_text_that_is_no_utf8_would_be_wrong(own: Trained) -> None:
    """What is scored, and what is scored with, stays an error."""
    (own.folder / "bad").write_bytes(b"Brot.\n\xff\n")
    (own.folder / "good").write_bytes(b"Brot.\nBrot.\n")
    for source, reference in [("bad", "good"), ("good", "bad")]:
        words = ("evaluate", "--source", source, "--reference", reference)
        assert_refused(call_command(*words, cwd=own.folder), "bad:2", "0xFF", "UTF-8")
    words = ("translate", "--score", "bad", "--input", "good")
    assert_refused(call_command(*words, cwd=own.folder), "bad:2", "0xFF", "UTF-8")


def test_a_test_set_with_hostile_lines_is_scored(trained: Trained, empty_dir: Path) -> None:
    lines = ["Anna mag Brot.", "", "\0", "\u202e🙂\r", "Brot " * 100_000, "x" * 100_000]
    (empty_dir / "source").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    (empty_dir / "reference").write_text("\n".join(["a"] * len(lines)))
    words = ("--source", empty_dir / "source", "--reference", empty_dir / "reference")
    output = empty_dir / "out"
    result = call_command("evaluate", *words, "--output", output, "--json", cwd=trained.folder)
    assert result.code == 0, result.err
    assert json.loads(result.out)["pairs"] == len(lines)
    assert output.read_bytes().count(b"\n") == len(lines)
    assert "1 sources were cut" in result.err


def test_the_prompt_answers_hostile_lines(trained: Trained) -> None:
    lines = [
        b"Brot " * 200_000,
        b"x" * 1_000_000,
        b"\x1b[2J\x07\0\r",
        "\u202e\u2066🙂\u200d e\u0301".encode(),
        b"\xff\xfe",
        b"/nbest \xff",
        b"/attention \0",
        b"Brot.",
    ]
    result = translate(trained, "--interactive", stdin=b"\n".join(lines))
    assert not {*"\x1b\x07\0\u202e\u2066"} & {*result.out}
    assert result.lines[-1] == translate(trained, "Brot.").lines[0]


# ---------------------------------------------------------------- signals


def started(*arguments: str | Path, cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


SIGNALS = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@SIGNALS
def test_translating_ends_at_a_signal(own: Trained, number: signal.Signals, code: int) -> None:
    (own.folder / "out").write_text("old")
    (own.folder / "in").write_text("Anna mag heute Brot.\n" * 200_000)
    before = snapshot(own.folder)
    words = ("translate", "--quiet", "--input", "in", "--output", "out")
    with started(*words, cwd=own.folder) as process:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        # It is at work when some of it is written.
        while not any(path.stat().st_size for path in own.folder.glob(".out.*.tmp")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, out, err.decode()) == (code, b"", "error: interrupted\n")
    assert snapshot(own.folder) == before


READERS = {
    "evaluate": ["evaluate", "--quiet", "--source", "pipe", "--reference", "test.en"],
    "check-data": [
        *("check-data", "--quiet", "--config", "tiny.yaml"),
        *("--set", "data.train={source: pipe, target: train.en}"),
    ],
}


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@SIGNALS
@pytest.mark.parametrize("words", READERS.values(), ids=READERS.keys())
def test_reading_ends_at_a_signal(
    own: Trained, words: Sequence[str], number: signal.Signals, code: int
) -> None:
    os.mkfifo(own.folder / "pipe")
    output = [] if words[0] == "check-data" else ["--output", "out"]
    (own.folder / "out").write_text("old")
    with (
        started(*words, *output, cwd=own.folder) as process,
        # Opening it ends when the command opens it too; then that waits for text.
        (own.folder / "pipe").open("wb"),
    ):
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, out, err.decode()) == (code, b"", "error: interrupted\n")
    assert (own.folder / "out").read_text() == "old"
    assert not list(own.folder.glob(".*.tmp"))


# ---------------------------------------------------------------- a million lines

MILLION = 1_000_000


def write_lines(path: Path, number: int) -> None:
    """Most of them blank, for the sake of time."""
    draw = random.Random(1)
    kinds = [b"", b" ", b"Brot.", b"Brot mag.", b"\xff", b"\0 x", "🙂\r".encode()]
    weights = [60, 28, 8, 2, 1, 0.5, 0.5]
    with path.open("wb") as file:
        file.writelines(line + b"\n" for line in draw.choices(kinds, weights, k=number))


# Linux counts to a process what the one that started it had; this one has little.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def peak_memory(*arguments: str | Path, cwd: Path, piped: Path, out: Path) -> tuple[int, str]:
    """The most memory that a command took, in bytes, and what it said."""
    with (
        out.open("wb") as output,
        subprocess.Popen(["cat", piped], stdout=subprocess.PIPE) as cat,
    ):
        process = subprocess.run(
            [sys.executable, "-c", MEASURE, *command(*arguments)],
            cwd=cwd,
            env=environment(),
            stdin=cat.stdout,
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
        )
    said, _, kilobytes = process.stderr.decode().rstrip().rpartition("\n")
    assert process.returncode == 0, said
    return int(kilobytes) * 1024, said


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux measures it")
@pytest.mark.parametrize("mode", ["plain", "json", "score", "rescore", "file"])
def test_a_million_lines_take_no_more_memory_than_some(
    trained: Trained, empty_dir: Path, mode: str
) -> None:
    peaks = {}
    for number in (20_000, MILLION):
        text, beside = empty_dir / f"in{number}", empty_dir / f"beside{number}"
        write_lines(text, number)
        if mode in ("score", "rescore"):
            entry = "a\n" if mode == "score" else "{} ||| a ||| ||| -1\n"
            with beside.open("w") as file:
                file.writelines(entry.format(line) for line in range(number))
        words: dict[str, list[str | Path]] = {
            "plain": ["--beam-size", "1"],
            "json": ["--beam-size", "1", "--json"],
            "score": ["--score", beside],
            "rescore": ["--rescore", beside],
            "file": ["--beam-size", "1", "--input", text, "--output", empty_dir / "out"],
        }
        begin = time.perf_counter()
        peaks[number], said = peak_memory(
            *("translate", "--quiet", *words[mode]),
            cwd=trained.folder,
            piped=text,
            out=empty_dir / "stdout",
        )
        print(f"{mode}: {number:,} lines, {time.perf_counter() - begin:.0f} s, {peaks[number]:,}")
        written = empty_dir / ("out" if mode == "file" else "stdout")
        with written.open("rb") as lines:
            assert sum(1 for _ in lines) == number
        assert "not valid UTF-8" in said
    assert peaks[MILLION] - peaks[20_000] < 50e6
