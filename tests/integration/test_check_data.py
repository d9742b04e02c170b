"""`seq2seq check-data`: every planted fault is found where it is, and nothing in clean data."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq_cli.checking.findings import KINDS, SIDES
from seq2seq_cli.config_file import load_config, parse_override
from seq2seq_cli.data.preparation import prepare
from seq2seq_cli.data.vocabulary import UNK_ID
from tests.integration.conftest import (
    Result,
    assert_refused,
    call_command,
    command,
    environment,
    snapshot,
)

Pairs = list[tuple[str, str]]
Corpus = dict[str, Pairs]

SIZES = {"train": 600, "valid": 40, "test": 40}


# ---------------------------------------------------------------- a clean corpus


def made_up_words(num_words: int, endings: tuple[str, str], seed: int) -> list[tuple[str, str]]:
    """Words of a language that nobody speaks and their translations into another one."""
    syllables = [first + vowel for first in "bdgklmnprst" for vowel in "aeiou"]
    draw = random.Random(seed)

    def words(ending: str) -> list[str]:
        found: dict[str, None] = {}
        while len(found) < num_words:
            found["".join(draw.choices(syllables, k=3)) + ending] = None
        return list(found)

    return list(zip(words(endings[0]), words(endings[1]), strict=True))


def clean_corpus() -> Corpus:
    """Sentences of 8 to 12 words, each with one translation; none is there twice."""
    words = made_up_words(150, ("n", "th"), seed=1)
    draw = random.Random(2)

    def pair() -> tuple[str, str]:
        chosen = draw.sample(words, draw.randint(8, 12))
        source, target = (" ".join(word[side] for word in chosen) for side in (0, 1))
        return f"Der {source}.", f"The {target}."

    return {split: [pair() for _ in range(size)] for split, size in SIZES.items()}


CLEAN = clean_corpus()


def packed(text: str) -> bytes:
    """Half surrogates \\udc80 to \\udcff become bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def parallel(pairs: Pairs) -> Iterator[tuple[str, bytes]]:
    for side, suffix in enumerate(("de", "en")):
        yield suffix, packed("".join(f"{pair[side]}\n" for pair in pairs))


def as_csv(pairs: Pairs) -> Iterator[tuple[str, bytes]]:
    text = io.StringIO()
    csv.writer(text).writerows([("de", "en"), *pairs])
    yield "csv", packed(text.getvalue())


def as_jsonl(pairs: Pairs) -> Iterator[tuple[str, bytes]]:
    objects = ({"translation": {"de": source, "en": target}} for source, target in pairs)
    text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in objects)
    yield "jsonl", packed(text)


@dataclass(frozen=True)
class Form:
    """How a corpus lies in files."""

    write: Callable[[Pairs], Iterator[tuple[str, bytes]]]
    place: str
    """What the config says of the files of a split."""
    suffixes: tuple[str, str]
    first_line: int

    def place_of(self, split: str, side: int, index: int) -> tuple[str, int]:
        return f"{split}.{self.suffixes[side]}", index + self.first_line


FORMS = {
    "parallel": Form(parallel, "{{source: {0}.de, target: {0}.en}}", ("de", "en"), 1),
    "csv": Form(as_csv, "{}.csv", ("csv", "csv"), 2),
    "jsonl": Form(as_jsonl, "{}.jsonl", ("jsonl", "jsonl"), 1),
}


def write_corpus(folder: Path, corpus: Corpus, form: Form = FORMS["parallel"]) -> None:
    """Write the files and check.yaml."""
    for split, pairs in corpus.items():
        for suffix, content in form.write(pairs):
            (folder / f"{split}.{suffix}").write_bytes(content)
    places = [f"  {split}: {form.place.format(split)}\n" for split in corpus]
    config = "".join(["data:\n", *places, "  source: de\n", "  target: en\n"])
    (folder / "check.yaml").write_text(config, encoding="utf-8")


def check(folder: Path, *settings: str, text: bool = False) -> Result:
    words = [word for value in settings for word in ("--set", value)]
    if not text:
        words.append("--json")
    return call_command("check-data", "--config", folder / "check.yaml", *words, cwd=folder)


def report_of(result: Result) -> dict[str, Any]:
    [line] = result.lines
    report = json.loads(line)
    assert isinstance(report, dict)
    assert result.code == int(report["harmful"]), result.err
    assert result.errors == []
    return report


def found_places(report: dict[str, Any]) -> dict[tuple[str, str], list[tuple[str, int | None]]]:
    """By kind and split: names of files, and lines."""
    return {
        (finding["kind"], finding["split"]): [
            (Path(place["file"]).name, place["line"]) for place in finding["places"]
        ]
        for finding in report["findings"]
    }


def harmful_kinds(report: dict[str, Any]) -> set[tuple[str, str]]:
    return {(found["kind"], found["split"]) for found in report["findings"] if found["harmful"]}


# ---------------------------------------------------------------- faults


@dataclass(frozen=True)
class Fault:
    """One fault in the clean corpus, and what has to be found."""

    kind: str
    plant: Callable[[Corpus], None]
    places: Sequence[tuple[str, int, int]]
    """Split, side and index of the pairs, from 0."""
    harmful: bool
    said: str = ""
    """Part of the message of each place."""


def change(split: str, index: int, side: int, edit: Callable[[str], str]) -> Callable[..., None]:
    def plant(corpus: Corpus) -> None:
        texts = list(corpus[split][index])
        texts[side] = edit(texts[side])
        corpus[split][index] = (texts[0], texts[1])

    return plant


def within(text: str) -> Callable[[str], str]:
    """Put something between the words of a sentence."""
    return lambda sentence: sentence.replace(" ", f" {text} ", 1)


def replace(split: str, index: int, by: Callable[[Corpus], tuple[str, str]]) -> Callable[..., None]:
    def plant(corpus: Corpus) -> None:
        corpus[split][index] = by(corpus)

    return plant


def swap_targets(first: int, second: int) -> Callable[[Corpus], None]:
    def plant(corpus: Corpus) -> None:
        train = corpus["train"]
        (source, target), (other_source, other_target) = train[first], train[second]
        train[first], train[second] = (source, other_target), (other_source, target)

    return plant


def upper(pair: tuple[str, str]) -> tuple[str, str]:
    return pair[0].upper(), pair[1].upper()


def longer(sentence: str) -> str:
    return " ".join([sentence] * 12)


# Each kind somewhere else, so that all can be planted together.
FAULTS = {
    "byte that is not UTF-8, in source": Fault(
        "unreadable", change("train", 20, 0, within("f\udcfcr")), [("train", 0, 20)], True, "0xFC"
    ),
    "byte that is not UTF-8, in target": Fault(
        "unreadable", change("test", 21, 1, within("\udce9t")), [("test", 1, 21)], True, "0xE9"
    ),
    "control character in source": Fault(
        "characters", change("train", 40, 0, within("\x07")), [("train", 0, 40)], True, "U+0007"
    ),
    "control character in target": Fault(
        "characters", change("train", 41, 1, within("\x1b")), [("train", 1, 41)], True, "U+001B"
    ),
    "lost character": Fault(
        "characters", change("train", 42, 1, within("M\ufffdller")), [("train", 1, 42)], True
    ),
    "UTF-8 taken for Latin-1": Fault(
        "characters", change("train", 43, 0, within("MÃ¼ller")), [("train", 0, 43)], True, "'ü'"
    ),
    "HTML": Fault(
        "characters", change("valid", 4, 1, within("&quot;")), [("valid", 1, 4)], True, "&quot;"
    ),
    "no source": Fault(
        "empty", change("train", 60, 0, lambda _: ""), [("train", 0, 60)], False, "no source"
    ),
    "no target": Fault(
        "empty", change("train", 61, 1, lambda _: ""), [("train", 1, 61)], False, "no target"
    ),
    "nothing but white space": Fault(
        "empty", change("valid", 7, 1, lambda _: " \u3000\u2003"), [("valid", 1, 7)], True
    ),
    "too long": Fault(
        "too_long",
        replace("train", 80, lambda data: tuple(map(longer, data["train"][80]))),  # type: ignore[arg-type,return-value]
        [("train", 0, 80)],
        False,
        " tokens: ",
    ),
    "both sides the same": Fault(
        "identical",
        replace("train", 100, lambda data: (data["train"][100][0],) * 2),
        [("train", 0, 100)],
        False,
    ),
    "one side much longer": Fault(
        "length_ratio",
        change("train", 120, 1, lambda text: " ".join([text] * 6)),
        [("train", 0, 120)],
        False,
    ),
    "two targets swapped": Fault(
        "misaligned", swap_targets(140, 340), [("train", 0, 140), ("train", 0, 340)], False
    ),
    "pair there twice": Fault(
        "duplicate",
        replace("train", 460, lambda data: data["train"][160]),
        [("train", 0, 460)],
        False,
        "also ",
    ),
    "pair there twice, in other case": Fault(
        "duplicate",
        replace("train", 461, lambda data: upper(data["train"][161])),
        [("train", 0, 461)],
        False,
        "also ",
    ),
    "tested on what was trained on": Fault(
        "overlap",
        replace("test", 10, lambda data: data["train"][180]),
        [("test", 0, 10)],
        True,
        "also ",
    ),
    "validated on what was trained on": Fault(
        "overlap",
        replace("valid", 11, lambda data: (data["train"][181][0], data["valid"][11][1])),
        [("valid", 0, 11)],
        True,
        "also ",
    ),
}

# What comes with a fault, being one of another kind too.
COMPANIONS = {
    "validated on what was trained on": {("misaligned", "valid")},
    "both sides the same": {("misaligned", "train")},
}


@pytest.fixture
def corpus() -> Corpus:
    return {split: list(pairs) for split, pairs in CLEAN.items()}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_clean_data_has_nothing_to_find_fault_with(tmp_path: Path, form: Form) -> None:
    write_corpus(tmp_path, CLEAN, form)
    report = report_of(check(tmp_path))
    assert report["findings"] == []
    assert report["harmful"] is False
    assert {split: facts["pairs"] for split, facts in report["splits"].items()} == SIZES


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found_at_its_line(
    tmp_path: Path, corpus: Corpus, name: str, form: Form
) -> None:
    fault = FAULTS[name]
    fault.plant(corpus)
    write_corpus(tmp_path, corpus, form)
    report = report_of(check(tmp_path))
    key = fault.kind, fault.places[0][0]
    found = found_places(report)
    assert found.keys() - COMPANIONS.get(name, set()) == {key}
    assert found[key] == [form.place_of(*place) for place in fault.places]
    [finding] = [finding for finding in report["findings"] if finding["kind"] == fault.kind]
    assert finding["harmful"] is fault.harmful
    assert finding["count"] == len(fault.places)
    assert finding["share"] == pytest.approx(len(fault.places) / SIZES[key[1]], rel=0.05)
    assert all(fault.said in place["message"] for place in finding["places"])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_all_faults_together(tmp_path: Path, corpus: Corpus, form: Form) -> None:
    for fault in FAULTS.values():
        fault.plant(corpus)
    write_corpus(tmp_path, corpus, form)
    report = report_of(check(tmp_path))
    expected: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for fault in FAULTS.values():
        for place in fault.places:
            expected.setdefault((fault.kind, place[0]), []).append(form.place_of(*place))
    found = found_places(report)
    assert found.keys() == expected.keys() | {("misaligned", "valid")}
    for key, places in expected.items():
        assert set(places) <= set(found[key])
        assert key[0] == "misaligned" or len(places) == len(found[key])
    assert report["harmful"] is True
    order = list(KINDS)
    ranks = [order.index(finding["kind"]) for finding in report["findings"]]
    assert ranks == sorted(ranks)


def test_every_kind_is_planted_somewhere() -> None:
    planted = {fault.kind for fault in FAULTS.values()}
    assert planted | {"unknown_words", "no_pairs"} == KINDS.keys()


def test_duplicate_and_overlap_say_where_the_first_one_is(tmp_path: Path, corpus: Corpus) -> None:
    for name in ("pair there twice", "tested on what was trained on"):
        FAULTS[name].plant(corpus)
    write_corpus(tmp_path, corpus)
    findings = report_of(check(tmp_path))["findings"]
    messages = {finding["kind"]: finding["places"][0]["message"] for finding in findings}
    assert messages["duplicate"].startswith("also line 161: ")
    assert messages["overlap"].startswith(f"also {tmp_path / 'train.de'}:181: ")


@pytest.mark.parametrize("lost", [300, 450, 500, 580])
def test_block_moved_by_a_line_is_found(tmp_path: Path, corpus: Corpus, lost: int) -> None:
    sources, targets = ([pair[side] for pair in corpus["train"]] for side in (0, 1))
    moved = [*targets[:lost], *targets[lost + 1 :], corpus["valid"][0][1]]
    corpus["train"] = list(zip(sources, moved, strict=True))
    write_corpus(tmp_path, corpus)
    report = report_of(check(tmp_path))
    [places] = found_places(report).values()
    lines = [line for _, line in places if line is not None]
    assert (min(lines), max(lines)) == (lost + 1, 600)
    assert len(lines) >= 0.9 * (600 - lost)  # a few have words in common with their neighbours
    assert harmful_kinds(report) == {("misaligned", "train")}


@pytest.mark.parametrize(
    ("split", "pairs"),
    [
        ("train", []),
        ("valid", []),
        ("test", []),
        ("test", [("", "x")]),
        ("valid", [("w " * 500, "x")]),
    ],
)
def test_split_without_a_pair_to_use_is_harmful(
    tmp_path: Path, corpus: Corpus, split: str, pairs: list[tuple[str, str]]
) -> None:
    corpus[split] = pairs
    write_corpus(tmp_path, corpus)
    assert ("no_pairs", split) in harmful_kinds(report_of(check(tmp_path)))


def test_cut_that_takes_nothing_is_harmful(tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text("ja\tyes\n")
    (tmp_path / "check.yaml").write_text("data: {train: one.tsv}\n")
    assert ("no_pairs", "valid") in harmful_kinds(report_of(check(tmp_path)))


@pytest.mark.usefixtures("corpora")
def test_mixed_up_pairs_of_multi30k_are_found(tmp_path: Path, corpora: Path) -> None:
    texts = []
    for language in ("de", "en"):
        packed = (corpora / "multi30k" / f"train.{language}.gz").read_bytes()
        texts.append(gzip.decompress(packed).decode().split("\n")[:-1])
    sources, targets = texts
    mixed = sorted(random.Random(1).sample(range(len(sources)), len(sources) // 100))
    moved = [targets[index] for index in [*mixed[1:], mixed[0]]]
    for index, target in zip(mixed, moved, strict=True):
        targets[index] = target
    for name, lines in (("train.de", sources), ("train.en", targets)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "check.yaml").write_text(
        "data: {train: {source: train.de, target: train.en}, valid: none, test: none}\n"
        "validation: {metric: train_loss}\n"
    )
    report = report_of(check(tmp_path))
    found = {line for _, line in found_places(report)["misaligned", "train"]}
    planted = {index + 1 for index in mixed}
    assert len(found & planted) >= 0.9 * len(planted)
    assert len(found - planted) <= 0.001 * len(sources)


def test_words_that_training_does_not_know(tmp_path: Path, corpus: Corpus) -> None:
    others = made_up_words(50, ("x", "q"), seed=9)
    for index in range(20):
        texts = (" ".join(word[side] for word in others[index : index + 10]) for side in (0, 1))
        corpus["test"][index] = next(texts), next(texts)
    write_corpus(tmp_path, corpus)
    report = report_of(check(tmp_path))
    [finding] = report["findings"]
    assert (finding["kind"], finding["split"]) == ("unknown_words", "test")
    assert (finding["count"], finding["places"]) == (400, [])
    test = report["splits"]["test"]
    assert finding["share"] == max(test[side]["unknown_share"] for side in SIDES)
    assert test["source"]["unknown_share"] == pytest.approx(200 / test["source"]["tokens"])
    assert report["harmful"] is True


# ---------------------------------------------------------------- faults of files


def lose_a_line(folder: Path) -> None:
    path = folder / "train.en"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def cut_off(folder: Path) -> None:
    for suffix in ("de", "en"):
        data = gzip.compress((folder / f"train.{suffix}").read_bytes())
        whole = len(data) if suffix == "de" else len(data) // 2
        (folder / f"train.{suffix}.gz").write_bytes(data[:whole])


PACKED = "data.train={source: train.de.gz, target: train.en.gz}"


@pytest.mark.parametrize(
    ("damage", "settings", "said"),
    [
        (lose_a_line, [], ["train.de has 600 lines", "train.en has 599"]),
        (cut_off, [PACKED], ["train.en.gz", "damaged or cut off gzip"]),
    ],
    ids=["unequal line counts", "cut off gzip"],
)
def test_file_that_ends_too_early(
    tmp_path: Path, damage: Callable[[Path], None], settings: list[str], said: list[str]
) -> None:
    write_corpus(tmp_path, CLEAN)
    damage(tmp_path)
    report = report_of(check(tmp_path, *settings))
    assert ("unreadable", "train") in harmful_kinds(report)
    [place] = report["findings"][0]["places"]
    assert place["line"] is None
    for fragment in said:
        assert fragment in place["message"]
    assert 0 < report["splits"]["train"]["pairs"] < 600


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("csv", b"Brot, Wasser,bread and water\n", "cells in this row: 3"),
        ("csv", b"Brot\n", "cells in this row: 1"),
        ("jsonl", b'{"translation": {"de": "Brot"}}\n', "no field 'translation.en'"),
        ("jsonl", b'{"translation"\n', "not valid JSON"),
    ],
)
def test_row_that_is_no_pair(tmp_path: Path, name: str, row: bytes, said: str) -> None:
    write_corpus(tmp_path, CLEAN, FORMS[name])
    path = tmp_path / f"train.{name}"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:49], row, *lines[49:]]))
    report = report_of(check(tmp_path))
    assert found_places(report) == {("unreadable", "train"): [(f"train.{name}", 50)]}
    assert harmful_kinds(report) == {("unreadable", "train")}
    assert said in report["findings"][0]["places"][0]["message"]
    assert report["splits"]["train"]["pairs"] == 600


def test_right_file_of_many_is_named(tmp_path: Path, corpus: Corpus) -> None:
    for name in ("control character in target", "two targets swapped", "pair there twice"):
        FAULTS[name].plant(corpus)
    write_corpus(tmp_path, corpus)
    for part, start in enumerate(range(0, 600, 150)):
        for suffix, content in parallel(corpus["train"][start : start + 150]):
            (tmp_path / f"part-{part}.{suffix}").write_bytes(content)
    report = report_of(check(tmp_path, "data.train={source: part-*.de, target: part-*.en}"))
    assert found_places(report) == {
        ("characters", "train"): [("part-0.en", 42)],
        ("misaligned", "train"): [("part-0.de", 141), ("part-2.de", 41)],
        ("duplicate", "train"): [("part-3.de", 11)],
    }
    assert f"also {tmp_path / 'part-1.de'}:11: " in report["findings"][2]["places"][0]["message"]


def test_faults_of_splits_that_are_cut_are_found_there(tmp_path: Path, corpus: Corpus) -> None:
    FAULTS["control character in source"].plant(corpus)
    corpus["train"][300:] = [(f"\x02 {source}", target) for source, target in corpus["train"][300:]]
    write_corpus(tmp_path, corpus)
    report = report_of(check(tmp_path, "data.valid=null", "data.test=null"))
    found = found_places(report)
    assert found.keys() == {("characters", split) for split in SIZES}
    places = sorted(place for found_there in found.values() for place in found_there)
    assert places == [("train.de", line) for line in (41, *range(301, 601))]
    assert sum(facts["pairs"] for facts in report["splits"].values()) == 600


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["data.tokenizer.size=9"], "data.tokenizer.size"),
        (["data.trian=x.csv"], "data.trian"),
        (["data.train=train.xlsx"], "train.xlsx"),
        (["data.train=nowhere.csv"], "nowhere.csv"),
        (["data.test=nowhere.csv"], "nowhere.csv"),
        (["data.train=part-*.csv"], "part-*.csv"),
        (["data.columns={source: German, target: en}"], "'German'"),
        (["data.columns={source: 1, target: 3}"], "no column 3"),
        (["data.source=fr"], "de, en"),
        (["data.tokenizer={kind: bpe, size: 60000}"], "data.tokenizer.size"),
    ],
)
def test_config_that_does_not_fit_is_refused(
    tmp_path: Path, settings: list[str], said: str
) -> None:
    write_corpus(tmp_path, CLEAN, FORMS["csv"])
    before = snapshot(tmp_path)
    for text in (False, True):
        assert_refused(check(tmp_path, *settings, text=text), said)
    assert snapshot(tmp_path) == before


# ---------------------------------------------------------------- what is printed


def test_json_has_the_documented_keys(tmp_path: Path, corpus: Corpus) -> None:
    for fault in FAULTS.values():
        fault.plant(corpus)
    write_corpus(tmp_path, corpus)
    report = report_of(check(tmp_path))
    assert report.keys() == {"splits", "findings", "harmful"}
    assert list(report["splits"]) == ["train", "valid", "test"]
    for facts in report["splits"].values():
        assert facts.keys() == {"pairs", "distinct_sources", "source", "target"}
        for side in SIDES:
            assert facts[side].keys() == {"tokens", "longest", "unknown_share", "lengths"}
            lengths = facts[side]["lengths"]
            assert sum(lengths) == facts["pairs"]
            assert len(lengths) - 1 == facts[side]["longest"]
            numbers = sum(length * count for length, count in enumerate(lengths))
            assert numbers == facts[side]["tokens"]
    for finding in report["findings"]:
        assert finding.keys() == {"kind", "split", "count", "share", "places", "harmful"}
        assert finding["kind"] in KINDS
        least = KINDS[finding["kind"]].harmful_from
        assert finding["harmful"] is (least is not None and finding["share"] >= least)
        for place in finding["places"]:
            assert place.keys() == {"file", "line", "message"}


def test_text_shows_counts_histogram_and_places(tmp_path: Path, corpus: Corpus) -> None:
    FAULTS["control character in target"].plant(corpus)
    FAULTS["no source"].plant(corpus)
    write_corpus(tmp_path, corpus)
    result = check(tmp_path, text=True)
    assert (result.code, result.err) == (1, "")
    assert "    train.en:42: target: U+001B" in result.out
    assert "    train.de:61: no source: " in result.out
    described = [line for line in result.lines if line.startswith(("! ", "  train: "))]
    assert described[0].startswith("! train: 1 line (0.2%): ")
    assert KINDS["characters"].title in described[0]
    assert described[1].startswith("  train: 1 line (0.2%): ")
    assert KINDS["empty"].title in described[1]
    rows = {line.split("  ")[0]: line.split()[-3:] for line in result.lines[:9]}
    assert rows["pairs"] == ["600", "40", "40"]
    begin = next(i for i, line in enumerate(result.lines) if line.startswith("tokens  "))
    bars = result.lines[begin + 1 : result.lines.index("", begin)]
    counts = [[int(word) for word in bar.split() if word.isdecimal()][-2:] for bar in bars]
    assert [sum(column) for column in zip(*counts, strict=True)] == [599, 600]
    assert all(len(bar) <= 80 for bar in bars)
    assert any("█" in bar for bar in bars)


def test_text_of_clean_data(tmp_path: Path) -> None:
    write_corpus(tmp_path, CLEAN)
    result = check(tmp_path, text=True)
    assert (result.code, result.err) == (0, "")
    assert result.lines[-1] == "nothing to find fault with"


def test_nothing_is_written(tmp_path: Path, corpus: Corpus) -> None:
    (tmp_path / "data").mkdir()
    for fault in FAULTS.values():
        fault.plant(corpus)
    write_corpus(tmp_path / "data", corpus)
    before = snapshot(tmp_path)
    check(tmp_path / "data")
    check(tmp_path / "data", "data.tokenizer={kind: bpe, size: 100}", text=True)
    assert snapshot(tmp_path) == before


def test_as_a_command(tmp_path: Path, corpus: Corpus) -> None:
    FAULTS["control character in source"].plant(corpus)
    write_corpus(tmp_path, corpus)
    words = command("check-data", "--config", "check.yaml", "--json")
    process = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert process.returncode == 1
    assert json.loads(process.stdout)["harmful"] is True
    assert process.stderr == b""


# ---------------------------------------------------------------- as training would see it

AS_TRAINED = {
    "words": [],
    "small": ["data.vocabulary={max_size: 100}"],
    "frequent": ["data.vocabulary={min_freq: 45}", "data.tokenizer={kind: whitespace}"],
    "characters": ["data.tokenizer={kind: characters}", "data.max_length=200"],
    "lower case": ["data.tokenizer={kind: words, lowercase: true, nfc: true}"],
    "bpe": ["data.tokenizer={kind: bpe, size: 200}"],
    "dropout": ["data.tokenizer={kind: bpe, size: 200, dropout: 0.1}"],
    "unigram, shared": [
        "data.tokenizer={kind: unigram, size: 200}",
        "data.vocabulary={shared: true, max_size: 120}",
    ],
    "cut": ["data.valid=null", "data.vocabulary={max_size: 90}"],
    "limit": ["data.limit=50", "data.vocabulary={max_size: 60}"],
    "limit and cut": ["data.valid=null", "data.limit=50", "data.vocabulary={max_size: 60}"],
}


@pytest.mark.parametrize("settings", AS_TRAINED.values(), ids=AS_TRAINED.keys())
def test_tokens_and_unknown_words_are_those_of_training(
    tmp_path: Path, settings: list[str]
) -> None:
    write_corpus(tmp_path, CLEAN)
    report = report_of(check(tmp_path, *settings))
    overrides = [parse_override(setting) for setting in settings]
    data = prepare(load_config(str(tmp_path / "check.yaml"), overrides).data)
    for name, split in [("train", data.train), ("valid", data.valid)]:
        facts = report["splits"][name]
        assert facts["pairs"] == len(split.pairs)
        for side in SIDES:
            flat = getattr(split.pairs, side)
            assert facts[side]["tokens"] == len(flat.ids)
            assert facts[side]["longest"] == max(flat.lengths)
            assert facts[side]["unknown_share"] == pytest.approx(np.mean(flat.ids == UNK_ID))
    if any("max_size" in value for value in settings):
        assert report["splits"]["train"]["source"]["unknown_share"] > 0


def test_without_validation_and_test_data(tmp_path: Path) -> None:
    write_corpus(tmp_path, CLEAN)
    none = ["data.valid=none", "data.test=none", "validation.metric=train_loss"]
    assert list(report_of(check(tmp_path, *none))["splits"]) == ["train"]
    assert check(tmp_path, *none, text=True).code == 0


def test_shipped_corpus_by_its_config(empty_dir: Path) -> None:
    result = call_command("check-data", "--config", "quickstart", "--json", cwd=empty_dir)
    report = report_of(result)
    assert list(report["splits"]) == ["train", "valid", "test"]
    assert not any("unreadable" in key for key in found_places(report))


# ---------------------------------------------------------------- a million pairs


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows counts memory otherwise")
def test_million_pairs_within_a_minute_and_in_bounded_memory(tmp_path: Path) -> None:
    words = made_up_words(30_000, ("n", "th"), seed=1)
    draw = random.Random(3)
    weights = [1 / rank for rank in range(1, len(words) + 1)]  # as in any language
    pieces = [draw.choices(words, weights, k=4) for _ in range(20_000)]
    texts = [[" ".join(word[side] for word in piece) for piece in pieces] for side in (0, 1)]
    with (tmp_path / "big.de").open("w") as source, (tmp_path / "big.en").open("w") as target:
        for _ in range(1_000_000):
            chosen = [int(draw.random() * len(pieces)) for _ in range(3)]
            source.write(" ".join([texts[0][index] for index in chosen]) + ".\n")
            target.write(" ".join([texts[1][index] for index in chosen]) + ".\n")
    config = "data: {train: {source: big.de, target: big.en}, source: de, target: en}\n"
    (tmp_path / "check.yaml").write_text(config)
    begin = time.perf_counter()
    with (tmp_path / "report.json").open("wb") as report:
        process = subprocess.Popen(
            command("check-data", "--config", "check.yaml", "--json"),
            cwd=tmp_path,
            env=environment(),
            stdout=report,
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    found = json.loads((tmp_path / "report.json").read_text())
    assert process.returncode == 0
    assert sum(facts["pairs"] for facts in found["splits"].values()) == 1_000_000
    assert seconds < 60
    kilobytes = usage.ru_maxrss / (1024 if os.uname().sysname == "Darwin" else 1)
    assert kilobytes < 1_500_000
