"""Rendered walkers: people, cameras and tracklets made from numbers, so that everything runs with no download.

A person (clothes, proportions, gait) depends on `seed` and the person's number alone, a camera (place, light, optics)
on `seed` and the camera's number alone; viewpoint, phase of the gait, occluder and the detector's errors belong to the
tracklet. The same arguments give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, pi, radians, sin
from pathlib import Path

import numpy as np

from stmga.data.walkers.body import SHANK, THIGH
from stmga.data.walkers.canvas import Box, Canvas
from stmga.data.walkers.figures import draw_figure
from stmga.data.walkers.looks import Look, make_look
from stmga.data.walkers.occluders import Occluder, make_occluder
from stmga.data.walkers.scenes import Camera, make_camera, photograph, view
from stmga.tracklets.tracklet import Tracklet

VIEWS = (0, 90, 180, 270)  # degrees: front, walking to the right, back, walking to the left
SPEED = 0.11  # of a walk across the picture, person heights per frame


def render_tracklet(
    person: int,
    camera: int,
    *,
    tracklet: int = 0,
    frames: int = 8,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
    occlusion: float = 0.25,
    shift: float = 0.3,
    similar_clothes: float = 0.0,
) -> np.ndarray:
    """(t, h, w, 3) uint8: one walking person as the crops of a surveillance camera.

    Args:
        person, camera, tracklet: numbers from 0; which person, seen by which camera, for which time.
        frames: t.
        size: (h, w) of a crop in pixels.
        seed: another seed is another population and other cameras.
        occlusion: chance, 0..1, that something comes between camera and person in part of the frames.
        shift: 0..1, how far the boxes of the "detector" are off in place and scale.
        similar_clothes: 0..1, chance that a garment is taken from a small dark wardrobe that all people share.

    Raises:
        ValueError: a number below 0, a share outside 0..1, no frames, a size below 16 pixels.

    >>> render_tracklet(3, 0, frames=4).shape
    (4, 128, 64, 3)
    """
    shot = _Shot(person, camera, tracklet, frames, size, seed, occlusion, shift, similar_clothes)
    return shot.render(labels=False)[0]


def render_labelled(
    person: int,
    camera: int,
    *,
    tracklet: int = 0,
    frames: int = 8,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
    occlusion: float = 0.25,
    shift: float = 0.3,
    similar_clothes: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """`render_tracklet`'s pictures and, (t, h, w) uint8, the `Label` of each of their pixels, from the same strokes.

    >>> frames, labels = render_labelled(3, 0, frames=4, occlusion=0)
    >>> labels.shape, int(labels.max()) < 6
    ((4, 128, 64), True)
    """
    shot = _Shot(person, camera, tracklet, frames, size, seed, occlusion, shift, similar_clothes)
    return shot.render(labels=True)


def render_walkers(
    persons: int = 16,
    *,
    first: int = 0,
    cameras: int = 2,
    tracklets: int = 1,
    frames: int | tuple[int, int] = 8,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
    occlusion: float = 0.25,
    shift: float = 0.3,
    similar_clothes: float = 0.0,
) -> list[Tracklet]:
    """Every person in every camera, `tracklets` times each, in memory; person and camera are their numbers.

    `extra["role"]` is "query" for the first tracklet of camera 0 and "gallery" for all others. `frames` may be a range
    (shortest, longest): then each tracklet has its own length. Persons are `first` to `first + persons - 1`, the same
    people as in a set that begins at 0: sets that share no number share nobody. The rest is as in `render_tracklet`.

    >>> people = render_walkers(2, cameras=2, frames=(3, 5))
    >>> [(t.id, t.extra["role"]) for t in people][:2]
    [('p0000_c0_t0', 'query'), ('p0000_c1_t0', 'gallery')]
    """
    plan = _plan(persons, first, cameras, tracklets, frames, seed)
    found = []
    for person, camera, number, length in plan:
        pixels = render_tracklet(
            person, camera, tracklet=number, frames=length, size=size, seed=seed,
            occlusion=occlusion, shift=shift, similar_clothes=similar_clothes,
        )  # fmt: skip
        role = "query" if camera == 0 and number == 0 else "gallery"
        name = tracklet_name(person, camera, number)
        found.append(Tracklet(id=name, frames=pixels, person=person, camera=camera, extra={"role": role}))
    return found


def write_walkers(
    folder: str | Path,
    persons: int = 16,
    *,
    first: int = 0,
    cameras: int = 2,
    tracklets: int = 1,
    frames: int | tuple[int, int] = 8,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
    occlusion: float = 0.25,
    shift: float = 0.3,
    similar_clothes: float = 0.0,
    quality: int = 90,
) -> Path:
    """`walkers` as JPEG crops `folder/<tracklet>/<frame>.jpg` and `folder/manifest.jsonl`, whose path is returned.

    A manifest line holds tracklet, person, camera, frames (paths relative to the manifest) and role. The folder is
    made; one that holds anything already is refused (ValueError), so that two sets are never mixed.

    >>> import tempfile
    >>> write_walkers(Path(tempfile.mkdtemp()) / "walkers", persons=1, frames=2).name
    'manifest.jsonl'
    """
    from PIL import Image

    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(f"{root} is no empty folder; name a new one for the walkers, or empty it")
    lines = []
    for item in render_walkers(
        persons, first=first, cameras=cameras, tracklets=tracklets, frames=frames, size=size, seed=seed,
        occlusion=occlusion, shift=shift, similar_clothes=similar_clothes,
    ):  # fmt: skip
        (root / item.id).mkdir(parents=True)
        names = [f"{item.id}/{i:04d}.jpg" for i in range(len(item))]
        for name, pixels in zip(names, item.frames, strict=True):
            Image.fromarray(pixels).save(root / name, quality=quality)
        row = {"tracklet": item.id, "person": item.person, "camera": item.camera, "frames": names, **item.extra}
        lines.append(json.dumps(row) + "\n")
    manifest = root / "manifest.jsonl"
    manifest.write_text("".join(lines), encoding="utf-8")  # last: a manifest is there only if all its files are
    return manifest


def tracklet_name(person: int, camera: int, tracklet: int) -> str:
    """The id of a tracklet."""
    return f"p{person:04d}_c{camera}_t{tracklet}"


def length_range(frames: int | tuple[int, int]) -> tuple[int, int]:
    """(shortest, longest) of the lengths that `frames` allows."""
    shortest, longest = frames if isinstance(frames, tuple) and len(frames) == 2 else (frames, frames)
    shortest, longest = whole("frames", shortest, 1), whole("frames", longest, 1)
    if longest < shortest:
        raise ValueError(f"frames={frames}: a range is (shortest, longest)")
    return shortest, longest


def _plan(
    persons: int, first: int, cameras: int, tracklets: int, frames: int | tuple[int, int], seed: int
) -> Iterator[tuple[int, int, int, int]]:
    """(person, camera, tracklet, frames) of every tracklet, in order."""
    for name, value in (("persons", persons), ("cameras", cameras), ("tracklets", tracklets)):
        whole(name, value, 1)
    whole("seed", seed, 0)
    whole("first", first, 0)
    shortest, longest = length_range(frames)
    lengths = np.random.default_rng([seed, 4])
    for _ in range(first * cameras * tracklets):  # one draw at a time: as if the persons before had been rendered
        lengths.integers(shortest, longest + 1)
    return (
        (person, camera, number, int(lengths.integers(shortest, longest + 1)))
        for person in range(first, first + persons)
        for camera in range(cameras)
        for number in range(tracklets)
    )


@dataclass(frozen=True)
class _Shot:
    """One tracklet to be rendered. Each part has its own random stream: one option leaves the rest as it was."""

    person: int
    camera: int
    tracklet: int
    frames: int
    size: tuple[int, int]
    seed: int
    occlusion: float
    shift: float
    similar_clothes: float

    def __post_init__(self) -> None:
        for name in ("person", "camera", "tracklet", "seed"):
            whole(name, getattr(self, name), 0)
        whole("frames", self.frames, 1)
        if len(self.size) != 2 or not all(isinstance(n, (int, np.integer)) and n >= 16 for n in self.size):
            raise ValueError(f"size={self.size}: give (height, width) in whole pixels, at least 16 each")
        for name in ("occlusion", "shift", "similar_clothes"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: give a number from 0 to 1")

    def stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *key])

    def render(self, *, labels: bool) -> tuple[np.ndarray, np.ndarray]:
        look = make_look(self.stream(1, self.person), similar_clothes=self.similar_clothes)
        camera = make_camera(self.stream(2, self.camera), self.camera)
        canvases = list(self._canvases(look, camera, labels))
        pictures = np.stack([canvas.picture() for canvas in canvases])
        pixels = photograph(camera, pictures, self._own(3))
        return pixels, np.stack([canvas.labels() for canvas in canvases]) if labels else np.zeros(0, np.uint8)

    def _own(self, what: int) -> np.random.Generator:
        """A stream of this tracklet: 0 the walk, 1 the boxes, 2 the occluder, 3 the sensor."""
        return self.stream(3, self.person, self.camera, self.tracklet, what)

    def _canvases(self, look: Look, camera: Camera, labels: bool) -> Iterator[Canvas]:
        rng = self._own(0)
        yaw = radians(VIEWS[rng.integers(4)] + rng.uniform(-28, 28))
        phase, start = rng.uniform(0, 2 * pi), rng.uniform(0, 1)
        speed = SPEED * look.stride / 0.45 * sin(yaw)
        occluder = self._occluder(speed)
        width = 4.0 + 2 * ceil(self.size[1] / self.size[0])
        for frame, box in enumerate(self._boxes(look)):
            x = _folded(start * width + speed * frame, box.width, width - box.width)
            seen = box._replace(left=x + box.left)
            canvas = Canvas(view(camera, seen, self.size, width), seen, labels=labels)
            beat = phase + look.cadence * frame
            draw_figure(canvas, look, x=x, yaw=yaw, phase=beat, pitch=camera.pitch, light=camera.light)
            if occluder is not None:
                occluder.draw(canvas, camera, x, frame)
            yield canvas

    def _occluder(self, speed: float) -> Occluder | None:
        rng = self._own(2)
        return make_occluder(rng, self.frames, speed) if rng.random() < self.occlusion else None

    def _boxes(self, look: Look) -> Iterator[Box]:
        """The detector's boxes, left relative to the walker: a bias of the tracklet, and jitter from frame to frame."""
        rng = self._own(1)
        h, w = self.size
        # A third of a person's height shows in the crop; a detector evens out the rest.
        person = look.stature * (0.54 + (THIGH + SHANK) * look.legs)
        fitted = 1.11 * (0.65 * person + 0.35)
        bias = rng.uniform(-1, 1, 3)
        for _ in range(self.frames):
            right, up, zoom = self.shift * (0.6 * bias + 0.4 * rng.uniform(-1, 1, 3))
            height = fitted * (1 + 0.3 * zoom)
            middle = fitted / 2 - 0.06 + 0.2 * up
            width = height * w / h
            yield Box(0.22 * right - width / 2, middle + height / 2, width, height)


def _folded(x: float, low: float, high: float) -> float:
    """`x` between two walls: who reaches one turns back."""
    span = high - low
    return low + span - abs((x - low) % (2 * span) - span)


def whole(name: str, value: object, least: int) -> int:
    """`value` if it is a whole number of at least `least`."""
    if not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r}: give a whole number of at least {least}")
    return int(value)
