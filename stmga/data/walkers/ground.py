"""The ground of a scene in perspective: people who are farther away are smaller and stand higher in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from stmga.data.walkers.scenes import HIGHEST, LOWEST

ACROSS = 0.577  # half the width of the view over the distance: a field of view of 60 degrees
NEAR, FAR = 1.1, 0.55  # size of a person at the nearest and at the farthest place where people walk, in world units
WALL, FRONT = 0.06, -0.72  # how far below the horizon the farthest feet are, and where the nearest are


class Spot(NamedTuple):
    """A place in the picture: feet at (x, y) in pixels, and the pixels per body height there."""

    x: float
    y: float
    scale: float


@dataclass(frozen=True)
class Ground:
    """Where things on the ground appear in a picture.

    Positions are (across, away) in body heights: to the right of the camera's axis, and away from the camera.

    Args:
        size: (h, w) of the picture in pixels.
        horizon: height of the end of the ground, in world units (see `scenes`).

    >>> near, far = (Ground((280, 560), 0.5).spot(1.0, away) for away in Ground((280, 560), 0.5).depths)
    >>> near.scale > far.scale, near.y > far.y
    (True, True)
    """

    size: tuple[int, int]
    horizon: float

    @property
    def unit(self) -> float:
        """Pixels per world unit."""
        return self.size[0] / (HIGHEST - LOWEST)

    @property
    def depths(self) -> tuple[float, float]:
        """The nearest and the farthest distance at which people walk."""
        return self._focal / NEAR, self._focal / FAR

    def spot(self, across: float, away: float) -> Spot:
        """Where something on the ground appears."""
        scale = self._focal / away
        far = self.horizon - WALL
        y = far - (scale - FAR) / (NEAR - FAR) * (far - FRONT)
        return Spot(self.size[1] / 2 + across * scale * self.unit, (HIGHEST - y) * self.unit, scale * self.unit)

    @property
    def _focal(self) -> float:
        """The distance at which a person has the size 1."""
        return self.size[1] / self.unit / (2 * ACROSS)
