"""Which pairs of a corpus look as if their sides did not belong together.

Words that translate each other turn up in the same pairs far more often than chance would have it.
The strength of that link is Dice's coefficient: twice the pairs with both words, by the pairs with
either one. A pair in which hardly any word finds a partner on the other side is suspicious.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MIN_PAIRS = 3  # a word, and a link, is judged by no fewer pairs
MAX_SHARE = 0.1  # words in more of the pairs (articles, full stops) say little
MIN_DICE = 0.1  # a word whose best link is weaker has no known partner
NEAR_BEST = 0.3  # links this strong, by a word's best one, are its partners too
MIN_WORDS = 6  # words with a known partner that a pair must have to be judged,
MIN_WORDS_OF_SIDE = 2  # and on each side
MAX_MATCHED = 0.15  # share of them that find one, at most, in a suspicious pair
MAX_TOKENS = 100  # longer sides are not judged: work grows with the product of the sides

_CHUNK = 20_000  # pairs at a time
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
    has_partner_source: Mask
    """By source id."""
    has_partner_target: Mask


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
    source_pairs = np.bincount(pairs.source, minlength=num_sources)
    target_pairs = np.bincount(pairs.target, minlength=num_targets)
    most = max(MIN_PAIRS, MAX_SHARE * len(pairs))
    telling_source = (source_pairs >= MIN_PAIRS) & (source_pairs <= most)
    telling_target = (target_pairs >= MIN_PAIRS) & (target_pairs <= most)
    keys, counts = _NONE, _NONE
    for chunk in _chunks(pairs):
        source, target = _together(_only(chunk, telling_source, telling_target))[:2]
        all_keys = np.concatenate([keys, source * num_targets + target])
        all_counts = np.concatenate([counts, np.ones(len(source), dtype=np.int64)])
        order = np.argsort(all_keys, kind="stable")
        keys = sorted_distinct(all_keys)
        firsts = np.searchsorted(all_keys[order], keys)
        counts = np.add.reduceat(all_counts[order], firsts) if len(keys) else _NONE
    source, target = keys // max(1, num_targets), keys % max(1, num_targets)
    by_chance = source_pairs[source] * target_pairs[target] / max(1, len(pairs))
    strong = (counts >= MIN_PAIRS) & (counts >= 3 * by_chance)
    keys, counts, source, target = (v[strong] for v in (keys, counts, source, target))
    dice = 2 * counts / (source_pairs[source] + target_pairs[target])
    best_source, best_target = np.zeros(num_sources), np.zeros(num_targets)
    np.maximum.at(best_source, source, dice)
    np.maximum.at(best_target, target, dice)
    near = (dice >= NEAR_BEST * best_source[source]) | (dice >= NEAR_BEST * best_target[target])
    return Links(keys[near], num_targets, best_source >= MIN_DICE, best_target >= MIN_DICE)


def suspicious(pairs: Sides, links: Links) -> Mask:
    """For each pair, whether next to none of its words that have a known partner find one."""
    if not len(links.keys) or not len(pairs):
        return np.zeros(len(pairs), dtype=np.bool_)
    return np.concatenate([_suspicious(chunk, links) for chunk in _chunks(pairs)])


def _suspicious(pairs: Sides, links: Links) -> Mask:
    judged = _only(pairs, links.has_partner_source, links.has_partner_target)
    source, target, source_places, target_places = _together(judged)
    keys = source * links.num_targets + target
    found = np.minimum(np.searchsorted(links.keys, keys), len(links.keys) - 1)
    linked = links.keys[found] == keys
    num_judged, num_matched = np.zeros(len(pairs)), np.zeros(len(pairs))
    enough = np.ones(len(pairs), dtype=np.bool_)
    for offsets, places in [
        (judged.source_offsets, source_places[linked]),
        (judged.target_offsets, target_places[linked]),
    ]:
        matched = np.zeros(offsets[-1], dtype=np.int64)
        matched[places] = 1
        before = np.concatenate([[0], np.cumsum(matched)])
        num_matched += before[offsets[1:]] - before[offsets[:-1]]
        num_judged += np.diff(offsets)
        enough &= np.diff(offsets) >= MIN_WORDS_OF_SIDE
    return enough & (num_judged >= MIN_WORDS) & (num_matched <= MAX_MATCHED * num_judged)


def _chunks(pairs: Sides) -> Iterator[Sides]:
    for start in range(0, len(pairs), _CHUNK):
        stop = min(start + _CHUNK, len(pairs))
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
    fits = np.diff(pairs.source_offsets) <= MAX_TOKENS
    fits &= np.diff(pairs.target_offsets) <= MAX_TOKENS
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
