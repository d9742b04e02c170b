"""Every config that comes with the program is loaded and trained for a moment."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq_cli.config.data import BpeTokenizer, ParallelFiles
from seq2seq_cli.config_file import Override, load_config, parse_override, shipped_configs
from seq2seq_cli.model.seq2seq import Seq2Seq
from tests.benchmarks.ledger import CHANGES
from tests.integration.conftest import call_command, sentence_pairs

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

SMALLER = [
    "training.max_steps=3",
    "training.batch_size=16",
    "model.encoder.embedding_dim=8",
    "model.encoder.hidden_size=8",
    "model.decoder.embedding_dim=8",
    "model.decoder.hidden_size=8",
    "decoding.max_length_ratio=0.1",
]


def write_multi30k(folder: Path) -> None:
    """Files of Multi30k with a few sentences in them."""
    (folder / "multi30k").mkdir(parents=True)
    pairs = sentence_pairs(140)
    splits = {"train": pairs[:100], "val": pairs[100:120], "test_2016_flickr": pairs[120:]}
    for stem, chosen in splits.items():
        for side, suffix in enumerate(("de", "en")):
            text = "".join(pair[side] + "\n" for pair in chosen)
            (folder / "multi30k" / f"{stem}.{suffix}.gz").write_bytes(gzip.compress(text.encode()))


def bring_data(config: Path, folder: Path) -> Path:
    """A copy of a config with the files beside it that it names; returns the copy."""
    folder.mkdir()
    copy = Path(shutil.copy(config, folder))
    data = load_config(str(copy)).data
    for pairs, split in zip(
        (sentence_pairs(60)[:40], sentence_pairs(60)[40:50], sentence_pairs(60)[50:]),
        (data.train, data.valid, data.test),
        strict=True,
    ):
        if isinstance(split, ParallelFiles):
            for side, file in enumerate((split.source, split.target)):
                assert isinstance(file, Path)
                file.parent.mkdir(exist_ok=True)
                file.write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8")
        elif isinstance(split, Path):
            separator = "\t" if split.suffix == ".tsv" else ","
            rows = "".join(f"{english}{separator}{german}\n" for german, english in pairs)
            header = f"English{separator}French\n" if data.columns else ""
            split.write_text(f"{header}{rows}", encoding="utf-8")
    return copy


@pytest.mark.parametrize("name", ["english-french-csv", "small-corpus", "sutskever2014"])
def test_config_without_its_data_says_whose_it_is_to_bring(name: str, empty_dir: Path) -> None:
    trained = call_command("train", "--config", name, cwd=empty_dir)
    assert trained.code == 2
    assert "yours to bring" in trained.err
    assert "--set data.train=" in trained.err


def test_the_paper_is_as_large_as_the_paper_says() -> None:
    config = load_config("sutskever2014")
    sizes = config.data.vocabulary.max_size
    assert sizes.source
    assert sizes.target
    with torch.device("meta"):
        model = Seq2Seq(config.model, sizes.source, sizes.target)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert round(num_parameters / 1e6) == 384
    assert sum(model.parts().values()) == num_parameters


def test_there_are_configs_and_they_can_be_named() -> None:
    assert {"quickstart", "multi30k-tutorial"} <= {path.stem for path in CONFIGS}
    assert {path.stem for path in CONFIGS} == shipped_configs().keys()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_trains_and_its_model_translates(
    path: Path, empty_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(path.stem)
    assert config == load_config(str(path))
    if not os.environ.get("SEQ2SEQ_DATA"):
        write_multi30k(tmp_path / "corpora")
        monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "corpora"))
    settings = [*SMALLER]
    if isinstance(config.data.tokenizer, BpeTokenizer):  # the few sentences yield some hundred
        settings.append("data.tokenizer.size=150")
    smaller = [word for setting in settings for word in ("--set", setting)]
    words = ["train", "--config", path.stem, "--device", "cpu", *smaller]
    if config.data.dataset is None:  # this data is for people to bring
        words[2] = str(bring_data(path, tmp_path / "brought"))
    trained = call_command(*words, cwd=empty_dir)
    assert trained.code == 0, trained.err
    assert "fetching" not in trained.err
    run_dir = empty_dir / "runs" / path.stem
    state = json.loads((run_dir / "last" / "state.json").read_text(encoding="utf-8"))
    assert state["step"] == state["validated_step"] == 3
    overrides = [parse_override(setting) for setting in settings]
    assert load_config(str(run_dir)).data == load_config(words[2], overrides).data

    translated = call_command("translate", "Der Mann sieht das Haus.", "", cwd=empty_dir)
    assert translated.code == 0, translated.err
    assert len(translated.lines) == 2
    assert translated.lines[1] == ""


def test_the_recipe_for_few_pairs_is_one() -> None:
    names = ("multi30k-en-de", "multi30k-de-en", "small-corpus")
    recipe, *others = (load_config(name) for name in names)
    own: Any = {
        "name": True,
        "data": {"dataset", "train", "source", "target"},
        "training": {"epochs", "max_steps"},
        "validation": {"every"},
    }
    for other in others:
        assert other.model_dump(exclude=own) == recipe.model_dump(exclude=own)


@pytest.mark.parametrize("row", CHANGES)
def test_each_row_of_the_ledger_is_another_config(row: str) -> None:
    recipe = load_config("multi30k-en-de")
    overrides = [Override(key, value, "--set") for key, value in CHANGES[row].items()]
    assert (load_config("multi30k-en-de", overrides) == recipe) == (row == "the recipe")


def test_wheel_takes_the_configs_along() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["configs"] == "seq2seq_cli/configs"
