"""SIGINT and SIGTERM become a wish that training looks at after every step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopWish:
    """``signum`` is the signal that came, None so far."""

    def __init__(self) -> None:
        self.signum: int | None = None


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Inside, the first SIGINT or SIGTERM is kept as a wish; a second one acts at once, as it would have before.

    In another thread than the main one signals cannot be caught, and nothing is done.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        wish.signum = number
        restore()

    for number in SIGNALS:
        before[number] = signal.signal(number, note)
    try:
        yield wish
    finally:
        restore()
