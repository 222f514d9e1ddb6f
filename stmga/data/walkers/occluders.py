"""Things that come between the camera and the walker."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np

from stmga.data.walkers.canvas import Canvas, Label
from stmga.data.walkers.figures import draw_figure
from stmga.data.walkers.looks import Colour, Look, make_look, mix
from stmga.data.walkers.scenes import Camera

# Ranges of width and height in world units; persons have their own sizes.
KINDS = {
    "pole": (0.05, 0.11, 3.0, 3.0),
    "person": (1.0, 1.0, 1.0, 1.0),
    "bench": (0.5, 0.9, 0.3, 0.3),
    "car": (0.9, 1.5, 0.42, 0.42),
    "sign": (0.2, 0.34, 0.45, 0.75),
}
HIDES = Label.OCCLUDER


@dataclass(frozen=True, kw_only=True)
class Occluder:
    """One thing in front of a walker: `offset + speed * (frame - middle)` to their right, in world units."""

    kind: str
    colour: Colour
    width: float
    height: float
    speed: float
    middle: float
    offset: float
    look: Look
    yaw: float

    def draw(self, canvas: Canvas, camera: Camera, walker_x: float, frame: int) -> None:
        x = walker_x + self.offset + self.speed * (frame - self.middle)
        # Nearer to the camera than the walker, so its base is lower in the picture.
        foot = -0.35 * camera.pitch
        if self.kind == "person":
            _person(canvas, camera, self, x, frame)
        else:
            {"pole": _pole, "bench": _bench, "car": _car, "sign": _sign}[self.kind](canvas, camera, self, x, foot)


def make_occluder(rng: np.random.Generator, frames: int, walker_speed: float) -> Occluder:
    """Draw an occluder that crosses the walker somewhere in the middle half of the frames."""
    kind = list(KINDS)[rng.integers(len(KINDS))]
    narrow, wide, low, high = KINDS[kind]
    # A still occluder passes at the walker's speed; one who walks straight at the camera meets a moving one.
    own = rng.uniform(0.07, 0.15) * (2 if kind == "car" else 1) * (1 if rng.random() < 0.5 else -1)
    still = kind not in ("person", "car") and abs(walker_speed) > 0.04
    return Occluder(
        kind=kind,
        colour=_metal(rng),
        width=rng.uniform(narrow, wide),
        height=rng.uniform(low, high),
        speed=-walker_speed if still else own,
        middle=float(rng.integers(frames // 4, max(frames - frames // 4, frames // 4 + 1))),
        offset=rng.uniform(-0.06, 0.06),
        look=make_look(rng),
        yaw=pi / 2 if own > 0 else -pi / 2,
    )


def _metal(rng: np.random.Generator) -> Colour:
    colours = ((92, 96, 98), (58, 62, 60), (150, 40, 40), (44, 74, 120), (196, 196, 192), (88, 74, 58), (52, 90, 62))
    return colours[rng.integers(len(colours))]


def _rect(canvas: Canvas, left: float, low: float, right: float, top: float, colour: Colour) -> None:
    canvas.polygon([(left, low), (left, top), (right, top), (right, low)], colour, HIDES)


def _pole(canvas: Canvas, camera: Camera, thing: Occluder, x: float, foot: float) -> None:
    half = thing.width / 2
    _rect(canvas, x - half, foot, x + half, foot + thing.height, thing.colour)
    _rect(canvas, x - half * 1.5, foot, x + half * 1.5, foot + 0.09, mix(thing.colour, (0, 0, 0), 0.3))
    shade = x - camera.light * half * 0.55
    left, right, top = shade - half * 0.4, shade + half * 0.4, foot + thing.height
    canvas.shade([(left, foot), (left, top), (right, top), (right, foot)], 60)


def _sign(canvas: Canvas, camera: Camera, thing: Occluder, x: float, foot: float) -> None:
    half, top = thing.width / 2, foot + thing.height
    _rect(canvas, x - half, foot, x + half, top, thing.colour)
    face = mix(thing.colour, (255, 255, 255), 0.6)
    _rect(canvas, x - half * 0.8, foot + 0.3 * thing.height, x + half * 0.8, top - 0.04, face)
    _rect(canvas, x - half * 0.6, top - 0.18, x + half * 0.5, top - 0.13, thing.colour)


def _bench(canvas: Canvas, camera: Camera, thing: Occluder, x: float, foot: float) -> None:
    half, wood = thing.width / 2, mix(thing.colour, (140, 98, 60), 0.6)
    for leg in (-0.85, 0.75):
        _rect(canvas, x + leg * half, foot, x + (leg + 0.1) * half, foot + 0.2, (50, 50, 54))
    for i in range(3):
        low = foot + 0.13 + i * 0.065
        _rect(canvas, x - half, low, x + half, low + 0.052, mix(wood, (0, 0, 0), 0.1 * i))


def _car(canvas: Canvas, camera: Camera, thing: Occluder, x: float, foot: float) -> None:
    half, low = thing.width / 2, foot + 0.07
    for (start, rise, fall, stop), (base, top), colour in (
        ((-0.55, -0.36, 0.3, 0.58), (0.19, 0.36), mix(thing.colour, (0, 0, 0), 0.2)),  # cabin
        ((-0.44, -0.31, 0.26, 0.46), (0.2, 0.33), (70, 84, 96)),  # its glass
    ):
        corners = [(start, base), (rise, top), (fall, top), (stop, base)]
        canvas.polygon([(x + across * half, low + up) for across, up in corners], colour, HIDES)
    _rect(canvas, x - half, low - 0.02, x + half, low + 0.2, thing.colour)
    for wheel in (-0.6, 0.6):
        canvas.ellipse(x + wheel * half, low - 0.01, 0.075, 0.075, (24, 24, 26), HIDES)
        canvas.ellipse(x + wheel * half, low - 0.01, 0.035, 0.035, (150, 150, 152), HIDES)


def _person(canvas: Canvas, camera: Camera, thing: Occluder, x: float, frame: int) -> None:
    """Another person walks past; all their pixels are labelled as occluder."""
    canvas.force = HIDES
    phase = thing.look.cadence * frame
    draw_figure(canvas, thing.look, x=x, yaw=thing.yaw, phase=phase, pitch=camera.pitch, light=camera.light)
    canvas.force = None
