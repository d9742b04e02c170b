"""What is wrong with people's files and words is said in a line, and nothing is left half-done."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from tests.integration.conftest import (
    Trained,
    assert_refused,
    call_command,
    run_command,
    sentence_pairs,
    snapshot,
    write_pairs,
)

# ---------------------------------------------------------------- data


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return change


def replace_by_folder(folder: Path) -> None:
    (folder / "train.de").unlink()
    (folder / "train.de").mkdir()


def remove(folder: Path) -> None:
    (folder / "train.de").unlink()


def add_line(folder: Path) -> None:
    with (folder / "train.en").open("ab") as file:
        file.write(b"One more.\n")


def damage_line_3(folder: Path) -> None:
    lines = (folder / "train.de").read_bytes().split(b"\n")
    lines[2] = b"Anna \xe4"
    (folder / "train.de").write_bytes(b"\n".join(lines))


def save_as_utf16(folder: Path) -> None:
    text = (folder / "train.de").read_text(encoding="utf-8")
    (folder / "train.de").write_bytes(text.encode("utf-16"))


def cut_off_gzip(folder: Path) -> None:
    packed = gzip.compress((folder / "train.de").read_bytes())
    (folder / "train.de.gz").write_bytes(packed[: len(packed) // 2])


def flip_gzip(folder: Path) -> None:
    packed = bytearray(gzip.compress((folder / "train.de").read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    (folder / "train.de.gz").write_bytes(packed)


def only_empty_pairs(folder: Path) -> None:
    pairs = sentence_pairs(4)
    write_pairs(folder, "train", [(pairs[0][0], " "), ("", pairs[1][1]), ("\u2028", "x")])


def only_empty_valid_pairs(folder: Path) -> None:
    write_pairs(folder, "valid", [("", "x"), ("x", "\t")])


def no_lines(folder: Path) -> None:
    write_pairs(folder, "train", [])


def nothing(_: Path) -> None:
    pass


TABLE = b"German,English\nBrot,bread\nWasser,water\n"
COLUMNS = "data.columns={source: German, target: English}"
BY_TABLE = ("data.train=train.csv", COLUMNS)

# Each row: what is done to good data, --set values, and what the one error line has to say.
BAD_DATA: dict[str, tuple[Callable[[Path], None], Sequence[str], Sequence[str]]] = {
    "missing file": (remove, [], ["train.de", "No such file"]),
    "folder": (replace_by_folder, [], ["train.de", "Is a directory"]),
    "unequal lines": (add_line, [], ["train.de has 200", "train.en has 201"]),
    "bad utf-8": (damage_line_3, [], ["train.de:3", "0xE4", "column 6", "UTF-8"]),
    "utf-16": (save_as_utf16, [], ["train.de", "UTF-16"]),
    "cut off gzip": (cut_off_gzip, ["data.train.source=train.de.gz"], ["train.de.gz", "damaged"]),
    "flipped gzip": (flip_gzip, ["data.train.source=train.de.gz"], ["train.de.gz", "damaged"]),
    "no gzip at all": (
        write("train.de.gz", b"Brot\n"),
        ["data.train.source=train.de.gz"],
        ["train.de.gz", "damaged"],
    ),
    "no bytes of gzip": (
        write("train.de.gz", b""),
        ["data.train.source=train.de.gz"],
        ["train.de.gz", "damaged"],
    ),
    "missing column": (
        write("train.csv", TABLE.replace(b"German", b"Deutsch")),
        BY_TABLE,
        ["train.csv", "'German'", "Deutsch, English"],
    ),
    "column there twice": (
        write("train.csv", TABLE.replace(b"English", b"German")),
        BY_TABLE,
        ["train.csv", "two columns", "'German'"],
    ),
    "no columns given": (
        write("train.csv", TABLE.replace(b"German", b"Text")),
        BY_TABLE[:1],
        ["train.csv", "which columns", "data.columns", "Text, English"],
    ),
    "table without header": (write("train.csv", b""), BY_TABLE, ["train.csv", "header"]),
    "row with a stray comma": (
        write("train.csv", TABLE + b"Brot, Wasser,bread and water\n"),
        BY_TABLE,
        ["train.csv:4", "3", "2"],
    ),
    "quote never closed": (
        write("train.csv", TABLE + b'"Brot,bread\n'),
        BY_TABLE,
        ["train.csv:4", "quot"],
    ),
    "no kind of table": (
        write("train.xlsx", TABLE),
        ["data.train=train.xlsx", COLUMNS],
        ["train.xlsx", ".csv"],
    ),
    "zstd that is none": (
        write("train.de.zst", b"Brot\n"),
        ["data.train.source=train.de.zst"],
        ["train.de.zst", "damaged or cut off zstd"],
    ),
    "pattern of no file": (
        nothing,
        ["data.train.source=part-*.de"],
        ["part-*.de", "no file has a name like this"],
    ),
    "more files of one side": (
        nothing,
        ["data.train.source=[train.de, valid.de]"],
        ["2 source files but 1 target files"],
    ),
    "column beyond the last": (
        write("train.csv", TABLE),
        ["data.train=train.csv", "data.columns={source: 1, target: 3}"],
        ["train.csv", "no column 3, there are 2"],
    ),
    "many columns without a header": (
        write("train.tsv", b"a\tb\tc\td\n"),
        ["data.train=train.tsv"],
        ["train.tsv", "has 4 columns", "data.columns"],
    ),
    "line without a tab": (
        write("train.tsv", b"ja\tyes\nnein\n"),
        ["data.train=train.tsv"],
        ["train.tsv:2", "cells in this row: 1", "2"],
    ),
    "no JSON": (
        write("train.jsonl", b'{"de": "ja", "en": "yes"}\n{"de": \n'),
        ["data.train=train.jsonl"],
        ["train.jsonl:2", "not valid JSON"],
    ),
    "JSON that is no object": (
        write("train.jsonl", b'["ja", "yes"]\n'),
        ["data.train=train.jsonl"],
        ["train.jsonl:1", "not a JSON object"],
    ),
    "JSON without the field": (
        write("train.jsonl", b'{"de": "ja", "en": "yes"}\n{"de": "nein"}\n'),
        ["data.train=train.jsonl"],
        ["train.jsonl:2", "no field 'en'", "de"],
    ),
    "JSON of numbers": (
        write("train.jsonl", b'{"de": "ja", "en": 1}\n'),
        ["data.train=train.jsonl"],
        ["train.jsonl:1", "en: not text but int"],
    ),
    "no Parquet": (
        write("train.parquet", b"PAR1"),
        ["data.train=train.parquet"],
        ["train.parquet", "damaged, or no Parquet file"],
    ),
    "nothing cut for validation": (
        nothing,
        ["data.valid=null", "data.held_out={valid: 1e-9}"],
        ["data.held_out.valid", "took none of"],
    ),
    "spacy without languages": (
        nothing,
        ["data.tokenizer={kind: spacy}", "data.source=null"],
        ["spacy needs data.source and data.target"],
    ),
    "spacy without rules for it": (
        nothing,
        ["data.tokenizer={kind: spacy}", "data.source=tlh"],
        ["spacy has no rules for the language tlh"],
    ),
    "no lines": (no_lines, [], ["training data", "no pair"]),
    "only empty pairs": (only_empty_pairs, [], ["training data", "no pair"]),
    "only empty validation pairs": (only_empty_valid_pairs, [], ["no validation pair", "2"]),
    "all too long": (nothing, ["data.max_length=2"], ["no training pair", "200", "max_length = 2"]),
    "bpe too large": (
        nothing,
        ["data.tokenizer={kind: bpe, size: 5000}"],
        ["data.tokenizer.size", "5000", "at most"],
    ),
    "bpe too small": (
        nothing,
        ["data.tokenizer={kind: bpe, size: 9}"],
        ["data.tokenizer.size", "9"],
    ),
    "unigram too large": (
        nothing,
        ["data.tokenizer={kind: unigram, size: 5000}"],
        ["data.tokenizer.size", "5000", "at most"],
    ),
    "language that the corpus has not": (
        nothing,
        ["data={dataset: phrasebook, source: de, target: fr}"],
        ["--set data", "`source` and `target`", "phrasebook: de, en"],
    ),
    "language into itself": (
        nothing,
        ["data={dataset: phrasebook, source: de, target: de}"],
        ["must be two of the languages of phrasebook"],
    ),
    "home of nobody": (
        nothing,
        ["data.train.source=~nobody-of-this-name/train.de"],
        ["~nobody-of-this-name/train.de"],
    ),
    "nul in a path": (nothing, ['data.train.source="train\\0.de"'], ["data.train.source", "train"]),
    "endless path": (nothing, [f"data.train.source={'x' * 300}"], ["File name too long"]),
}


def as_settings(values: Sequence[str]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


@pytest.mark.parametrize(("change", "values", "said"), BAD_DATA.values(), ids=BAD_DATA.keys())
def test_bad_data(
    data_dir: Path,
    change: Callable[[Path], None],
    values: Sequence[str],
    said: Sequence[str],
) -> None:
    change(data_dir)
    before = snapshot(data_dir)
    words = ["train", "--config", str(data_dir / "tiny.yaml"), *as_settings(values)]
    result = call_command(*words, cwd=data_dir)
    assert_refused(result, *said)
    assert snapshot(data_dir) == before
    assert_refused(call_command(*words, "--dry-run", cwd=data_dir), *said)


def test_bad_data_as_a_command(data_dir: Path) -> None:
    add_line(data_dir)
    before = snapshot(data_dir)
    result = run_command("train", "--config", "tiny.yaml", cwd=data_dir)
    assert_refused(result, "train.de has 200", "train.en has 201")
    assert snapshot(data_dir) == before


# What `check-data` counts as findings, or has no opinion on, where training stops.
NOT_REFUSED_BY_CHECK = {
    "unequal lines",
    "bad utf-8",
    "cut off gzip",
    "row with a stray comma",
    "quote never closed",
    "line without a tab",
    "no JSON",
    "JSON that is no object",
    "JSON without the field",
    "JSON of numbers",
    "no lines",
    "only empty pairs",
    "only empty validation pairs",
    "all too long",
    "nothing cut for validation",
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_check_data_refuses_what_it_cannot_look_at(data_dir: Path, name: str) -> None:
    change, values, said = BAD_DATA[name]
    change(data_dir)
    before = snapshot(data_dir)
    words = ["check-data", "--config", str(data_dir / "tiny.yaml"), *as_settings(values)]
    result = call_command(*words, cwd=data_dir)
    assert snapshot(data_dir) == before
    if name in NOT_REFUSED_BY_CHECK:
        assert result.code in (0, 1), result.err
        assert result.errors == []
        assert "Traceback" not in result.err
    else:
        assert_refused(result, *said)


# ---------------------------------------------------------------- configs


def lines_of(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


GOOD_DATA = "data: {dataset: phrasebook, source: de, target: en}"

# Each row: the config, and what its error lines have to say, in their order.
BAD_CONFIGS: dict[str, tuple[bytes, Sequence[str]]] = {
    "empty": (b"", ["bad.yaml:1: a config is a mapping"]),
    "only a comment": (b"# nothing\n", ["bad.yaml:1: a config is a mapping"]),
    "list": (b"- data\n", ["bad.yaml:1: a config is a mapping"]),
    "text": (b"data\n", ["bad.yaml:1: a config is a mapping"]),
    "no data": (b"seed: 2\n", ["bad.yaml:1: data: is missing"]),
    "data without an origin": (b"data:\n", ["bad.yaml:1: data: needs a `dataset`"]),
    "no yaml": (b"data: {dataset: [phrasebook\n", ["bad.yaml:2: not valid YAML"]),
    "tabs": (b"data:\n\tdataset: phrasebook\n", ["bad.yaml:2: not valid YAML"]),
    "control character": (b"data: \x01\n", ["bad.yaml: not valid YAML"]),
    "two documents": (
        lines_of(GOOD_DATA, "---", GOOD_DATA),
        ["bad.yaml:2: not valid YAML"],
    ),
    "bad utf-8": (lines_of(GOOD_DATA) + b"name: \xe4\n", ["bad.yaml:2: byte 0xE4 is not UTF-8"]),
    "utf-16": (lines_of(GOOD_DATA).decode().encode("utf-16"), ["bad.yaml:1: byte"]),
    "binary": (bytes(range(256)) * 8, ["bad.yaml:"]),
    "unknown key": (
        lines_of(GOOD_DATA, "training:", "  epoch: 3"),
        ["bad.yaml:3: training.epoch: unknown key (did you mean epochs?)"],
    ),
    "unknown section": (
        lines_of(GOOD_DATA, "trainig: {epochs: 3}"),
        ["bad.yaml:2: trainig: unknown key (did you mean training?)"],
    ),
    "duplicate key": (
        lines_of(GOOD_DATA, "seed: 1", "training: {epochs: 1,", "  epochs: 2}", "seed: 1"),
        ["bad.yaml:4: training.epochs: is there twice", "bad.yaml:5: seed: is there twice"],
    ),
    "value instead of a section": (
        lines_of(GOOD_DATA, "training: 5", "model: [1]"),
        ["bad.yaml:2: training: must be a mapping", "bad.yaml:3: model: must be a mapping"],
    ),
    "value instead of a kind": (
        lines_of(GOOD_DATA, "training:", "  optimizer: adam"),
        ["bad.yaml:3: training.optimizer: must be a mapping"],
    ),
    "section instead of a value": (
        lines_of(GOOD_DATA, "seed: {value: 1}", "training: {epochs: [1]}"),
        ["bad.yaml:2: seed: must be a whole number", "bad.yaml:3: training.epochs: must be a"],
    ),
    "unknown kind": (
        lines_of(GOOD_DATA, "training:", "  optimizer: {kind: adamm}"),
        [
            "bad.yaml:3: training.optimizer.kind: must be one of adam, adamw, sgd, not 'adamm' "
            "(did you mean adam"
        ],
    ),
    "key of another kind": (
        lines_of(GOOD_DATA, "training:", "  optimizer: {kind: adam, momentum: 0.9}"),
        ["bad.yaml:3: training.optimizer.momentum: unknown key"],
    ),
    "unknown dataset": (
        b"data: {dataset: multi30, source: de, target: en}\n",
        ["bad.yaml:1: data.dataset: must be one of phrasebook, multi30k, tatoeba, hf:NAME, kagg"],
    ),
    "dataset without languages": (
        b"data: {dataset: phrasebook, source: de}\n",
        ["bad.yaml:1: data: `source` and `target` must be two of the languages of phrasebook"],
    ),
    "dataset and files": (
        b"data: {dataset: phrasebook, source: de, target: en, train: x.csv}\n",
        ["bad.yaml:1: data: name a dataset, or files of your own, not both"],
    ),
    "files without train": (b"data: {valid: x.csv}\n", ["bad.yaml:1: data: needs a `dataset`"]),
    "train: none": (b"data: {train: none}\n", ["bad.yaml:1: data: needs a `dataset`"]),
    "no file of many": (b"data: {train: []}\n", ["bad.yaml:1: data.train: "]),
    "file without a name": (b"data: {train: ''}\n", ["bad.yaml:1: data.train: must be the path"]),
    "share to cut": (
        lines_of("data:", "  train: x.csv", "  held_out: {valid: 0, test: 0.7, train: 0.1}"),
        [
            "bad.yaml:3: data.held_out.valid: must be greater than 0, not 0",
            "bad.yaml:3: data.held_out.test: must be less than 0.5, not 0.7",
            "bad.yaml:3: data.held_out.train: unknown key",
        ],
    ),
    "column of no number": (
        b"data: {train: x.csv, columns: {source: 0, target: 2}}\n",
        ["bad.yaml:1: data.columns.source: must be the name of a column, or its number from 1"],
    ),
    "names of columns that are not there": (
        b"data: {train: x.csv, header: false, columns: {source: de, target: en}}\n",
        ["bad.yaml:1: data: without a header, `columns` must be numbers"],
    ),
    "columns of texts": (
        b"data: {train: {source: a, target: b}, columns: {source: 1, target: 2}}\n",
        ["bad.yaml:1: data: `columns` is for tables"],
    ),
    "header of texts": (
        b"data: {train: {source: a, target: b}, header: true}\n",
        ["bad.yaml:1: data: `header` is for tables"],
    ),
    "header of no kind": (
        b"data: {train: x.csv, header: maybe}\n",
        ["bad.yaml:1: data.header: must be auto, true or false"],
    ),
    "hub without a dataset of it": (
        b"data: {train: x.csv, hf: {config: de-en}}\n",
        ["bad.yaml:1: data: `hf` is for a dataset written hf:NAME"],
    ),
    "hub's dataset without a name": (
        b"data: {dataset: 'hf:', source: de, target: en}\n",
        ["bad.yaml:1: data.dataset: must be written hf:NAME or hf:OWNER/NAME"],
    ),
    "hub's dataset out of its folder": (
        b"data: {dataset: 'hf:../secret', source: de, target: en}\n",
        ["bad.yaml:1: data.dataset: must be written hf:NAME"],
    ),
    "Kaggle without a file": (
        b"data: {dataset: 'kaggle:somebody/pairs', source: de, target: en}\n",
        ["bad.yaml:1: data.dataset: must be written kaggle:OWNER/NAME/FILE.csv"],
    ),
    "tatoeba without English": (
        b"data: {dataset: tatoeba, source: de, target: fr}\n",
        ["bad.yaml:1: data: tatoeba pairs a language with English"],
    ),
    "no validation data, but its loss": (
        lines_of("data: {train: x.csv, valid: none}", "validation: {metric: loss}"),
        ["bad.yaml:2: validation.metric: must be train_loss where there is no validation data"],
    ),
    "tokenizer of another kind": (
        lines_of("data:", "  train: x.csv", "  tokenizer: {kind: words, size: 9, dropout: 0.1}"),
        [
            "bad.yaml:3: data.tokenizer.size: unknown key",
            "bad.yaml:3: data.tokenizer.dropout: unknown key",
        ],
    ),
    "dropout beyond 1": (
        b"data: {train: x.csv, tokenizer: {kind: bpe, dropout: 1}}\n",
        ["bad.yaml:1: data.tokenizer.dropout: must be less than 1"],
    ),
    "schedules with bad numbers": (
        lines_of(
            GOOD_DATA,
            "training:",
            "  teacher_forcing: {kind: inverse_sigmoid, k: 0.5, per: word}",
            "  learning_rate_schedule: {kind: halving, every_epochs: 0, after_epochs: -1}",
        ),
        [
            "bad.yaml:3: training.teacher_forcing.per: must be one of step, token, not 'word'",
            "bad.yaml:3: training.teacher_forcing.k: must be at least 1",
            "bad.yaml:4: training.learning_rate_schedule.after_epochs: must be at least 0",
            "bad.yaml:4: training.learning_rate_schedule.every_epochs: must be greater than 0",
        ],
    ),
    "half a pair of files": (
        b"data: {train: {source: a}, valid: b.csv}\n",
        ["bad.yaml:1: data.train.target: is missing"],
    ),
    "no end": (
        lines_of(GOOD_DATA, "training: {epochs: null}"),
        ["bad.yaml:2: training: needs one of epochs, max_steps, max_minutes"],
    ),
    "schedule without an end": (
        lines_of(
            GOOD_DATA,
            "training:",
            "  {epochs: null, max_minutes: 1, learning_rate_schedule: {kind: cosine}}",
        ),
        ["bad.yaml:2: training: a cosine or linear schedule needs epochs or max_steps"],
    ),
    "name that leads elsewhere": (
        lines_of(GOOD_DATA, "name: ../elsewhere"),
        ["bad.yaml:2: name: must be letters, digits, - _ . + only, not '../elsewhere'"],
    ),
    "many mistakes at once": (
        lines_of(
            GOOD_DATA,
            "sede: 1",
            "device: gpu",
            "precision: float16",
            "model:",
            "  encoder: {hidden_size: 0, num_layers: 1.5}",
            "  dropout: 1.0",
            "training:",
            "  epochs: many",
            "  optimizer: {learning_rate: -1e-3}",
            "  batch_size: 1e400",
            "validation: {every: 0, metric: blue}",
            "decoding: {max_length_ratio: nan}",
        ),
        [
            "bad.yaml:2: sede: unknown key (did you mean seed?)",
            "bad.yaml:3: device: must be auto, cpu, cuda, cuda:N or mps, not 'gpu'",
            "bad.yaml:4: precision: must be one of auto, float32, bfloat16, not 'float16'",
            "bad.yaml:6: model.encoder.hidden_size: must be at least 1, not 0",
            "bad.yaml:6: model.encoder.num_layers: must be a whole number, not 1.5",
            "bad.yaml:7: model.dropout: must be less than 1, not 1.0",
            "bad.yaml:9: training.epochs: must be a number, not 'many'",
            "bad.yaml:10: training.optimizer.learning_rate: must be greater than 0, not -1e-3",
            "bad.yaml:11: training.batch_size: must be a whole number, not 1e400",
            "bad.yaml:12: validation.every: must be `epoch` or a number of steps",
            "bad.yaml:12: validation.metric: must be one of",
            "bad.yaml:13: decoding.max_length_ratio: must be a number, not 'nan'",
        ],
    ),
    "alias bomb": (
        lines_of(
            "a: &a [x, x, x, x, x, x, x, x, x]",
            *(
                f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]"
                for a, b in zip("abcdef", "bcdefg", strict=True)
            ),
        ),
        ["bad.yaml:"],
    ),
    "alias of itself": (b"data: &a {dataset: *a}\n", ["bad.yaml:1: "]),
    "nested without end": (b"[" * 5000 + b"\n", ["bad.yaml:1: nested deeper"]),
    "key with line ends": (
        lines_of(GOOD_DATA, '"a\\nb\\Lc": 1'),
        ["bad.yaml:2: 'a\\nb\\u2028c': unknown key"],
    ),
    "key that is no text": (b"{[a]: b}\n", ["bad.yaml:1: a key must be plain text"]),
    "larger than any config": (b"# " + b"x" * (1 << 20), ["bad.yaml: larger than"]),
}


@pytest.mark.parametrize(("text", "said"), BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
def test_bad_config(empty_dir: Path, text: bytes, said: Sequence[str]) -> None:
    (empty_dir / "bad.yaml").write_bytes(text)
    before = snapshot(empty_dir)
    for name in ("train", "check-data"):
        result = call_command(name, "--config", "bad.yaml", cwd=empty_dir)
        assert_refused(result, num_errors=len(said))
        starts = [line[: len(start) + 7] for line, start in zip(result.errors, said, strict=True)]
        assert starts == [f"error: {start}" for start in said]
        assert result.err.count("\n") == len(said)
    assert snapshot(empty_dir) == before


@pytest.mark.parametrize("text", [b"", b"- data\n", b"data\n"], ids=["empty", "list", "text"])
@pytest.mark.parametrize(
    "words",
    [["--set", "seed=2"], ["--set", "data.dataset=phrasebook"], ["--device", "cpu"]],
    ids=["value", "inner value", "device"],
)
def test_values_laid_over_what_is_no_config(empty_dir: Path, text: bytes, words: list[str]) -> None:
    (empty_dir / "bad.yaml").write_bytes(text)
    result = call_command("train", "--config", "bad.yaml", *words, cwd=empty_dir)
    assert_refused(result, "bad.yaml")


# Each row: the words after `train`, and what the one error line has to say.
BAD_TRAIN_WORDS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "missing config": (["--config", "nowhere.yaml"], ["nowhere.yaml", "No such file"]),
    "missing folder": (["--config", "nowhere/a"], ["nowhere/a", "No such file"]),
    "folder": (["--config", "."], [".", "Is a directory"]),
    "name of no config": (
        ["--config", "quikstart"],
        ["quikstart", "did you mean quickstart?", "multi30k-tutorial"],
    ),
    "endless name": (["--config", "x" * 300], ["File name too long"]),
    "set without value": (["--set", "training.epochs"], ["--set training.epochs", "key=VALUE"]),
    "set without key": (["--set", "=3"], ["--set =3", "key=VALUE"]),
    "set with a gap": (["--set", "training..epochs=3"], ["--set training..epochs", "key=VALUE"]),
    "set inside a value": (["--set", "seed.inner=3"], ["--set seed.inner", "seed"]),
    "set unknown key": (
        ["--set", "training.epoch=3"],
        ["--set training.epoch", "unknown key (did you mean epochs?)"],
    ),
    "set bad value": (["--set", "training.epochs=x"], ["--set training.epochs", "be a number"]),
    "set no yaml": (["--set", "training=[1"], ["--set training", "not valid YAML"]),
    "set duplicate keys": (
        ["--set", "training={epochs: 1, epochs: 2}"],
        ["--set training", "epochs: is there twice"],
    ),
    "device of no kind": (["--device", "gpu"], ["--device", "'gpu'", "cuda:N"]),
    "device not there": (["--device", "cuda:99"], ["cuda:99", "there are: ", "cpu"]),
    "resume and overwrite": (["--resume", "--overwrite"], ["--resume", "--overwrite"]),
    "json without dry run": (["--json"], ["--json", "--dry-run", "metrics.jsonl"]),
}


@pytest.mark.parametrize(("words", "said"), BAD_TRAIN_WORDS.values(), ids=BAD_TRAIN_WORDS.keys())
def test_bad_words_to_train(data_dir: Path, words: Sequence[str], said: Sequence[str]) -> None:
    (data_dir / "tiny.yaml").write_text(
        (data_dir / "tiny.yaml").read_text(encoding="utf-8") + "seed: 1\n", encoding="utf-8"
    )
    before = snapshot(data_dir)
    config = [] if "--config" in words else ["--config", "tiny.yaml"]
    result = call_command("train", *config, *words, cwd=data_dir)
    assert_refused(result, *said)
    assert snapshot(data_dir) == before


# ---------------------------------------------------------------- model files


def with_metadata(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Write the same tensors with something else in the metadata."""

    def damage(path: Path) -> None:
        tensors = load_file(path)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads(file.metadata()["seq2seq"])
        change(metadata)
        save_file(tensors, path, metadata={"seq2seq": json.dumps(metadata)})

    return damage


def with_raw_metadata(text: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        save_file(load_file(path), path, metadata={"seq2seq": text})

    return damage


def grow_to_no_computer(metadata: dict[str, Any]) -> None:
    metadata["config"]["model"]["encoder"]["hidden_size"] = 10**12


def name_bpe(metadata: dict[str, Any]) -> None:
    metadata["config"]["data"]["tokenizer"] = {"kind": "bpe"}


def with_tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    """Write other tensors with the same metadata."""

    def damage(path: Path) -> None:
        tensors = load_file(path)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        change(tensors)
        save_file(tensors, path, metadata=metadata)

    return damage


def cut_to(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return damage


def foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


def write_over(content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(content)

    return damage


def shrink_weight(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.decoder.output.bias"] = torch.zeros(3)


def half_weight(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.decoder.output.bias"] = tensors["model.decoder.output.bias"].half()


def bytes_tensor(text: bytes) -> torch.Tensor:
    return torch.tensor(list(text), dtype=torch.uint8)


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    def change(entries: dict[str, Any]) -> None:
        del entries[key]

    return change


BIAS = {"model.decoder.extra": torch.zeros(3)}

BAD_MODELS: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (write_over(b""), "damaged"),
    "cut in the header": (cut_to(0.001), "damaged"),
    "cut in the weights": (cut_to(0.5), "damaged"),
    "cut by a bit": (cut_to(0.99), "damaged"),
    "random": (write_over(random.Random(1).randbytes(10_000)), "not a model file"),
    "text": (write_over(b"a model\n" * 99), "not a model file"),
    "foreign": (foreign, "not a model file of this program"),
    "newer": (with_metadata(lambda data: data.update(format_version=99)), "format version 99"),
    "no version": (with_metadata(drop("format_version")), "not a model"),
    "no config": (with_metadata(drop("config")), "config inside"),
    "other config": (with_metadata(lambda data: data.update(config={"a": 1})), "config inside"),
    "endless metadata": (with_raw_metadata("[" * 100_000), "not a model file"),
    "sizes of no computer": (with_metadata(grow_to_no_computer), "config inside"),
    "tokenizer of no bytes": (with_metadata(name_bpe), "tokenizer"),
    "weight missing": (with_tensors(drop("model.decoder.output.bias")), "decoder.output.bias"),
    "weight too many": (with_tensors(lambda tensors: tensors.update(BIAS)), "decoder.extra"),
    "weight of another shape": (with_tensors(shrink_weight), "decoder.output.bias"),
    "weight of another type": (with_tensors(half_weight), "float16"),
    "no vocabulary": (with_tensors(drop("vocabulary.target")), "vocabulary.target"),
    "no tokenizer": (with_tensors(drop("tokenizer.source")), "tokenizer.source"),
    "vocabulary that is no text": (
        with_tensors(lambda tensors: tensors.update({"vocabulary.source": bytes_tensor(b"\xff")})),
        "vocabulary",
    ),
    "vocabulary with a word twice": (
        with_tensors(lambda tensors: tensors.update({"vocabulary.source": bytes_tensor(b"a\na")})),
        "twice",
    ),
}


@pytest.mark.parametrize(("damage", "said"), BAD_MODELS.values(), ids=BAD_MODELS.keys())
def test_bad_model_file(own: Trained, damage: Callable[[Path], None], said: str) -> None:
    damage(own.model)
    before = snapshot(own.folder)
    output = ("--output", "out")
    for words in (("translate", "Brot."), ("evaluate",), ("evaluate", "--model", "tiny")):
        result = call_command(*words, *output, cwd=own.folder)
        assert_refused(result, "best.safetensors", said)
        assert snapshot(own.folder) == before


@pytest.mark.parametrize("command", ["translate", "evaluate"])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nowhere", "nowhere"),
        ("nowhere.safetensors", "nowhere.safetensors"),
        ("runs", "best.safetensors"),
        ("x" * 300, "x" * 300),
    ],
    ids=["name", "file", "folder", "endless"],
)
def test_model_that_is_not_there(trained: Trained, command: str, model: str, said: str) -> None:
    result = call_command(command, "--model", model, cwd=trained.folder)
    assert_refused(result, said)


# ---------------------------------------------------------------- texts to translate

# Each row: the words after `translate`, what the files hold, and what the one error line says.
BAD_TEXTS: dict[str, tuple[Sequence[str], bytes, Sequence[str]]] = {
    "missing input": (["--input", "nowhere"], b"", ["nowhere", "No such file"]),
    "input is a folder": (["--input", "runs"], b"", ["runs", "Is a directory"]),
    "utf-16": (["--input", "text"], "Brot.\n".encode("utf-16"), ["text", "UTF-16"]),
    "utf-16 piped": ([], "Brot.\n".encode("utf-16"), ["standard input", "UTF-16"]),
    "damaged gzip": (["--input", "text.gz"], b"\x1f\x8b\x08xxx", ["text.gz", "damaged"]),
    "text and input": (["Brot.", "--input", "text"], b"Brot.\n", ["--input", "not both"]),
    "text and stdin": (["Brot.", "--input", "-"], b"Brot.\n", ["--input", "not both"]),
    "no output folder": (["Brot.", "--output", "nowhere/out"], b"", ["nowhere"]),
    "output below a file": (["Brot.", "--output", "tiny.yaml/out"], b"", ["tiny.yaml"]),
    "output is a folder": (["Brot.", "--output", "runs"], b"", ["runs"]),
    "device not there": (["Brot.", "--device", "cuda:99"], b"", ["cuda:99", "there are: ", "cpu"]),
    "device of no kind": (["Brot.", "--device", "gpu"], b"", ["gpu", "there are: ", "cpu"]),
}


@pytest.mark.parametrize(("words", "content", "said"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_bad_texts(own: Trained, words: Sequence[str], content: bytes, said: Sequence[str]) -> None:
    for name in ("text", "text.gz"):
        (own.folder / name).write_bytes(content)
    (own.folder / "out").write_text("old")
    before = snapshot(own.folder.parent)
    output = [] if "--output" in words else ["--output", "out"]
    result = call_command("translate", *words, *output, cwd=own.folder, stdin=content)
    assert_refused(result, *said)
    assert ".tmp" not in result.err  # the temporary file is nobody's business
    assert snapshot(own.folder.parent) == before
