"""`seq2seq translate`: line i of the output answers line i of the input, always."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.integration.conftest import (
    TIMEOUT_SECONDS,
    Result,
    Trained,
    assert_refused,
    call_command,
    command,
    environment,
    imported_by,
    objects,
    run_command,
    sentence_pairs,
    snapshot,
)

SENTENCES = [source for source, _ in sentence_pairs(60)]
KEYS = {"source", "translation", "score", "n_best", "tokens", "source_tokens", "attention", "flags"}


def translate(trained: Trained, *arguments: str | Path, stdin: bytes | None = b"") -> Result:
    """In this process, with the latest run under the trained folder."""
    return call_command("translate", *arguments, cwd=trained.folder, stdin=stdin)


@pytest.fixture(scope="module")
def expected(trained: Trained) -> dict[str, str]:
    """What the model makes of each sentence."""
    result = translate(trained, *SENTENCES)
    assert result.code == 0, result.err
    return dict(zip(SENTENCES, result.lines, strict=True))


# ---------------------------------------------------------------- ways in and out


def test_model_has_learned_something(expected: dict[str, str]) -> None:
    right = sum(expected[source] == target for source, target in sentence_pairs(60))
    assert right >= 20
    assert len(set(expected.values())) >= 30


def test_argument_as_a_command(trained: Trained, expected: dict[str, str]) -> None:
    result = run_command("translate", SENTENCES[0], cwd=trained.folder)
    assert (result.code, result.lines) == (0, [expected[SENTENCES[0]]])
    assert result.err == "using runs/tiny/best.safetensors\n"


def test_no_more_is_imported_than_translating_takes(trained: Trained) -> None:
    """torch's compiler and what it imports take longer than all the rest."""
    imported, _ = imported_by("translate", SENTENCES[0], cwd=trained.folder)
    assert "torch" in imported
    assert not imported & {"torch._dynamo", "torch._inductor", "sympy", "matplotlib", "sacrebleu"}


def test_stdin_as_a_command(trained: Trained, expected: dict[str, str]) -> None:
    text = "".join(f"{sentence}\n" for sentence in SENTENCES).encode()
    result = run_command("translate", "--quiet", cwd=trained.folder, stdin=text)
    assert (result.code, result.lines, result.err) == (0, list(expected.values()), "")


def test_line_breaks_in_an_argument_part_its_lines(
    trained: Trained, expected: dict[str, str]
) -> None:
    result = translate(trained, f"{SENTENCES[0]}\n\n{SENTENCES[1]}", SENTENCES[2], "")
    first, second, third = (expected[sentence] for sentence in SENTENCES[:3])
    assert result.lines == [first, "", second, third, ""]


@pytest.mark.parametrize("source", ["FILE", "-"])
@pytest.mark.parametrize("target", ["FILE", "-"])
def test_input_and_output(
    trained: Trained, expected: dict[str, str], empty_dir: Path, source: str, target: str
) -> None:
    text = "".join(f"{sentence}\n" for sentence in SENTENCES).encode()
    in_file, out_file = empty_dir / "in.txt", empty_dir / "out.txt"
    in_file.write_bytes(text)
    out_file.write_text("old")
    result = translate(
        trained,
        *("--input", in_file if source == "FILE" else "-"),
        *("--output", out_file if target == "FILE" else "-"),
        stdin=text if source == "-" else b"not this",
    )
    wanted = "".join(f"{line}\n" for line in expected.values())
    assert result.code == 0, result.err
    assert result.out == ("" if target == "FILE" else wanted)
    assert out_file.read_bytes().decode() == (wanted if target == "FILE" else "old")
    assert sorted(path.name for path in empty_dir.iterdir()) == ["in.txt", "out.txt"]


def test_output_is_utf8_whatever_the_locale_says(trained: Trained) -> None:
    text = "Grüße 🙂"
    latin = {"PYTHONIOENCODING": "latin-1", "LC_ALL": "C", "PYTHONUTF8": "0"}
    words = ("translate", "--json", "--quiet")
    result = run_command(*words, cwd=trained.folder, stdin=f"{text}\n".encode(), env=latin)
    assert result.code == 0, result.err
    assert [line["source"] for line in objects(result)] == [text]


def test_json_has_the_keys_of_the_contract(trained: Trained, expected: dict[str, str]) -> None:
    found = objects(translate(trained, "--json", *SENTENCES, ""))
    assert [line["source"] for line in found] == [*SENTENCES, ""]
    assert [line["translation"] for line in found] == [*expected.values(), ""]
    for line in found[:-1]:
        assert line.keys() == KEYS
        assert line["score"] < 0.0
        assert line["n_best"] == [{key: line[key] for key in ("translation", "score")}]
        assert line["tokens"][-1] in (".", "!")
        first, *words, last = line["source_tokens"]
        assert (first, last) == ("<sos>", "<eos>")
        assert "".join(words) == line["source"].replace(" ", "")
        assert line["attention"] is None  # the model has none
        assert line["flags"] == []
    assert found[-1] == {
        "source": "",
        "translation": "",
        "score": 0.0,
        "n_best": [{"translation": "", "score": 0.0}],
        "tokens": [],
        "source_tokens": [],
        "attention": None,
        "flags": [],
    }


def test_unknown_words_are_flagged(trained: Trained) -> None:
    [known, unknown] = objects(translate(trained, "--json", "Der Hund mag Brot.", "Xylophon mag."))
    assert known["flags"] == []
    assert "unknown_words" in unknown["flags"]


def test_length_limit_is_kept_and_said(trained: Trained) -> None:
    result = translate(trained, "--json", "--max-length", "2", *SENTENCES[:3])
    for line in objects(result):
        assert len(line["tokens"]) == 2
        assert line["flags"] == ["length_capped"]
    assert "warning: " in result.err
    assert "3 translations" in result.err


def test_options_of_every_command(trained: Trained) -> None:
    assert translate(trained, "--device", "cpu", SENTENCES[0]).code == 0
    assert translate(trained, "--verbose", SENTENCES[0]).code == 0
    assert "Traceback" in translate(trained, "--debug", "--input", "nowhere").err


def test_precision_is_asked_for(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    # As it would be on any CPU, whether it has the instructions or not.
    monkeypatch.setattr(torch, "_int_mm", lambda one, other: one.int() @ other.int())
    scores = {}
    for precision in ("float32", "bfloat16", "int8"):
        result = translate(trained, "--json", "--precision", precision, SENTENCES[0])
        scores[precision] = json.loads(result.out)["score"]

    assert len(set(scores.values())) == 3
    for score in scores.values():
        assert score == pytest.approx(scores["float32"], rel=0.05)


def test_there_are_four_precisions(trained: Trained) -> None:
    for precision in ("float32", "auto"):
        assert translate(trained, "--precision", precision, SENTENCES[0]).code == 0

    refused = translate(trained, "--precision", "float16", SENTENCES[0])
    assert_refused(refused, "--precision float16: there are auto, float32, bfloat16 and int8")


# ---------------------------------------------------------------- which model


def test_model_is_named_in_each_way(
    trained: Trained, own: Trained, empty_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(own.run_dir, empty_dir / "runs" / "by-name")
    for name in (str(own.run_dir), str(own.model), "by-name"):
        result = call_command("translate", "--model", name, SENTENCES[0], cwd=empty_dir)
        assert result.code == 0, result.err
        monkeypatch.setenv("SEQ2SEQ_MODEL", name)
        again = call_command("translate", SENTENCES[0], cwd=empty_dir)
        monkeypatch.delenv("SEQ2SEQ_MODEL")
        assert again == result
        assert result.lines == translate(trained, SENTENCES[0]).lines


def test_option_goes_before_environment_and_environment_before_the_latest_run(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQ2SEQ_MODEL", "nowhere")
    assert translate(trained, "--model", trained.run_dir, SENTENCES[0]).code == 0
    assert_refused(translate(trained, SENTENCES[0]), "nowhere", "SEQ2SEQ_MODEL")


def test_latest_run_is_used_and_said(own: Trained) -> None:
    for name, age in [("b", 300), ("newest", 100), ("a", 200)]:
        copy = own.folder / "runs" / name
        shutil.copytree(own.run_dir, copy)
        best = copy / "best.safetensors"
        then = own.model.stat().st_mtime + 1000 - age
        os.utime(best, (then, then))
    (own.folder / "runs" / "without").mkdir()
    result = translate(own, SENTENCES[0])
    assert result.code == 0
    assert "runs/newest" in result.err
    assert "runs" not in translate(own, "--quiet", SENTENCES[0]).err


def test_without_a_model_the_error_says_how_to_get_one(empty_dir: Path) -> None:
    result = run_command("translate", "Hallo", cwd=empty_dir)
    assert_refused(result, "seq2seq train --config quickstart", "--model")
    assert list(empty_dir.iterdir()) == []


def test_model_file_alone_translates_anywhere(
    trained: Trained, expected: dict[str, str], empty_dir: Path
) -> None:
    shutil.copy(trained.model, empty_dir / "copied.safetensors")
    words = ("translate", "--model", "copied.safetensors", *SENTENCES)
    result = call_command(*words, cwd=empty_dir)
    assert result.lines == list(expected.values())
    assert [path.name for path in empty_dir.iterdir()] == ["copied.safetensors"]


# ---------------------------------------------------------------- line for line

LONG = "Brot " * 10_000
LINES = {
    "empty": b"",
    "one empty line": b"\n",
    "blank lines": b"\n\nBrot.\n\n\n",
    "white space": b"  \n\t\n \t \nBrot.\n",
    "unicode white space": "\u00a0\n\u2003\u3000\n\u2028\n\u0085\n\x0b\n\x0c\n\x1c\x1d\n".encode(),
    "crlf": b"Anna mag Brot.\r\n\r\nBrot.\r\n",
    "carriage return inside": b"Anna mag\rBrot.\nBrot.\n",
    "no final newline": b"Anna mag Brot.\nBrot.",
    "only white space, no newline": b"  ",
    "separators inside": "Anna\u2028mag\u0085Brot\x0b.\x0c\x1eBrot\u2029.\nBrot.\n".encode(),
    "long": LONG.encode() + b"\nBrot.\n",
    "emoji": "👩‍👩‍👧 mag 🇩🇪 Brot 🙂\u200d\n🙂\n".encode(),
    "nul": b"Anna\0mag Brot.\n\0\nBrot.\n",
    "byte order mark": b"\xef\xbb\xbfBrot.\nBrot.\n",
    "combining marks": "a\u0301\u0301\u0301\u0301 \u200f\u202e\n".encode(),
    "special tokens": b"<eos> <pad>\n<sos>\n<unk>\n",
    "markup": b"[red]Brot[/red] %s %d {0} \\n\n",
    "more than a pool": b"Brot.\n\n" * 700,
}


def num_lines(text: bytes) -> int:
    """A line ends at a line feed; what follows the last one is a line if there is anything."""
    return text.count(b"\n") + (not text.endswith(b"\n") and text != b"")


@pytest.mark.parametrize("text", LINES.values(), ids=LINES.keys())
def test_output_has_the_lines_of_the_input(trained: Trained, text: bytes, empty_dir: Path) -> None:
    result = translate(trained, stdin=text)
    assert result.code == 0, result.err
    assert len(result.lines) == num_lines(text)
    sources = text.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
    for source, line in zip(sources, result.lines, strict=False):
        assert bool(source.strip()) == bool(line.strip())

    as_json = objects(translate(trained, "--json", stdin=text))
    assert [line["translation"] for line in as_json] == result.lines
    assert [line["source"] for line in as_json] == [
        source.removesuffix("\r") for source in sources[: len(as_json)]
    ]
    (empty_dir / "in").write_bytes(text)
    files = ("--input", empty_dir / "in", "--output", empty_dir / "out")
    assert translate(trained, *files).code == 0
    assert (empty_dir / "out").read_bytes().decode() == result.out


def test_line_that_is_too_long_is_cut_and_flagged(trained: Trained) -> None:
    result = translate(trained, "--json", stdin=LINES["long"])
    assert ["truncated" in line["flags"] for line in objects(result)] == [True, False]
    assert "warning: 1 line" in result.err
    assert "max_length" in result.err
    quiet = translate(trained, "--quiet", stdin=LINES["long"])
    assert "warning: 1 line" in quiet.err


def test_output_does_not_depend_on_the_batch(trained: Trained) -> None:
    mixed = [*SENTENCES, "", LONG, *(" ".join(SENTENCES[:n]) for n in (2, 3, 5, 8)), "x"]
    text = "".join(f"{line}\n" for line in mixed).encode()
    found = [
        objects(translate(trained, "--json", "--batch-size", str(size), stdin=text))
        for size in (1, 7, 64)
    ]
    scores = [[line.pop("score") for line in lines] for lines in found]
    for line in (line for lines in found for line in lines):
        line["n_best"] = [candidate["translation"] for candidate in line["n_best"]]
    assert found[0] == found[1] == found[2]
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)
    assert scores[2] == pytest.approx(scores[0], abs=1e-3)


# ---------------------------------------------------------------- readers that go away, full disks


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("num_lines", [1, 5000])
def test_reader_that_has_gone_is_no_error(trained: Trained, num_lines: int) -> None:
    read_end, write_end = os.pipe()
    with subprocess.Popen(
        command("translate", "--quiet"),
        cwd=trained.folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=write_end,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(write_end)
        if num_lines == 1:
            os.close(read_end)
            _, err = process.communicate(b"Brot.\n", timeout=TIMEOUT_SECONDS)
        else:
            assert process.stdin
            process.stdin.write(b"Anna mag heute Brot.\n" * num_lines)
            process.stdin.close()
            process.stdin = None
            assert os.read(read_end, 1)  # as `head -1` does
            os.close(read_end)
            _, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert err.decode() == ""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has such a device")
def test_full_disk_is_exit_code_1(trained: Trained) -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            command("translate", "--quiet", "Brot."),
            cwd=trained.folder,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    assert process.stderr.decode() == "error: output: No space left on device\n"
    assert process.returncode == 1


# ---------------------------------------------------------------- mistakes


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="arguments are Unicode there")
def test_argument_that_is_no_utf8(trained: Trained) -> None:
    process = subprocess.run(
        [*map(os.fsencode, command("translate", "--quiet")), b"Br\xffot"],
        cwd=trained.folder,
        env=environment(),
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    result = Result(process.returncode, process.stdout.decode(), process.stderr.decode())
    assert (result.code, len(result.lines)) == (0, 1)
    assert result.err.startswith("warning: 1 line was not valid UTF-8")


def test_nothing_to_translate_at_a_terminal(trained: Trained) -> None:
    assert_refused(translate(trained, stdin=None), "--input", "translate")


def test_failed_translation_leaves_the_old_output(own: Trained) -> None:
    (own.folder / "out").write_text("old")
    # Long enough that some of it is translated before the end is missed.
    packed = gzip.compress(b"".join(b"Brot %d.\n" % number for number in range(5000)))
    (own.folder / "in.gz").write_bytes(packed[:-8])
    before = snapshot(own.folder)
    result = translate(own, "--output", "out", "--input", "in.gz")
    assert_refused(result, "in.gz", "cut off")
    assert snapshot(own.folder) == before
