"""`seq2seq evaluate`: its scores are those of the sacrebleu command."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import (
    SPLITS,
    TIMEOUT_SECONDS,
    Result,
    Trained,
    assert_refused,
    call_command,
    command,
    environment,
    run_command,
    snapshot,
)

SCORES = ("bleu", "chrf", "ter")
LOSSES = {"loss", "perplexity", "free_running_loss", "free_running_perplexity"}
COMMON = {"model", "split", "pairs", "seconds"}


def evaluate(trained: Trained, *arguments: str | Path) -> Result:
    """In this process, in the trained folder."""
    return call_command("evaluate", *arguments, cwd=trained.folder)


def results(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.err
    [line] = result.lines
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def sacrebleu(folder: Path, references: list[str], *options: str) -> dict[str, Any]:
    """What the sacrebleu command says of hyp.txt, by metric."""
    asked = ["-i", "hyp.txt", "-m", *SCORES, "-f", "json", "-w", "8"]
    process = subprocess.run(
        [sys.executable, "-m", "sacrebleu", *references, *asked, *options],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    names = {"BLEU": "bleu", "chrF2": "chrf", "TER": "ter"}
    return {names[metric["name"]]: metric for metric in json.loads(process.stdout)}


def assert_agree(found: dict[str, Any], official: dict[str, Any]) -> None:
    for name in SCORES:
        assert found[name]["score"] == pytest.approx(official[name]["score"], abs=1e-6)
        assert found[name]["signature"] == official[name]["signature"]


# ---------------------------------------------------------------- what is scored, and how


def test_no_option_at_all(trained: Trained) -> None:
    result = run_command("evaluate", cwd=trained.folder)
    assert result.code == 0, result.err
    assert result.err == "using runs/tiny/best.safetensors\n"
    head, *rows = result.lines
    assert "runs/tiny/best.safetensors, test split, 20 pairs" in head
    labels = ["BLEU", "chrF2", "loss", "perplexity", "free running loss", "free running perplexity"]
    assert [" ".join(re.findall(r"[A-Za-z]+\d?", row.split("  ")[0])) for row in rows] == labels
    numbers = [re.search(r"\d+\.\d+", row) for row in rows]
    assert len({number.end() for number in numbers if number}) == 1  # they stand in one column
    assert all("|version:" in row for row in rows[:2])


def test_default_metrics_as_json(trained: Trained) -> None:
    found = results(evaluate(trained, "--json"))
    assert found.keys() == COMMON | LOSSES | {"bleu", "chrf"}
    assert found["model"] == "runs/tiny/best.safetensors"
    assert (found["split"], found["pairs"]) == ("test", SPLITS["test"])
    assert 10 < found["bleu"]["score"] <= 100
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert found["free_running_perplexity"] == pytest.approx(math.exp(found["free_running_loss"]))
    assert found["loss"] > 0
    assert found["free_running_loss"] > 0
    assert found["seconds"] > 0


def test_losses_fed_with_references_and_with_own_words_differ_on_wrong_ones(
    trained: Trained, empty_dir: Path
) -> None:
    first, *others = (trained.folder / "test.en").read_text(encoding="utf-8").splitlines()
    (empty_dir / "moved.en").write_text("\n".join([*others, first]), encoding="utf-8")
    files = ("--source", "test.de", "--reference", empty_dir / "moved.en")
    found = results(evaluate(trained, "--json", "--loss", *files))
    right = results(evaluate(trained, "--json", "--loss"))
    assert found["loss"] > right["loss"]
    assert found["loss"] != found["free_running_loss"]


@pytest.mark.parametrize("name", [*SCORES, "loss"])
def test_each_metric_by_itself(trained: Trained, name: str) -> None:
    found = results(evaluate(trained, "--json", f"--{name}"))
    assert found.keys() == COMMON | (LOSSES if name == "loss" else {name})
    if name != "loss":
        assert found[name].keys() == {"score", "signature"}
        assert found[name]["signature"].startswith("nrefs:1|case:")


def test_metrics_together_are_those_by_themselves(trained: Trained) -> None:
    together = results(evaluate(trained, "--json", "--ter", "--bleu"))
    assert together.keys() == {*COMMON, "ter", "bleu"}
    assert together["bleu"] == results(evaluate(trained, "--json"))["bleu"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([], []),
        (["--lowercase", "--bleu-tokenize", "none"], ["-lc", "--chrf-lowercase", "-tok", "none"]),
    ],
    ids=["plain", "lowercase-none"],
)
def test_scores_are_those_of_sacrebleu(
    trained: Trained, empty_dir: Path, ours: list[str], theirs: list[str]
) -> None:
    references = (trained.folder / "test.en").read_text(encoding="utf-8").splitlines()
    odd = [line.upper() if i % 3 else line for i, line in enumerate(references)]
    (empty_dir / "ref.en").write_text("".join(f"{line}\n" for line in odd), encoding="utf-8")
    files = ("--source", trained.folder / "test.de", "--reference", empty_dir / "ref.en")
    metrics = [f"--{name}" for name in SCORES]
    output = ("--output", empty_dir / "hyp.txt")
    found = results(evaluate(trained, "--json", *files, *metrics, *ours, *output))
    assert (found["split"], found["pairs"]) == (None, SPLITS["test"])
    assert_agree(found, sacrebleu(empty_dir, ["ref.en"], *theirs))


def test_several_references_are_those_of_sacrebleu(trained: Trained, empty_dir: Path) -> None:
    references = (trained.folder / "test.en").read_text(encoding="utf-8").splitlines()
    for name, more in [("a.en", ""), ("b.en", " today")]:
        text = "".join(f"{line}{more}\n" for line in references)
        (empty_dir / name).write_text(text, encoding="utf-8")
    files = [word for name in ("b.en", "a.en") for word in ("--reference", empty_dir / name)]
    metrics = [f"--{name}" for name in SCORES]
    found = results(
        evaluate(
            trained,
            *("--json", "--source", trained.folder / "test.de", *files, *metrics),
            *("--output", empty_dir / "hyp.txt"),
        )
    )
    assert found["bleu"]["signature"].startswith("nrefs:2|")
    assert_agree(found, sacrebleu(empty_dir, ["b.en", "a.en"]))


def test_files_equal_to_the_test_split_score_the_same(trained: Trained) -> None:
    files = ("--source", "test.de", "--reference", "test.en")
    by_split, by_files = (results(evaluate(trained, "--json", *words)) for words in ((), files))
    for key in LOSSES | {"bleu", "chrf"}:
        assert by_split[key] == by_files[key]


def test_output_holds_what_translate_writes(trained: Trained, empty_dir: Path) -> None:
    hypotheses = empty_dir / "hyp.txt"
    assert evaluate(trained, "--bleu", "--output", hypotheses).code == 0
    translated = call_command("translate", "--input", "test.de", cwd=trained.folder)
    assert hypotheses.read_bytes().decode() == translated.out


def test_blank_lines_stay_in_their_places(trained: Trained, empty_dir: Path) -> None:
    (empty_dir / "in.de").write_bytes("Anna mag Brot.\r\n\n \u2028\nBrot".encode())
    (empty_dir / "in.en").write_bytes(b"Anna likes bread.\r\nx\n\nBread")
    files = ("--source", empty_dir / "in.de", "--reference", empty_dir / "in.en")
    found = results(evaluate(trained, "--json", *files, "--output", empty_dir / "hyp.txt"))
    assert found["pairs"] == 4
    lines = (empty_dir / "hyp.txt").read_text(encoding="utf-8").split("\n")
    assert [bool(line) for line in lines] == [True, False, False, True, False]


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_split(trained: Trained, split: str) -> None:
    found = results(evaluate(trained, "--json", "--loss", "--split", split))
    assert (found["split"], found["pairs"]) == (split, SPLITS[split])


def test_validation_loss_is_that_of_the_training(trained: Trained) -> None:
    lines = (trained.run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    validations = [event for event in map(json.loads, lines) if event["event"] == "valid"]
    best = min(validations, key=lambda event: float(event["loss"]))
    # Validation searches greedily.
    found = results(evaluate(trained, "--json", "--split", "valid", "--beam-size", "1"))
    for key in LOSSES:
        assert found[key] == pytest.approx(best[key], rel=1e-4)
    assert found["bleu"]["score"] == pytest.approx(best["bleu"], abs=1e-5)


def test_model_is_named_in_each_way(
    trained: Trained, empty_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = results(evaluate(trained, "--json", "--bleu", "--model", "tiny"))
    by_folder = call_command(
        "evaluate", "--json", "--bleu", "--model", trained.run_dir, cwd=empty_dir
    )
    monkeypatch.setenv("SEQ2SEQ_MODEL", str(trained.run_dir))
    by_environment = call_command("evaluate", "--json", "--bleu", cwd=empty_dir)
    for found in map(results, (by_folder, by_environment)):
        assert found["bleu"] == by_name["bleu"]
        assert found["model"] == str(trained.model)


@pytest.mark.parametrize("options", [[], ["--beam-size", "1"], ["--beam-size", "4"]])
def test_beam_is_as_wide_as_asked_for_or_as_the_config_says(
    attending: Trained, second: Path, empty_dir: Path, options: list[str]
) -> None:
    hypotheses = empty_dir / "hyp.txt"
    files = ("--source", "test.de", "--reference", "test.en")
    words: list[str | Path] = ["--model", second, *files, *options]
    found = results(evaluate(attending, "--json", "--bleu", *words, "--output", hypotheses))

    translated = call_command(
        *("translate", "--model", second, "--input", "test.de"),
        *(options or ["--beam-size", "2"]),  # what its config says
        cwd=attending.folder,
    )
    assert hypotheses.read_bytes().decode() == translated.out
    widest = results(evaluate(attending, "--json", "--bleu", *words, "--beam-size", "50"))
    assert found["bleu"] != widest["bleu"]


def test_a_model_twice_scores_as_the_model(attending: Trained) -> None:
    once = results(evaluate(attending, "--json", "--model", "tiny"))
    words = ("--model", "tiny", "--model", attending.model)
    twice = results(evaluate(attending, "--json", *words))
    assert twice.keys() == once.keys()
    assert twice["model"] == f"runs/tiny/best.safetensors, {attending.model}"
    for key in ("split", "pairs", "bleu", "chrf"):
        assert twice[key] == once[key]
    for key in LOSSES:
        assert twice[key] == pytest.approx(once[key], rel=1e-4)


def test_an_ensemble_is_scored_as_one(attending: Trained, second: Path, empty_dir: Path) -> None:
    one, other, both = (
        results(evaluate(attending, "--json", *models))
        for models in (
            ["--model", "tiny"],
            ["--model", second],
            ["--model", "tiny", "--model", second, "--output", empty_dir / "hyp.txt"],
        )
    )
    assert both.keys() == COMMON | LOSSES | {"bleu", "chrf"}
    assert (both["split"], both["pairs"]) == ("test", SPLITS["test"])
    # An average of probabilities is never below the average of their logarithms.
    assert both["loss"] < (one["loss"] + other["loss"]) / 2
    assert both["loss"] not in (one["loss"], other["loss"])
    assert both["perplexity"] == pytest.approx(math.exp(both["loss"]))
    assert both["free_running_perplexity"] == pytest.approx(math.exp(both["free_running_loss"]))
    models = ("--model", "tiny", "--model", second)
    translated = call_command("translate", *models, "--input", "test.de", cwd=attending.folder)
    assert (empty_dir / "hyp.txt").read_bytes().decode() == translated.out


def test_the_table_names_every_model(attending: Trained, second: Path) -> None:
    head, *_ = evaluate(attending, "--bleu", "--model", "tiny", "--model", second).lines
    models = f"runs/tiny/best.safetensors, {second / 'best.safetensors'}"
    assert head == f"{models}, test split, 20 pairs"


def test_data_are_those_of_the_first_model(attending: Trained, second: Path) -> None:
    words = ("--json", "--loss", "--model", second)
    assert results(evaluate(attending, *words, "--model", attending.model))["pairs"] == 20
    reverse = ("--json", "--loss", "--model", attending.model, "--model", second)
    assert_refused(evaluate(attending, *reverse), "--source", "--reference")


def test_models_with_different_target_vocabularies_are_refused(
    attending: Trained, trained: Trained
) -> None:
    result = evaluate(attending, "--model", "tiny", "--model", trained.model)
    assert_refused(result, "runs/tiny/best.safetensors", str(trained.model), "target tokens, not")


def test_a_beam_where_nothing_is_translated_is_refused(trained: Trained, empty_dir: Path) -> None:
    result = evaluate(trained, "--loss", "--beam-size", "2")
    assert result.code == 2
    assert "--beam-size has no effect with --loss alone" in result.err
    # Translations that are to be written are translated.
    output = empty_dir / "out.txt"
    assert evaluate(trained, "--loss", "--beam-size", "2", "--output", output).code == 0
    assert output.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", ["0", "-1", "1e3", "1" + "0" * 30])
def test_beams_that_are_none(trained: Trained, size: str) -> None:
    result = evaluate(trained, f"--beam-size={size}")
    assert (result.code, result.out) == (2, "")
    assert "'--beam-size'" in result.err


def test_model_that_lower_cases_is_scored_with_a_warning(data_dir: Path) -> None:
    words = ("--set", "data.tokenizer.lowercase=true", "--set", "training.max_steps=1")
    train = ("train", "--config", data_dir / "tiny.yaml", *words)
    assert call_command(*train, cwd=data_dir).code == 0
    warned = call_command("evaluate", "--bleu", cwd=data_dir)
    assert "warning: " in warned.err
    assert "--lowercase" in warned.err
    assert "warning: " not in call_command("evaluate", "--bleu", "--lowercase", cwd=data_dir).err


def test_options_of_every_command(trained: Trained) -> None:
    assert evaluate(trained, "--bleu", "--quiet", "--device", "cpu").err == ""
    assert evaluate(trained, "--bleu", "--verbose").code == 0
    debug = evaluate(trained, "--debug", "--split", "nowhere")
    assert "Traceback" in debug.err
    assert debug.code == 2


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_reader_that_has_gone_is_no_error(trained: Trained) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.run(
        command("evaluate", "--bleu", "--json", "--quiet"),
        cwd=trained.folder,
        env=environment(),
        stdout=write_end,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    os.close(write_end)
    assert process.stderr.decode() == ""
    assert process.returncode == 0


# ---------------------------------------------------------------- mistakes


def test_model_file_alone_asks_for_texts(trained: Trained) -> None:
    result = run_command("evaluate", "--model", trained.model, cwd=trained.folder)
    assert_refused(result, "--source", "--reference", "--model")


def test_model_file_alone_with_texts(trained: Trained, empty_dir: Path) -> None:
    files = ("--source", trained.folder / "test.de", "--reference", trained.folder / "test.en")
    words = ("evaluate", "--json", "--bleu", "--model", trained.model)
    found = results(call_command(*words, *files, cwd=empty_dir))
    assert found["bleu"] == results(evaluate(trained, "--json"))["bleu"]


def test_no_model(empty_dir: Path) -> None:
    result = call_command("evaluate", cwd=empty_dir)
    assert_refused(result, "seq2seq train --config quickstart")
    assert list(empty_dir.iterdir()) == []


# Each row: arguments, and what the one error line has to say.
MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "unknown split": (["--split", "tset"], ["tset", "train, valid, test"]),
    "unknown tokenizer": (["--bleu-tokenize", "14a"], ["14a", "13a", "intl", "none", "zh"]),
    "source alone": (["--source", "test.de"], ["--reference"]),
    "reference alone": (["--reference", "test.en"], ["--source"]),
    "split with source": (
        ["--split", "test", "--source", "test.de", "--reference", "test.en"],
        ["--split", "--source"],
    ),
    "unequal lines": (
        ["--source", "test.de", "--reference", "train.en"],
        ["test.de has 20 lines", "train.en has 200"],
    ),
    "second reference unequal": (
        ["--source", "test.de", "--reference", "test.en", "--reference", "train.en"],
        ["test.de has 20 lines", "train.en has 200"],
    ),
    "missing source": (
        ["--source", "nowhere.de", "--reference", "test.en"],
        ["nowhere.de", "No such file"],
    ),
    "missing reference": (
        ["--source", "test.de", "--reference", "nowhere.en"],
        ["nowhere.en", "No such file"],
    ),
    "empty texts": (["--source", "empty", "--reference", "empty"], ["empty", "no lines"]),
    "blank texts": (
        ["--source", "blank", "--reference", "blank", "--loss"],
        ["no pair", "both sides"],
    ),
    "device": (["--device", "cuda:99"], ["cuda:99", "there are: ", "cpu"]),
    "unknown model": (["--model", "nowhere"], ["nowhere"]),
    "no output folder": (["--output", "nowhere/hyp.txt"], ["nowhere"]),
    "output is a folder": (["--output", "runs"], ["runs"]),
}


@pytest.mark.parametrize(("arguments", "fragments"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_refused(own: Trained, arguments: list[str], fragments: list[str]) -> None:
    (own.folder / "empty").write_bytes(b"")
    (own.folder / "blank").write_bytes(b"\n \n")
    before = snapshot(own.folder.parent)
    assert_refused(evaluate(own, *arguments), *fragments)
    assert snapshot(own.folder.parent) == before


@pytest.mark.parametrize("arguments", [["--output", "nowhere/hyp.txt"], ["--output", "runs"]])
def test_output_is_checked_before_the_work(
    own: Trained, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the test set was translated for nothing")

    monkeypatch.setattr("seq2seq_cli.evaluation.evaluate.evaluate", work)
    assert_refused(evaluate(own, *arguments))


@pytest.mark.parametrize(("name", "package"), [("ja-mecab", "MeCab"), ("ko-mecab", "mecab_ko")])
def test_tokenizer_that_is_not_installed_is_refused(
    trained: Trained, name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # an import of it fails, installed or not
    module = f"sacrebleu.tokenizers.tokenizer_{name.replace('-', '_')}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    assert_refused(evaluate(trained, "--bleu", "--bleu-tokenize", name), name, "pip install")


def test_run_without_test_data_says_what_there_is(data_dir: Path) -> None:
    words = ("train", "--config", data_dir / "tiny.yaml", "--set", "data.test=none")
    assert call_command(*words, "--set", "training.max_steps=1", cwd=data_dir).code == 0
    result = call_command("evaluate", cwd=data_dir)
    assert_refused(result, "does without test data", "--split", "--source")
