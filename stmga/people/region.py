"""A part of the picture: a polygon in which a person's feet must stand."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray


class Region:
    """A polygon in pixels. A box is inside if the middle of its lower edge is.

    >>> left = Region.parse("0,0 50,0 50,100 0,100")
    >>> left.inside(np.array([[10, 10, 30, 90], [60, 10, 80, 90]])).tolist()
    [True, False]
    """

    def __init__(self, corners: list[tuple[float, float]]) -> None:
        if len(set(corners)) < 3 or not np.isfinite(corners).all():
            raise ValueError(f"a region needs three different corners or more, in pixels, got {corners}")
        self.corners = corners

    def __str__(self) -> str:
        """As it is given, ``"x,y x,y x,y ..."``; equal texts are equal regions."""
        return " ".join(f"{x},{y}".replace(".0,", ",").removesuffix(".0") for x, y in self.corners)

    @classmethod
    def parse(cls, text: str) -> Region:
        """``"x,y x,y x,y ..."``; ValueError for anything else."""
        number = r"-?[0-9]+(?:\.[0-9]+)?"
        corners = [re.fullmatch(f"({number}),({number})", corner) for corner in text.split()]
        if not corners or None in corners:
            raise ValueError(f'a region is the corners of a polygon in pixels, "x,y x,y x,y ...", got {text!r}')
        return cls([(float(found[1]), float(found[2])) for found in corners if found])

    def inside(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Boxes ``(n, 4)``, x1 y1 x2 y2 -> whether each is inside ``(n,)``."""
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]
        inside = np.zeros(len(boxes), dtype=bool)
        for (x1, y1), (x2, y2) in zip(self.corners, self.corners[1:] + self.corners[:1], strict=True):
            crosses = (y1 > y) != (y2 > y)  # a ray to the right meets this edge, an odd number of times from inside
            with np.errstate(divide="ignore", invalid="ignore"):
                inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        return inside
