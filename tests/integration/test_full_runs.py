"""The shipped configs trained in full, held to the figures that the README gives."""

import csv
import json
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def seq2seq(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "seq2seq_cli", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def score(folder: Path, *arguments: str) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(seq2seq(folder, "evaluate", "--json", *arguments))
    return results


def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")  # this one is about time: it may have all cores
    begin = time.perf_counter()
    seq2seq(tmp_path, "train", "--config", "quickstart")
    minutes = (time.perf_counter() - begin) / 60

    assert score(tmp_path)["bleu"]["score"] >= 85
    assert score(tmp_path, "--split", "test_novel")["bleu"]["score"] >= 60
    assert minutes <= 3


@pytest.mark.usefixtures("corpora")
def test_multi30k_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    seq2seq(tmp_path, "train", "--config", "multi30k-tutorial")
    results = score(tmp_path, "--bleu", "--loss", "--lowercase")

    assert results["free_running_perplexity"] <= 48
    assert results["bleu"]["score"] >= 12.4


@pytest.mark.usefixtures("corpora")
def test_multi30k_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    seq2seq(tmp_path, "train", "--config", "multi30k-attention")

    assert score(tmp_path, "--bleu", "--lowercase", "--beam-size", "1")["bleu"]["score"] >= 28.3


def test_english_french_csv(tmp_path: Path, corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    table = corpora / "english-french" / "english_french.csv"
    seq2seq(tmp_path, "train", "--config", "english-french-csv", "--set", f"data.train={table}")
    answers: dict[str, set[str]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in islice(csv.DictReader(file), 500):
            # As the model's tokens have it: lower case, single spaces.
            answers.setdefault(row["English"], set()).add(" ".join(row["French"].lower().split()))
    given = seq2seq(tmp_path, "translate", "--", *answers).split("\n")[:-1]
    right = [answer in answers[source] for source, answer in zip(answers, given, strict=True)]

    assert len(right) == 169
    assert sum(right) >= 0.95 * len(right)
