"""Every config that comes with the program is loaded and trained for a moment."""

from __future__ import annotations

import gzip
import json
import os
import tomllib
from pathlib import Path

import pytest

from seq2seq_cli.config_file import load_config, shipped_configs
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
    smaller = [word for value in SMALLER for word in ("--set", value)]
    words = ["train", "--config", path.stem, "--device", "cpu", *smaller]
    table = config.data.train
    if isinstance(table, Path):  # this one is for people to bring
        table = tmp_path / table.name
        rows = "".join(f"{english},{german}\n" for german, english in sentence_pairs(50))
        table.write_text(f"English,French\n{rows}", encoding="utf-8")
        words += ["--set", f"data.train={table}"]
    trained = call_command(*words, cwd=empty_dir)
    assert trained.code == 0, trained.err
    assert "fetching" not in trained.err
    run_dir = empty_dir / "runs" / path.stem
    state = json.loads((run_dir / "last" / "state.json").read_text(encoding="utf-8"))
    assert state["step"] == state["validated_step"] == 3
    assert load_config(str(run_dir)).data == config.data.model_copy(update={"train": table})

    translated = call_command("translate", "Der Mann sieht das Haus.", "", cwd=empty_dir)
    assert translated.code == 0, translated.err
    assert len(translated.lines) == 2
    assert translated.lines[1] == ""


def test_wheel_takes_the_configs_along() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["configs"] == "seq2seq_cli/configs"
