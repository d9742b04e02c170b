"""The keys of `decoding`."""

from __future__ import annotations

import pytest

from seq2seq_cli.config import DecodingConfig, TranslatorConfig
from tests.unit.config.support import CORPUS, load, mistakes


def test_decoding_defaults() -> None:
    assert load(CORPUS).decoding == DecodingConfig(
        beam_size=5, length_penalty=1.0, no_repeat_ngram_size=0, max_length_ratio=2.0
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("beam_size: 0", "beam_size: must be at least 1, not 0"),
        ("beam_size: 10_001", "beam_size: must be at most 10000, not 10_001"),
        ("beam_size: 2.5", "beam_size: must be a whole number, not 2.5"),
        ("beam_size:", "beam_size: must be a whole number, not nothing"),
        ("length_penalty: -0.1", "length_penalty: must be at least 0, not -0.1"),
        ("length_penalty: 10.1", "length_penalty: must be at most 10, not 10.1"),
        ("length_penalty: .nan", "length_penalty: must be a number, not '.nan'"),
        ("no_repeat_ngram_size: -1", "no_repeat_ngram_size: must be at least 0, not -1"),
        ("no_repeat_ngram_size: 1001", "no_repeat_ngram_size: must be at most 1000, not 1001"),
        ("no_repeat_ngram_size: two", "no_repeat_ngram_size: must be a whole number, not 'two'"),
        ("max_length_ratio: 0", "max_length_ratio: must be greater than 0, not 0"),
        ("max_length_ratio: 100.1", "max_length_ratio: must be at most 100, not 100.1"),
        ("beam: 3", "beam: unknown key (did you mean beam_size?)"),
    ],
)
def test_decoding_mistakes(given: str, expected: str) -> None:
    assert mistakes(f"{CORPUS}decoding:\n  {given}\n") == [f"c.yaml:3: decoding.{expected}"]


@pytest.mark.parametrize(
    "given",
    [
        {"beam_size": 1, "length_penalty": 0.0, "no_repeat_ngram_size": 0},
        {"beam_size": 10_000, "length_penalty": 10.0, "no_repeat_ngram_size": 1000},
        {"max_length_ratio": 100.0},
    ],
)
def test_decoding_reaches_the_translator_from_bound_to_bound(given: dict[str, float]) -> None:
    config = load(CORPUS, *(f"decoding.{key}={value}" for key, value in given.items()))
    kept = config.for_translator()
    assert kept.decoding == DecodingConfig.model_validate(given)
    assert TranslatorConfig.model_validate_json(kept.model_dump_json()) == kept
