"""Who is where and when: people walk through the views of cameras, leave them, and return or go on to the next one.

Positions on the ground are (across, away) in body heights: to the right of a camera's axis, and away from the camera.
The cameras stand along a ring. Who leaves a view on the right comes into the next one from its left, after the time
that the way between them takes, or turns round out of sight and comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import atan2, ceil, pi, sin
from typing import NamedTuple

import numpy as np

from stmga.data.walkers.body import SHANK, THIGH
from stmga.data.walkers.ground import ACROSS, Ground
from stmga.data.walkers.looks import Look
from stmga.data.walkers.scene_spec import SceneSpec

OUTSIDE = 0.6  # how far beyond the edge of the view a visit begins and ends, in body heights
STEP = 0.05  # between two points of a path, in body heights
ROUND = 17  # points over which corners are rounded: 0.85 body heights
PACE = 9.0  # frames a second for which `Look.cadence` is a natural gait: 0.4 to 1.1 body heights a second
STANDING = pi / 2 - 0.35  # the phase of the gait with both knees straight
SETTLE = 0.2  # body heights over which the stride shrinks to nothing before someone stands still


class Pose(NamedTuple):
    """One person at one moment: place on the ground, yaw as the camera sees it, phase and size (0..1) of the stride."""

    across: float
    away: float
    yaw: float
    phase: float
    stride: float


@dataclass(frozen=True)
class Visit:
    """One walk of a person through the view of one camera.

    Args:
        person, camera: numbers, the person's from 1 and the camera's from 0.
        start: seconds.
        path: (n, 2), a point every `STEP`.
        speed: body heights per second.
        cycle: body heights per cycle of the gait, so that the feet do not slide.
        halt: distance from the start of the path at which they stand still.
        rest: seconds that they stand there; 0: they do not stop.
        phase: of the gait at `halt`.
    """

    person: int
    camera: int
    start: float
    path: np.ndarray
    speed: float
    cycle: float
    halt: float
    rest: float
    phase: float

    @property
    def end(self) -> float:
        return self.start + (len(self.path) - 1) * STEP / self.speed + self.rest

    def at(self, time: float) -> Pose:
        """The pose at a time from `start` to `end`."""
        walked = (time - self.start) * self.speed
        walked = min(walked, max(self.halt, walked - self.rest * self.speed))
        point = walked / STEP
        i = min(int(point), len(self.path) - 2)
        (x0, z0), (x1, z1) = self.path[i], self.path[i + 1]
        x, z = x0 + (point - i) * (x1 - x0), z0 + (point - i) * (z1 - z0)
        yaw = atan2(x1 - x0, z0 - z1) + atan2(x, z)  # the second: the camera looks at them from the side
        stride = min(1.0, abs(walked - self.halt) / SETTLE) if self.rest else 1.0
        return Pose(float(x), float(z), yaw, self.phase + 2 * pi * (walked - self.halt) / self.cycle, stride)


def itinerary(spec: SceneSpec, person: int) -> Iterator[Visit]:
    """The visits of one person, without end; the first may be over before time 0."""
    rng, look = spec.stream(6, person), spec.look(person)
    gaps = spec.stream(7).uniform(3, 10, spec.cameras)  # body heights from each view to the next
    camera, side = int(rng.integers(spec.cameras)), 1 if rng.random() < 0.5 else -1
    time = -rng.uniform(20, 40)
    while True:
        leaves = -side if rng.random() < 0.8 else side
        visit = _visit(spec, look, person, camera, time, side, leaves, rng)
        yield visit
        time, side = visit.end, leaves
        if rng.random() < 0.3:  # turns round out of sight and comes back
            time += rng.uniform(3, 12)
        else:
            gap = gaps[camera if leaves > 0 else camera - 1]
            time += gap / visit.speed * rng.uniform(1, 1.4)
            camera, side = (camera + leaves) % spec.cameras, -leaves


def _visit(
    spec: SceneSpec, look: Look, person: int, camera: int, start: float, enters: int, leaves: int,
    rng: np.random.Generator,
) -> Visit:  # fmt: skip
    near, far = Ground(spec.size, 0.0).depths
    away = rng.uniform(near, far, 4)
    inside = rng.uniform(-0.7, 0.7, 2) if rng.random() < 0.4 else rng.uniform(-0.7, 0.7, 1)
    if enters != leaves:
        inside = np.sort(inside) * leaves  # on the way, not to and fro
    corners = [(enters * (ACROSS * away[0] + OUTSIDE), away[0])]
    corners += [(share * ACROSS * z, z) for share, z in zip(inside, away[1:], strict=False)]
    corners.append((leaves * (ACROSS * away[3] + OUTSIDE), away[3]))
    path = _rounded(np.array(corners))
    stop = int(np.argmin(np.abs(path - corners[1]).sum(1)))
    cycle = 4 * sin(look.stride) * (THIGH + SHANK) * look.legs * look.stature
    speed = cycle * look.cadence * PACE / (2 * pi) * rng.uniform(0.9, 1.1)
    rest = rng.uniform(1, 5) if rng.random() < 0.3 else 0.0
    foot = pi if rng.random() < 0.5 else 0.0
    return Visit(person, camera, start, path, speed, cycle, stop * STEP, rest, STANDING + foot)


def _rounded(corners: np.ndarray) -> np.ndarray:
    """(n, 2): points every `STEP` along straight lines between the corners, with the corners rounded."""
    pieces = []
    for a, b in pairwise(corners):
        count = max(1, ceil(float(np.hypot(*(b - a))) / STEP))
        pieces.append(a + (b - a) * np.arange(count)[:, None] / count)
    points = np.concatenate([*pieces, corners[-1:]])
    half = ROUND // 2
    padded = np.concatenate([np.repeat(points[:1], half, 0), points, np.repeat(points[-1:], half, 0)])
    sums = np.cumsum(np.concatenate([np.zeros((1, 2)), padded]), 0)
    return np.asarray((sums[ROUND:] - sums[:-ROUND]) / ROUND)
