"""`seq2seq reverse-toy`: the lesson, the sweep, their pictures, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from seq2seq_cli.config.reverse_toy import TASKS
from seq2seq_cli.reverse_toy import lesson, sweep
from seq2seq_cli.reverse_toy.numbers_task import NumbersTask
from seq2seq_cli.reverse_toy.task import Progress
from tests.integration.conftest import (
    TIMEOUT_SECONDS,
    Result,
    assert_refused,
    call_command,
    command,
    environment,
    imported_by,
    objects,
    run_command,
    snapshot,
)

HEADINGS = [
    "1. Before training",
    "2. What the encoder hands over",
    "3. Training",
    "4. After training",
    "5. On sequences that it was never trained on",
]
KEYS = [
    *("task", "exact_match", "teacher_forced_loss", "free_running_loss", "by_length"),
    *("seconds", "history", "examples"),
]
SYMBOLS = """\
task: symbols
hidden_size: 16
embedding_dim: 8
digits: 4
length: 1-3
pairs: 100
batch_size: 20
steps: 20
"""
# Trainings of a moment: what they learn is of no matter.
BRIEF = ["--steps", "20"]


def toy(folder: Path, *arguments: str | Path) -> Result:
    """In this process."""
    return call_command("reverse-toy", *arguments, cwd=folder)


def done(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


def headings(result: Result) -> list[str]:
    return [line for line in result.lines if line and not line.startswith(" ")]


def sections(result: Result) -> list[str]:
    """What stands below each heading, its line breaks gone."""
    parts = re.split(r"^\d\. .*$", result.out, flags=re.MULTILINE)[1:]
    return [" ".join(part.split()) for part in parts]


def share_exact(result: Result) -> float:
    """In percent, as it is said."""
    (share,) = re.findall(r"^   (\d+\.\d) % of [\d,]+ sequences are exact", result.out, re.M)
    return float(share)


def temporary_in(folder: Path) -> dict[str, str]:
    """An environment with a new folder there, tmp, for temporary files. Those of torch's compiler
    go elsewhere: it makes a folder when it is imported, and leaves it."""
    (folder / "tmp").mkdir()
    return {"TMPDIR": str(folder / "tmp"), "TORCHINDUCTOR_CACHE_DIR": str(folder.parent / "torch")}


@pytest.fixture
def symbols(empty_dir: Path) -> Path:
    """A folder with tiny.yaml, a training of symbols in a moment, and nothing else."""
    (empty_dir / "tiny.yaml").write_text(SYMBOLS)
    return empty_dir


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of numbers learn nothing, at once."""

    def train(task: NumbersTask, on_progress: Callable[[Progress], None]) -> None:
        on_progress(Progress(task.config.steps, task.losses(task.data.held_out)))

    monkeypatch.setattr(NumbersTask, "train", train)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes a model fails."""

    def make(*arguments: object) -> None:
        raise AssertionError("a model was made")

    monkeypatch.setattr(lesson, "make_task", make)
    monkeypatch.setattr(sweep, "make_task", make)


# ---------------------------------------------------------------- numbers


def test_without_options_it_learns_to_reverse_and_shows_how(empty_dir: Path) -> None:
    result = run_command("reverse-toy", cwd=empty_dir, env=temporary_in(empty_dir))

    assert (result.code, result.err) == (0, "")
    assert snapshot(empty_dir) == {"tmp": None}
    assert headings(result) == HEADINGS
    before, handover, training, after, unseen = sections(result)
    assert before.startswith("An encoder LSTM of 16 cells reads [3, 1, 4]")
    assert re.search(r"\[3, 1, 4\] -> \[.*\], rounded \[.*\]$", before)
    assert not before.endswith("rounded [4, 1, 3]")
    assert "hidden (1, 1, 16)" in handover
    assert "cell (1, 1, 16)" in handover
    assert "its context vector: 32 numbers" in handover
    assert training.startswith("6,000 steps")
    reports = re.findall(r"([\d,]+) (\d+\.\d{4}) (\d+\.\d{4})", training)
    assert [step for step, _, _ in reports] == [f"{step:,}" for step in range(600, 6001, 600)]
    assert float(reports[-1][1]) < 0.01 < float(reports[0][1])
    assert float(reports[-1][2]) < 0.01 < float(reports[0][2])
    assert after == "[3, 1, 4] -> [4.0, 1.0, 3.0], rounded [4, 1, 3]"
    assert unseen == f"{share_exact(result)} % of 200 sequences are exact, free-running."
    assert share_exact(result) >= 99.0


def test_the_seed_decides_everything(empty_dir: Path) -> None:
    first = done(toy(empty_dir, *BRIEF))
    assert headings(first) == HEADINGS
    assert done(toy(empty_dir, *BRIEF, "--seed", "1")) == first
    assert done(toy(empty_dir, *BRIEF, "--seed", "2")).out != first.out
    assert snapshot(empty_dir) == {}


def test_few_cells_and_steps_are_no_failure_and_explained(empty_dir: Path) -> None:
    result = done(toy(empty_dir, "--hidden-size", "4", "--steps", "300"))
    assert share_exact(result) < 90.0
    assert "hidden (1, 1, 4)" in sections(result)[1]
    assert sections(result)[4].endswith("300 steps are few: without --steps it is 6,000.")
    assert result.err == ""


@pytest.mark.usefixtures("untrained")
def test_a_narrow_model_is_no_failure_and_explained(empty_dir: Path) -> None:
    result = done(toy(empty_dir, "--hidden-size", "4"))
    assert "has to pass through the context vector" in sections(result)[4]
    assert "4 cells are too narrow" in sections(result)[4]
    assert result.err == ""


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("words", [[], ["--seed", "7"], ["--device", "cpu"], ["--quiet"]])
def test_the_defaults_fail_when_they_learn_too_little(empty_dir: Path, words: list[str]) -> None:
    result = toy(empty_dir, *words)
    assert result.code == 1
    assert headings(result) == HEADINGS
    (line,) = result.err.splitlines()
    assert line.startswith(f"error: {share_exact(result)} % are exact")
    assert "99 %" in line


@pytest.mark.usefixtures("untrained")
def test_a_failure_still_has_its_json_and_its_picture(empty_dir: Path) -> None:
    result = toy(empty_dir, "--json", "--plot", "a.png", "--quiet")
    assert result.code == 1
    assert objects(result)[0]["exact_match"] < 0.99
    assert len(result.err.splitlines()) == len(result.errors) == 1
    assert [*snapshot(empty_dir)] == ["a.png"]


def test_quiet_takes_nothing_from_stdout(empty_dir: Path) -> None:
    words = [*BRIEF, "--plot", "a.png"]
    loud, quiet = (done(toy(empty_dir, *words, *more)) for more in ([], ["--quiet"]))
    assert quiet.out == loud.out
    assert (loud.err, quiet.err) == ("drew a.png\n", "")


def test_json_is_one_line_and_all_there_is(empty_dir: Path) -> None:
    result = run_command("reverse-toy", "--json", *BRIEF, cwd=empty_dir)
    assert (result.code, result.err) == (0, "")
    (found,) = objects(result)
    assert list(found) == KEYS
    assert found["task"] == "numbers"
    assert 0.0 <= found["exact_match"] <= 1.0
    assert 0.0 < found["teacher_forced_loss"] < 100.0
    assert 0.0 < found["free_running_loss"] < 100.0
    assert found["seconds"] > 0.0
    for example in found["examples"]:
        assert list(example) == ["source", "target", "output"]
        assert example["target"] == example["source"][::-1]
        assert [type(number) for number in example["output"]] == [float] * 3
    assert found["examples"][0]["source"] == [3, 1, 4]
    text = done(toy(empty_dir, *BRIEF))
    assert share_exact(text) == round(100 * found["exact_match"], 1)
    assert text.out.count(", ".join(f"{n:z.1f}" for n in found["examples"][0]["output"])) == 1


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--sequence", "7,0,2"], "[7, 0, 2]"),
        (["--sequence", " 9 , 9"], "[9, 9]"),
        (["--sequence", "5"], "[5]"),
        (["--sequence", "1,2,3,4,5,6"], "[1, 2, 3, 4, 5, 6]"),
        (["--sequence", "11,3", "--digits", "12"], "[11, 3]"),
    ],
    ids=" ".join,
)
def test_a_sequence_of_ones_own(empty_dir: Path, words: list[str], shown: str) -> None:
    result = done(toy(empty_dir, *BRIEF, *words))
    wanted = f"[{', '.join(reversed(shown.strip('[]').split(', ')))}]"
    before, *_, after, _ = sections(result)
    assert f"reads {shown}, one number a step" in before
    assert f"{wanted} is wanted" in before
    for section in (before, after):
        (output,) = re.findall(re.escape(shown) + r" -> \[(.*?)\]", section)
        assert len(output.split(", ")) == len(shown.split(", "))


def test_lengths_trained_on_and_tested(empty_dir: Path) -> None:
    result = done(toy(empty_dir, *BRIEF, "--length", "1-2", "--test-length", "2-4"))
    assert "different ones of length 1-2." in sections(result)[2]
    below = result.lines[result.lines.index(HEADINGS[4]) + 1 :]
    assert [re.split(r"  +", line.strip())[:2] for line in below[:4]] == [
        ["length", "sequences"],
        ["2", "20"],
        ["3, not trained on", "200"],
        ["4, not trained on", "200"],
    ]


def test_the_decoder_can_be_fed_its_own_numbers(empty_dir: Path) -> None:
    forced, mixed, free = (
        done(toy(empty_dir, *BRIEF, "--teacher-forcing", ratio)) for ratio in ("1", "0.5", "0")
    )
    assert len({forced.out, mixed.out, free.out}) == 3
    assert "the true number, whatever it wrote itself (teacher forcing)" in sections(forced)[2]
    assert "the true number or, by a coin, its own (teacher forcing: 0.5)" in sections(mixed)[2]
    assert forced == done(toy(empty_dir, *BRIEF))


def test_options_replace_what_the_file_says(empty_dir: Path) -> None:
    (empty_dir / "my.yaml").write_text("hidden_size: 5\nsteps: 30\nlength: 2\nbatch_size: 10\n")
    plain = done(toy(empty_dir, "--config", "my.yaml"))
    assert "LSTM of 5 cells" in sections(plain)[0]
    assert sections(plain)[2].startswith("30 steps of 10 sequences each")
    changed = done(toy(empty_dir, "--config", "my.yaml", "--hidden-size", "6", "--length", "1-2"))
    assert "LSTM of 6 cells" in sections(changed)[0]
    assert "length 1-2." in sections(changed)[2]
    assert sections(changed)[2].startswith("30 steps of 10 sequences each")


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("a.png", b"\x89PNG\r\n\x1a\n"), ("a.svg", b"<?xml"), ("deep/a.pdf", b"%PDF")],
)
def test_errors_become_a_picture(empty_dir: Path, name: str, beginning: bytes) -> None:
    (empty_dir / "deep").mkdir()
    result = done(toy(empty_dir, *BRIEF, "--plot", name))
    assert result.err == f"drew {name}\n"
    assert headings(result) == HEADINGS
    found = {path: data for path, data in snapshot(empty_dir).items() if data is not None}
    assert [*found] == [name]
    assert found[name].startswith(beginning)


def test_a_training_that_diverges_fails(empty_dir: Path) -> None:
    (empty_dir / "my.yaml").write_text("learning_rate: 1e30\ngradient_clip_norm: null\n")
    result = toy(empty_dir, "--config", "my.yaml", *BRIEF)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.startswith("error: ")
    assert "learning_rate" in line


# ---------------------------------------------------------------- symbols


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ["its context vector: 32 numbers"]),
        (["--attention", "general"], ["memory (1, 5, 16)", "looks back at the memory"]),
        (["--attention", "dot", "--hidden-size", "7"], ["hidden (1, 1, 7)", "memory (1, 5, 7)"]),
        (["--reverse-source"], ["its context vector: 32 numbers"]),
    ],
    ids=" ".join,
)
def test_symbols_are_taught_through_a_config(
    symbols: Path, words: list[str], said: list[str]
) -> None:
    before = snapshot(symbols)
    result = done(toy(symbols, "--config", "tiny.yaml", *words))

    assert result.err == ""
    assert snapshot(symbols) == before
    assert headings(result) == HEADINGS
    beginning, handover, training, after, unseen = sections(result)
    for text in said:
        assert text in handover
    assert ("from its end" in beginning) == ("--reverse-source" in words)
    steps = re.findall(r"(\d+) \d\.\d{4} \d\.\d{4}", training)
    assert steps == [str(step) for step in range(2, 21, 2)]
    assert re.fullmatch(r"\[\d, \d, \d\] -> \[.*\]", after)
    assert re.match(r"length sequences exact 1 1 .* % 2 3 .* % 3 12 .* %", unseen)
    assert unseen.endswith("exact, free-running.")


def test_json_of_symbols(symbols: Path) -> None:
    words = ("--config", "tiny.yaml", "--json")
    (found,) = objects(done(toy(symbols, *words, "--test-length", "1-4")))
    assert list(found) == [*KEYS[:5], "bleu", *KEYS[5:]]
    assert found["task"] == "symbols"
    assert list(found["bleu"]) == ["score", "signature"]
    assert [each["length"] for each in found["by_length"]] == [1, 2, 3, 4]

    # BLEU counts four symbols in a row: 0 for sequences that have fewer, whatever comes out.
    (found,) = objects(done(toy(symbols, *words)))
    assert list(found) == KEYS


def test_symbols_leave_nothing_in_the_folder_of_temporary_files(symbols: Path) -> None:
    words = ("reverse-toy", "--config", "tiny.yaml", "--plot", "a.png")
    result = run_command(*words, cwd=symbols, env=temporary_in(symbols))
    assert (result.code, result.err) == (0, "drew a.png\n")
    assert sorted(snapshot(symbols)) == ["a.png", "tiny.yaml", "tmp"]


def interrupted(
    folder: Path, words: list[str], number: signal.Signals, after: bytes
) -> tuple[int, str]:
    """Exit code and stderr of a command that gets a signal once it has printed `after`, a pattern;
    it leaves nothing in `folder`."""
    # Ctrl-C counts also where these tests run in the background, which has it ignored.
    heeding = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", heeding, *command("reverse-toy", *words)],
        cwd=folder,
        env=environment({**temporary_in(folder), "PYTHONUNBUFFERED": "1"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            shown = b""
            while not re.search(after, shown):
                shown += process.stdout.readline()
                assert process.poll() is None
            process.send_signal(number)
            _, err = process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            process.kill()
    assert sorted(snapshot(folder)) == ["tiny.yaml", "tmp"]
    return process.returncode, err.decode()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "10000"], ""),
        (
            ["--config", "tiny.yaml", "--steps=2000"],
            "\nwarning: SIGINT: finishing the step; once more ends at once\n",
        ),
    ],
    ids=["numbers", "symbols"],
)
def test_ctrl_c_ends_it_and_leaves_nothing(symbols: Path, words: list[str], said: str) -> None:
    after_a_tenth = rb"free-running\n.*\n"
    code, err = interrupted(symbols, words, signal.SIGINT, after_a_tenth)
    assert (code, err) == (130, f"{said}error: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_sigterm_leaves_nothing_either(symbols: Path) -> None:
    words = ["--config", "tiny.yaml", "--steps=2000"]
    code, err = interrupted(symbols, words, signal.SIGTERM, b"1. Before")
    assert (code, err.endswith("error: interrupted\n")) == (143, True), err


# ---------------------------------------------------------------- --sweep


def rows_of(result: Result) -> list[list[str]]:
    return [re.split(r"  +", line) for line in result.lines]


def test_a_sweep_over_numbers(empty_dir: Path) -> None:
    result = done(toy(empty_dir, "--sweep", *BRIEF))

    assert result.err == "drew reverse-toy-sweep.png\n"
    title, header, *rows = rows_of(result)
    assert title == ["exact answers in % by length and hidden size"]
    assert header == ["length", "4", "8", "16", "32", "64"]
    assert [row[0] for row in rows] == [
        *(str(length) for length in range(1, 7)),
        *(f"{length}, not trained on" for length in range(7, 13)),
    ]
    assert all(0 <= int(share) <= 100 for row in rows for share in row[1:])
    ((name, data),) = snapshot(empty_dir).items()
    assert name == "reverse-toy-sweep.png"
    assert data
    assert data.startswith(b"\x89PNG\r\n\x1a\n")


def test_a_sweep_over_symbols(symbols: Path) -> None:
    config = SYMBOLS.replace("hidden_size: 16\n", "").replace("1-3", "1-2")
    (symbols / "tiny.yaml").write_text(config)
    words = ("--sweep", "--config", "tiny.yaml", "--steps", "6", "--plot", "my.svg", "--quiet")
    result = done(toy(symbols, *words))

    assert result.err == ""
    title, header, *rows = rows_of(result)
    assert title == ["exact answers in % by length and hidden size (+: with general attention)"]
    assert header == ["length", "4", "8", "16", "32", "64", "4+", "8+", "16+", "32+", "64+"]
    assert [row[0] for row in rows] == ["1", "2", "3, not trained on", "4, not trained on"]
    assert sorted(snapshot(symbols)) == ["my.svg", "tiny.yaml"]
    assert (symbols / "my.svg").read_bytes().startswith(b"<?xml")


def test_json_of_a_sweep(empty_dir: Path) -> None:
    words = ("--sweep", "--length", "2-3", "--test-length", "1-4", "--steps", "300")
    (found,) = objects(done(toy(empty_dir, *words, "--json")))
    assert list(found) == ["task", "trained_lengths", "models", "seconds"]
    assert found["trained_lengths"] == [2, 3]
    assert [model["hidden_size"] for model in found["models"]] == [4, 8, 16, 32, 64]
    assert {model["attention"] for model in found["models"]} == {"none"}
    for model in found["models"]:
        assert [each["length"] for each in model["by_length"]] == [1, 2, 3, 4]
    losses = [model["teacher_forced_loss"] for model in found["models"]]
    assert losses[0] > losses[-1]
    assert (empty_dir / "reverse-toy-sweep.png").is_file()


# ---------------------------------------------------------------- mistakes

FILES = {
    "unknown.yaml": "task: symbols\nhidden: 3\n",
    "list.yaml": "- 1\n",
    "wide.yaml": "hidden_size: 8\n",
    "other.yaml": "num_layers: 2\n",
    "dot.yaml": "task: symbols\nbidirectional: true\n",
}
MISTAKES: list[tuple[Sequence[str], Sequence[str]]] = [
    (["--hidden-size", "0"], ["--hidden-size: must be at least 1, not 0"]),
    (["--hidden-size", "x"], ["--hidden-size: must be a whole number"]),
    (["--hidden-size", "1.5"], ["--hidden-size: must be a whole number"]),
    (["--length", "5-2"], ["--length: ", "5-2"]),
    (["--length", "0"], ["--length: ", "1 to "]),
    (["--length", "-3"], ["--length: ", "3"]),
    (["--length", "3-x"], ["--length: ", "2-10"]),
    (["--length", "1-100000"], ["--length: ", "1 to "]),
    (["--test-length", "4-2"], ["--test-length: ", "4-2"]),
    (["--sequence", "3,x"], ["--sequence '3,x': ", "from 0 to 9", "3,1,4"]),
    (["--sequence", ""], ["--sequence ", "3,1,4"]),
    (["--sequence", "3,4", "--digits", "4"], ["--sequence '3,4': ", "from 0 to 3", "--digits"]),
    (["--sequence", ",".join("1" * 101)], ["--sequence: 101 numbers; 100"]),
    (["--sequence", "9" * 5000], ["--sequence ", "from 0 to 9"]),
    (["--attention", "dot"], ["--attention: ", "task symbols"]),
    (["--reverse-source"], ["--reverse-source: ", "task symbols"]),
    (["--task", "symbols", "--attention", "dott"], ["--attention: ", "did you mean dot?"]),
    (["--task", "symbls"], ["--task: ", "numbers, symbols", "did you mean symbols?"]),
    (["--task", ""], ["--task: has no value"]),
    (["--device", "gpu"], ["--device: ", "cpu", "gpu"]),
    (["--device", "cuda:99"], ["cuda:99", "there are: ", "cpu"]),
    (["--teacher-forcing", "2"], ["--teacher-forcing: must be at most 1, not 2"]),
    (["--teacher-forcing", "-0.1"], ["--teacher-forcing: must be at least 0, not -0.1"]),
    (["--teacher-forcing", "x"], ["--teacher-forcing: must be a number"]),
    (["--digits", "1"], ["--digits: must be at least 2, not 1"]),
    (["--digits", "1001"], ["--digits: must be at most 1000"]),
    (["--steps", "0"], ["--steps: must be at least 1, not 0"]),
    (["--seed", "-1"], ["--seed: must be at least 0, not -1"]),
    (["--seed", "1" + "0" * 30], ["--seed: must be less than"]),
    (["--sweep", "--hidden-size", "8"], ["hidden_size", "4, 8, 16, 32, 64"]),
    (["--sweep", "--config", "wide.yaml"], ["hidden_size", "4, 8, 16, 32, 64"]),
    (["--sweep", "--sequence", "3,1"], ["--sequence", "--sweep"]),
    (["--sweep", "--device", "cuda:99"], ["cuda:99"]),
    (["--plot", "a.jpg"], ["a.jpg", ".png, .pdf or .svg"]),
    (["--plot", "a"], ["a: ", ".png, .pdf or .svg"]),
    (["--plot", "-"], ["-: ", ".png, .pdf or .svg"]),
    (["--plot", ""], ["--plot "]),
    (["--plot", "."], ["--plot .: "]),
    (["--plot", "nowhere/a.png"], ["--plot nowhere/a.png: "]),
    (["--sweep", "--plot", "a.txt"], ["a.txt", ".png, .pdf or .svg"]),
    (["--config", "nowhere.yaml"], ["nowhere.yaml: cannot be read"]),
    (["--config", "."], [".: cannot be read"]),
    (["--config", "unknown.yaml"], ["unknown.yaml:2: hidden: ", "did you mean hidden_size?"]),
    (["--config", "list.yaml"], ["list.yaml:1: "]),
    (["--config", "other.yaml"], ["other.yaml:1: num_layers: ", "task symbols"]),
    (["--config", "dot.yaml", "--attention", "dot"], ["--attention: ", "general and additive"]),
]


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("words", "said"), MISTAKES, ids=[" ".join(words)[:40] for words, _ in MISTAKES]
)
def test_a_mistake_is_one_line_before_any_training(
    empty_dir: Path, words: Sequence[str], said: Sequence[str]
) -> None:
    for name, text in FILES.items():
        (empty_dir / name).write_text(text)
    before = snapshot(empty_dir)
    result = toy(empty_dir, *words)
    assert_refused(result, *said)
    assert result.err.count("\n") == 1
    assert snapshot(empty_dir) == before


@pytest.mark.usefixtures("no_training")
def test_all_mistakes_are_told_at_once(empty_dir: Path) -> None:
    (empty_dir / "my.yaml").write_text("batch_size: 0\npears: 3\n")
    words = ("--config", "my.yaml", "--hidden-size", "0", "--length", "5-2")
    result = toy(empty_dir, *words)
    assert_refused(result, num_errors=4)
    for line, place in zip(
        result.errors,
        ["my.yaml:1: batch_size", "my.yaml:2: pears", "--hidden-size", "--length"],
        strict=True,
    ):
        assert line.startswith(f"error: {place}: ")


@pytest.mark.usefixtures("no_training")
def test_debug_shows_the_traceback_of_a_mistake(empty_dir: Path) -> None:
    result = toy(empty_dir, "--sequence", "3,x", "--debug")
    assert result.code == 2
    assert "Traceback" in result.err
    assert len(result.errors) == 1


# ---------------------------------------------------------------- help


def test_help_names_every_option(empty_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = done(toy(empty_dir, "--help"))
    assert result.err == ""
    named = {*re.findall(r"(?<![\w-])--[a-z-]+", result.out)}
    assert named >= {
        *("--task", "--hidden-size", "--length", "--test-length", "--digits", "--steps", "--seed"),
        *("--teacher-forcing", "--attention", "--reverse-source", "--sequence", "--sweep"),
        *("--plot", "--config", "--device", "--json", "--quiet", "--verbose", "--debug"),
    }
    for key in ("hidden_size", "length", "digits", "steps", "seed"):
        for schema in TASKS.values():
            (line,) = [each for each in result.lines if f"--{key.replace('_', '-')} " in each]
            assert re.search(rf"\b{getattr(schema(), key)}\b", line)


def test_help_imports_nothing_heavy(empty_dir: Path) -> None:
    imported, _ = imported_by("reverse-toy", "--help", cwd=empty_dir)
    assert "seq2seq_cli.config.reverse_toy" in imported
    assert not imported & {"torch", "numpy", "matplotlib", "sacrebleu", "sentencepiece"}


# ---------------------------------------------------------------- in full


def trained(folder: Path, *arguments: str) -> dict[str, Any]:
    """What a training says with --json, however long it takes, on all cores."""
    words = command("reverse-toy", "--json", *arguments)
    env = {name: text for name, text in environment().items() if name != "OMP_NUM_THREADS"}
    process = subprocess.run(words, cwd=folder, env=env, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(process.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_the_defaults_reach_the_target_with_any_seed(empty_dir: Path, seed: int) -> None:
    begin = time.perf_counter()
    assert trained(empty_dir, "--seed", str(seed))["exact_match"] >= 0.99
    assert time.perf_counter() - begin <= 60


@pytest.mark.slow
def test_fewer_cells_do_visibly_worse(empty_dir: Path) -> None:
    two, four = (trained(empty_dir, "--hidden-size", size)["exact_match"] for size in "24")
    assert two < four < 0.9


@pytest.mark.slow
def test_symbols_reach_the_target(empty_dir: Path) -> None:
    found = trained(empty_dir, "--task", "symbols", "--length", "2-10")
    assert found["exact_match"] >= 0.99


@pytest.mark.slow
def test_the_reverse_task_of_joeynmt_is_beaten(empty_dir: Path) -> None:
    """Its tutorial reports 95.19 BLEU."""
    task = ("--task", "symbols", "--digits", "50", "--length", "1-25", "--test-length", "1-30")
    assert trained(empty_dir, *task, "--attention", "general")["bleu"]["score"] > 95.19
