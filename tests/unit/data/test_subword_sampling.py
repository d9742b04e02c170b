"""Draws of pieces: what without any, how often, and the same in every process."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections import Counter
from random import Random

import pytest

from seq2seq_cli.config.data import BpeTokenizer, UnigramTokenizer
from seq2seq_cli.data import phrasebook
from seq2seq_cli.data.subword_sampling import bpe_dropout, draw_unigrams
from seq2seq_cli.data.subwords import SubwordTokenizer

WORDS = sorted({word for pair in phrasebook.generate(300, 1) for word in pair.german.split()})


@pytest.mark.parametrize("size", [80, 150, 400])
def test_bpe_that_drops_nothing_is_the_best_segmentation(size: int) -> None:
    tokenizer = SubwordTokenizer.learn(BpeTokenizer(size=size), WORDS)
    scores = tokenizer.scores
    odd = ["".join(letters) for letters in itertools.permutations("ensch", 4)]
    assert len(WORDS) > 100
    for word in [*WORDS, *odd, "nn" * 20]:
        assert bpe_dropout(f"\u2581{word}", scores, 0.0, Random(1)) == tokenizer.tokenize(word)


def test_bpe_that_drops_all_leaves_characters() -> None:
    scores = SubwordTokenizer.learn(BpeTokenizer(size=150), WORDS).scores
    assert bpe_dropout("\u2581Frau", scores, 1.0, Random(1)) == list("\u2581Frau")


def test_each_merge_is_left_out_with_the_probability_asked_for() -> None:
    """ab is merged, then abc; a dropout of .3 leaves the pieces abc, ab c, a bc, a b c."""
    scores = {"a": 0.0, "b": 0.0, "c": 0.0, "ab": -1.0, "bc": -2.0, "abc": -3.0}
    draw = Random(1)
    counts = Counter(" ".join(bpe_dropout("abc", scores, 0.3, draw)) for _ in range(20_000))
    expected = {
        "abc": 0.7 * 0.7 + 0.3 * 0.7 * 0.7,
        "ab c": 0.7 * 0.3,
        "a bc": 0.3 * 0.7 * 0.3,
        "a b c": 0.3 * 0.3,
    }
    assert sum(expected.values()) == pytest.approx(1.0)
    for pieces, probability in expected.items():
        assert counts[pieces] / 20_000 == pytest.approx(probability, abs=0.01)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_unigrams_are_drawn_in_proportion_to_their_probability(alpha: float) -> None:
    log_probs = {"a": -2.0, "b": -3.0, "c": -2.5, "ab": -2.2, "bc": -4.0, "abc": -5.5, "ca": -1.0}
    word = "abca"
    weights = {}
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        pieces = [""]
        for character, cut in zip(word, (*cuts, False), strict=True):
            pieces[-1] += character
            if cut:
                pieces.append("")
        if all(piece in log_probs for piece in pieces):
            weights[" ".join(pieces)] = math.exp(alpha * sum(log_probs[p] for p in pieces))
    assert len(weights) == 6
    draw = Random(1)
    counts = Counter(
        " ".join(draw_unigrams(word, log_probs, 3, alpha, draw)) for _ in range(20_000)
    )
    assert counts.keys() == weights.keys()
    for segmentation, weight in weights.items():
        expected = weight / sum(weights.values())
        assert counts[segmentation] / 20_000 == pytest.approx(expected, abs=0.012)


DRAW = """
from seq2seq_cli.config.data import {kind}
from seq2seq_cli.data import phrasebook
from seq2seq_cli.data.subwords import SubwordTokenizer
texts = [pair.german for pair in phrasebook.generate(200, 1)]
tokenizer = SubwordTokenizer.learn({kind}(size=120, dropout=0.3), texts)
print(tokenizer.sample(texts[:40], 7))
"""


@pytest.mark.parametrize("kind", [BpeTokenizer, UnigramTokenizer])
def test_every_process_draws_the_same(kind: type) -> None:
    command = [sys.executable, "-c", DRAW.format(kind=kind.__name__)]
    first, second = (subprocess.run(command, check=True, capture_output=True) for _ in range(2))
    assert first.stdout == second.stdout
    assert first.stdout.count(b"[") == 41
