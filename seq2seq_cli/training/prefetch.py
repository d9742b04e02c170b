"""The next batches, made while the current one is trained on."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")

NUM_AHEAD = 3


@contextmanager
def prefetched(items: Iterable[_T], num_ahead: int = NUM_AHEAD) -> Iterator[Iterator[_T]]:
    """Inside the block, the items, up to `num_ahead` of them made in a thread before they are asked
    for. The thread ends with the block, after the item that it is at.

    What making an item raises is raised where that item is asked for.
    """
    made: SimpleQueue[tuple[_T] | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(num_ahead)
    is_over = False

    def make() -> None:
        try:
            iterator = iter(items)
            while room.acquire() and not is_over:
                made.put((next(iterator),))
        except StopIteration:
            made.put(None)
        except BaseException as error:  # all of them are the consumer's
            made.put(error)

    def take() -> Iterator[_T]:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item[0]

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        is_over = True
        room.release()
        thread.join()
