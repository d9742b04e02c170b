"""Every reader, tokenizer and schedule trained for a moment, and what came of it used."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Result, assert_refused, call_command, sentence_pairs
from tests.integration.test_configs import write_multi30k
from tests.integration.test_train_command import assert_same_tensors, events, names, settings

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Pairs = list[tuple[str, str]]
Data = dict[str, Any]

SENTENCE = "Der Mann sieht das Haus."
STEPS = 3
LANGUAGES = {"source": "de", "target": "en"}


def splits() -> dict[str, Pairs]:
    pairs = sentence_pairs(140)
    return {"train": pairs[:100], "valid": pairs[100:120], "test": pairs[120:]}


SPLITS = splits()


# ---------------------------------------------------------------- the commands


def write_config(folder: Path, data: Data, **sections: Any) -> Path:
    side = {"embedding_dim": 8, "hidden_size": 8, "num_layers": 1}
    training = {"max_steps": STEPS, "batch_size": 25, "log_every": 1}
    config = {
        "data": LANGUAGES | data,
        "model": {"encoder": side, "decoder": side, "dropout": 0.1},
        "device": "cpu",
        "precision": "float32",
        **sections,
        "training": training | sections.get("training", {}),
    }
    path = folder / "corpus.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # which is YAML as well
    return path


def done(result: Result) -> Result:
    assert result.code == 0, result.err
    assert "Traceback" not in result.err
    return result


def train(folder: Path, data: Data, **sections: Any) -> Path:
    """Train by the command; the run's directory."""
    config = write_config(folder, data, **sections)
    result = done(call_command("train", "--config", config, cwd=folder))
    assert "fetching" not in result.err
    run_dir = folder / "runs" / "corpus"
    state = json.loads((run_dir / "last" / "state.json").read_text(encoding="utf-8"))
    assert state["step"] == state["validated_step"]
    assert (run_dir / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return run_dir


def translate(folder: Path, *words: str | Path, text: str = SENTENCE) -> list[str]:
    result = done(call_command("translate", text, "", *words, cwd=folder))
    assert len(result.lines) == 2
    assert result.lines[1] == ""
    return result.lines


def evaluate(folder: Path, *words: str) -> dict[str, Any]:
    [line] = done(call_command("evaluate", "--json", *words, cwd=folder)).lines
    scores = json.loads(line)
    assert isinstance(scores, dict)
    del scores["seconds"]
    return scores


def try_out(folder: Path, data: Data, **sections: Any) -> tuple[bytes, list[str], dict[str, Any]]:
    """What training, translating and scoring make of some data."""
    run_dir = train(folder, data, **sections)
    model = (run_dir / "best.safetensors").read_bytes()
    return model, translate(folder), evaluate(folder)


# ---------------------------------------------------------------- the same pairs in all forms


def text_of(pairs: Pairs, side: int) -> str:
    return "".join(f"{pair[side]}\n" for pair in pairs)


def write_texts(folder: Path, ending: str, pack: Callable[[bytes], bytes]) -> Data:
    for split, pairs in SPLITS.items():
        for side, suffix in enumerate(("de", "en")):
            path = folder / f"{split}.{suffix}{ending}"
            path.write_bytes(pack(text_of(pairs, side).encode()))
    return {
        split: {"source": f"{split}.de{ending}", "target": f"{split}.en{ending}"}
        for split in SPLITS
    }


def plain(folder: Path) -> Data:
    return write_texts(folder, "", bytes)


def gzipped(folder: Path) -> Data:
    return write_texts(folder, ".gz", gzip.compress)


def zstandard(folder: Path) -> Data:
    return write_texts(folder, ".zst", zstd.compress)


def write_parts(folder: Path) -> None:
    for part, start in enumerate(range(0, 100, 40)):
        pairs = SPLITS["train"][start : start + 40]
        for side, suffix in enumerate(("de", "en")):
            text = text_of(pairs, side)
            (folder / f"part-{part}.{suffix}").write_text(text, encoding="utf-8")
        table = "".join(f"{source}\t{target}\n" for source, target in pairs)
        (folder / f"part-{part}.tsv.gz").write_bytes(gzip.compress(table.encode()))


def glob_of_texts(folder: Path) -> Data:
    write_parts(folder)
    return plain(folder) | {"train": {"source": "part-*.de", "target": "part-*.en"}}


def glob_of_tables(folder: Path) -> Data:
    write_parts(folder)
    return plain(folder) | {"train": "part-*.tsv.gz"}


def list_of_texts(folder: Path) -> Data:
    write_parts(folder)
    files = {
        side: [f"part-{part}.{suffix}" for part in range(3)]
        for side, suffix in (("source", "de"), ("target", "en"))
    }
    return plain(folder) | {"train": files}


def list_of_tables(folder: Path) -> Data:
    write_parts(folder)
    return plain(folder) | {"train": ["part-0.tsv.gz", "part-[1-9].tsv.gz"]}


def write_tables(folder: Path, ending: str, write: Callable[[Pairs], bytes]) -> Data:
    for split, pairs in SPLITS.items():
        (folder / f"{split}.{ending}").write_bytes(write(pairs))
    return {split: f"{split}.{ending}" for split in SPLITS}


def csv_of(*rows: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def csv_with_named_columns(folder: Path) -> Data:
    def write(pairs: Pairs) -> bytes:
        rows = [(f"{number}", target, source) for number, (source, target) in enumerate(pairs)]
        return csv_of(("number", "there, then", "here"), *rows)

    columns = {"source": "here", "target": "there, then"}
    return write_tables(folder, "csv", write) | {"columns": columns}


def csv_with_numbered_columns(folder: Path) -> Data:
    def write(pairs: Pairs) -> bytes:
        return csv_of(*((target, "x", source) for source, target in pairs))

    return write_tables(folder, "csv", write) | {"columns": {"source": 3, "target": 1}}


def csv_by_languages(folder: Path) -> Data:
    def write(pairs: Pairs) -> bytes:
        rows = [(target, f"{number}", source) for number, (source, target) in enumerate(pairs)]
        return b"\xef\xbb\xbf" + csv_of(("English", "id", "German"), *rows)

    return write_tables(folder, "csv", write)


def tsv(folder: Path) -> Data:
    def write(pairs: Pairs) -> bytes:
        rows = [("en", "de"), *((target, source) for source, target in pairs)]
        return "".join(f"{first}\t{second}\r\n" for first, second in rows).encode()

    return write_tables(folder, "tsv", write)


def tsv_without_header(folder: Path) -> Data:
    def write(pairs: Pairs) -> bytes:
        return "".join(f"{source}\t{target}\n" for source, target in pairs).encode()

    return write_tables(folder, "tsv", write) | {"header": False}


def manythings(folder: Path) -> Data:
    def write(pairs: Pairs) -> bytes:
        lines = (f"{b}\t{a}\tCC-BY 2.0: tatoeba.org #1 (CK)\n" for a, b in pairs)
        return "".join(lines).encode()  # English is first, whatever is translated into what

    return write_tables(folder, "txt", write)


def jsonl(folder: Path) -> Data:
    def write(pairs: Pairs) -> bytes:
        return "".join(json.dumps({"de": a, "en": b}) + "\n" for a, b in pairs).encode()

    return write_tables(folder, "jsonl", write)


def nested_jsonl(folder: Path) -> Data:
    def write(pairs: Pairs) -> bytes:
        values = ({"id": "x", "translation": {"en": b, "de": a}} for a, b in pairs)
        lines = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
        return gzip.compress(lines.encode())

    return write_tables(folder, "jsonl.gz", write)


def write_parquet(path: Path, pairs: Pairs) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"translation": {"de": source, "en": target}} for source, target in pairs]
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def parquet(folder: Path) -> Data:
    for split, pairs in SPLITS.items():
        write_parquet(folder / f"{split}.parquet", pairs)
    return {split: f"{split}.parquet" for split in SPLITS}


def hub(folder: Path) -> Data:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("datasets")
    dataset = folder / "corpora" / "hf" / "somebody" / "pairs"
    for split, pairs in SPLITS.items():
        name = {"valid": "validation"}.get(split, split)
        write_parquet(dataset / "data" / f"{name}-00000-of-00001.parquet", pairs)
    return {"dataset": "hf:somebody/pairs"}


FORMS = [
    gzipped,
    zstandard,
    glob_of_texts,
    glob_of_tables,
    list_of_texts,
    list_of_tables,
    csv_with_named_columns,
    csv_with_numbered_columns,
    csv_by_languages,
    tsv,
    tsv_without_header,
    manythings,
    jsonl,
    nested_jsonl,
    parquet,
    hub,
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test writes its data; corpora in it are the person's own."""
    (tmp_path / "here" / "corpora").mkdir(parents=True)
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "here" / "corpora"))
    return tmp_path / "here"


@pytest.fixture(scope="module")
def from_texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str], dict[str, Any]]:
    """What two plain text files give."""
    folder = tmp_path_factory.mktemp("plain")
    made = try_out(folder, plain(folder))
    assert made[2]["pairs"] == 20
    return made


@pytest.mark.parametrize("write", FORMS, ids=lambda write: write.__name__)
def test_same_pairs_make_the_same_model_in_every_form(
    folder: Path, from_texts: Any, write: Callable[[Path], Data]
) -> None:
    assert try_out(folder, write(folder)) == from_texts


# ---------------------------------------------------------------- splits cut from one file


def english_first(folder: Path, place: str) -> Path:
    """A table of all pairs in the form of manythings.org."""
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(target, source) for pairs in SPLITS.values() for source, target in pairs]
    path.write_text("".join(f"{a}\t{b}\tCC-BY\n" for a, b in rows), encoding="utf-8")
    return path


def zipped(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, path.name)
        archive.writestr("_about.txt", "http://www.manythings.org/anki/")


CUT: Data = {"held_out": {"valid": 0.1, "test": 0.1}}


def test_kaggle_is_cut_like_a_table(folder: Path) -> None:
    table = folder / "corpora" / "kaggle" / "somebody" / "pairs" / "data" / "pairs.csv"
    table.parent.mkdir(parents=True)
    pairs = [pair for pairs in SPLITS.values() for pair in pairs]
    table.write_bytes(csv_of(("German", "English"), *pairs))
    made = try_out(folder, {"dataset": "kaggle:somebody/pairs/data/pairs.csv"} | CUT)
    (folder / "again").mkdir()
    assert try_out(folder / "again", {"train": str(table)} | CUT) == made
    assert 0 < made[2]["pairs"] < 40


def test_hub_without_validation_data_is_cut(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("datasets")
    table = folder / "corpora" / "hf" / "somebody" / "cut" / "train.parquet"
    write_parquet(table, [pair for pairs in SPLITS.values() for pair in pairs])
    made = try_out(folder, {"dataset": "hf:somebody/cut"} | CUT)
    (folder / "again").mkdir()
    assert try_out(folder / "again", {"train": str(table)} | CUT) == made


@pytest.mark.parametrize("form", ["zip", "txt"])
@pytest.mark.parametrize(("source", "target"), [("de", "en"), ("en", "de")])
def test_tatoeba_in_both_directions(folder: Path, source: str, target: str, form: str) -> None:
    path = english_first(folder, "deu.txt")
    place = folder / "corpora" / "tatoeba"
    if form == "zip":
        zipped(path, place / "deu-eng.zip")
    else:
        place.mkdir()
        shutil.copy(path, place / "deu.txt")
    languages = {"source": source, "target": target}
    made = try_out(folder, {"dataset": "tatoeba"} | languages | CUT)
    (folder / "again").mkdir()
    columns = {"source": 1 if source == "en" else 2, "target": 1 if target == "en" else 2}
    table = {"train": str(path), "columns": columns, "header": False} | languages | CUT
    assert try_out(folder / "again", table) == made


def test_cut_leaves_every_pair_in_one_split(folder: Path) -> None:
    train(folder, {"train": str(english_first(folder, "deu.txt"))} | CUT)
    config = folder / "corpus.yaml"
    [line] = done(
        call_command("train", "--config", config, "--dry-run", "--json", cwd=folder)
    ).lines
    counts = json.loads(line)
    sizes = [counts["train_pairs"], counts["valid_pairs"]]
    sizes += [evaluate(folder, "--split", split)["pairs"] for split in ("test", "valid")]
    assert sizes[1] == sizes[3]
    assert sum(sizes[:3]) == 140
    assert all(sizes)


# ---------------------------------------------------------------- corpora of the program


def test_phrasebook(folder: Path) -> None:
    data = {"dataset": "phrasebook", "source": "en", "target": "de", "limit": 100}
    scores = try_out(folder, data, decoding={"max_length_ratio": 0.1})[2]
    assert scores["pairs"] > 0


def test_multi30k(tmp_path: Path, empty_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.environ.get("SEQ2SEQ_DATA"):
        write_multi30k(tmp_path / "corpora")
        monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "corpora"))
    data = {"dataset": "multi30k", "limit": 100}
    scores = try_out(empty_dir, data, decoding={"max_length_ratio": 0.1})[2]
    assert scores["pairs"] == (1000 if scores["pairs"] > 20 else 20)


# ---------------------------------------------------------------- real files

REAL_CUT: Data = {"held_out": {"valid": 0.01, "test": 0.01}}
ENGLISH_FRENCH: Data = {"source": "en", "target": "fr", **REAL_CUT}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("fra.txt", {}),
        ("fra.txt", {"source": "fr", "target": "en"}),
        ("english_french.csv", {}),
        ("english_french.csv", {"columns": {"source": "English", "target": "French"}}),
    ],
    ids=["txt", "txt turned round", "csv", "csv with named columns"],
)
def test_real_tables(corpora: Path, empty_dir: Path, name: str, keys: Data) -> None:
    table = corpora / "english-french" / name
    if not table.is_file():
        pytest.skip(f"{table} is not there")
    scores = try_out(empty_dir, ENGLISH_FRENCH | {"train": str(table)} | keys)[2]
    assert 5 < scores["pairs"] < 200


@pytest.mark.parametrize(("source", "target"), [("fr", "en"), ("en", "fr")])
def test_real_pairs_as_tatoeba_has_them(
    corpora: Path, folder: Path, source: str, target: str
) -> None:
    table = corpora / "english-french" / "fra.txt"
    if not table.is_file():
        pytest.skip(f"{table} is not there")
    zipped(table, folder / "corpora" / "tatoeba" / "fra-eng.zip")
    data = {"dataset": "tatoeba"} | REAL_CUT | {"source": source, "target": target}
    assert 5 < try_out(folder, data)[2]["pairs"] < 200


# ---------------------------------------------------------------- tokenizers

TOKENIZERS: dict[str, tuple[Data, Data]] = {
    "whitespace": ({"kind": "whitespace"}, {}),
    "words": ({"kind": "words"}, {}),
    "spacy": ({"kind": "spacy"}, {}),
    "characters": ({"kind": "characters"}, {}),
    "bpe": ({"kind": "bpe", "size": 100}, {}),
    "bpe with dropout": ({"kind": "bpe", "size": 100, "dropout": 0.1}, {}),
    "unigram": ({"kind": "unigram", "size": 38}, {}),
    "unigram with dropout": ({"kind": "unigram", "size": 38, "dropout": 0.3}, {}),
    "nfc": ({"kind": "words", "nfc": True}, {}),
    "lower case": ({"kind": "words", "lowercase": True}, {}),
    "shared bpe": ({"kind": "bpe", "size": 150, "dropout": 0.1}, {"shared": True}),
    "shared words": ({"kind": "words"}, {"shared": True, "max_size": 50}),
}


@pytest.mark.parametrize(("tokenizer", "vocabulary"), TOKENIZERS.values(), ids=TOKENIZERS.keys())
def test_model_file_alone_translates_with_every_tokenizer(
    folder: Path, empty_dir: Path, tokenizer: Data, vocabulary: Data
) -> None:
    if tokenizer["kind"] == "spacy":
        pytest.importorskip("spacy")
    data = plain(folder) | {"tokenizer": tokenizer, "vocabulary": vocabulary}
    run_dir = train(folder, data)
    text = f"  {SENTENCE} Ko\u0308ln\u2003🙂 \u4f60\u597d "
    expected = translate(folder, text=text)
    scores = evaluate(folder, "--loss")
    assert math.isfinite(scores["loss"])
    shutil.copy(run_dir / "best.safetensors", empty_dir / "copied.safetensors")
    shutil.rmtree(folder)
    assert translate(empty_dir, "--model", "copied.safetensors", text=text) == expected
    assert names(empty_dir) == ["copied.safetensors"]


def test_nfc_makes_both_spellings_one(folder: Path) -> None:
    data = plain(folder) | {"tokenizer": {"kind": "words", "nfc": True}}
    train(folder, data)
    words = ("translate", "--json", "Anna hört ein Buch.", "Anna ho\u0308rt ein Buch.")
    composed, apart = map(json.loads, done(call_command(*words, cwd=folder)).lines)
    assert composed["translation"] == apart["translation"]
    assert composed["score"] == apart["score"]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_resumed_with_dropout_and_cut_equals_never_stopped(folder: Path, kind: str) -> None:
    data = {
        "train": str(english_first(folder, "deu.txt")),
        "columns": {"source": 2, "target": 1},
        "tokenizer": {"kind": kind, "size": 38, "dropout": 0.3},
        **CUT,
    }
    training = {"max_steps": None, "epochs": 3, "batch_size": 16}
    config = write_config(folder, data, training=training)
    words = ("train", "--config", config)
    done(call_command(*words, "--run-dir", "straight", cwd=folder))
    short = settings("training.max_steps=10")  # in the middle of an epoch
    done(call_command(*words, "--run-dir", "resumed", *short, cwd=folder))
    done(call_command(*words, "--run-dir", "resumed", "--resume", cwd=folder))
    for name in ("last/model.safetensors", "last/optimizer.safetensors", "best.safetensors"):
        assert_same_tensors(folder / "straight" / name, folder / "resumed" / name)
    steps = [event["step"] for event in events(folder / "resumed", "train")]
    assert steps == list(range(1, steps[-1] + 1))


# ---------------------------------------------------------------- schedules

NUM_STEPS = 8  # two epochs of 100 pairs

FORCING: dict[str, tuple[Data, Callable[[int], float]]] = {
    "constant": ({"kind": "constant", "ratio": 0.5}, lambda step: 0.5),
    "linear": (
        {"kind": "linear", "start": 0.9, "end": 0.2},
        lambda step: 0.9 - 0.7 * step / (NUM_STEPS - 1),
    ),
    "exponential": ({"kind": "exponential", "k": 0.8}, lambda step: 0.8**step),
    "inverse sigmoid": (
        {"kind": "inverse_sigmoid", "k": 2.0},
        lambda step: 2 / (2 + math.exp(step / 2)),
    ),
}


@pytest.mark.parametrize(("forcing", "ratio"), FORCING.values(), ids=FORCING.keys())
def test_teacher_forcing_follows_its_formula(
    folder: Path, forcing: Data, ratio: Callable[[int], float]
) -> None:
    weights = set()
    for per in ("step", "token"):
        (folder / per).mkdir()
        training = {"max_steps": NUM_STEPS, "teacher_forcing": forcing | {"per": per}}
        run_dir = train(folder / per, plain(folder / per), training=training)
        logged = [event["teacher_forcing_ratio"] for event in events(run_dir, "train")]
        assert logged == pytest.approx([ratio(step) for step in range(NUM_STEPS)])
        weights.add((run_dir / "last" / "model.safetensors").read_bytes())
        assert translate(folder / per)
    assert len(weights) == 2  # other coins, another training


RATES: dict[str, tuple[Data, list[float]]] = {
    "constant": ({"kind": "constant"}, [1.0] * NUM_STEPS),
    "plateau": (
        {"kind": "plateau", "factor": 0.1, "patience": 1},
        # Validated every step: the first one is the best, every second one after it is too much.
        [1.0, 1.0, 1.0, 1e-1, 1e-1, 1e-2, 1e-2, 1e-3],
    ),
    "cosine": (
        {"kind": "cosine", "warmup_steps": 3, "final_ratio": 0.2},
        [1 / 3, 2 / 3, 1.0, *(0.6 + 0.4 * math.cos(math.pi * step / 4) for step in range(5))],
    ),
    "inverse square root": (
        {"kind": "inverse_sqrt", "warmup_steps": 4},
        [0.25, 0.5, 0.75, 1.0, *(math.sqrt(4 / step) for step in range(5, 9))],
    ),
    "halving": (
        {"kind": "halving", "after_epochs": 1.0, "every_epochs": 0.5},
        [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25],
    ),
}


@pytest.mark.parametrize(("schedule", "factors"), RATES.values(), ids=RATES.keys())
def test_learning_rate_follows_its_formula(
    folder: Path, schedule: Data, factors: list[float]
) -> None:
    rate = 1e-12  # too little to make anything better
    training = {
        "max_steps": NUM_STEPS,
        "optimizer": {"kind": "sgd", "learning_rate": rate},
        "learning_rate_schedule": schedule,
    }
    validation = {"every": 1, "metric": "bleu"} if schedule["kind"] == "plateau" else {}
    run_dir = train(folder, plain(folder), training=training, validation=validation)
    logged = [event["learning_rate"] for event in events(run_dir, "train")]
    assert logged == pytest.approx([rate * factor for factor in factors])
    assert translate(folder)


# ---------------------------------------------------------------- without validation data


def test_without_validation_data(folder: Path) -> None:
    data = plain(folder) | {"valid": "none"}
    run_dir = train(
        folder, data, validation={"metric": "train_loss"}, training={"max_steps": NUM_STEPS}
    )
    validations = events(run_dir, "valid")
    common = {"event", "step", "epoch", "seconds", "train_loss"}
    assert [event.keys() for event in validations] == [common, common]
    assert (run_dir / "best.safetensors").is_file()
    translate(folder)
    assert evaluate(folder)["pairs"] == 20
    assert_refused(call_command("evaluate", "--split", "valid", cwd=folder), "data.valid: none")
    words = ("train", "--config", folder / "corpus.yaml", "--dry-run", "--json")
    [line] = done(call_command(*words, cwd=folder)).lines
    assert json.loads(line)["valid_pairs"] == 0


def test_without_any_other_data_than_for_training(folder: Path) -> None:
    data = {"train": plain(folder)["train"], "valid": "none", "test": "none"}
    train(folder, data, validation={"metric": "train_loss"})
    translate(folder)
    assert_refused(call_command("evaluate", cwd=folder), "data.test: none")
