"""Track files, as MOTChallenge writes them."""

from __future__ import annotations

from collections.abc import Sequence


def track_line(index: int, track: int, box: Sequence[float], *columns: float) -> str:
    """One line: frame from 1, track, x, y, width, height, and further columns.

    Args:
        index: the frame, from 0.
        box: x, y, width and height in pixels.
        columns: what follows the box; default: score 1 and three columns that are not used. Numbers are written with at
            most four digits after the point.

    >>> track_line(0, 7, (10.5, 20, 30, 60.25))
    '1,7,10.5,20,30,60.25,1,-1,-1,-1\\n'
    """
    values = (*box, *(columns or (1, -1, -1, -1)))
    return f"{index + 1},{track},{','.join(map(_number, values))}\n"


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
