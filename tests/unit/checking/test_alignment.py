"""The check for misaligned pairs against the same in plain Python, one pair at a time."""

import math
import random
from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest

from seq2seq_cli.checking import alignment
from seq2seq_cli.checking.alignment import Sides

Words = set[int]
Pair = tuple[Words, Words]
Pairs = list[Pair]


def sides(pairs: Pairs) -> Sides:
    arrays = []
    for side in (0, 1):
        words = [sorted(pair[side]) for pair in pairs]
        arrays.append(np.array([word for some in words for word in some], dtype=np.int64))
        arrays.append(np.cumsum([0, *map(len, words)]))
    return Sides(*arrays)


def random_pairs(seed: int, num_pairs: int, num_words: int) -> Pairs:
    """Word n translates word n, mostly; some words have another translation, some pairs none."""
    draw = random.Random(seed)
    pairs: Pairs = []
    for _ in range(num_pairs):
        source = set(draw.choices(range(num_words), k=draw.randint(0, 14)))
        target = {(word + (draw.random() < 0.1)) % num_words for word in source}
        target -= set(draw.choices(range(num_words), k=3))
        if draw.random() < 0.1:
            target = set(draw.choices(range(num_words), k=draw.randint(0, 14)))
        pairs.append((source, target))
    return pairs


def is_short(pair: tuple[Words, Words]) -> bool:
    return max(map(len, pair)) <= alignment.MAX_TOKENS


def reference_links(pairs: Pairs) -> dict[tuple[int, int], float]:
    """Partners, and Dice's coefficient of each link."""
    in_pairs = [Counter(word for pair in pairs for word in pair[side]) for side in (0, 1)]
    most = max(alignment.MIN_PAIRS, alignment.MAX_SHARE * len(pairs))
    together = Counter(
        words
        for pair in pairs
        if is_short(pair)
        for words in product(*pair)
        if all(
            alignment.MIN_PAIRS <= counts[word] <= most
            for counts, word in zip(in_pairs, words, strict=True)
        )
    )
    dice = {}
    for (source, target), count in together.items():
        both = in_pairs[0][source], in_pairs[1][target]
        if count >= alignment.MIN_PAIRS and count >= 3 * (both[0] * both[1] / len(pairs)):
            dice[source, target] = 2 * count / sum(both)
    best: list[dict[int, float]] = [{}, {}]
    for words, value in dice.items():
        for side in (0, 1):
            best[side][words[side]] = max(value, best[side].get(words[side], 0.0))
    return {
        words: value
        for words, value in dice.items()
        if any(value >= alignment.NEAR_BEST * best[side][words[side]] for side in (0, 1))
    }


def meets(word: int, side: int, other: Words, links: dict[tuple[int, int], float]) -> bool:
    return any(((word, found) if side == 0 else (found, word)) in links for found in other)


def reference_odds(pairs: Pairs, known: Pairs, links: dict[tuple[int, int], float]) -> list[float]:
    """The log odds of pairs, after what the known ones tell of their words."""
    linked = [{words[side] for words in links} for side in (0, 1)]
    reliable: list[dict[int, float]] = [{}, {}]

    def holds_together(pair: Pair) -> bool:
        hits = [
            meets(word, side, pair[1 - side], links)
            for side in (0, 1)
            for word in pair[side] & linked[side]
        ]
        return sum(hits) >= alignment.MIN_MET * len(hits)

    friends = [pair for pair in known if is_short(pair) and holds_together(pair)]
    for side in (0, 1):
        for word in linked[side]:
            there = [pair for pair in friends if word in pair[side]]
            met = sum(meets(word, side, pair[1 - side], links) for pair in there)
            share = (met + 0.5) / (len(there) + 1.5)
            reliable[side][word] = min(max(share, 1.2 * alignment.BY_CHANCE), 0.98)
    odds = []
    for pair in pairs:
        total = 0.0
        for side in (0, 1):
            for word in (pair[side] & linked[side]) if is_short(pair) else ():
                share = reliable[side][word]
                if meets(word, side, pair[1 - side], links):
                    total += math.log(share / alignment.BY_CHANCE)
                else:
                    total += math.log((1 - share) / (1 - alignment.BY_CHANCE))
        odds.append(total)
    return odds


@pytest.mark.parametrize("chunk", [200, 2_000_000])
@pytest.mark.parametrize("seed", range(4))
def test_links_and_odds_equal_plain_python(
    seed: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "_CHUNK_CELLS", chunk)
    monkeypatch.setattr(alignment, "MAX_TOKENS", 11)
    monkeypatch.setattr(alignment, "SUSPICIOUS", -1.0)
    pairs = random_pairs(seed, num_pairs=200, num_words=60)
    links = alignment.find_links(sides(pairs), 61, 63)
    expected = reference_links(pairs)
    assert expected
    assert [tuple(divmod(key, 63)) for key in links.keys.tolist()] == sorted(expected)
    others = random_pairs(seed + 100, num_pairs=200, num_words=60)
    for judged in (pairs, others):
        odds = reference_odds(judged, pairs, expected)
        assert alignment.log_odds(sides(judged), links) == pytest.approx(odds)
        suspicious = [value < alignment.SUSPICIOUS for value in odds]
        assert alignment.suspicious(sides(judged), links).tolist() == suspicious
    assert any(suspicious)
    assert not all(suspicious)


def aligned(seed: int, num_pairs: int = 400) -> Pairs:
    draw = random.Random(seed)
    return [(words, words) for words in (set(draw.sample(range(150), 9)) for _ in range(num_pairs))]


def judge(pairs: Pairs, known: Pairs) -> list[bool]:
    links = alignment.find_links(sides(known), 200, 200)
    found: list[bool] = alignment.suspicious(sides(pairs), links).tolist()
    return found


def test_translations_are_not_suspicious_and_strangers_are() -> None:
    known = aligned(1)
    assert not any(judge(known, known))
    turned = [(source, target) for (source, _), (_, target) in pairwise(known)]
    assert sum(judge(turned, known)) > 0.9 * len(turned)


def test_pairs_that_tell_too_little_are_not_suspicious() -> None:
    strange: Pairs = [(set(), set()), ({1}, {2}), ({160, 161, 162, 163}, {170, 171, 172, 173})]
    assert judge(strange, aligned(1)) == [False, False, False]


def test_long_sides_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    known = aligned(1)
    strange: Pairs = [(set(range(20)), set(range(50, 60)))]
    assert judge(strange, known) == [True]
    monkeypatch.setattr(alignment, "MAX_TOKENS", 19)
    assert judge(strange, known) == [False]
    assert judge([(target, source) for source, target in strange], known) == [False]


def test_words_that_are_everywhere_say_nothing() -> None:
    known = [(source | {190}, target | {190}) for source, target in aligned(1)]
    links = alignment.find_links(sides(known), 200, 200)
    assert links.reliable_source[190] == links.reliable_target[190] == 0
    assert (links.reliable_source[:150] > 0.9).all()


@pytest.mark.parametrize("pairs", [[], [(set(), set())], [({1}, {1})], [({1}, set())] * 9])
def test_too_little_to_learn_from(pairs: Pairs) -> None:
    assert judge(pairs, pairs) == [False] * len(pairs)
    assert judge(aligned(1, 3), pairs) == [False] * 3
    links = alignment.find_links(sides(pairs), 200, 200)
    assert len(links.keys) == 0
    assert alignment.find_links(sides([]), 0, 0).keys.tolist() == []


def test_no_pairs_to_judge() -> None:
    assert judge([], aligned(1)) == []


@pytest.mark.parametrize("cuts", [[], [0], [3], [1, 1, 5]])
def test_joined_parts_are_the_whole(cuts: list[int]) -> None:
    pairs = random_pairs(1, num_pairs=9, num_words=20)
    bounds = [0, *cuts, len(pairs)]
    parts = [sides(pairs[start:stop]) for start, stop in pairwise(bounds)]
    whole = sides(pairs)
    for found, expected in zip(alignment.joined(parts), whole, strict=True):
        assert found.dtype == np.int64
        assert found.tolist() == expected.tolist()
    assert len(alignment.joined(parts)) == len(pairs)


def test_nothing_joined_is_nothing() -> None:
    assert len(alignment.joined([])) == 0


@pytest.mark.parametrize(
    "values", [[], [5], [0, 0], [3, 1, 2, 3, 1], [-(2**63), 2**63 - 1, -1, -1], [-(2**63)]]
)
def test_sorted_distinct(values: list[int]) -> None:
    found = alignment.sorted_distinct(np.array(values, dtype=np.int64))
    assert found.tolist() == sorted(set(values))
