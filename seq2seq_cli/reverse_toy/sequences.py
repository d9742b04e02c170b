"""Digits to reverse: those to learn from, and those never shown in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seq2seq_cli.config.reverse_toy import ReverseToyConfig
from seq2seq_cli.randomness import generator

Digits = npt.NDArray[np.int16]

HELD_OUT = 200
"""Sequences of each length held out of training, a fifth of them where there are fewer."""
_USUAL_EXAMPLE = (3, 1, 4)


@dataclass(frozen=True)
class Sequences:
    """Sequences by their length, each (count, length)."""

    example: tuple[int, ...]
    """The one that is shown; it is held out too."""
    train: dict[int, Digits]
    held_out: dict[int, Digits]
    """Of the lengths trained on."""
    test: dict[int, Digits]
    """Of the lengths tested on; where these are trained on, the ones held out."""

    @property
    def num_distinct(self) -> int:
        """Training sequences without their repetitions."""
        return sum(len(np.unique(rows, axis=0)) for rows in self.train.values())


def draw_sequences(config: ReverseToyConfig, example: Sequence[int] | None = None) -> Sequences:
    """Draw what to train and test on as the config's seed says; the test set and the example have
    nothing in common with the training set."""
    trained, tested = config.length, config.tested_lengths
    if example is None:
        is_usual = trained.longest == len(_USUAL_EXAMPLE) and max(_USUAL_EXAMPLE) < config.digits
        draw = generator(config.seed, "example")
        drawn = draw.integers(config.digits, size=trained.longest).tolist()
        example = _USUAL_EXAMPLE if is_usual else drawn
    share = max(1, config.pairs // (trained.longest - trained.shortest + 1))
    train, held_out, test = {}, {}, {}
    for length in sorted({*trained.as_range(), *tested.as_range()}):
        space = config.digits**length
        is_trained = length in trained.as_range()
        num_held_out = min(HELD_OUT, max(1, space // 5) if is_trained else space)
        count = num_held_out + (share if is_trained else 0)
        rows = _distinct(count, length, config.digits, generator(config.seed, "sequences", length))
        if len(example) == length:
            others = rows[(rows != example).any(axis=1)]
            rows = np.concatenate([np.array([example], dtype=np.int16), others])
        if is_trained:
            train[length] = np.resize(rows[num_held_out:count], (share, length))
            held_out[length] = rows[:num_held_out]
        if length in tested.as_range():
            test[length] = rows[:num_held_out]
    return Sequences(tuple(example), train, held_out, test)


def _distinct(count: int, length: int, digits: int, draw: np.random.Generator) -> Digits:
    """So many different rows in random order, or all that there are."""
    space = digits**length
    if space <= 4 * count:
        numbers = draw.permutation(space)[:count, np.newaxis]
        return (numbers // digits ** np.arange(length)[::-1] % digits).astype(np.int16)
    rows = np.empty((0, length), dtype=np.int16)
    while len(rows) < count:
        more = draw.integers(digits, size=(count, length)).astype(np.int16)
        rows = np.concatenate([rows, more])
        _, first = np.unique(rows, axis=0, return_index=True)
        rows = rows[np.sort(first)]
    return rows[:count]
