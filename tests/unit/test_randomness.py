"""Random numbers depend on what they are for and where, and on nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from seq2seq_cli.randomness import derived_seed, generator

PLACES: list[tuple[int, str, tuple[int, ...]]] = [
    (1, "shuffle", ()),
    (2, "shuffle", ()),
    (1, "dropout", ()),
    (1, "shuffle", (0,)),
    (1, "shuffle", (1,)),
    (1, "shuffle", (0, 0)),
    (1, "shuffle", (0, 1)),
    (1, "shuffle", (1, 0)),
    (1, "shuffle", (23,)),
    (1, "shuffle", (2, 3)),
    (1, "shuffle", (12, 3)),
    (1, "shuffle", (1, 23)),
    (0, "", ()),
    (2**63 - 1, "shuffle", (10**12,)),
]


@pytest.mark.parametrize(("seed", "purpose", "position"), PLACES)
def test_a_seed_is_the_same_each_time_and_fits_63_bits(
    seed: int, purpose: str, position: tuple[int, ...]
) -> None:
    derived = derived_seed(seed, purpose, *position)
    assert derived == derived_seed(seed, purpose, *position)
    assert 0 <= derived < 2**63


def test_no_two_places_share_a_seed() -> None:
    many = [(1, "shuffle", (epoch, batch)) for epoch in range(30) for batch in range(40)]
    places = {*PLACES, *many}
    assert len({derived_seed(seed, purpose, *at) for seed, purpose, at in places}) == len(places)


def test_seeds_use_all_their_bits() -> None:
    seeds = [derived_seed(1, "bits", index) for index in range(400)]
    for bit in range(63):
        ones = sum(seed >> bit & 1 for seed in seeds)
        assert 120 < ones < 280, f"bit {bit}"


def test_another_process_draws_the_same() -> None:
    script = "from seq2seq_cli.randomness import *; print(derived_seed(7, 'purpose', 1, 2))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert printed == {f"{derived_seed(7, 'purpose', 1, 2)}\n"}


def test_a_generator_knows_nothing_of_earlier_draws() -> None:
    first = generator(1, "coins", 2, 3).random(5)
    generator(1, "coins", 2, 2).random(1000)
    np.random.default_rng(0).random(10)
    assert generator(1, "coins", 2, 3).random(5).tolist() == first.tolist()
    for other in (
        generator(2, "coins", 2, 3),
        generator(1, "shuffle", 2, 3),
        generator(1, "coins", 3, 2),
        generator(1, "coins", 2),
    ):
        assert not np.isclose(other.random(5), first).any()


def test_neighbouring_generators_are_not_alike() -> None:
    draws = np.array([generator(1, "coins", 0, batch).random(200) for batch in range(50)])
    between = np.corrcoef(draws) - np.eye(50)
    assert abs(between).max() < 0.35  # five standard deviations of 1 / sqrt(200)
    assert abs(draws.mean() - 0.5) < 0.015
