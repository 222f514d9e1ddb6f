"""What one fixed camera sees, frame after frame, and who is where in each picture.

The background is drawn once. In each frame every person is drawn at their size onto their part of the picture, the
farthest first. A map of who owns each pixel gives the truth: what is seen of a person is counted, not estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from PIL import Image

from stmga.data.walkers.canvas import SUPERSAMPLING, Box, Canvas
from stmga.data.walkers.figures import draw_figure
from stmga.data.walkers.ground import ACROSS, NEAR, Ground, Spot
from stmga.data.walkers.looks import Look
from stmga.data.walkers.occluders import make_occluder
from stmga.data.walkers.routes import Visit, itinerary
from stmga.data.walkers.scene_spec import SceneSpec
from stmga.data.walkers.scenes import HIGHEST, LOWEST, horizon, photograph, view

PERSON = (0.45, 1.2, 0.2)  # what a person may take beside, above and below the point between their feet
THING = (0.95, 3.1, 0.2)
THINGS = 3  # that may stand in the way of a camera

Region = tuple[slice, slice]  # rows and columns


class Sighting(NamedTuple):
    """One person in one frame.

    The box (x, y, w, h) is the extent of the whole person, of what is hidden too, clipped to the picture; in pixels.
    `visible` is the share (0..1) of the person's pixels that are in the picture and not hidden.
    """

    frame: int
    person: int
    x: int
    y: int
    w: int
    h: int
    visible: float


class _Shown(NamedTuple):
    """Something to draw, and the space that it may take: beside, above and below its spot, in body heights."""

    away: float
    person: int  # 0: a thing
    spot: Spot
    space: tuple[float, float, float]
    draw: Callable[[Canvas], None]


class Film:
    """The frames of one camera.

    Args:
        spec: the scenes.
        number: of the camera, from 0.

    >>> spec = SceneSpec(cameras=1, persons=3, seconds=1, fps=2, size=(96, 128))
    >>> for pixels, sightings in Film(spec, 0).frames():
    ...     print(pixels.shape, pixels.dtype)
    (96, 128, 3) uint8
    (96, 128, 3) uint8
    """

    def __init__(self, spec: SceneSpec, number: int) -> None:
        self.spec, self.number = spec, number
        self.camera = spec.camera(number)
        self.ground = Ground(spec.size, horizon(self.camera))
        # The picture is drawn with a margin, so that the pixels of people who are partly outside are counted too.
        self.margin = ceil(2 * PERSON[0] * NEAR * self.ground.unit)
        self.background = self._background()
        self.looks: dict[int, Look] = {}
        self.things = list(self._things())

    def frames(self) -> Iterator[tuple[np.ndarray, list[Sighting]]]:
        """(h, w, 3) uint8 and who is in it, for each frame; the same every time."""
        walks = [itinerary(self.spec, person) for person in range(1, self.spec.persons + 1)]
        visits = [next(walk) for walk in walks]
        for frame in range(self.spec.frames):
            time = frame / self.spec.fps
            for i, walk in enumerate(walks):
                while visits[i].end < time:
                    visits[i] = next(walk)
            here = [v for v in visits if v.camera == self.number and v.start <= time]
            yield self._frame(frame, [self._person(visit, time) for visit in here])

    def _frame(self, frame: int, people: list[_Shown]) -> tuple[np.ndarray, list[Sighting]]:
        picture = self.background.copy()
        owners = np.zeros(picture.shape[:2], np.uint16)
        drawn: list[tuple[int, Region, np.ndarray]] = []
        for shown in sorted([*self.things, *people], key=lambda shown: (-shown.away, shown.person)):
            region = self._region(shown)
            if region is not None:
                drawn.append((shown.person, region, self._paint(picture, owners, shown, region)))
        seen = [self._sighting(frame, person, where, mask, owners) for person, where, mask in drawn if person]
        h, w = self.spec.size
        inner = picture[self.margin : self.margin + h, self.margin : self.margin + w]
        pixels = photograph(self.camera, inner[None], self.spec.stream(9, self.number, frame))[0]
        return pixels, sorted(found for found in seen if found is not None)

    def _region(self, shown: _Shown) -> Region | None:
        """The part of the drawing that something may take; None if that is outside the picture."""
        (x, y, scale), (beside, above, below) = shown.spot, shown.space
        left, right = floor(x - beside * scale), ceil(x + beside * scale)
        top, low = floor(y - above * scale), ceil(y + below * scale)
        h, w = self.spec.size
        if right <= 0 or left >= w or low <= 0 or top >= h:
            return None
        first, (rows, columns) = self.margin, self.background.shape[:2]
        return (
            slice(max(top + first, 0), min(low + first, rows)),
            slice(max(left + first, 0), min(right + first, columns)),
        )

    def _paint(self, picture: np.ndarray, owners: np.ndarray, shown: _Shown, region: Region) -> np.ndarray:
        """Draw onto a region of the picture and of the map of owners; returns the mask of what was drawn."""
        x, y, scale = shown.spot
        part = np.ascontiguousarray(picture[region])
        h, w = part.shape[:2]
        # Enlarged by repetition, so that what is not drawn on is the same after it is reduced.
        image = Image.fromarray(part).resize((w * SUPERSAMPLING, h * SUPERSAMPLING), Image.Resampling.NEAREST)
        left, top = region[1].start - self.margin - x, y - (region[0].start - self.margin)
        canvas = Canvas(image, Box(left / scale, top / scale, w / scale, h / scale), labels=True)
        shown.draw(canvas)
        mask = canvas.labels() > 0
        picture[region] = canvas.picture()
        owners[region][mask] = shown.person
        return mask

    def _sighting(
        self, frame: int, person: int, region: Region, mask: np.ndarray, owners: np.ndarray
    ) -> Sighting | None:
        (h, w), first = self.spec.size, self.margin
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        top, low = (int(region[0].start - first + rows[i]) for i in (0, -1))
        left, right = (int(region[1].start - first + columns[i]) for i in (0, -1))
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right + 1, w), min(low + 1, h)
        if x1 <= x0 or y1 <= y0:
            return None
        seen = owners[y0 + first : y1 + first, x0 + first : x1 + first] == person
        return Sighting(frame, person, x0, y0, x1 - x0, y1 - y0, round(float(seen.sum() / mask.sum()), 3))

    def _person(self, visit: Visit, time: float) -> _Shown:
        pose = visit.at(time)
        look = self.looks.setdefault(visit.person, self.spec.look(visit.person))
        look = replace(look, stride=look.stride * pose.stride, swing=look.swing * pose.stride)
        draw = partial(
            draw_figure, look=look, x=0.0, yaw=pose.yaw, phase=pose.phase, pitch=self.camera.pitch,
            light=self.camera.light,
        )  # fmt: skip
        return _Shown(pose.away, visit.person, self.ground.spot(pose.across, pose.away), PERSON, draw)

    def _things(self) -> Iterator[_Shown]:
        """What stands between the camera and the people, from the stream of each."""
        near, far = self.ground.depths
        for i in range(THINGS):
            rng = self.spec.stream(8, self.number, i)
            stands = rng.random() < self.spec.difficulty.occlusion
            away = rng.uniform(near, (near + far) / 2)
            across = rng.uniform(-0.8, 0.8) * ACROSS * away
            thing = make_occluder(rng, 1, 1.0)
            while thing.kind == "person":
                thing = make_occluder(rng, 1, 1.0)
            if stands:
                still = replace(thing, speed=0.0, offset=0.0)
                draw = partial(still.draw, camera=self.camera, walker_x=0.0, frame=0)
                yield _Shown(away, 0, self.ground.spot(across, away), THING, draw)

    def _background(self) -> np.ndarray:
        """(h + 2 margins, w + 2 margins, 3) uint8: the scene without people."""
        (h, w), unit = self.spec.size, self.ground.unit
        width = (w + 2 * self.margin) / unit
        seen = Box(0.0, HIGHEST, width, HIGHEST - LOWEST)
        scene = np.asarray(view(self.camera, seen, (h, w + 2 * self.margin), width).reduce(SUPERSAMPLING))
        return np.pad(scene, ((self.margin, self.margin), (0, 0), (0, 0)), mode="edge")
