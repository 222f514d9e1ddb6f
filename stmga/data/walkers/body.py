"""The body of a walker: a small skeleton in three dimensions, the gait that moves it, and its view from any side.

Body coordinates are (l, y, f): to the person's left, up, forward, in statures. Seen from the front (yaw 0) the person's
left is the right of the picture; at yaw 90 degrees they walk to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, pi, radians, sin

from stmga.data.walkers.canvas import Point
from stmga.data.walkers.looks import Look

THIGH, SHANK, UPPER_ARM, FOREARM = 0.245, 0.24, 0.155, 0.14
ANKLE = 0.045
SHOULDER = 0.315  # above the hips

Body = tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """The position and viewing angle of the person. Nearer points appear lower: the camera looks down by `pitch`."""

    x: float
    yaw: float
    pitch: float
    light: int
    stature: float

    def see(self, point: Body) -> Point:
        left, y, forward = point
        across = left * cos(self.yaw) + forward * sin(self.yaw)
        return self.x + self.stature * across, self.stature * (y - self.pitch * self.depth(point))

    def depth(self, point: Body) -> float:
        """Distance towards the camera."""
        return point[2] * cos(self.yaw) - point[0] * sin(self.yaw)


@dataclass(frozen=True)
class Tube:
    """An upright elliptic tube (torso, skirt, bag): levels (y, half width, half depth, forward), from top to bottom."""

    view: View
    levels: tuple[tuple[float, float, float, float], ...]

    def patch(self, start: float, stop: float, top: float = 0.0, bottom: float = 1.0) -> list[Point]:
        """The visible outline between two angles (degrees, 0 = front, 90 = left) and two heights (0 top, 1 bottom).

        An ellipse turned by the yaw is seen as `reach * sin(angle + turn)`: that is all the geometry there is.
        """
        middle = ((start + stop) / 2 + self.turn() + 180) % 360 - 180
        half = (stop - start) / 2
        first, last = (max(-90.0, min(90.0, middle + side * half)) for side in (-1, 1))
        if first >= last:
            return []  # wholly on the far side
        return self._edge(first, top, bottom) + self._edge(last, top, bottom)[::-1]

    def outline(self, top: float = 0.0, bottom: float = 1.0) -> list[Point]:
        """The whole visible outline of the tube between two heights."""
        return self._edge(-90, top, bottom) + self._edge(90, top, bottom)[::-1]

    def shaded(self, light: int, top: float = 0.0, bottom: float = 1.0, *, depth: float = 28) -> list[Point]:
        """The side away from the light, from `depth` degrees off the middle on, whatever the yaw."""
        near, far = sorted((-light * depth, -light * 90.0))
        return self._edge(near, top, bottom) + self._edge(far, top, bottom)[::-1]

    def turn(self) -> float:
        """Degrees by which the yaw turns the middle of the tube's front (from the widest level's axes)."""
        _, a, b, _ = max(self.levels, key=lambda level: level[1])
        return atan2(b * sin(self.view.yaw), a * cos(self.view.yaw)) * 180 / pi

    def visible(self, angle: float) -> bool:
        return cos(radians(angle + self.turn())) > 0.1

    def at(self, angle: float, height: float) -> Point:
        return self._edge(angle + self.turn(), height, height)[0]

    def _edge(self, seen: float, top: float, bottom: float) -> list[Point]:
        side = sin(radians(seen))
        first, last = self.levels[0][0], self.levels[-1][0]
        start, stop = first + (last - first) * top, first + (last - first) * bottom
        inner = [level for level in self.levels if stop < level[0] < start]
        points = []
        for y, a, b, f in [self._level(start), *inner, *([self._level(stop)] if stop < start else [])]:
            x, height = self.view.see((0.0, y, f))
            reach = hypot(a * cos(self.view.yaw), b * sin(self.view.yaw)) * self.view.stature
            points.append((x + reach * side, height))
        return points

    def _level(self, y: float) -> tuple[float, float, float, float]:
        for up, down in zip(self.levels, self.levels[1:], strict=False):
            if y >= down[0]:
                share = (up[0] - y) / (up[0] - down[0])
                a, b, f = (p + share * (q - p) for p, q in zip(up[1:], down[1:], strict=True))
                return y, a, b, f
        return self.levels[-1]


@dataclass(frozen=True)
class Leg:
    hip: Body
    knee: Body
    ankle: Body
    toe: Body


def legs(look: Look, phase: float) -> tuple[Leg, Leg, float]:
    """Both legs and the height of the hips that puts the lower foot on the ground."""
    hips = 0.0
    pair = []
    for side, beat in ((1, phase), (-1, phase + pi)):
        thigh = look.stride * sin(beat) + 0.06
        # The knee bends while the leg swings forward and is nearly straight while it carries the body.
        shank = thigh - 0.08 - 0.85 * max(0.0, cos(beat + 0.35)) ** 1.5
        hip = (0.052 * look.width * side, 0.0, 0.0)
        knee = _swing(hip, THIGH * look.legs, thigh)
        ankle = _swing(knee, SHANK * look.legs, shank)
        tilt = 0.7 * min(0.0, shank) + 0.25 * max(0.0, shank)
        toe = (ankle[0] + 0.012 * side, ankle[1] - 0.025 + 0.09 * sin(tilt), ankle[2] + 0.085 * cos(tilt))
        pair.append(Leg(hip, knee, ankle, toe))
        hips = max(hips, ANKLE - ankle[1], 0.02 - toe[1])
    left, right = (Leg(*(_lift(p, hips) for p in (leg.hip, leg.knee, leg.ankle, leg.toe))) for leg in pair)
    return left, right, hips


def arm(look: Look, phase: float, side: int, hips: float) -> tuple[Body, Body, Body]:
    held = look.bag == "handbag" and side == look.bag_side
    angle = -look.swing * (0.3 if held else 1.0) * sin(phase if side > 0 else phase + pi)
    shoulder = (0.093 * look.width * side, hips + SHOULDER - 0.04, 0.0)
    elbow = _swing(shoulder, UPPER_ARM, angle)
    elbow = (elbow[0] + 0.026 * side, elbow[1], elbow[2])
    hand = _swing(elbow, FOREARM, angle + 0.22 + 0.35 * max(0.0, angle))
    return shoulder, elbow, hand


def _swing(joint: Body, length: float, angle: float) -> Body:
    return joint[0], joint[1] - length * cos(angle), joint[2] + length * sin(angle)


def _lift(point: Body, by: float) -> Body:
    return point[0], point[1] + by, point[2]


def torso(view: View, look: Look, hips: float) -> Tube:
    w, d = look.width, 0.4 + 0.6 * look.width
    loose = 1.1 if look.top in ("hoodie", "jacket", "coat") else 1.0
    waist = 0.085 + 0.14 * max(0.0, look.width - 1.0)
    shape = (
        (SHOULDER + 0.02, 0.04, 0.042),
        (SHOULDER + 0.002, 0.072 * w, 0.055 * d),
        (SHOULDER - 0.025, 0.097 * w, 0.064 * d),
        (0.235, 0.107 * w * loose, 0.076 * d * loose),
        (0.11, waist * loose, 0.07 * d * loose),
        (0.0, 0.095 * w * loose, 0.077 * d * loose),
        (-0.035, 0.098 * w * loose, 0.08 * d * loose),
    )
    return Tube(view, tuple((hips + y, a, b, 0.012 * y) for y, a, b in shape))
