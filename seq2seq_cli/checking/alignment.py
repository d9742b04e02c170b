"""Which pairs of a corpus look as if their sides did not belong together.

Words that translate each other turn up in the same pairs far more often than chance would have it;
Dice's coefficient (twice the pairs with both words, by the pairs with either one) tells how far.
Each word of a pair that has such partners then speaks for the pair when one of them is on the other
side, and against it when none is, the louder the more reliably it meets them elsewhere. A pair is
suspicious when all its words together say so: a likelihood ratio, as if they were independent.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MIN_PAIRS = 3  # a word, and a link, is judged by no fewer pairs
MAX_SHARE = 0.3  # words in more of the pairs (articles, full stops) say little
NEAR_BEST = 0.3  # links this strong, by a word's best one, are its partners too
MAX_TOKENS = 100  # longer sides are not judged: work grows with the product of the sides
MIN_MET = 0.25  # share of its words that meet a partner in a pair that words are judged by
BY_CHANCE = 0.05  # how often a word meets a partner in a pair that is none
SUSPICIOUS = -8.0  # log of the odds below which a pair is: 1 to 3,000

MAX_CELLS = 10_000_000  # words beside words that links are counted in; of more, a part is taken
_CHUNK_CELLS = 2_000_000  # at a time
_NONE: Whole = np.empty(0, dtype=np.int64)


class Sides(NamedTuple):
    """Word ids of consecutive pairs: each pair's distinct ones, pair i's at offsets[i] to
    offsets[i + 1]."""

    source: Whole
    source_offsets: Whole
    target: Whole
    target_offsets: Whole

    def __len__(self) -> int:
        return len(self.source_offsets) - 1


class Links(NamedTuple):
    """Words and their partners."""

    keys: Whole
    """source id * number of target words + target id, ascending."""
    num_targets: int
    reliable_source: Floats
    """By source id: share of its pairs in which it meets a partner; 0 for a word without one."""
    reliable_target: Floats


def sorted_distinct(values: Whole) -> Whole:
    """Distinct values in ascending order; several times faster here than np.unique."""
    ordered: Whole = np.sort(values)
    return ordered[np.diff(ordered, prepend=ordered[:1] - 1).astype(np.bool_)]


def joined(parts: list[Sides]) -> Sides:
    """All the pairs of several parts."""
    arrays: list[Whole] = []
    for ids, offsets in ((0, 1), (2, 3)):
        counts = [np.diff(part[offsets]) for part in parts]
        arrays.append(np.concatenate([_NONE, *(part[ids] for part in parts)]))
        arrays.append(np.concatenate([[0], np.cumsum(np.concatenate([_NONE, *counts]))]))
    return Sides(*arrays)


def find_links(pairs: Sides, num_sources: int, num_targets: int) -> Links:
    """Count which words turn up together. num_sources, num_targets: of word ids."""
    pairs = _thinned(pairs)
    source_pairs = np.bincount(pairs.source, minlength=num_sources)
    target_pairs = np.bincount(pairs.target, minlength=num_targets)
    most = max(MIN_PAIRS, MAX_SHARE * len(pairs))
    telling_source = (source_pairs >= MIN_PAIRS) & (source_pairs <= most)
    telling_target = (target_pairs >= MIN_PAIRS) & (target_pairs <= most)
    together = [_NONE]
    for chunk in _chunks(pairs):
        source, target, _, _ = _together(_only(chunk, telling_source, telling_target))
        together.append(source * num_targets + target)
    ordered = np.sort(np.concatenate(together))
    firsts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    keys, counts = ordered[firsts], np.diff(firsts, append=len(ordered))
    source, target = keys // max(1, num_targets), keys % max(1, num_targets)
    by_chance = source_pairs[source] * target_pairs[target] / max(1, len(pairs))
    strong = (counts >= MIN_PAIRS) & (counts >= 3 * by_chance)
    keys, counts, source, target = (v[strong] for v in (keys, counts, source, target))
    dice = 2 * counts / (source_pairs[source] + target_pairs[target])
    best_source, best_target = np.zeros(num_sources), np.zeros(num_targets)
    np.maximum.at(best_source, source, dice)
    np.maximum.at(best_target, target, dice)
    near = (dice >= NEAR_BEST * best_source[source]) | (dice >= NEAR_BEST * best_target[target])
    links = Links(keys[near], num_targets, best_source, best_target)
    met = np.zeros(num_sources), np.zeros(num_targets)
    judged = np.zeros(num_sources), np.zeros(num_targets)
    for chunk in _chunks(pairs):
        words, *found = _matched(chunk, links)
        sides = [
            (words.source, words.source_offsets, found[0]),
            (words.target, words.target_offsets, found[1]),
        ]
        num_met = sum(_by_pair(hits, offsets) for _, offsets, hits in sides)
        num_words = sum(np.diff(offsets) for _, offsets, _ in sides)
        # Strangers in the corpus would make all words look unreliable: they are left out.
        friends = num_met >= MIN_MET * num_words
        for side, (ids, offsets, hits) in enumerate(sides):
            counted = np.repeat(friends, np.diff(offsets))
            size = len(met[side])
            met[side][:] += np.bincount(ids[hits & counted], minlength=size)
            judged[side][:] += np.bincount(ids[counted], minlength=size)
    return links._replace(
        reliable_source=_reliability(met[0], judged[0]) * (best_source > 0),
        reliable_target=_reliability(met[1], judged[1]) * (best_target > 0),
    )


def _by_pair(values: npt.NDArray[Any], offsets: Whole) -> Floats:
    """Sums of the values of each pair's words."""
    before = np.concatenate([[0.0], np.cumsum(values)])
    sums: Floats = before[offsets[1:]] - before[offsets[:-1]]
    return sums


def _reliability(met: Floats, pairs: Floats) -> Floats:
    """Shares, drawn towards one third where few pairs are known; more than chance, less than 1."""
    shares: Floats = np.clip((met + 0.5) / (pairs + 1.5), 1.2 * BY_CHANCE, 0.98)
    return shares


def suspicious(pairs: Sides, links: Links) -> Mask:
    """For each pair, whether its words speak against it."""
    chunks = [log_odds(chunk, links) < SUSPICIOUS for chunk in _chunks(pairs)]
    return np.concatenate([np.zeros(0, dtype=np.bool_), *chunks])


def log_odds(pairs: Sides, links: Links) -> Floats:
    """For each pair, the logarithm of how much likelier its words' meetings are in a pair of
    translations than in one of strangers; 0 where no word says anything."""
    judged, found_source, found_target = _matched(pairs, links)
    odds = np.zeros(len(pairs))
    for ids, offsets, found, reliable in [
        (judged.source, judged.source_offsets, found_source, links.reliable_source),
        (judged.target, judged.target_offsets, found_target, links.reliable_target),
    ]:
        share = reliable[ids]
        evidence = np.where(found, share / BY_CHANCE, (1.0 - share) / (1.0 - BY_CHANCE))
        odds += _by_pair(np.log(evidence), offsets)
    return odds


def _matched(pairs: Sides, links: Links) -> tuple[Sides, Mask, Mask]:
    """The words that have partners, and whether each finds one in its pair."""
    judged = _only(pairs, links.reliable_source > 0, links.reliable_target > 0)
    source, target, source_places, target_places = _together(judged)
    keys = source * links.num_targets + target
    found = np.minimum(np.searchsorted(links.keys, keys), max(0, len(links.keys) - 1))
    linked = links.keys[found] == keys if len(links.keys) else np.zeros(0, dtype=np.bool_)
    found_source = np.zeros(len(judged.source), dtype=np.bool_)
    found_target = np.zeros(len(judged.target), dtype=np.bool_)
    found_source[source_places[linked]] = True
    found_target[target_places[linked]] = True
    return judged, found_source, found_target


def _cells(pairs: Sides) -> Whole:
    """Source words times target words of each pair; 0 where a side is overlong."""
    num_sources, num_targets = np.diff(pairs.source_offsets), np.diff(pairs.target_offsets)
    return num_sources * num_targets * _fits(pairs)


def _fits(pairs: Sides) -> Mask:
    num_sources, num_targets = np.diff(pairs.source_offsets), np.diff(pairs.target_offsets)
    fits: Mask = (num_sources <= MAX_TOKENS) & (num_targets <= MAX_TOKENS)
    return fits


def _thinned(pairs: Sides) -> Sides:
    """Every second, third ... pair, so that there are no more than MAX_CELLS."""
    step = max(1, -(-int(_cells(pairs).sum()) // MAX_CELLS))
    if step == 1:
        return pairs
    chosen = np.arange(len(pairs)) % step == 0
    kept: list[Whole] = []
    for ids, offsets in [
        (pairs.source, pairs.source_offsets),
        (pairs.target, pairs.target_offsets),
    ]:
        counts = np.diff(offsets)
        kept += [ids[np.repeat(chosen, counts)], np.append(0, np.cumsum(counts[chosen]))]
    return Sides(*kept)


def _chunks(pairs: Sides) -> Iterator[Sides]:
    numbers = np.cumsum(_cells(pairs) + 1) // _CHUNK_CELLS
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(pairs)]
    for start, stop in itertools.pairwise(bounds):
        source_offsets = pairs.source_offsets[start : stop + 1]
        target_offsets = pairs.target_offsets[start : stop + 1]
        yield Sides(
            pairs.source[source_offsets[0] : source_offsets[-1]],
            source_offsets - source_offsets[0],
            pairs.target[target_offsets[0] : target_offsets[-1]],
            target_offsets - target_offsets[0],
        )


def _only(pairs: Sides, sources: Mask, targets: Mask) -> Sides:
    """The same pairs with these words only, and none of pairs with an overlong side."""
    fits = _fits(pairs)
    kept: list[Whole] = []
    for ids, offsets, wanted in [
        (pairs.source, pairs.source_offsets, sources),
        (pairs.target, pairs.target_offsets, targets),
    ]:
        keep = wanted[ids] & np.repeat(fits, np.diff(offsets))
        before = np.concatenate([[0], np.cumsum(keep)])
        kept += [ids[keep], before[offsets]]
    return Sides(*kept)


def _together(pairs: Sides) -> tuple[Whole, Whole, Whole, Whole]:
    """Every source word beside every target word of its pair: the words and their places."""
    num_sources, num_targets = np.diff(pairs.source_offsets), np.diff(pairs.target_offsets)
    repeats = np.repeat(num_targets, num_sources)  # by source word
    source_places = np.repeat(np.arange(len(pairs.source)), repeats)
    first_targets = np.repeat(pairs.target_offsets[:-1], num_sources)
    begins = np.cumsum(repeats) - repeats
    target_places = np.arange(len(source_places)) + np.repeat(first_targets - begins, repeats)
    return pairs.source[source_places], pairs.target[target_places], source_places, target_places
