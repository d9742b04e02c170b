"""The keys of `training` and `validation` that say how long, per what, and which mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from seq2seq_cli.config.sections import Section
from seq2seq_cli.config.training import EmaAveraging, LastAveraging, NoAveraging
from seq2seq_cli.config_file import dump_config, load_config
from tests.unit.config.support import CORPUS, at, load, mistakes


def test_defaults() -> None:
    training = load(CORPUS).training
    assert training.epochs == 10.0
    assert training.loss_per == "token"
    assert training.averaging == NoAveraging()
    assert EmaAveraging().decay == 0.999
    assert LastAveraging().checkpoints == 5


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("epochs: 0", "epochs: must be greater than 0, not 0"),
        ("epochs: -7.5", "epochs: must be greater than 0, not -7.5"),
        ("epochs: 1.1e9", "epochs: must be at most 1000000000, not 1.1e9"),
        *[
            (f"epochs: {value}", f"epochs: must be a number, not {shown}")
            for value, shown in [
                ("many", "'many'"),
                ("true", "'true'"),
                (".inf", "'.inf'"),
                (".nan", "'.nan'"),
                ("1e999", "1e999"),
                ("''", "''"),
                ("[1]", "['1']"),
            ]
        ],
        (
            "loss_per: sentences",
            "loss_per: must be one of token, sentence, not 'sentences' (did you mean sentence?)",
        ),
        ("loss_per:", "loss_per: must be one of token, sentence, not nothing"),
        (
            "averaging: {kind: emma}",
            "averaging.kind: must be one of none, ema, last, not 'emma' (did you mean ema?)",
        ),
        (
            "averaging: ema",
            "averaging: must be a mapping of keys (kind, ...), not 'ema'; write {kind: ema}",
        ),
        ("averaging: {decay: 0.9}", "averaging.decay: unknown key of kind none"),
        (
            "averaging: {kind: none, checkpoints: 3}",
            "averaging.checkpoints: unknown key of kind none",
        ),
        (
            "averaging: {kind: ema, checkpoints: 3}",
            "averaging.checkpoints: unknown key of kind ema",
        ),
        ("averaging: {kind: last, decay: 0.9}", "averaging.decay: unknown key of kind last"),
        ("averaging: {kind: ema, decay: 0}", "averaging.decay: must be greater than 0, not 0"),
        ("averaging: {kind: ema, decay: 1}", "averaging.decay: must be less than 1, not 1"),
        ("averaging: {kind: ema, decay: x}", "averaging.decay: must be a number, not 'x'"),
        (
            "averaging: {kind: last, checkpoints: 1}",
            "averaging.checkpoints: must be at least 2, not 1",
        ),
        (
            "averaging: {kind: last, checkpoints: 101}",
            "averaging.checkpoints: must be at most 100, not 101",
        ),
        (
            "averaging: {kind: last, checkpoints: 2.5}",
            "averaging.checkpoints: must be a whole number, not 2.5",
        ),
    ],
)
def test_mistakes(given: str, expected: str) -> None:
    assert mistakes(f"{CORPUS}training:\n  {given}\n") == [f"c.yaml:3: training.{expected}"]


@pytest.mark.parametrize(
    ("given", "epochs"),
    [("7.5", 7.5), ("1e-9", 1e-9), ("3", 3.0), ("1e9", 1e9), ("'.5'", 0.5)],
)
def test_epochs_may_be_a_part_of_one(given: str, epochs: float) -> None:
    config = load(f"{CORPUS}training: {{epochs: {given}}}\n")
    assert config.training.epochs == epochs
    Path("dumped.yaml").write_text(dump_config(config))
    assert load_config("dumped.yaml") == load(f"{CORPUS}name: c\n", f"training.epochs={given}")


def test_without_epochs_something_else_must_end_it() -> None:
    assert load(CORPUS, "training={epochs: null, max_steps: 3}").training.epochs is None
    (line,) = mistakes(CORPUS, "training.epochs=null")
    assert "needs one of epochs, max_steps, max_minutes: when to stop" in line


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("training.averaging", "{kind: ema}", EmaAveraging(decay=0.999)),
        ("training.averaging", "{kind: ema, decay: 1e-4}", EmaAveraging(decay=0.0001)),
        ("training.averaging", "{kind: last}", LastAveraging(checkpoints=5)),
        ("training.averaging", "{kind: last, checkpoints: 2}", LastAveraging(checkpoints=2)),
        ("training.averaging", "{kind: last, checkpoints: 1e2}", LastAveraging(checkpoints=100)),
        ("training.averaging", "", NoAveraging()),
        ("training.averaging", "{}", NoAveraging()),
        ("training.loss_per", "sentence", "sentence"),
    ],
)
def test_values(key: str, given: str, value: Section | str) -> None:
    config = load(CORPUS, f"{key}={given}")
    assert at(config, key) == value
    Path("dumped.yaml").write_text(dump_config(config))
    assert load_config("dumped.yaml") == config
