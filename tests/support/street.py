"""A street with people as rectangles, for tests of tracking: what a fixed camera sees, and where everybody is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HEIGHT, WIDTH = 120, 160
Box = tuple[int, int, int, int]  # x1, y1, x2, y2

_PAVING = np.random.default_rng(0).integers(90, 110, (HEIGHT // 8, WIDTH // 8, 1)).repeat(8, 0).repeat(8, 1)
EMPTY = np.broadcast_to(_PAVING, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def street(*people: Box, light: float = 1.0) -> np.ndarray:
    """The picture `(h, w, 3)` with people; each is dressed in two colours."""
    picture = EMPTY.copy()
    for number, (x1, y1, x2, y2) in enumerate(people):
        middle = (y1 + y2) // 2
        picture[max(y1, 0) : middle, max(x1, 0) : max(x2, 0)] = ((200, 40, 40), (40, 40, 200))[number % 2]
        picture[middle : max(y2, 0), max(x1, 0) : max(x2, 0)] = (30, 30, 30)
    return (picture * light).clip(0, 255).astype(np.uint8)


def walk(frames: int, *, start: int = -20, step: int = 4, top: int = 30, height: int = 60) -> list[Box]:
    """A person who crosses the picture, 20 pixels wide."""
    return [(start + step * i, top, start + step * i + 20, top + height) for i in range(frames)]


def two_people(frames: int = 50) -> tuple[list[np.ndarray], list[list[Box]]]:
    """Pictures and boxes: a second without anybody, then one walks to the right, and another, lower, to the left."""
    paths: Sequence[list[Box]] = (
        walk(frames, step=4, top=5, height=45),
        walk(frames, start=160, step=-4, top=65, height=50),
    )
    boxes = [[path[i - 10] for path in paths if i >= 10] for i in range(frames)]
    return [street(*now) for now in boxes], boxes
