"""The digits that are drawn: what is trained on, what is held out, what is tested."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seq2seq_cli.config.reverse_toy import Lengths, NumbersConfig, ReverseToyConfig, SymbolsConfig
from seq2seq_cli.randomness import generator
from seq2seq_cli.reverse_toy.sequences import (
    HELD_OUT,
    Digits,
    Sequences,
    _distinct,
    draw_sequences,
)

repeatable = settings(derandomize=True, deadline=None, max_examples=150, database=None)

Row = tuple[int, ...]


@st.composite
def configs(draw: st.DrawFn) -> ReverseToyConfig:
    def lengths() -> Lengths:
        shortest = draw(st.integers(1, 6))
        return Lengths(shortest, draw(st.integers(shortest, 7)))

    return SymbolsConfig(
        digits=draw(st.integers(2, 12)),
        length=lengths(),
        test_length=lengths() if draw(st.booleans()) else None,
        pairs=draw(st.integers(1, 1500)),
        seed=draw(st.integers(0, 2**63 - 1)),
    )


@st.composite
def configs_and_examples(draw: st.DrawFn) -> tuple[ReverseToyConfig, list[int] | None]:
    config = draw(configs())
    rows = st.lists(st.integers(0, config.digits - 1), min_size=1, max_size=8)
    return config, draw(st.none() | rows)


def rows_of(block: Digits) -> list[Row]:
    return [tuple(row) for row in block.tolist()]


def num_held_out(digits: int, length: int) -> int:
    space: int = digits**length
    return min(HELD_OUT, max(1, space // 5))


def assert_equal(one: Sequences, other: Sequences) -> None:
    assert one.example == other.example
    assert flat(one) == flat(other)


def flat(data: Sequences) -> list[tuple[int, list[Row]]]:
    blocks = [*data.train.items(), *data.held_out.items(), *data.test.items()]
    return [(length, rows_of(rows)) for length, rows in blocks]


# ---------------------------------------------------------------- all of them


@repeatable
@given(configs_and_examples())
def test_nothing_trained_on_is_held_out_or_tested_or_shown(
    case: tuple[ReverseToyConfig, list[int] | None],
) -> None:
    data = draw_sequences(*case)
    trained = {row for rows in data.train.values() for row in rows_of(rows)}
    for blocks in (data.held_out, data.test):
        assert trained.isdisjoint(row for rows in blocks.values() for row in rows_of(rows))
    assert data.example not in trained


@repeatable
@given(configs_and_examples())
def test_sizes(case: tuple[ReverseToyConfig, list[int] | None]) -> None:
    config, _ = case
    data = draw_sequences(*case)
    trained, tested = config.length, config.test_length or config.length
    trained_lengths = list(range(trained.shortest, trained.longest + 1))
    assert list(data.train) == list(data.held_out) == trained_lengths
    assert list(data.test) == list(range(tested.shortest, tested.longest + 1))

    num_distinct = 0
    for length in trained_lengths:
        share = max(1, config.pairs // len(trained_lengths))
        held_out = num_held_out(config.digits, length)
        assert data.held_out[length].shape == (held_out, length)
        assert 1 <= held_out <= 200
        assert data.train[length].shape == (share, length)
        # Where there are fewer, all are used, each as often as the others.
        times = Counter(rows_of(data.train[length]))
        assert len(times) == min(share, config.digits**length - held_out)
        assert max(times.values()) - min(times.values()) <= 1
        num_distinct += len(times)
    assert data.num_distinct == num_distinct
    for length, rows in data.test.items():
        if length in trained_lengths:
            np.testing.assert_array_equal(rows, data.held_out[length])
        else:
            assert rows.shape == (min(HELD_OUT, config.digits**length), length)


@repeatable
@given(configs_and_examples())
def test_sequences_are_of_digits_and_no_test_comes_twice(
    case: tuple[ReverseToyConfig, list[int] | None],
) -> None:
    config, _ = case
    data = draw_sequences(*case)
    for blocks in (data.train, data.held_out, data.test):
        for length, rows in blocks.items():
            assert rows.dtype == np.int16
            assert rows.shape[1] == length
            assert 0 <= rows.min() <= rows.max() < config.digits
    for blocks in (data.held_out, data.test):
        for rows in blocks.values():
            assert len(set(rows_of(rows))) == len(rows)


@repeatable
@given(configs())
def test_the_seed_decides(config: ReverseToyConfig) -> None:
    assert_equal(draw_sequences(config), draw_sequences(config))


@repeatable
@given(configs())
def test_what_is_tested_changes_nothing_in_training(config: ReverseToyConfig) -> None:
    data = draw_sequences(config)
    other = draw_sequences(config.model_copy(update={"test_length": Lengths(9, 9)}))
    for length in data.train:
        np.testing.assert_array_equal(data.train[length], other.train[length])
        np.testing.assert_array_equal(data.held_out[length], other.held_out[length])
    assert data.example == other.example


# ---------------------------------------------------------------- seeds


@pytest.mark.parametrize(
    "config", [NumbersConfig(), SymbolsConfig(length=Lengths(8, 9), pairs=500)]
)
def test_another_seed_draws_others(config: ReverseToyConfig) -> None:
    data = draw_sequences(config)
    other = draw_sequences(config.model_copy(update={"seed": config.seed + 1}))
    for length, rows in data.train.items():
        assert rows_of(rows) != rows_of(other.train[length])
        # In another order they would still be the same ones.
        assert set(rows_of(data.held_out[length])) != set(rows_of(other.held_out[length]))


def test_both_tasks_draw_the_same() -> None:
    given = {"length": Lengths(2, 4), "digits": 7, "seed": 5, "pairs": 500}
    assert_equal(
        draw_sequences(NumbersConfig.model_validate(given)),
        draw_sequences(SymbolsConfig.model_validate(given)),
    )


@pytest.mark.parametrize(("digits", "length"), [(10, 3), (10, 4), (7, 5), (50, 20)])
def test_every_digit_comes_about_as_often_at_every_place(digits: int, length: int) -> None:
    """800 of 1,000, half of all, a part drawn from a list of all and a part of very many."""
    config = NumbersConfig(digits=digits, length=Lengths(length, length), pairs=5000)
    (rows,) = draw_sequences(config).train.values()
    for place in rows.T:
        times = np.bincount(place, minlength=digits)
        assert len(times) == digits
        assert times.min() > 0.6 * len(rows) / digits
        assert times.max() < 1.4 * len(rows) / digits


# ---------------------------------------------------------------- lengths


def test_three_digits_are_800_and_200() -> None:
    data = draw_sequences(NumbersConfig())
    assert data.num_distinct == len(set(rows_of(data.train[3]))) == 800
    assert len(set(rows_of(data.held_out[3]))) == 200
    every_one = {*rows_of(data.train[3]), *rows_of(data.held_out[3])}
    assert len(every_one) == 1000
    assert data.train[3].shape == (50_000, 3)


def test_lengths_that_were_never_trained_on() -> None:
    config = NumbersConfig(length=Lengths(3, 4), test_length=Lengths(1, 6), pairs=1000)
    data = draw_sequences(config)
    assert list(data.train) == [3, 4]
    counts = {length: len(rows) for length, rows in data.test.items()}
    assert counts == {1: 10, 2: 100, 3: 200, 4: 200, 5: 200, 6: 200}
    np.testing.assert_array_equal(data.test[4], data.held_out[4])


def test_lengths_between_trained_and_tested_ones_are_in_neither() -> None:
    data = draw_sequences(NumbersConfig(length=Lengths(2, 2), test_length=Lengths(6, 7)))
    assert (list(data.train), list(data.held_out), list(data.test)) == ([2], [2], [6, 7])


def test_fewer_pairs_than_lengths_are_one_of_each() -> None:
    data = draw_sequences(NumbersConfig(length=Lengths(1, 30), pairs=3))
    assert {len(rows) for rows in data.train.values()} == {1}


def test_the_longest_of_the_most_digits() -> None:
    config = NumbersConfig(length=Lengths(1000, 1000), digits=1000, pairs=20)
    data = draw_sequences(config)
    assert data.train[1000].shape == (20, 1000)
    assert data.held_out[1000].shape == (200, 1000)
    assert data.num_distinct == 20


def test_the_shortest_of_the_fewest_digits() -> None:
    for seed in range(5):
        data = draw_sequences(NumbersConfig(length=Lengths(1, 1), digits=2, pairs=4, seed=seed))
        (shown,) = data.example
        assert rows_of(data.held_out[1]) == [(shown,)]
        assert rows_of(data.train[1]) == [(1 - shown,)] * 4


# ---------------------------------------------------------------- the example


def test_the_usual_example() -> None:
    assert draw_sequences(NumbersConfig()).example == (3, 1, 4)
    assert draw_sequences(SymbolsConfig(length=Lengths(1, 3), digits=5)).example == (3, 1, 4)


@pytest.mark.parametrize(("length", "digits"), [((3, 3), 4), ((3, 4), 10), ((2, 10), 10)])
def test_elsewhere_it_is_drawn_and_as_long_as_possible(
    length: tuple[int, int], digits: int
) -> None:
    config = NumbersConfig(length=Lengths(*length), digits=digits, pairs=9)
    seeds = [config.model_copy(update={"seed": seed}) for seed in range(20)]
    shown = [draw_sequences(config).example for config in seeds]
    assert {len(row) for row in shown} == {length[1]}
    assert {digit for row in shown for digit in row} == set(range(digits))
    assert len(set(shown)) > 1


@repeatable
@given(configs_and_examples())
def test_the_example_is_the_first_of_its_length_that_is_held_out(
    case: tuple[ReverseToyConfig, list[int] | None],
) -> None:
    config, shown = case
    data = draw_sequences(config, shown)
    if shown is not None:
        assert data.example == tuple(shown)
    assert all(type(digit) is int for digit in data.example)
    length = len(data.example)
    assert length in data.held_out or shown is not None
    for blocks in (data.held_out, data.test):
        if length in blocks:
            assert rows_of(blocks[length])[0] == data.example


@pytest.mark.parametrize("shown", [[0, 0, 0], [9, 9, 9], [3, 1, 4]])
def test_any_example_leaves_800_to_train_on(shown: list[int]) -> None:
    data = draw_sequences(NumbersConfig(), shown)
    assert data.num_distinct == 800
    assert len({*rows_of(data.train[3]), *rows_of(data.held_out[3])}) == 1000


# ---------------------------------------------------------------- distinct rows


@repeatable
@given(
    st.integers(1, 300),
    st.integers(1, 12),
    st.integers(2, 12),
    st.integers(0, 10),
)
@example(200, 3, 10, 1)  # from a list of all
@example(250, 3, 10, 1)  # the last that is
@example(249, 3, 10, 1)  # the first that is drawn
@example(300, 1, 2, 1)  # there are fewer
@example(300, 1000, 1000, 1)  # more than any integer counts
def test_distinct_rows_are_as_many_as_there_can_be(
    count: int, length: int, digits: int, seed: int
) -> None:
    rows = _distinct(count, length, digits, generator(seed, "test"))
    assert rows.shape == (min(count, digits**length), length)
    assert len(set(rows_of(rows))) == len(rows)
    assert 0 <= rows.min() <= rows.max() < digits
    again = _distinct(count, length, digits, generator(seed, "test"))
    np.testing.assert_array_equal(rows, again)


@pytest.mark.parametrize(("length", "digits"), [(1, 5), (3, 4), (8, 2)])
def test_a_small_space_comes_whole_and_in_random_order(length: int, digits: int) -> None:
    space = digits**length
    orders = [
        rows_of(_distinct(space, length, digits, generator(seed, "test"))) for seed in range(6)
    ]
    every_one = sorted(orders[0])
    assert every_one == [tuple(row) for row in np.ndindex(*[digits] * length)]
    assert all(sorted(order) == every_one for order in orders)
    assert len(set(map(tuple, orders))) > 1


@pytest.mark.parametrize(("count", "length"), [(249, 3), (250, 3), (400, 6)])
def test_the_first_rows_are_no_smaller_than_the_last(count: int, length: int) -> None:
    """Finding the different ones sorts them; what is held out would be the small ones."""
    rows = np.concatenate([_distinct(count, length, 10, generator(s, "test")) for s in range(10)])
    first = rows.reshape(10, count, length)[:, : count // 2, 0]
    last = rows.reshape(10, count, length)[:, -(count // 2) :, 0]
    assert abs(first.mean() - last.mean()) < 0.5
