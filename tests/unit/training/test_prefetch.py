"""Batches made ahead in a thread: the same ones, the same errors, and no thread left over."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator

import pytest

from seq2seq_cli.training.prefetch import prefetched


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == []


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("num_items", [0, 1, 2, 50])
@pytest.mark.parametrize("num_ahead", [1, 3])
def test_the_same_items_in_the_same_order(num_items: int, num_ahead: int) -> None:
    with prefetched(range(num_items), num_ahead) as items:
        assert list(items) == list(range(num_items))
        assert list(items) == []


def test_items_are_made_in_another_thread_no_more_than_asked_for() -> None:
    made: list[int] = []
    makers: set[str] = set()

    def make() -> Iterator[int]:
        for number in range(100):
            makers.add(threading.current_thread().name)
            made.append(number)
            yield number

    with prefetched(make(), num_ahead=3) as items:
        wait_until(lambda: len(made) == 3)
        for taken in range(1, 6):
            assert next(items) == taken - 1
            wait_until(lambda taken=taken: len(made) == 3 + taken)  # type: ignore[misc]
        time.sleep(0.02)  # for one too many, if it were made
        assert len(made) == 8
    assert makers == {"prefetch"}


def test_the_block_ends_with_items_left() -> None:
    with prefetched(iter(int, 1)) as items:
        assert next(items) == 0
        assert [thread.daemon for thread in threads()] == [True]
    assert threads() == []


def test_the_block_ends_without_a_look_at_the_items() -> None:
    with prefetched(range(10)):
        pass
    assert threads() == []


def test_an_error_of_the_consumer_ends_the_thread() -> None:
    with pytest.raises(ZeroDivisionError), prefetched(iter(int, 1)) as items:
        print(1 // next(items))
    assert threads() == []


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, MemoryError])
def test_an_error_in_the_thread_comes_where_its_item_is_asked_for(
    kind: type[BaseException],
) -> None:
    def make() -> Iterator[int]:
        yield 1
        yield 2
        fails_here(kind)

    with prefetched(make()) as items:
        wait_until(lambda: not threads())  # the error is there before anyone asks
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(kind, match="no third") as caught:
            next(items)
        assert "in fails_here" in "".join(traceback.format_tb(caught.value.__traceback__))
        assert next(items, None) is None


def fails_here(kind: type[BaseException]) -> None:
    raise kind("there is no third")


def test_an_error_before_the_first_item() -> None:
    def make() -> Iterator[int]:
        fails_here(ValueError)
        yield 1

    with prefetched(make()) as items, pytest.raises(ValueError, match="no third"):
        next(items)
