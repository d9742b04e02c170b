"""Whatever a file or an option holds: our own errors at most, soon, and in little memory."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import random
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq_cli.config.data import DataConfig
from seq2seq_cli.config_file import MAX_BYTES, load_config, parse_override
from seq2seq_cli.data.splits import read_split
from seq2seq_cli.decoding.translator import TranslationOptions, Translator
from seq2seq_cli.errors import ConfigError, DataError, ModelFileError
from seq2seq_cli.model.model_file import load_translator
from tests.fuzz import targets
from tests.fuzz.cases import Case, zstd
from tests.fuzz.engines import check_with_hypothesis
from tests.fuzz.memory import PeakMemory
from tests.fuzz.model_targets import (
    CONFIGS,
    StoredTensor,
    change_tensor,
    change_tree,
    model_bytes,
    parts_of,
    rebuilt,
    translator,
)
from tests.fuzz.targets import MAX_SECONDS, TARGETS

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
FEW_CASES = 100
MANY_CASES = 15_000
GUIDED_CASES = 5_000
SLOW_SECONDS = 3600  # many times what any target takes


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_lets_nothing_but_our_own_errors_pass(name: str) -> None:
    targets.run(name, b"")  # what is made once is no part of a case's time
    targets.outcomes.clear()
    with PeakMemory() as memory:
        check_with_hypothesis(name, FEW_CASES)

    assert targets.outcomes.total() >= FEW_CASES
    assert len(targets.outcomes) > 1, "cases are refused, and some are not"
    assert memory.growth_mb < 200


def _raise_unless_empty(data: bytes) -> None:
    if data:
        raise ValueError("planted")


def _loop(data: bytes) -> None:
    end = time.process_time() + 0.2
    while data and time.process_time() < end:
        pass


@pytest.mark.parametrize(
    ("target", "error"), [(_raise_unless_empty, ValueError), (_loop, AssertionError)]
)
def test_other_errors_and_slow_cases_are_told(
    target: Callable[[bytes], None], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TARGETS, "planted", target)
    monkeypatch.setattr(targets, "MAX_SECONDS", 0.1)
    targets.run("planted", b"")
    with pytest.raises(error):
        targets.run("planted", b"1")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_memory_that_was_taken_and_given_back_is_seen() -> None:
    with PeakMemory() as memory:
        torch.ones(50_000_000)
    assert 180 < memory.growth_mb < 300
    with PeakMemory() as memory:
        pass
    assert memory.growth_mb < 50


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many_cases(name: str) -> None:
    found = json.loads(_fuzz(name, f"--cases={MANY_CASES}").stdout)
    print(found)
    assert found["cases"] >= MANY_CASES


def test_the_slow_set_is_large_enough() -> None:
    assert len(TARGETS) * MANY_CASES >= 100_000


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris")
@pytest.mark.parametrize("name", TARGETS)
def test_cases_that_coverage_guides(name: str, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    for number in range(50):
        (seeds / str(number)).write_bytes(os.urandom(4 * number))
    options = ["-max_len=400", "-len_control=0", "-timeout=30", "-rss_limit_mb=2500"]
    artifacts = f"-artifact_prefix={tmp_path}/"
    process = _fuzz(name, f"-runs={GUIDED_CASES}", *options, artifacts, str(seeds))
    assert f"Done {GUIDED_CASES} runs" in process.stderr
    coverage = re.findall(r"cov: (\d+)", process.stderr)
    assert int(coverage[-1]) > 100, "the package's code was not followed"


def _fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SLOW_SECONDS, check=False
    )
    assert process.returncode == 0, process.stdout[-5000:] + process.stderr[-10_000:]
    return process


# ---------------------------------------------------------------- what cases reach


@pytest.mark.parametrize("index", range(3))
def test_a_model_file_taken_apart_is_put_together_again(index: int, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    file.write_bytes(rebuilt(parts_of(model_bytes(index))))

    loaded = load_translator(file, CPU)

    assert loaded.config == translator(index).config
    weights = dict(translator(index).model.named_parameters())
    assert all(torch.equal(w, weights[name]) for name, w in loaded.model.named_parameters())


def test_a_checksum_that_is_right_lets_changes_through(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    file.write_bytes(model_bytes(0).replace(b"Hund", b"Mund"))
    with pytest.raises(ModelFileError, match="checksum"):
        load_translator(file, CPU)
    parts = parts_of(model_bytes(0))
    old = parts.tensors["vocabulary.source"]
    parts.tensors["vocabulary.source"] = old._replace(data=old.data.replace(b"Hund", b"Mund"))
    file.write_bytes(rebuilt(parts))
    assert "Mund" in load_translator(file, CPU).source.vocabulary.tokens


def test_every_kind_of_change_reaches_model_files() -> None:
    whole = parts_of(model_bytes(0))
    trees, tensors = set[str](), set[object]()
    for number in range(2000):
        parts = parts_of(model_bytes(0))
        change_tree(Case(number.to_bytes(2) * 7), parts.metadata)
        change_tensor(Case(number.to_bytes(2) * 7), parts.tensors, sorted(parts.tensors))
        trees.add(json.dumps(parts.metadata))
        old, new = set(whole.tensors), set(parts.tensors)
        changed = [name for name in old & new if whole.tensors[name] != parts.tensors[name]]
        tensors |= {(len(old - new), len(new - old))}
        tensors |= {
            field
            for name in changed
            for field in StoredTensor._fields
            if getattr(whole.tensors[name], field) != getattr(parts.tensors[name], field)
        }
    assert len(trees) > 300
    assert tensors >= {(1, 0), (1, 1), (0, 0), *StoredTensor._fields}


def test_a_decision_reaches_every_option() -> None:
    draw = random.Random(1)
    for limit in (1, 2, 40, 255, 256, 257, 1000):
        found = {Case(draw.randbytes(3)).number(limit) for _ in range(20_000)}
        assert found == set(range(limit))
    assert Case(b"").pick("ab") == "a"


# ---------------------------------------------------------------- bombs

_BASE = "data: {dataset: phrasebook, source: de, target: en}\n"
_LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 15)
)

CONFIGS_TO_REFUSE = {
    "billion laughs": _BASE + _LAUGHS,
    "alias of itself": _BASE + "a: &a [*a]",
    "2 MB": _BASE + "# " + "x" * 2_000_000,
    "very many values": _BASE + "a: [" + "x," * 130_000 + "]",
    "very many keys": _BASE + "".join(f"k{number}: 1\n" for number in range(23_000)),
    "very many documents": _BASE + "---\n" * 65_000,
    "an endless word": _BASE + "precision: " + "x" * 260_000,
    "an endless key": _BASE + "x" * 260_000 + ": 1",
    "very many quotes": _BASE + "a: '" + "x'' " * 65_000,
    "brackets, 10,000 deep": _BASE + "a: " + "[" * 10_000,
    "closed brackets, 10,000 deep": _BASE + "a: " + "[" * 10_000 + "]" * 10_000,
    "braces, 10,000 deep": _BASE + "a: " + "{b: " * 10_000,
    "dashes, 10,000 deep": "- " * 10_000 + "x",
    "keys, 600 deep": "".join(" " * depth + "a:\n" for depth in range(600)),
    "huge number": _BASE + "seed: " + "9" * 100_000,
    "huge other number": _BASE + "training: {batch_size: " + "9" * 100_000 + "}",
    "huge fraction": _BASE + "training: {epochs: 0." + "9" * 100_000 + "e99999}",
    "merge keys": _BASE + "x: &x {epochs: 3}\ntraining: {<<: *x}",
    "merged laughs": _BASE + "x: &x {a: 1}\ny: &y {<<: [*x, *x]}\nz: {<<: [*y, *y, *y]}",
    "an object": _BASE + "model: !!python/object/apply:os.system ['exit 1']",
    "a tuple": _BASE + "seed: !!python/tuple [1, 2]",
    "an endless tag": _BASE + "seed: !" + "a" * 260_000 + " x",
}
_SETS_TO_REFUSE = {
    "a value 10,000 deep": "model=" + "[" * 10_000,
    "a key 50,000 deep": "training" + ".a" * 50_000 + "=1",
    "a huge value": "seed=" + "9" * 100_000,
    "laughs": "model={" + _LAUGHS.strip().replace("\n", ", ") + "}",
}


def _bounded(run: Callable[[], Any], error: type[Exception] | None) -> None:
    """Run it; see what comes of it, how soon and in how much memory."""
    started = time.process_time()
    with PeakMemory() as memory:
        if error is None:
            run()
        else:
            with pytest.raises(error) as caught:
                run()
            assert str(caught.value).strip()
    assert time.process_time() - started < MAX_SECONDS
    assert memory.growth_mb < 200


@pytest.mark.parametrize("name", CONFIGS_TO_REFUSE)
def test_a_config_made_to_explode(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIGS_TO_REFUSE[name], encoding="utf-8")
    assert name == "2 MB" or path.stat().st_size <= MAX_BYTES, "its size alone is a reason"
    _bounded(lambda: load_config(str(path)), ConfigError)


@pytest.mark.parametrize("name", _SETS_TO_REFUSE)
def test_a_value_on_the_command_line_made_to_explode(name: str) -> None:
    _bounded(
        lambda: load_config("quickstart", [parse_override(_SETS_TO_REFUSE[name])]), ConfigError
    )


def _with_header(header: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header


def _with_metadata(text: str) -> bytes:
    return rebuilt(parts_of(model_bytes(0)), text)


def _with_config(**sizes: int) -> bytes:
    parts = parts_of(model_bytes(0))
    for stack in ("encoder", "decoder"):
        parts.metadata["config"]["model"][stack] |= sizes
    return rebuilt(parts)


def _with_tensor(*, shape: list[int], content: bytes) -> bytes:
    parts = parts_of(model_bytes(0))
    name = next(name for name in parts.tensors if name.startswith("model."))
    parts.tensors[name] = StoredTensor("F32", shape, content)
    return rebuilt(parts)


def _model_files() -> dict[str, Callable[[], bytes]]:
    empty = b'{"__metadata__":{"seq2seq":"{}"}}'
    return {
        "header of 2^60 bytes": lambda: _with_header(empty, 1 << 60),
        "header of 2^64 - 1 bytes": lambda: _with_header(empty, (1 << 64) - 1),
        "header of 90 MB that are not there": lambda: _with_header(empty, 90_000_000),
        "header 100,000 deep": lambda: _with_header(b"[" * 100_000),
        "objects in the header 100,000 deep": lambda: _with_header(b'{"a":' * 100_000),
        "metadata 100,000 deep": lambda: _with_metadata("[" * 100_000),
        "objects in metadata 100,000 deep": lambda: _with_metadata('{"a":' * 100_000),
        "closed metadata 100,000 deep": lambda: _with_metadata("[" * 100_000 + "]" * 100_000),
        "a huge number in metadata": lambda: _with_metadata(
            '{"format_version": ' + "9" * 100_000 + "}"
        ),
        "the largest layers": lambda: _with_config(hidden_size=65_536, num_layers=64),
        "shape of 2^60 elements": lambda: _with_tensor(shape=[1 << 30, 1 << 30], content=b""),
        "shape that overflows": lambda: _with_tensor(shape=[1 << 62, 1 << 62], content=b""),
        "shape of 1,000 ones": lambda: _with_tensor(shape=[1] * 1000, content=bytes(4)),
    }


@pytest.mark.parametrize("name", _model_files())
def test_a_model_file_made_to_explode(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(_model_files()[name]())
    _bounded(lambda: load_translator(path, CPU), ModelFileError)


_WORD = "a" * 1_000_000
TEXTS: dict[str, tuple[str, Callable[[], bytes], type[Exception] | None]] = {
    "a line of 100 MB, gzip": (".tsv.gz", lambda: gzip.compress(bytes(100_000_000), 1), DataError),
    "a line of 1 GB, zstd": (".tsv.zst", lambda: zstd.compress(bytes(1_000_000_000)), DataError),
    "an endless quote": (
        ".csv", lambda: b'de,en\nHund,"' + b"dog,\n" * 200_000, DataError
    ),
    "an endless quoted line": (".csv", lambda: b'de,en\nHund,"' + b"x" * 20_000_000, DataError),
    "many columns": (".csv", lambda: b"," * 1_000_000, DataError),
    "an array 100,000 deep": (".jsonl", lambda: b"[" * 100_000, DataError),
    "objects 100,000 deep": (".jsonl", lambda: b'{"a":' * 100_000, DataError),
    "closed objects 10,000 deep": (
        ".jsonl", lambda: b'{"a":' * 10_000 + b"1" + b"}" * 10_000, DataError
    ),
    "a value 100,000 deep": (
        ".jsonl", lambda: b'{"de": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", DataError
    ),
    "a number of 100,000 digits": (".jsonl", lambda: b'{"de": ' + b"9" * 100_000 + b"}", DataError),
    "a word of 1 MB": (".tsv", lambda: f"de\ten\n{_WORD}\t{_WORD}\n".encode(), None),
    "a quoted word of 1 MB": (".csv", lambda: f'de,en\n"{_WORD}","{_WORD}"\n'.encode(), None),
    "a word of 1 MB in JSON": (
        ".jsonl", lambda: json.dumps({"de": _WORD, "en": ""}).encode(), None
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_training_text_made_to_explode(name: str, tmp_path: Path) -> None:
    ending, content, error = TEXTS[name]
    path = tmp_path / f"train{ending}"
    path.write_bytes(content())
    config = DataConfig.model_validate({"train": str(path), "source": "de", "target": "en"})
    _bounded(lambda: list(read_split(config, "train")), error)


@pytest.mark.parametrize("unit", ["a", "a ", "\u0301", "\u200d", "<unk>", ".", "\U0001f600"])
@pytest.mark.parametrize("index", range(len(CONFIGS)))
def test_a_line_of_1_mb_is_translated(index: int, unit: str) -> None:
    line = unit * (1_000_000 // len(unit))
    translating = Translator([translator(index)], CPU)
    _bounded(lambda: list(translating.translate([line], TranslationOptions(max_length=2))), None)
