"""Makes the next items in another thread while the caller works on the last one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass
class _End:
    error: BaseException | None = None


def read_ahead(items: Iterable[T], size: int = 4) -> Iterator[T]:
    """The same items in the same order, up to ``size`` of them made before they are asked for.

    An error of ``items`` is raised after the items before it. When the caller stops early, the thread has ended before
    this returns, so what ``items`` reads from can be closed.

    >>> list(read_ahead(range(3)))
    [0, 1, 2]
    """
    ready: queue.Queue[T | _End] = queue.Queue(size)
    stop = threading.Event()

    def fill() -> None:
        end = _End()
        try:
            for item in items:
                ready.put(item)
                if stop.is_set():
                    return
        except BaseException as error:  # raised again by the thread that reads
            end = _End(error)
        ready.put(end)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        while thread.is_alive():
            with suppress(queue.Empty):
                ready.get(timeout=0.01)  # the thread may wait for room
