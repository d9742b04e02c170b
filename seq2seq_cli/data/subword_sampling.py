"""Words in pieces that are partly drawn at random, the same ones for the same seed.

sentencepiece draws too, but what its version 0.2.3 draws differs from one process to the next,
whatever the seed: a training that goes on in another process would go on otherwise.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from random import Random


def bpe_dropout(word: str, scores: Mapping[str, float], dropout: float, draw: Random) -> list[str]:
    """BPE that leaves out each merge with a probability (Provilkov et al. 2020).

    word: white space in it as the pieces have it. scores: of the pieces, higher ones are merged
    first, from left to right. With a dropout of 0, this is the best segmentation.
    """
    symbols = list(word)
    before, after = list(range(-1, len(word) - 1)), list(range(1, len(word) + 1))
    agenda: list[tuple[float, int, str]] = []

    def consider(left: int, right: int) -> None:
        if left >= 0 and right < len(word):
            merged = symbols[left] + symbols[right]
            if merged in scores:
                heapq.heappush(agenda, (-scores[merged], left, merged))

    for left in range(len(word) - 1):
        consider(left, left + 1)
    while agenda:
        _, left, merged = heapq.heappop(agenda)
        right = after[left]
        # What one of the two was merged with since then is no such pair any more.
        if right >= len(word) or not symbols[left] or symbols[left] + symbols[right] != merged:
            continue
        if dropout and draw.random() < dropout:
            continue
        symbols[left], symbols[right] = merged, ""
        after[left] = after[right]
        if after[left] < len(word):
            before[after[left]] = left
        consider(before[left], left)
        consider(left, after[left])
    return [symbol for symbol in symbols if symbol]


def draw_unigrams(
    word: str, log_probs: Mapping[str, float], longest: int, alpha: float, draw: Random
) -> list[str]:
    """A segmentation drawn with a probability in proportion to that of its pieces ^ alpha (Kudo
    2018), by forward filtering and backward sampling.

    longest: characters in a piece. Every character of the word has to be a piece.
    """
    forward = [0.0]
    steps: list[tuple[list[int], list[float]]] = []
    for stop in range(1, len(word) + 1):
        starts = [
            start for start in range(max(0, stop - longest), stop) if word[start:stop] in log_probs
        ]
        ways = [forward[start] + alpha * log_probs[word[start:stop]] for start in starts]
        best = max(ways)
        weights = [math.exp(way - best) for way in ways]
        forward.append(best + math.log(sum(weights)))
        steps.append((starts, weights))
    pieces: list[str] = []
    stop = len(word)
    while stop:
        starts, weights = steps[stop - 1]
        (start,) = draw.choices(starts, weights)
        pieces.append(word[start:stop])
        stop = start
    return pieces[::-1]
