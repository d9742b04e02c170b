"""Which pairs belong to which split, and that the cut of one's own files is a good one."""

from __future__ import annotations

import json
import random
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from seq2seq_cli.config.data import DataConfig
from seq2seq_cli.data import phrasebook
from seq2seq_cli.data.splits import (
    LocatedPair,
    cut_splits,
    has_split,
    located_pairs,
    read_split,
    sentence_key,
)
from seq2seq_cli.errors import DataError

ALL = ("train", "valid", "test")
Pair = tuple[str, str]


def sentences(count: int, start: int = 0) -> list[Pair]:
    return [(f"Satz Nummer {i} für alle.", f"sentence {i}") for i in range(start, start + count)]


def write(path: Path, pairs: list[Pair]) -> str:
    """A table of objects, with any text in it."""
    lines = [json.dumps({"de": source, "en": target}) + "\n" for source, target in pairs]
    path.write_text("".join(lines))
    return str(path)


def config(folder: Path, pairs: list[Pair], **more: Any) -> DataConfig:
    train = write(folder / "train.jsonl", pairs)
    return DataConfig.model_validate({"train": train, "source": "de", "target": "en", **more})


def splits_of(data: DataConfig) -> dict[str, set[str]]:
    """The splits that each source is in."""
    found: dict[str, set[str]] = defaultdict(set)
    for pair in located_pairs(data, ALL):
        found[pair.source].add(pair.split)
    return dict(found)


def sources(data: DataConfig, split: str) -> list[str]:
    return [source for source, _ in read_split(data, split)]


# ---------------------------------------------------------------- the cut


@pytest.mark.parametrize(
    ("valid", "test"), [(0.05, 0.05), (0.2, 0.1), (0.5, 0.49), (0.01, 0.3), (0.001, 0.001)]
)
def test_about_the_share_asked_for_is_cut(tmp_path: Path, valid: float, test: float) -> None:
    count = 4000
    data = config(tmp_path, sentences(count), held_out={"valid": valid, "test": test})
    for split, share in [("valid", valid), ("test", test), ("train", 1 - valid - test)]:
        deviation = (count * share * (1 - share)) ** 0.5
        assert abs(len(sources(data, split)) - count * share) < 4 * deviation, split


def test_every_pair_is_in_one_split_and_in_its_order(tmp_path: Path) -> None:
    pairs = sentences(500)
    data = config(tmp_path, pairs)
    parts = {split: list(read_split(data, split)) for split in ALL}
    assert all(parts.values())
    assert sorted(pair for part in parts.values() for pair in part) == sorted(pairs)
    for part in parts.values():
        assert part == [pair for pair in pairs if pair in set(part)]


def test_a_sentence_is_on_one_side_of_the_cut_only(tmp_path: Path) -> None:
    """However it is written: in capitals, with other spaces, in another Unicode form."""
    base = [f"Straße {i} führt über Ähren nach Ødby" for i in range(200)]
    pairs = []
    for number, source in enumerate(base):
        spellings = [
            source,
            source,
            source.upper(),
            source.lower(),
            unicodedata.normalize("NFD", source),
            unicodedata.normalize("NFD", source.upper()),
            f"  {source}\t",
            source.replace(" ", "\u3000 "),
        ]
        pairs += [(spelling, f"{number} {i}") for i, spelling in enumerate(spellings)]
    random.Random(1).shuffle(pairs)
    data = config(tmp_path, pairs, held_out={"valid": 0.3, "test": 0.3})
    by_number: dict[str, set[str]] = defaultdict(set)
    for pair in located_pairs(data, ALL):
        by_number[pair.target.split()[0]].add(pair.split)
    assert len(by_number) == len(base)
    assert {len(splits) for splits in by_number.values()} == {1}
    assert set.union(*by_number.values()) == set(ALL)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ja", "JA", True),
        ("a  b", " a b\n", True),
        ("a\u00a0b", "a b", True),
        ("é", "e\u0301", True),
        ("É", "e\u0301", True),
        ("ß", "SS", True),
        ("ως", "ΩΣ", True),
        ("a b", "ab", False),
        ("a", "ä", False),
        ("a.", "a", False),
        ("ﬁ", "fi", True),
        ("¹", "1", False),
        ("", " \t", True),
    ],
)
def test_what_counts_as_the_same_sentence(one: str, other: str, same: bool) -> None:
    assert (sentence_key(one) == sentence_key(other)) is same


def test_the_cut_survives_edits(tmp_path: Path) -> None:
    pairs = sentences(600)
    before = splits_of(config(tmp_path, pairs))
    assert set.union(*before.values()) == set(ALL)
    edited = [(source, f"{target}, edited") for source, target in pairs if "3" not in source]
    edited += sentences(300, start=10_000)
    random.Random(1).shuffle(edited)
    after = splits_of(config(tmp_path, edited))
    assert {source: after[source] for source, _ in edited if source in before} == {
        source: split for source, split in before.items() if "3" not in source
    }


def test_the_cut_is_the_same_on_every_machine(tmp_path: Path) -> None:
    data = config(tmp_path, [(str(i), "x") for i in range(100)])
    assert sources(data, "valid") == ["29", "72", "90", "99"]
    assert sources(data, "test") == ["1", "10", "15", "24", "70", "81"]


def test_more_is_cut_without_moving_what_was_cut(tmp_path: Path) -> None:
    pairs = sentences(1000)
    small = config(tmp_path, pairs, held_out={"valid": 0.05, "test": 0.05})
    large = config(tmp_path, pairs, held_out={"valid": 0.2, "test": 0.05})
    assert set(sources(small, "valid")) < set(sources(large, "valid"))
    assert sources(small, "test") == sources(large, "test")
    other = config(tmp_path, pairs, held_out={"valid": 0.05, "test": 0.4})
    assert sources(small, "valid") == sources(other, "valid")
    assert set(sources(small, "test")) < set(sources(other, "test"))


@pytest.mark.parametrize("named", ["valid", "test"])
@pytest.mark.parametrize("place", ["none", "file"])
def test_one_cut_does_not_depend_on_the_other(tmp_path: Path, named: str, place: str) -> None:
    pairs = sentences(600)
    both = config(tmp_path, pairs)
    own = [("eigener Satz", "own sentence")]
    where = "none" if place == "none" else write(tmp_path / "own.jsonl", own)
    one = config(tmp_path, pairs, **{named: where})
    cut = "test" if named == "valid" else "valid"
    assert cut_splits(both) == ("valid", "test")
    assert cut_splits(one) == (cut,)
    assert sources(one, cut) == sources(both, cut)
    assert len(sources(one, "train")) == len(pairs) - len(sources(one, cut))
    if place == "file":
        assert list(read_split(one, named)) == own


def test_nothing_is_cut_where_both_are_named_or_done_without(tmp_path: Path) -> None:
    pairs = sentences(200)
    own = write(tmp_path / "own.jsonl", [("a", "b")])
    for valid, test in [("none", "none"), (own, own), ("none", own)]:
        data = config(tmp_path, pairs, valid=valid, test=test)
        assert cut_splits(data) == ()
        assert list(read_split(data, "train")) == pairs


# ---------------------------------------------------------------- limit


@pytest.mark.parametrize("limit", [1, 10, 100])
def test_the_limit_counts_after_the_cut(tmp_path: Path, limit: int) -> None:
    pairs = sentences(300)
    whole, limited = config(tmp_path, pairs), config(tmp_path, pairs, limit=limit)
    assert list(read_split(limited, "train")) == list(read_split(whole, "train"))[:limit]
    for split in ("valid", "test"):
        assert sources(limited, split) == sources(whole, split)
    together = [pair for pair in located_pairs(limited, ALL) if pair.split == "train"]
    assert [pair.source for pair in together] == sources(limited, "train")


def test_a_limit_beyond_the_data_takes_all(tmp_path: Path) -> None:
    data = config(tmp_path, sentences(20), limit=10**9, valid="none", test="none")
    assert len(sources(data, "train")) == 20


def test_nothing_is_read_beyond_the_limit(tmp_path: Path) -> None:
    data = config(tmp_path, sentences(5), limit=3, valid="none", test="none")
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write("not JSON\n")
    assert len(sources(data, "train")) == 3


def test_the_limit_is_for_all_files_together(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.jsonl", sentences(10, start)) for name, start in
             [("a", 0), ("b", 100), ("c", 200)]]  # fmt: skip
    data = config(tmp_path, [], train=files, valid="none", test="none", limit=15)
    assert list(read_split(data, "train")) == sentences(10) + sentences(5, 100)


def test_the_limit_is_not_for_validation_files(tmp_path: Path) -> None:
    valid = write(tmp_path / "valid.jsonl", sentences(9))
    data = config(tmp_path, sentences(9), valid=valid, test=valid, limit=2)
    assert [len(sources(data, split)) for split in ALL] == [2, 9, 9]


# ---------------------------------------------------------------- where pairs come from


def test_pairs_are_located(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('en,de\n"one\none",eins\n\ntwo,zwei\n')
    (tmp_path / "b.tsv").write_text("de\ten\n\ndrei\tthree\n")
    (tmp_path / "v.de").write_text("vier\nfünf\n")
    (tmp_path / "v.en").write_text("four\nfive\n")
    data = DataConfig.model_validate(
        {
            "train": [str(tmp_path / "a.csv"), str(tmp_path / "b.tsv")],
            "valid": {"source": str(tmp_path / "v.de"), "target": str(tmp_path / "v.en")},
            "test": "none",
            "source": "de",
            "target": "en",
        }
    )

    def told(pair: LocatedPair) -> tuple[str, str, str, int, str, str]:
        names = Path(pair.origin.source_name).name, Path(pair.origin.target_name).name
        return pair.split, *names, pair.line, pair.source, pair.target

    pairs = [
        ("train", "a.csv", "a.csv", 2, "eins", "one one"),
        ("train", "a.csv", "a.csv", 5, "zwei", "two"),
        ("train", "b.tsv", "b.tsv", 3, "drei", "three"),
        ("valid", "v.de", "v.en", 1, "vier", "four"),
        ("valid", "v.de", "v.en", 2, "fünf", "five"),
    ]
    assert list(map(told, located_pairs(data, ("train", "valid")))) == pairs
    assert list(map(told, located_pairs(data, ("valid",)))) == pairs[3:]


def test_pairs_of_several_splits_are_those_of_each(tmp_path: Path) -> None:
    data = config(tmp_path, sentences(400), held_out={"valid": 0.2, "test": 0.2}, limit=100)
    together = list(located_pairs(data, ALL))
    for split in ALL:
        alone = list(read_split(data, split))
        assert [(pair.source, pair.target) for pair in together if pair.split == split] == alone
    lines = [pair.line for pair in together]
    assert lines == sorted(lines), "in one reading"
    two = [pair.split for pair in located_pairs(data, ("valid", "train"))]
    assert {*two} == {"train", "valid"}


def test_faults_are_told_once_in_one_reading(tmp_path: Path) -> None:
    data = config(tmp_path, sentences(50))
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write("[]\n")
    faults: list[tuple[str, int]] = []
    pairs = list(located_pairs(data, ALL, lambda file, line, _: faults.append((file, line))))
    assert len(pairs) == 50
    assert faults == [(str(tmp_path / "train.jsonl"), 51)]
    with pytest.raises(DataError, match=r"train\.jsonl:51: not a JSON object"):
        list(located_pairs(data, ALL))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("valid", "the config does without valid data (data.valid: none): choose another split"),
        ("test", "the config does without test data (data.test: none): choose another split"),
        ("dev", "the config has no dev data; there are train, valid, test: choose one"),
    ],
)
def test_splits_that_are_not_there(tmp_path: Path, split: str, message: str) -> None:
    data = config(tmp_path, sentences(3), valid="none", test="none")
    with pytest.raises(DataError) as caught:
        list(read_split(data, split))
    how = "with --split, or score on files with --source FILE --reference FILE"
    assert str(caught.value) == f"{message} {how}"


def test_a_config_may_do_without_a_split(tmp_path: Path) -> None:
    data = config(tmp_path, sentences(3), valid="none")
    assert [has_split(data, split) for split in ALL] == [True, False, True]
    assert all(has_split(config(tmp_path, []), split) for split in ALL)


# ---------------------------------------------------------------- named corpora


def test_a_corpus_own_splits_are_not_cut() -> None:
    data = DataConfig(dataset="phrasebook", source="en", target="de")
    assert cut_splits(data) == ()
    pairs = list(located_pairs(data, ("valid", "test")))
    for split in ("valid", "test"):
        found = [pair for pair in pairs if pair.split == split]
        texts = [(pair.source, pair.target) for pair in found]
        assert texts == phrasebook.load(split, "en", "de")
        assert [pair.line for pair in found] == [*range(1, len(found) + 1)]
        assert {pair.origin.source_name for pair in found} == {f"phrasebook {split}"}


def test_a_corpus_own_split_can_be_done_without() -> None:
    data = DataConfig(dataset="phrasebook", source="de", target="en", valid="none")
    assert not has_split(data, "valid")
    assert cut_splits(data) == ()
    with pytest.raises(DataError, match=r"does without valid data \(data\.valid: none\)"):
        list(read_split(data, "valid"))


def test_a_corpus_without_splits_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path))
    (tmp_path / "tatoeba").mkdir()
    lines = [f"{target}\t{source}\tCC-BY\n" for source, target in sentences(300)]
    (tmp_path / "tatoeba" / "deu.txt").write_text("".join(lines), encoding="utf-8")
    data = DataConfig(dataset="tatoeba", source="de", target="en")
    assert cut_splits(data) == ("valid", "test")
    own = config(tmp_path, sentences(300))
    for split in ALL:
        assert list(read_split(data, split)) == list(read_split(own, split))


def test_a_split_that_no_corpus_has() -> None:
    data = DataConfig(dataset="phrasebook", source="de", target="en")
    with pytest.raises(DataError, match="unknown split of phrasebook: 'tset'"):
        list(read_split(data, "tset"))


# ---------------------------------------------------------------- what training does not look at


def test_training_on_a_named_corpus_needs_no_test_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "multi30k").mkdir()
    for stem in ("train", "val"):
        for language in ("de", "en"):
            (tmp_path / "multi30k" / f"{stem}.{language}").write_text("a\n")
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path))
    data = DataConfig(dataset="multi30k", source="de", target="en")
    assert cut_splits(data) == ()
    assert sources(data, "train") == sources(data, "valid") == ["a"]


@pytest.mark.parametrize("text", ["ΐ", "İ", "ß", "ŉ", "ǰ", "Ω", "é"])
def test_a_sentence_keeps_its_key_in_capitals_and_in_pieces(text: str) -> None:
    keys = {sentence_key(form) for form in (text, text.upper(), unicodedata.normalize("NFD", text))}
    assert len(keys) == 1
