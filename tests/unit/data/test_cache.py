"""Prepared data kept between runs: the same data, as long as nothing that it depends on changes."""

from __future__ import annotations

import gzip
import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seq2seq_cli.config.data import DataConfig
from seq2seq_cli.data import cache, datasets, phrasebook, preparation
from seq2seq_cli.data.batching import FlatPairs
from seq2seq_cli.data.corpus import PairSource
from seq2seq_cli.data.downloads import cache_path
from seq2seq_cli.data.preparation import PreparedData, prepare
from seq2seq_cli.data.tokenizers import load_tokenizer
from seq2seq_cli.data.vocabulary import TextCodec, Vocabulary
from seq2seq_cli.errors import ConfigError, DataError

PAIRS = [(pair.german, pair.english) for pair in phrasebook.generate(160, 4)]
ODD = [
    ("", "x"),
    ("lang " * 40, "long"),
    ("ein\u2028Zeichen", "some “odd” <eos> signs 😀"),
    ("a", ""),
]


@pytest.fixture
def news() -> Iterator[list[tuple[str, str]]]:
    """What is logged from now on."""
    lines: list[tuple[str, str]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.levelname, record.getMessage()))

    logger = logging.getLogger("seq2seq")
    handler = Collect()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield lines
    logger.removeHandler(handler)


@pytest.fixture
def preparations(monkeypatch: pytest.MonkeyPatch) -> list[DataConfig]:
    """The config of each time that data is prepared anew."""
    configs: list[DataConfig] = []
    anew = preparation._prepare

    def noted(config: DataConfig, codecs: Any) -> PreparedData:
        configs.append(config)
        return anew(config, codecs)

    monkeypatch.setattr(preparation, "_prepare", noted)
    return configs


def write(folder: Path, stem: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Two files of lines; what a config says of them."""
    for side, suffix in enumerate(("src", "trg")):
        text = "".join(f"{pair[side]}\n" for pair in pairs)
        (folder / f"{stem}.{suffix}").write_text(text, encoding="utf-8")
    return {"source": str(folder / f"{stem}.src"), "target": str(folder / f"{stem}.trg")}


def config(folder: Path, **more: Any) -> DataConfig:
    """Of the files in a folder, which are written if there are none."""
    if not (folder / "train.src").exists():
        write(folder, "train", PAIRS[:120] + ODD)
        write(folder, "valid", PAIRS[120:150] + ODD)
    places = {
        split: {"source": str(folder / f"{split}.src"), "target": str(folder / f"{split}.trg")}
        for split in ("train", "valid")
    }
    return DataConfig.model_validate(
        {**places, "test": "none", "source": "de", "target": "en", "max_length": 30, **more}
    )


def entries() -> list[Path]:
    return sorted(cache_path("prepared").glob("*"))


def assert_equal(one: PreparedData, other: PreparedData) -> None:
    for mine, its in ((one.train, other.train), (one.valid, other.valid)):
        assert_equal_pairs(mine.pairs, its.pairs)
        assert (mine.num_empty, mine.num_too_long) == (its.num_empty, its.num_too_long)
    assert one.train_texts == other.train_texts
    assert one.valid_texts == other.valid_texts
    assert one.max_length == other.max_length
    for codec, its_codec in ((one.source, other.source), (one.target, other.target)):
        assert codec.vocabulary.tokens == its_codec.vocabulary.tokens
        assert type(codec.tokenizer) is type(its_codec.tokenizer)
        assert codec.tokenizer.to_bytes() == its_codec.tokenizer.to_bytes()
        for text in ("Das „Kind“ isst (oft) T-Shirts, 3.5!", *PAIRS[155], ODD[2][1]):
            ids = codec.encode(text)
            assert ids.tolist() == its_codec.encode(text).tolist()
            assert codec.decode(ids) == its_codec.decode(ids)
    shares = [data.source.vocabulary is data.target.vocabulary for data in (one, other)]
    assert shares[0] == shares[1]
    if one.train_texts:
        indices = np.arange(0, len(one.train.pairs), 3)
        drawn = [data.sampled_train_pairs(indices, 5) for data in (one, other)]
        assert_equal_pairs(*drawn)


def assert_equal_pairs(one: FlatPairs, other: FlatPairs) -> None:
    for mine, its in ((one.source, other.source), (one.target, other.target)):
        assert (mine.ids.dtype, mine.offsets.dtype) == (its.ids.dtype, its.offsets.dtype)
        assert mine.ids.tolist() == its.ids.tolist()
        assert mine.offsets.tolist() == its.offsets.tolist()


# ---------------------------------------------------------------- the same data

TOKENIZERS = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["whitespace", "words", "characters"])},
        optional={"lowercase": st.booleans(), "nfc": st.booleans()},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["bpe", "unigram"]),
            "size": st.integers(130, 160),
            "dropout": st.sampled_from([0.0, 0.3]),
        }
    ),
)
CONFIGS = st.fixed_dictionaries(
    {"tokenizer": TOKENIZERS},
    optional={
        "vocabulary": st.fixed_dictionaries(
            {"shared": st.booleans(), "min_freq": st.integers(1, 3)},
            optional={"max_size": st.integers(5, 60)},
        ),
        "max_length": st.integers(12, 60),
        "limit": st.integers(90, 130),
        "reverse_source": st.booleans(),
        "valid": st.sampled_from([None, "none"]),  # None: cut from the training data
        "test": st.sampled_from([None, "none"]),
    },
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(options=CONFIGS)
def test_kept_data_is_what_preparing_anew_gives(
    tmp_path: Path,
    news: list[tuple[str, str]],
    preparations: list[DataConfig],
    options: dict[str, Any],
) -> None:
    for entry in entries():
        entry.unlink()
    text = config(tmp_path, **options)
    said: list[list[tuple[str, str]]] = []
    found: list[PreparedData] = []
    for _ in range(2):
        news.clear()
        preparations.clear()
        try:
            found.append(prepare(text))
        except (DataError, ConfigError):  # too few pieces, no pair left: there is nothing to keep
            assert entries() == []
            return
        said.append([line for line in news if line[0] != "DEBUG"])
    assert preparations == []
    assert len(entries()) == 1
    assert said[0] == said[1]
    assert_equal(*found)


def test_what_people_saw_of_a_table_they_see_again(
    tmp_path: Path, news: list[tuple[str, str]], preparations: list[DataConfig]
) -> None:
    table = tmp_path / "train.tsv"
    table.write_text("".join(f"{src}\t{trg}\n" for src, trg in PAIRS), encoding="utf-8")
    text = DataConfig.model_validate({"train": str(table), "held_out": {"valid": 0.2}})
    prepare(text)
    first = [line for line in news if line[0] == "INFO"]
    news.clear()
    prepare(text)
    assert [line for line in news if line[0] == "INFO"] == first
    assert any("validation data" in line for _, line in first)
    assert any(str(table) in line for _, line in first)
    assert len(preparations) == 1


def test_kept_data_outlives_its_entry(tmp_path: Path) -> None:
    fresh = prepare(config(tmp_path))
    kept = prepare(config(tmp_path))
    for entry in entries():
        entry.unlink()
    assert_equal(fresh, kept)


# ---------------------------------------------------------------- what makes another entry


def shift_valid(folder: Path) -> None:
    write(folder, "valid", PAIRS[121:150])


def change_one_letter(folder: Path) -> None:
    path = folder / "train.src"
    data, times = path.read_bytes(), path.stat()
    path.write_bytes(data.replace(b"e", b"f", 1))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # dates and sizes tell nothing


@pytest.mark.parametrize("change", [shift_valid, change_one_letter])
def test_other_content_is_other_data(
    tmp_path: Path, preparations: list[DataConfig], change: Callable[[Path], None]
) -> None:
    prepare(config(tmp_path))
    change(tmp_path)
    changed = prepare(config(tmp_path))
    assert len(preparations) == 2
    assert len(entries()) == 2
    assert_equal(changed, prepare(config(tmp_path)))
    assert len(preparations) == 2


def test_another_config_is_other_data(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"max_length": 29},
        {"source": "fr"},
        {"limit": 100},
        {"tokenizer": {"kind": "words", "lowercase": True}},
        {"vocabulary": {"min_freq": 2}},
        {"valid": None},
        {"valid": "none"},
        {"test": None},
        {"held_out": {"valid": 0.1}},
    ]
    configs = [config(tmp_path, **change) for change in changes]
    keys = [cache.key(text, cache.inputs(text)) for text in configs]
    assert None not in keys
    assert len({*keys}) == len(changes)


def test_other_code_or_packages_make_other_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = config(tmp_path)
    files = cache.inputs(text)
    keys = {cache.key(text, files)}
    for name, changed in (("_code", lambda: "other"), ("_version", lambda package: "9")):
        with monkeypatch.context() as patch:
            patch.setattr(cache, name, changed)
            keys.add(cache.key(text, files))
    assert len(keys) == 3


def test_text_files_may_move(tmp_path: Path, preparations: list[DataConfig]) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    assert_equal(prepare(config(one)), prepare(config(other)))
    assert len(preparations) == 1


def test_the_same_bytes_packed_in_another_way_are_other_data(tmp_path: Path) -> None:
    """A text file may begin with the bytes of a packed one; its name says which it is."""
    packed = gzip.compress(b"a\nb\n", mtime=0)
    keys = set()
    for suffix in (".txt", ".gz"):
        path = tmp_path / f"text{suffix}"
        path.write_bytes(packed)
        place = {"source": str(path), "target": str(path)}
        text = DataConfig.model_validate({"train": place, "valid": "none", "test": "none"})
        keys.add(cache.key(text, cache.inputs(text)))
    assert len(keys) == 2


def test_source_and_target_are_told_apart(tmp_path: Path) -> None:
    place = write(tmp_path, "train", PAIRS)
    turned = {"source": place["target"], "target": place["source"]}
    keys = {
        cache.key(text, cache.inputs(text))
        for text in (
            DataConfig.model_validate({"train": files, "valid": "none", "test": "none"})
            for files in (place, turned)
        )
    }
    assert len(keys) == 2


def test_files_that_do_not_go_together_are_refused_with_an_entry_too(tmp_path: Path) -> None:
    names = [f"{name}.txt" for name in "abcd"]
    for number, name in enumerate(names):
        lines = [pair[number // 2] for pair in PAIRS]
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    paths = tuple(tmp_path / name for name in names)

    def moved(border: int) -> DataConfig:
        files = {"source": paths[:border], "target": paths[border:]}
        return DataConfig.model_validate({"train": files, "valid": "none", "test": "none"})

    prepare(moved(2))

    assert len(entries()) == 1
    with pytest.raises(DataError, match="1 source files but 3 target files"):
        prepare(moved(1))


def test_files_that_change_while_they_are_read_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = config(tmp_path)
    anew = preparation._prepare

    def meanwhile(config: DataConfig, codecs: Any) -> PreparedData:
        change_one_letter(tmp_path)
        return anew(config, codecs)

    monkeypatch.setattr(preparation, "_prepare", meanwhile)
    prepare(text)
    assert entries() == []


# ---------------------------------------------------------------- named corpora


def named(**more: str) -> DataConfig:
    return DataConfig.model_validate({"source": "de", "target": "en", **more})


def multi30k(folder: Path, pairs: list[tuple[str, str]]) -> DataConfig:
    (folder / "multi30k").mkdir(parents=True)
    for split, some in (("train", pairs[:100]), ("val", pairs[100:])):
        for side, language in enumerate(("de", "en")):
            text = "".join(f"{pair[side]}\n" for pair in some)
            path = folder / "multi30k" / f"{split}.{language}.gz"
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return named(dataset="multi30k")


def tatoeba(folder: Path, pairs: list[tuple[str, str]]) -> DataConfig:
    (folder / "tatoeba").mkdir(parents=True)
    with zipfile.ZipFile(folder / "tatoeba" / "deu-eng.zip", "w") as archive:
        archive.writestr("deu.txt", "".join(f"{trg}\t{src}\tby me\n" for src, trg in pairs))
    return named(dataset="tatoeba")


def kaggle(folder: Path, pairs: list[tuple[str, str]]) -> DataConfig:
    (folder / "kaggle" / "some" / "one").mkdir(parents=True)
    text = "de,en\n" + "".join(f'"{src}","{trg}"\n' for src, trg in pairs)
    (folder / "kaggle" / "some" / "one" / "pairs.csv").write_text(text, encoding="utf-8")
    return named(dataset="kaggle:some/one/pairs.csv")


@pytest.mark.parametrize("corpus", [multi30k, tatoeba, kaggle])
def test_files_of_named_corpora(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    preparations: list[DataConfig],
    corpus: Callable[[Path, list[tuple[str, str]]], DataConfig],
) -> None:
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "one"))
    text = corpus(tmp_path / "one", PAIRS)
    assert_equal(prepare(text), prepare(text))
    assert len(preparations) == 1
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "other"))
    assert corpus(tmp_path / "other", PAIRS[5:]) == text
    prepare(text)
    assert len(preparations) == 2


def test_where_files_were_looked_for_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, news: list[tuple[str, str]]
) -> None:
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "mine"))
    text = tatoeba(tmp_path / "fetched", PAIRS)
    cache_path().mkdir(parents=True)
    (tmp_path / "fetched" / "tatoeba").rename(cache_path("tatoeba"))
    for _ in range(2):
        news.clear()
        prepare(text)
        lines = [line for level, line in news if level == "INFO"]
        assert len({*lines}) == len(lines) == 3
        assert "deu-eng.zip is not in" in lines[0]
        assert "pairs cut from the training data" in lines[1]


def test_the_phrasebook_has_no_files() -> None:
    text = named(dataset="phrasebook")
    assert cache.inputs(text) == []
    assert cache.key(text, []) is not None


def test_what_cannot_be_told_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    source = PairSource("hf:some/one train", "hf:some/one train", lambda on_fault: iter([]))
    monkeypatch.setattr(datasets, "pair_sources", lambda config, split: [source])
    text = named(dataset="hf:some/one")
    assert cache.inputs(text) is None
    assert cache.key(text, None) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_is_left_to_whoever_reads_it(tmp_path: Path) -> None:
    text = config(tmp_path)
    (tmp_path / "train.src").unlink()
    os.mkfifo(tmp_path / "train.src")
    assert cache.inputs(text) is None


# ---------------------------------------------------------------- codecs that are given


def test_going_on_with_the_codecs_that_were_learned(
    tmp_path: Path, preparations: list[DataConfig]
) -> None:
    text = config(tmp_path, tokenizer={"kind": "bpe", "size": 140, "dropout": 0.1})
    learned = prepare(text)
    kept = prepare(text, (learned.source, learned.target))
    assert (kept.source, kept.target) == (learned.source, learned.target)
    assert kept.source is learned.source
    assert_equal(learned, kept)
    assert len(preparations) == 1


def test_going_on_with_other_codecs(tmp_path: Path, preparations: list[DataConfig]) -> None:
    text = config(tmp_path)
    learned = prepare(text)
    other = TextCodec(learned.source.tokenizer, Vocabulary(["der", "die"])), learned.target
    before = [path.read_bytes() for path in entries()]
    data = prepare(text, other)
    assert data.source is other[0]
    assert data.train.pairs.source.ids.max() < 6
    assert len(preparations) == 2
    assert [path.read_bytes() for path in entries()] == before
    assert_equal(prepare(text), learned)


def test_other_codecs_are_not_what_the_next_training_begins_with(tmp_path: Path) -> None:
    text = config(tmp_path)
    words = load_tokenizer(text.tokenizer, b"")
    codec = TextCodec(words, Vocabulary(["a"]))
    prepare(text, (codec, codec))
    assert entries() == []


# ---------------------------------------------------------------- bad entries and places


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    safetensors.numpy.save_file({"x": np.zeros(3)}, path)


@pytest.mark.parametrize("harm", [cut_off, flip_a_bit, empty, foreign])
def test_a_damaged_entry_is_made_anew(
    tmp_path: Path,
    news: list[tuple[str, str]],
    preparations: list[DataConfig],
    harm: Callable[[Path], None],
) -> None:
    text = config(tmp_path)
    fresh = prepare(text)
    (entry,) = entries()
    whole = entry.read_bytes()
    harm(entry)
    news.clear()
    assert_equal(fresh, prepare(text))
    assert len(preparations) == 2
    assert [line for level, line in news if level == "WARNING"] == [
        f"{entry} is damaged; preparing the data anew"
    ]
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("place", ["cache", "cache/seq2seq", "cache/seq2seq/prepared"])
def test_a_place_that_cannot_be_written_costs_a_line(
    tmp_path: Path, news: list[tuple[str, str]], preparations: list[DataConfig], place: str
) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("a file is in the way")
    prepare(config(tmp_path))
    prepare(config(tmp_path))
    assert len(preparations) == 2
    assert {level for level, line in news if "repared data" in line} == {"DEBUG"}


def test_nobody_has_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*names: str) -> Path:
        raise RuntimeError("Could not determine home directory.")

    text = config(tmp_path)
    monkeypatch.setattr(cache, "cache_path", homeless)
    assert len(prepare(text).train.pairs)


def test_old_entries_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [config(tmp_path, max_length=length) for length in (30, 31, 32)]
    paths: list[Path] = []
    for age, text in zip((30, 20, 10), configs, strict=True):
        prepare(text)
        (path,) = {*entries()} - {*paths}
        os.utime(path, (1e9 - age, 1e9 - age))
        paths.append(path)
    prepare(configs[0])  # now it is the second that was not used for longest
    monkeypatch.setattr(cache, "MAX_BYTES", 3.5 * paths[0].stat().st_size)
    prepare(config(tmp_path, max_length=33))
    assert paths[0] in entries()
    assert paths[1] not in entries()
    assert paths[2] in entries()
    assert len(entries()) == 3


def test_the_newest_entry_stays_however_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preparations: list[DataConfig]
) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 1)
    prepare(config(tmp_path))
    prepare(config(tmp_path, max_length=31))
    prepare(config(tmp_path, max_length=31))
    assert len(preparations) == 2
    assert len(entries()) == 1
