"""Hypothesis over a target."""

from __future__ import annotations

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.targets import run

# Most decisions fit in few bytes; some cases are to have many.
CASES = st.binary(max_size=40) | st.binary(min_size=30, max_size=300)


def check_with_hypothesis(name: str, num_cases: int, start: int | None = None) -> None:
    """Run so many cases, the same ones for the same start; None: the same ones always.

    Raises what a case raises, with the shortest such case in its notes.
    """

    @settings(
        max_examples=num_cases,
        database=None,
        deadline=None,  # `run` has its own, of processor time
        derandomize=start is None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(CASES)
    def check(data: bytes) -> None:
        run(name, data)

    (check if start is None else seed(start)(check))()
