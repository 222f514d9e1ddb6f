"""One walking person on a canvas: the parts of the body and of the clothes, from the farthest to the nearest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import cos, pi, sin

from stmga.data.walkers.body import SHOULDER, View, arm, legs, torso
from stmga.data.walkers.canvas import Canvas
from stmga.data.walkers.clothes import draw_head, draw_long_hair, dress
from stmga.data.walkers.limbs import draw_arm, draw_backpack, draw_handbag, draw_leg, draw_messenger, draw_straps
from stmga.data.walkers.looks import Look


def draw_figure(canvas: Canvas, look: Look, *, x: float, yaw: float, phase: float, pitch: float, light: int) -> None:
    """Paint one person with their feet on the ground at `x` (world units), `yaw` in radians, at a phase of the gait."""
    view = View(x, yaw, pitch, light, look.stature)
    left, right, hips = legs(look, phase)
    trunk = torso(view, look, hips)
    x0, y0 = view.see((0.0, 0.004, 0.0))
    canvas.shade([(x0 + 0.21 * c, y0 + 0.03 * s) for c, s in _OVAL], 70)

    # Legs are under the trunk whatever their depth; the rest by distance to the camera.
    strokes: list[tuple[float, Callable[[], None]]] = [
        (view.depth(leg.knee) - 1.0, partial(draw_leg, canvas, view, look, leg)) for leg in (left, right)
    ]
    strokes.append((0.0, partial(dress, canvas, view, look, trunk, hips, left, right)))
    strokes.append((0.001, partial(draw_straps, canvas, look, trunk)))
    strokes.append((0.002, partial(draw_head, canvas, view, look, hips + SHOULDER)))
    if look.hair_style == "long":
        strokes.append((-0.5 if cos(yaw) > -0.2 else 0.5, partial(draw_long_hair, canvas, view, look, hips + SHOULDER)))
    for side in (1, -1):
        joints = arm(look, phase, side, hips)
        depth = view.depth(joints[1]) + view.depth(joints[2])
        strokes.append((depth, partial(draw_arm, canvas, view, look, joints)))
        if look.bag == "handbag" and side == look.bag_side:
            strokes.append((depth + 0.001, partial(draw_handbag, canvas, view, look, joints[2])))
    if look.bag == "backpack":
        strokes.append((view.depth((0.0, 0.0, -0.1)), partial(draw_backpack, canvas, view, look, hips)))
    elif look.bag == "messenger":
        depth = view.depth((0.14 * look.bag_side, 0.0, 0.0))
        strokes.append((depth, partial(draw_messenger, canvas, view, look, hips)))
    for _, stroke in sorted(strokes, key=lambda item: item[0]):
        stroke()


_OVAL = [(cos(i * pi / 8), sin(i * pi / 8)) for i in range(16)]
