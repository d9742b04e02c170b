"""`seq2seq train`: the run directory, going on, stopping, and what it costs beforehand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
import yaml
from safetensors.torch import load_file

from seq2seq_cli.config_file import load_config
from tests.integration.conftest import (
    EPOCHS,
    SPLITS,
    STEPS,
    STEPS_PER_EPOCH,
    TIMEOUT_SECONDS,
    Result,
    Trained,
    assert_refused,
    call_command,
    command,
    environment,
    imported_by,
    run_command,
    snapshot,
)

TRAIN_KEYS = {
    "event",
    "step",
    "epoch",
    "seconds",
    "loss",
    "perplexity",
    "target_tokens_per_second",
    "learning_rate",
    "gradient_norm",
    "teacher_forcing_ratio",
}
VALID_KEYS = {"event", "step", "epoch", "seconds", "loss", "perplexity", "bleu"}
DRY_RUN_KEYS = {
    "parameters",
    "source_vocabulary",
    "target_vocabulary",
    "train_pairs",
    "valid_pairs",
    "target_tokens_per_second",
    "estimated_seconds",
    "peak_memory_bytes",
    "device",
    "precision",
}
RUN_FILES = [
    "best.safetensors",
    "config.yaml",
    "curves.png",
    "last",
    "last.previous",
    "metrics.jsonl",
    "train.log",
]
SAVE_FILES = ["SHA256SUMS", "model.safetensors", "optimizer.safetensors", "state.json"]


def settings(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


# A training of a moment: what it does is of no matter, only that it ran.
SHORT = settings("training.max_steps=3", "training.log_every=1")
ONE_MORE_EPOCH = settings(f"training.epochs={EPOCHS + 1}")


def train(folder: Path, *arguments: str | Path) -> Result:
    """In this process, with the config of the folder."""
    return call_command("train", "--config", folder / "tiny.yaml", *arguments, cwd=folder)


def events(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""  # the last line is whole as well
    found = [json.loads(line, parse_constant=refuse_constant) for line in lines]
    return [event for event in found if event["event"] == kind]


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same_tensors(first: Path, second: Path) -> None:
    expected, found = load_file(first), load_file(second)
    assert expected.keys() == found.keys()
    assert expected
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


# ---------------------------------------------------------------- the run directory


def test_run_directory_holds_the_files_of_the_contract(trained: Trained) -> None:
    assert names(trained.run_dir) == RUN_FILES
    assert names(trained.run_dir / "last") == SAVE_FILES
    assert (trained.run_dir / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert names(trained.run_dir.parent) == ["tiny"]


def test_metrics_have_the_keys_of_the_contract(trained: Trained) -> None:
    training = events(trained.run_dir, "train")
    assert {frozenset(event) for event in training} == {frozenset(TRAIN_KEYS)}
    logged = [event["step"] for event in training]
    assert logged == sorted({*range(10, STEPS + 1, 10), STEPS})
    validations = events(trained.run_dir, "valid")
    assert all(event.keys() >= VALID_KEYS for event in validations)
    assert [event["step"] for event in validations] == [250, 500, STEPS]
    assert training[-1]["loss"] < training[0]["loss"] / 2
    assert validations[-1]["epoch"] == training[-1]["epoch"] == EPOCHS


def test_state_says_where_training_stands(trained: Trained) -> None:
    state = json.loads((trained.run_dir / "last" / "state.json").read_text(encoding="utf-8"))
    assert state["step"] == STEPS
    assert state["epoch"] == EPOCHS + 1  # the one that would come next
    assert state["metrics_bytes"] == (trained.run_dir / "metrics.jsonl").stat().st_size


def test_log_and_stderr_tell_of_the_training_and_stdout_is_empty(trained: Trained) -> None:
    log = (trained.run_dir / "train.log").read_text(encoding="utf-8")
    assert "INFO 200 training pairs, 20 validation pairs" in log
    assert log.count("validation: loss") == 3
    assert trained.result.out == ""
    for line in trained.result.err.splitlines():
        assert line in log
    assert "runs/tiny/best.safetensors" in trained.result.err


def test_best_model_holds_no_path_of_this_machine(trained: Trained) -> None:
    assert str(trained.folder).encode() not in trained.model.read_bytes()
    with safetensors.safe_open(trained.model, framework="pt") as file:
        assert set(file.metadata()) == {"seq2seq"}


def test_kept_config_loads_to_what_was_trained(trained: Trained) -> None:
    kept = load_config(str(trained.run_dir / "config.yaml"))
    assert kept == load_config(str(trained.folder / "tiny.yaml"))
    assert load_config(str(trained.run_dir)) == kept


def test_kept_config_trains_the_same_model_again(own: Trained, empty_dir: Path) -> None:
    for config, name in [(own.folder / "tiny.yaml", "a"), (own.run_dir / "config.yaml", "b")]:
        result = call_command("train", "--config", config, "--run-dir", name, *SHORT, cwd=empty_dir)
        assert result.code == 0, result.err
    best = [empty_dir / name / "best.safetensors" for name in "ab"]
    assert best[0].read_bytes() == best[1].read_bytes()


def test_config_named_by_a_relative_path_still_finds_its_data(data_dir: Path) -> None:
    first = call_command("train", "--config", "tiny.yaml", *SHORT, cwd=data_dir)
    assert first.code == 0, first.err
    evaluated = call_command("evaluate", "--bleu", cwd=data_dir)
    assert evaluated.code == 0, evaluated.err
    resumed = call_command("train", "--config", "tiny.yaml", "--resume", *SHORT, cwd=data_dir)
    assert resumed.code == 0, resumed.err
    elsewhere = call_command(
        "train", "--config", "data/runs/tiny/config.yaml", "--run-dir", "x", cwd=data_dir.parent
    )
    assert elsewhere.code == 0, elsewhere.err


def test_run_directory_can_be_moved_and_still_be_evaluated(own: Trained, empty_dir: Path) -> None:
    own.run_dir.rename(empty_dir / "moved")
    result = call_command("evaluate", "--bleu", "--model", "moved", cwd=empty_dir)
    assert result.code == 0, result.err


def test_learning_rate_is_written_as_it_is(data_dir: Path) -> None:
    rate = settings("training.optimizer.learning_rate=2e-8")
    assert train(data_dir, *SHORT, *rate).code == 0
    logged = [event["learning_rate"] for event in events(data_dir / "runs" / "tiny", "train")]
    assert logged == [2e-8] * 3


def test_metrics_are_json_whatever_the_loss(data_dir: Path) -> None:
    result = train(data_dir, *SHORT, *settings("model.init.scale=1e5"))
    assert result.code == 0, result.err
    [event] = events(data_dir / "runs" / "tiny", "valid")
    assert event["loss"] > 1000  # its perplexity is no number that a computer has


# ---------------------------------------------------------------- where it goes


def test_second_training_is_refused_and_changes_nothing(own: Trained) -> None:
    before = snapshot(own.folder)
    result = train(own.folder)
    assert_refused(result, "runs/tiny", "--resume", "--overwrite", "--run-dir")
    assert snapshot(own.folder) == before


def test_overwrite_replaces_the_run_and_nothing_else(own: Trained) -> None:
    (own.run_dir / "notes.txt").write_text("mine")
    result = train(own.folder, "--overwrite", *SHORT)
    assert result.code == 0, result.err
    assert names(own.run_dir) == sorted([*RUN_FILES, "notes.txt"])
    assert [event["step"] for event in events(own.run_dir, "train")] == [1, 2, 3]
    assert "max_steps: 3\n" in (own.run_dir / "config.yaml").read_text(encoding="utf-8")
    assert (own.run_dir / "train.log").read_text(encoding="utf-8").count("training pairs") == 1


@pytest.mark.parametrize(
    "mistake",
    [
        settings("data.train.source=nowhere.de"),
        settings("data.max_length=1"),
        settings("training.epochs=0"),
        ["--device", "cuda:99"],
    ],
)
def test_overwrite_with_a_mistake_leaves_the_old_run(own: Trained, mistake: list[str]) -> None:
    before = snapshot(own.folder)
    assert_refused(train(own.folder, "--overwrite", *mistake))
    assert snapshot(own.folder) == before


def test_run_dir_is_made_where_it_is_named(data_dir: Path) -> None:
    result = train(data_dir, "--run-dir", "deep/inside", *SHORT)
    assert result.code == 0, result.err
    assert names(data_dir / "deep" / "inside") == RUN_FILES
    assert not (data_dir / "runs").exists()


def test_run_is_named_as_the_config_says(data_dir: Path) -> None:
    assert train(data_dir, *SHORT, *settings("name=other")).code == 0
    assert names(data_dir / "runs") == ["other"]


def test_run_dir_that_is_a_file_is_refused(data_dir: Path) -> None:
    (data_dir / "file").write_text("mine")
    before = snapshot(data_dir)
    for place in ("file", "file/inside"):
        assert_refused(train(data_dir, "--run-dir", place, *SHORT), "file")
        assert snapshot(data_dir) == before


# ---------------------------------------------------------------- options


def test_set_replaces_values(data_dir: Path) -> None:
    values = settings(
        "model.encoder.hidden_size=16",
        "training.optimizer={kind: sgd, learning_rate: 5e-1}",
        "data.valid={source: test.de, target: test.en}",
    )
    assert train(data_dir, *SHORT, *values).code == 0
    kept = yaml.safe_load((data_dir / "runs/tiny/config.yaml").read_text(encoding="utf-8"))
    assert kept["model"]["encoder"]["hidden_size"] == 16
    assert kept["training"]["optimizer"] == {"kind": "sgd", "learning_rate": 0.5, "momentum": 0.0}
    assert kept["data"]["valid"]["source"] == str(data_dir / "test.de")
    rates = [event["learning_rate"] for event in events(data_dir / "runs/tiny", "train")]
    assert rates == [0.5] * 3


def test_paths_given_by_set_are_from_where_one_stands(data_dir: Path, empty_dir: Path) -> None:
    (empty_dir / "here.de").write_bytes((data_dir / "valid.de").read_bytes())
    elsewhere = settings("data.valid.source=here.de")
    config = data_dir / "tiny.yaml"
    result = call_command("train", "--config", config, *SHORT, *elsewhere, cwd=empty_dir)
    assert result.code == 0, result.err


def test_device_that_is_there(data_dir: Path) -> None:
    result = train(data_dir, "--device", "cpu", *SHORT, *settings("device=auto"))
    assert result.code == 0, result.err
    assert "on cpu" in result.err
    assert "device: cpu\n" in (data_dir / "runs/tiny/config.yaml").read_text(encoding="utf-8")


def test_device_that_is_not_there_is_refused_with_those_that_are(data_dir: Path) -> None:
    result = train(data_dir, "--device", "cuda:99")
    assert_refused(result, "cuda:99", "there are: ", "cpu")
    assert not (data_dir / "runs").exists()


def test_quiet_says_nothing_and_the_log_still_does(data_dir: Path) -> None:
    result = run_command(
        "train", "--config", data_dir / "tiny.yaml", "--quiet", *SHORT, cwd=data_dir
    )
    assert result == Result(0, "", "")
    log = (data_dir / "runs/tiny/train.log").read_text(encoding="utf-8")
    assert "200 training pairs" in log


def test_quiet_still_shows_errors(data_dir: Path) -> None:
    result = train(data_dir, "--quiet", *settings("data.valid.target=nowhere.en"))
    assert_refused(result, "nowhere.en")
    assert result.err.count("\n") == 1


def test_verbose_says_more(data_dir: Path) -> None:
    plain = train(data_dir, *SHORT)
    verbose = train(data_dir, "--verbose", "--overwrite", *SHORT)
    assert plain.code == verbose.code == 0
    assert verbose.err.count("\n") > plain.err.count("\n")


def test_debug_shows_the_traceback(data_dir: Path) -> None:
    mistake = settings("data.valid.target=nowhere.en")
    plain, debug = train(data_dir, *mistake), train(data_dir, "--debug", *mistake)
    assert plain.code == debug.code == 2
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert "nowhere.en" in debug.err
    assert plain.errors == debug.errors


# ---------------------------------------------------------------- --dry-run


def test_dry_run_as_json(data_dir: Path, trained: Trained) -> None:
    before = snapshot(data_dir)
    result = run_command("train", "--config", "tiny.yaml", "--dry-run", "--json", cwd=data_dir)
    assert result.code == 0, result.err
    assert snapshot(data_dir) == before
    [line] = result.lines
    report = json.loads(line)
    assert report.keys() >= DRY_RUN_KEYS
    weights = {
        name: tensor
        for name, tensor in load_file(trained.model).items()
        if name.startswith("model.")
    }
    assert report["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert report["parameters"] == sum(report["parts"].values())
    sizes = [weights[f"model.{side}.embedding.weight"].shape[0] for side in ("encoder", "decoder")]
    assert [report["source_vocabulary"], report["target_vocabulary"]] == sizes
    assert (report["train_pairs"], report["valid_pairs"]) == (SPLITS["train"], SPLITS["valid"])
    assert (report["device"], report["precision"]) == ("cpu", "float32")
    for key in ("target_tokens_per_second", "estimated_seconds", "peak_memory_bytes"):
        assert report[key] > 0


def test_dry_run_as_table(data_dir: Path) -> None:
    before = snapshot(data_dir)
    result = train(data_dir, "--dry-run", *settings("model.decoder.num_layers=2"))
    assert result.code == 0, result.err
    assert snapshot(data_dir) == before
    rows = dict(line.strip().split("  ", 1) for line in result.lines)
    embeddings, layers = ("source embedding", "target embedding"), ("encoder LSTM", "decoder LSTM")
    parts = [*embeddings, *layers, "output layer", "bridge"]
    counts = {name: int(rows[name].replace(",", "")) for name in ("parameters", *parts)}
    assert counts["parameters"] == sum(counts[part] for part in parts)
    assert rows["training pairs"].strip() == str(SPLITS["train"])


def test_dry_run_beside_a_run_leaves_the_run(own: Trained) -> None:
    before = snapshot(own.folder)
    assert train(own.folder, "--dry-run").code == 0
    assert snapshot(own.folder) == before


def test_dry_run_counts_what_is_dropped(data_dir: Path) -> None:
    for suffix, extra in (("de", "\nhallo\n" + "wort " * 101 + "\n"), ("en", "x\n \ny\n")):
        with (data_dir / f"train.{suffix}").open("a", encoding="utf-8") as file:
            file.write(extra)
    result = train(data_dir, "--dry-run", "--json")
    report = json.loads(result.out)
    assert report["train_pairs"] == SPLITS["train"]
    assert (report["dropped_empty"], report["dropped_too_long"]) == (2, 1)


# ---------------------------------------------------------------- --resume


def test_resumed_training_equals_one_never_stopped(data_dir: Path) -> None:
    values = ("validation.every=epoch", "training.log_every=5", "model.dropout=0.2")
    every_epoch = settings(*values)
    straight = train(data_dir, "--run-dir", "straight", *every_epoch, "--set", "training.epochs=4")
    assert straight.code == 0, straight.err
    for extra in (["--set", "training.epochs=2"], ["--set", "training.epochs=4", "--resume"]):
        result = train(data_dir, "--run-dir", "resumed", *every_epoch, *extra)
        assert result.code == 0, result.err
    for name in ("last/model.safetensors", "last/optimizer.safetensors", "best.safetensors"):
        assert_same_tensors(data_dir / "straight" / name, data_dir / "resumed" / name)
    whole = ("step", "epoch", "loss", "bleu")
    for kind in ("train", "valid"):
        found = [
            [{key: event.get(key) for key in whole} for event in events(data_dir / run, kind)]
            for run in ("straight", "resumed")
        ]
        assert found[0] == found[1]
        assert found[0]


def test_training_stopped_within_an_epoch_goes_on_exactly(data_dir: Path) -> None:
    plan = settings(
        "training.epochs=2",
        "training.log_every=1",
        "model.dropout=0.2",
        "training.teacher_forcing={kind: constant, ratio: 0.5}",
    )
    assert train(data_dir, "--run-dir", "straight", *plan).code == 0
    short = [*plan, *settings("training.max_steps=33")]
    assert train(data_dir, "--run-dir", "resumed", *short).code == 0
    assert train(data_dir, "--run-dir", "resumed", "--resume", *plan).code == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert_same_tensors(data_dir / "straight/last" / name, data_dir / "resumed/last" / name)
    steps = [event["step"] for event in events(data_dir / "resumed", "train")]
    assert steps == list(range(1, 51))


def test_metrics_written_after_the_last_save_are_cut_on_resume(own: Trained) -> None:
    with (own.run_dir / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(f'{{"event": "train", "step": {STEPS + 1}, "epoch": 99}}\n{{"event": "tr')
    result = train(own.folder, "--resume", *ONE_MORE_EPOCH)
    assert result.code == 0, result.err
    steps = Counter(event["step"] for event in events(own.run_dir, "train"))
    assert max(steps) == STEPS + STEPS_PER_EPOCH
    assert set(steps.values()) == {1}
    assert STEPS + 1 not in steps


def test_resume_of_a_finished_run_is_done_at_once(own: Trained) -> None:
    before = snapshot(own.folder)
    result = run_command("train", "--config", own.folder / "tiny.yaml", "--resume", cwd=own.folder)
    assert result.code == 0, result.err
    assert "finished" in result.err
    log = "runs/tiny/train.log"  # in which the second start is told as well
    assert {**snapshot(own.folder), log: before[log]} == before


def test_resume_without_a_run_is_refused(data_dir: Path) -> None:
    before = snapshot(data_dir)
    assert_refused(train(data_dir, "--resume"), "runs/tiny")
    result = call_command("train", "--resume", "--run-dir", "runs/tiny", cwd=data_dir)
    assert_refused(result, "runs/tiny: holds no run to go on with")
    assert snapshot(data_dir) == before


def test_resume_needs_only_the_run_directory(own: Trained, empty_dir: Path) -> None:
    """From anywhere, with changes or without."""
    words = ("train", "--resume", "--run-dir", own.run_dir)
    result = call_command(*words, *ONE_MORE_EPOCH, cwd=empty_dir)
    assert result.code == 0, result.err
    assert f"going on from step {STEPS} of epoch {EPOCHS + 1}" in result.err
    assert f"training.epochs: from now on {EPOCHS + 1}.0, was {EPOCHS}.0" in result.err
    again = call_command(*words, cwd=empty_dir)
    assert again.code == 0
    assert "this training is finished; training.epochs has ended it" in again.err
    assert load_config(str(own.run_dir)).training.epochs == EPOCHS + 1


def test_a_config_is_needed_without_a_run_to_go_on_with(empty_dir: Path) -> None:
    for words in ([], ["--run-dir", "x"], ["--resume"], ["--overwrite", "--run-dir", "x"]):
        assert_refused(call_command("train", *words, cwd=empty_dir), "--config FILE|NAME")


def test_what_was_said_before_the_run_began_is_in_its_log(data_dir: Path) -> None:
    """And what was told on a resume that came to nothing is not."""
    (data_dir / "train.de").write_text("\nhallo\n" + "ja\n" * 30, encoding="utf-8")
    (data_dir / "train.en").write_text("x\nhello\n" + "yes\n" * 30, encoding="utf-8")
    assert train(data_dir, *SHORT).code == 0
    log = data_dir / "runs/tiny/train.log"
    before = log.read_text(encoding="utf-8")
    assert "training data: dropped 1 pairs with an empty side" in before
    assert_refused(train(data_dir, "--resume", "--set", "seed=3"))
    assert log.read_text(encoding="utf-8") == before
    more = settings("training.max_steps=4", "training.log_every=1")
    assert train(data_dir, "--resume", *more).code == 0
    assert "training.max_steps: from now on 4, was 3" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("model.encoder.hidden_size", "32", "64"),
        ("model.tied_embeddings", "none", "target"),
        ("training.batch_size", "8", "9"),
        ("training.optimizer.kind", "adam", "sgd"),
        ("seed", "1", "2"),
        ("data.max_length", "100", "50"),
    ],
)
def test_resume_refuses_what_cannot_change(own: Trained, key: str, before: str, after: str) -> None:
    content = snapshot(own.folder)
    result = train(own.folder, "--resume", "--set", f"{key}={after}")
    assert_refused(result, key, f"from {before} to {after}")
    assert snapshot(own.folder) == content


def test_resume_names_each_change_that_is_refused(own: Trained) -> None:
    result = train(own.folder, "--resume", *settings("seed=2", "model.tied_embeddings=target"))
    assert_refused(result, "seed", "model.tied_embeddings", num_errors=2)


# ---------------------------------------------------------------- stopping


def stop_while_training(folder: Path, number: signal.Signals) -> Result:
    """Start a training without end, and send it a signal when it has done some steps."""
    endless = settings("training.epochs=100000", "training.log_every=1", "validation.every=100000")
    metrics = folder / "runs" / "tiny" / "metrics.jsonl"
    with subprocess.Popen(
        command("train", "--config", folder / "tiny.yaml", *endless),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 20):
                assert process.poll() is None, "the training ended by itself"
                assert time.monotonic() < deadline, "the training did not begin"
                time.sleep(0.05)
            process.send_signal(number)
            out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            process.kill()
    return Result(process.returncode, out.decode(), err.decode())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_signal_saves_and_the_training_goes_on_from_there(
    data_dir: Path, number: signal.Signals, code: int
) -> None:
    stopped = stop_while_training(data_dir, number)
    assert stopped.code == code
    assert "Traceback" not in stopped.err
    assert len(stopped.errors) == 1
    assert "--resume" in stopped.errors[0]
    run_dir = data_dir / "runs" / "tiny"
    assert names(run_dir / "last") == SAVE_FILES
    assert not {"last.new", ".lock"} & set(names(run_dir))
    assert not [name for name in names(run_dir) if name.endswith(".tmp")]
    state = json.loads((run_dir / "last/state.json").read_text(encoding="utf-8"))
    assert [event["step"] for event in events(run_dir, "train")][-1] == state["step"] >= 20

    plan = ["training.log_every=1", f"training.max_steps={state['step'] + 4}"]
    resumed = train(data_dir, "--resume", *settings("training.epochs=100000", *plan))
    assert resumed.code == 0, resumed.err
    assert f"step {state['step']}" in resumed.err
    steps = [event["step"] for event in events(run_dir, "train")]
    assert steps == list(range(1, state["step"] + 5))
    assert (run_dir / "best.safetensors").is_file()

    straight = train(data_dir, "--run-dir", "straight", *settings("training.epochs=100000", *plan))
    assert straight.code == 0
    name = "last/model.safetensors"
    assert_same_tensors(data_dir / "straight" / name, run_dir / name)


def test_diverging_training_fails_with_exit_code_1(data_dir: Path) -> None:
    result = run_command(
        *("train", "--config", data_dir / "tiny.yaml"),
        *settings(
            "training.optimizer={kind: sgd, learning_rate: 1e38}",
            "training.gradient_clip_norm=null",
            "training.log_every=1",
        ),
        cwd=data_dir,
    )
    assert result.code == 1, result.err
    assert len(result.errors) == 1
    assert "learning_rate" in result.errors[0]
    assert "Traceback" not in result.err
    assert result.out == ""


# ---------------------------------------------------------------- help and version


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["translate", "--help"]]
)
def test_help_and_version_import_no_torch(arguments: list[str], empty_dir: Path) -> None:
    imported, printed = imported_by(*arguments, cwd=empty_dir)
    assert "seq2seq_cli.cli" in imported
    heavy = {"torch", "numpy", "matplotlib", "sacrebleu", "sentencepiece"}
    assert not imported & heavy
    assert ("0.1.0" if arguments == ["--version"] else "Usage") in printed


@pytest.mark.parametrize("name", ["train", "translate", "evaluate"])
def test_every_command_has_help_and_the_common_options(name: str, empty_dir: Path) -> None:
    result = call_command(name, "--help", cwd=empty_dir)
    assert result.code == 0
    assert result.err == ""
    for option in ("--help", "--quiet", "--verbose", "--debug", "--device", "--json"):
        assert option in result.out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train"], "--config"),
        (["train", "--config", "quickstart", "--epochs", "3"], "--epochs"),
        (["tranlate", "text"], "tranlate"),
        (["translate", "text", "--batch-size", "0"], "--batch-size"),
        (["translate", "text", "--batch-size", "many"], "--batch-size"),
        (["translate", "text", "--max-length", "0"], "--max-length"),
        (["evaluate", "stray"], "stray"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], named: str, empty_dir: Path) -> None:
    result = call_command(*arguments, cwd=empty_dir)
    assert result.code == 2
    assert result.out == ""
    assert named in result.err
    assert "Traceback" not in result.err
