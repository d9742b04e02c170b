"""The sizes of vocabularies; `tests/unit/test_config_file.py` has the other keys of `data`."""

from __future__ import annotations

from pathlib import Path

import pytest

from seq2seq_cli.config.data import VocabularySizes
from seq2seq_cli.config_file import dump_config, load_config
from tests.unit.config.support import load, mistakes

VOCABULARY = "data:\n  {dataset: phrasebook, source: de, target: en,\n  vocabulary: {%s}}\n"


@pytest.mark.parametrize(
    ("given", "source", "target"),
    [
        ("", None, None),
        ("max_size:", None, None),
        ("max_size: null", None, None),
        ("max_size: {}", None, None),
        ("max_size: 7", 7, 7),
        ("max_size: 1e3", 1000, 1000),
        ("max_size: {source: 160e3, target: 80_000}", 160_000, 80_000),
        ("max_size: {source: 7}", 7, None),
        ("max_size: {target: 7, source: null}", None, 7),
        ("max_size: 7, shared: true", 7, 7),
        ("max_size: {source: 7, target: 7}, shared: true", 7, 7),
        ("shared: true", None, None),
    ],
)
def test_one_size_or_one_for_each_side(given: str, source: int | None, target: int | None) -> None:
    config = load(VOCABULARY % given)
    assert config.data.vocabulary.max_size == VocabularySizes(source=source, target=target)
    kept = config.for_translator()
    assert kept.data.vocabulary.max_size == VocabularySizes(source=source, target=target)
    Path("dumped.yaml").write_text(dump_config(config))
    assert load_config("dumped.yaml") == config


def test_sizes_are_set_whole_or_one_by_one() -> None:
    text = VOCABULARY % "max_size: {source: 7, target: 8}"
    for override, sizes in [
        ("max_size=9", VocabularySizes(source=9, target=9)),
        ("max_size=null", VocabularySizes()),
        ("max_size={target: 9}", VocabularySizes(target=9)),
        ("max_size.target=9", VocabularySizes(source=7, target=9)),
        ("max_size.target=null", VocabularySizes(source=7)),
    ]:
        found = load(text, f"data.vocabulary.{override}").data.vocabulary.max_size
        assert found == sizes, override


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("max_size: 0", "max_size: must be at least 1, not 0"),
        ("max_size: 2e9", "max_size: must be at most 1000000000, not 2e9"),
        ("max_size: 1.5", "max_size: must be a whole number, not 1.5"),
        *[
            (
                f"max_size: {value}",
                "max_size: must be a number, or a mapping of keys (source, target), "
                f"not {shown}",
            )
            for value, shown in [("all", "'all'"), ("true", "'true'"), ("[7, 8]", "['7', '8']")]
        ],
        ("max_size: {source: 0}", "max_size.source: must be at least 1, not 0"),
        ("max_size: {target: x}", "max_size.target: must be a whole number, not 'x'"),
        ("max_size: {trg: 3}", "max_size.trg: unknown key (did you mean target?)"),
        *[
            (f"shared: true, max_size: {sizes}", "max_size: a shared vocabulary has one size, "
             "not two")
            for sizes in ("{source: 7, target: 8}", "{source: 7}", "{target: 7}")
        ],
    ],
)  # fmt: skip
def test_mistakes_about_sizes(given: str, expected: str) -> None:
    assert mistakes(VOCABULARY % given) == [f"c.yaml:3: data.vocabulary.{expected}"]
