"""Track files, as MOTChallenge writes them."""

from __future__ import annotations

from collections.abc import Sequence


def track_line(index: int, track: int, box: Sequence[float], score: float = 1.0) -> str:
    """One line: frame from 1, track, x, y, width, height, score, and three columns that are not used.

    Args:
        index: the frame, from 0.
        box: x, y, width and height in pixels; written to hundredths.

    >>> track_line(0, 7, (10.5, 20, 30, 60.25))
    '1,7,10.5,20,30,60.25,1,-1,-1,-1\\n'
    """
    values = ",".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in (*box, score))
    return f"{index + 1},{track},{values},-1,-1,-1\n"
