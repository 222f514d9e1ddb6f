"""One tracklet of one walker, painted frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, pi, radians, sin

import numpy as np

from stmga.data.walkers.body import SHANK, THIGH
from stmga.data.walkers.canvas import Box, Canvas
from stmga.data.walkers.figures import draw_figure
from stmga.data.walkers.looks import Look, make_look
from stmga.data.walkers.occluders import Occluder, make_occluder
from stmga.data.walkers.scenes import Camera, make_camera, photograph, view
from stmga.data.walkers.spec import WalkerSpec, check_int

VIEWS = (0, 90, 180, 270)  # degrees: front, walking to the right, back, walking to the left
SPEED = 0.11  # of a walk across the picture, person heights per frame


@dataclass(frozen=True)
class Shot:
    """One tracklet to be rendered. Each part has its own random stream, so that one option does not change the others.

    Args:
        spec: size, population and difficulty.
        person, camera, tracklet: numbers of the person, the camera and this person's tracklet there, from 0.
        frames: length t.
    """

    spec: WalkerSpec
    person: int
    camera: int
    tracklet: int
    frames: int

    def __post_init__(self) -> None:
        for name in ("person", "camera", "tracklet"):
            check_int(name, getattr(self, name), 0)
        check_int("frames", self.frames, 1)

    def _stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.spec.seed, *key])

    def render(self, *, labels: bool) -> tuple[np.ndarray, np.ndarray]:
        """(t, h, w, 3) uint8 pictures, and (t, h, w) uint8 labels of their pixels if asked for."""
        look = make_look(self._stream(1, self.person), similar_clothes=self.spec.similar_clothes)
        camera = make_camera(self._stream(2, self.camera), self.camera)
        canvases = list(self._canvases(look, camera, labels))
        pictures = np.stack([canvas.picture() for canvas in canvases])
        pixels = photograph(camera, pictures, self._own(3))
        return pixels, np.stack([canvas.labels() for canvas in canvases]) if labels else np.zeros(0, np.uint8)

    def _own(self, what: int) -> np.random.Generator:
        """A stream of this tracklet: 0 the walk, 1 the boxes, 2 the occluder, 3 the sensor."""
        return self._stream(3, self.person, self.camera, self.tracklet, what)

    def _canvases(self, look: Look, camera: Camera, labels: bool) -> Iterator[Canvas]:
        rng = self._own(0)
        yaw = radians(VIEWS[rng.integers(4)] + rng.uniform(-28, 28))
        phase, start = rng.uniform(0, 2 * pi), rng.uniform(0, 1)
        speed = SPEED * look.stride / 0.45 * sin(yaw)
        occluder = self._occluder(speed)
        width = 4.0 + 2 * ceil(self.spec.size[1] / self.spec.size[0])
        for frame, box in enumerate(self._boxes(look)):
            x = _folded(start * width + speed * frame, box.width, width - box.width)
            seen = box._replace(left=x + box.left)
            canvas = Canvas(view(camera, seen, self.spec.size, width), seen, labels=labels)
            beat = phase + look.cadence * frame
            draw_figure(canvas, look, x=x, yaw=yaw, phase=beat, pitch=camera.pitch, light=camera.light)
            if occluder is not None:
                occluder.draw(canvas, camera, x, frame)
            yield canvas

    def _occluder(self, speed: float) -> Occluder | None:
        rng = self._own(2)
        return make_occluder(rng, self.frames, speed) if rng.random() < self.spec.occlusion else None

    def _boxes(self, look: Look) -> Iterator[Box]:
        """The detector's boxes, left relative to the walker: a bias of the tracklet, and jitter from frame to frame."""
        rng = self._own(1)
        h, w = self.spec.size
        # A third of a person's height shows in the crop; a detector normalises the rest.
        person = look.stature * (0.54 + (THIGH + SHANK) * look.legs)
        fitted = 1.11 * (0.65 * person + 0.35)
        bias = rng.uniform(-1, 1, 3)
        for _ in range(self.frames):
            right, up, zoom = self.spec.shift * (0.6 * bias + 0.4 * rng.uniform(-1, 1, 3))
            height = fitted * (1 + 0.3 * zoom)
            middle = fitted / 2 - 0.06 + 0.2 * up
            width = height * w / h
            yield Box(0.22 * right - width / 2, middle + height / 2, width, height)


def _folded(x: float, low: float, high: float) -> float:
    """`x` reflected at two walls."""
    span = high - low
    return low + span - abs((x - low) % (2 * span) - span)
