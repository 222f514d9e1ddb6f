"""Torso, skirts and head: garments, hair and hat. Patterns are on the round body and turn with it."""

from __future__ import annotations

from math import cos, sin

from stmga.data.walkers.body import SHOULDER, Leg, Tube, View
from stmga.data.walkers.canvas import Canvas, Label
from stmga.data.walkers.looks import Colour, Look, mix

TORSO, LEGS, HEAD, BAG = Label.TORSO, Label.LEGS, Label.HEAD, Label.BAG


def dress(canvas: Canvas, view: View, look: Look, torso: Tube, hips: float, left: Leg, right: Leg) -> None:
    """Everything between neck and knees that is not an arm."""
    canvas.limb(
        view.see((0, hips + SHOULDER - 0.02, 0.004)), view.see((0, hips + SHOULDER + 0.06, 0.012)),
        0.034 * view.stature, 0.032 * view.stature, look.skin, HEAD,
    )  # fmt: skip
    tucked = look.top in ("shirt", "dress")
    canvas.polygon(torso.outline(0.55, 1.0), look.bottom_colour, LEGS)
    if look.top == "dress":
        _skirt(canvas, view, look, look.top_colour, hips, 0.1, left, right, pattern=True)
    elif look.bottom == "skirt":
        _skirt(canvas, view, look, look.bottom_colour, hips, 0.05, left, right)
    if look.top == "coat":
        _skirt(canvas, view, look, look.top_colour, hips, 0.07, left, right, slit=True)
    hem = 0.86 if tucked else 1.0
    canvas.polygon(torso.outline(0.0, hem), look.top_colour, TORSO)
    decorate(canvas, look, torso, hem)
    if look.top in ("jacket", "coat"):
        _opening(canvas, torso, look, hem)
    if look.top == "hoodie":
        _hood(canvas, torso, look)
    canvas.shade(torso.shaded(view.light, 0.08, hem), 30)
    canvas.shade(torso.shaded(view.light, 0.08, hem, depth=55), 34)
    if look.top not in ("dress", "coat"):
        canvas.shade(torso.outline(hem - 0.03, hem), 50)


def decorate(canvas: Canvas, look: Look, tube: Tube, hem: float, label: Label = TORSO) -> None:
    """The pattern of the top, on any tube that is cut from the same cloth."""
    colour, turn = look.accent, tube.turn()
    if look.pattern in ("stripes", "checks"):
        for i in range(5):
            top = 0.14 + i * 0.16
            if top + 0.07 <= hem:
                canvas.polygon(tube.outline(top, top + 0.075), colour, label)
    if look.pattern in ("columns", "checks"):
        for angle in range(-180, 180, 36):
            canvas.polygon(tube.patch(angle, angle + 12, 0.08, hem), colour, label)
    if look.pattern == "dots":
        for row in range(5):
            for angle in range(-180, 180, 36):
                at = angle + 18 * (row % 2)
                if tube.visible(at) and 0.17 + row * 0.17 < hem:
                    x, y = tube.at(at, 0.17 + row * 0.17)
                    canvas.ellipse(x, y, 0.015 * abs(cos((at + turn) * 0.01745)) + 0.003, 0.015, colour, label)
    if look.pattern == "halves":
        canvas.polygon(tube.outline(0.0, 0.46), colour, label)
    if look.pattern == "logo" and label is TORSO:
        for angle, reach in ((0, 26), (180, 34)):  # a print on the chest, a larger one on the back
            canvas.polygon(tube.patch(angle - reach, angle + reach, 0.24, 0.3 + reach * 0.006), colour, label)


def _opening(canvas: Canvas, torso: Tube, look: Look, hem: float) -> None:
    """What an open jacket shows: a wedge of the shirt, its collar, the edge of the zip."""
    inner = look.accent if look.pattern == "plain" else mix(look.accent, (235, 235, 230), 0.5)
    canvas.polygon(torso.patch(-16, 16, 0.0, hem), inner, TORSO)
    for side in (-22, 15):
        canvas.shade(torso.patch(side, side + 7, 0.0, hem), 70)


def _hood(canvas: Canvas, torso: Tube, look: Look) -> None:
    canvas.polygon(torso.outline(0.0, 0.1), mix(look.top_colour, (0, 0, 0), 0.3), TORSO)
    canvas.shade(torso.patch(-42, 42, 0.66, 0.88), 46)  # the pocket in front


def _skirt(
    canvas: Canvas, view: View, look: Look, colour: Colour, hips: float, drop: float, left: Leg, right: Leg,
    *, pattern: bool = False, slit: bool = False,
) -> None:  # fmt: skip
    """Cloth from the hips over the thighs; its hem is as wide as the step that it has to contain."""
    spread = abs(left.knee[2] - right.knee[2]) / 2
    knees = (left.knee[1] + right.knee[1]) / 2
    w = look.width
    hem = (knees + (0.06 - drop), 0.122 * w, 0.085 * w + 0.5 * spread, (left.knee[2] + right.knee[2]) / 2)
    tube = Tube(view, ((hips + 0.09, 0.094 * w, 0.07 * w, 0.0), (hips, 0.108 * w, 0.082 * w, 0.0), hem))
    canvas.polygon(tube.outline(), colour, LEGS)
    if pattern and look.pattern in ("dots", "checks", "stripes", "columns"):
        decorate(canvas, look, tube, 1.0, LEGS)
    if slit:
        canvas.polygon(tube.patch(-10, 10, 0.15, 1.0), look.bottom_colour, LEGS)
    canvas.shade(tube.shaded(view.light), 48)


def draw_head(canvas: Canvas, view: View, look: Look, shoulders: float) -> None:
    """Hair all round, the face on its front, a shadow, then what is worn over it."""
    s, side = view.stature, sin(view.yaw)
    x, y, rx, ry = _skull(view, shoulders)
    canvas.ellipse(x, y, rx, ry, look.skin if look.hair_style == "bald" else look.hair, HEAD)
    if look.hair_style == "bun":
        canvas.ellipse(x - 0.055 * s * side, y + 0.045 * s, 0.022 * s, 0.022 * s, look.hair, HEAD)
    if cos(view.yaw) > -0.6:
        _face(canvas, view, look, x, y, rx, ry)
    dark = -view.light * rx
    edge = [(0.98, 0.1), (0.8, 0.58), (0.42, 0.88), (0.5, 0.0), (0.42, -0.88), (0.8, -0.58), (0.98, -0.1)]
    canvas.shade([(x + dark * p, y + ry * q) for p, q in edge], 44)
    if look.hat != "none":
        _hat(canvas, view, look, x, y, rx, ry)


def draw_long_hair(canvas: Canvas, view: View, look: Look, shoulders: float) -> None:
    """Hair that falls on the back: behind the neck from the front, over the clothes from the back."""
    x, y, rx, ry = _skull(view, shoulders)
    x -= 0.3 * rx * sin(view.yaw)
    canvas.limb((x, y - 0.45 * ry), (x, y - 1.45 * ry), rx * 1.05, rx * 0.85, look.hair, HEAD, view.light)


def _skull(view: View, shoulders: float) -> tuple[float, float, float, float]:
    """Centre and radii of the head; it is longer than wide."""
    x, y = view.see((0.0, shoulders + 0.108, 0.014))
    return x, y, view.stature * (0.05 + 0.009 * abs(sin(view.yaw))), view.stature * 0.07


def _face(canvas: Canvas, view: View, look: Look, x: float, y: float, rx: float, ry: float) -> None:
    """Skin on the front of the head; it slides to the edge and narrows as the head turns away."""
    ahead, side = cos(view.yaw), sin(view.yaw)
    fx, fy = x + 0.34 * rx * side, y - 0.2 * ry
    canvas.ellipse(fx, fy, rx * (0.66 + 0.22 * ahead), ry * 0.8, look.skin, HEAD)
    if abs(side) > 0.5:  # a nose in profile, and an ear
        tip, root = x + rx * 1.16 * side, x + rx * 0.86 * side
        canvas.polygon([(tip, fy - 0.08 * ry), (root, fy + 0.2 * ry), (root, fy - 0.2 * ry)], look.skin, HEAD)
        canvas.ellipse(x - 0.1 * rx * side, fy, 0.14 * rx, 0.19 * ry, mix(look.skin, (90, 40, 20), 0.3), HEAD)
    for eye in (-0.45, 0.45):
        if cos(view.yaw + eye) > 0.15:
            ex = x + 0.86 * rx * sin(view.yaw + eye)
            canvas.ellipse(ex, fy + 0.22 * ry, 0.13 * rx * cos(view.yaw + eye), 0.08 * ry, (36, 26, 24), HEAD)
    if ahead > 0.0:
        mouth = mix(look.skin, (140, 40, 40), 0.5)
        canvas.ellipse(x + 0.8 * rx * side, fy - 0.42 * ry, 0.26 * rx * max(ahead, 0.4), 0.05 * ry, mouth, HEAD)


def _hat(canvas: Canvas, view: View, look: Look, x: float, y: float, rx: float, ry: float) -> None:
    dome = [(x + 1.08 * rx * cos(i * 0.2618), y + 0.22 * ry + 0.9 * ry * sin(i * 0.2618)) for i in range(13)]
    canvas.polygon(dome, look.hat_colour, HEAD)
    ahead, side = max(cos(view.yaw), 0.0), sin(view.yaw)
    brim = mix(look.hat_colour, (0, 0, 0), 0.35)
    if look.hat == "beanie":
        canvas.polygon([(x - 1.1 * rx, y + 0.42 * ry), (x + 1.1 * rx, y + 0.42 * ry),
                        (x + 1.1 * rx, y + 0.16 * ry), (x - 1.1 * rx, y + 0.16 * ry)], brim, HEAD)  # fmt: skip
    elif cos(view.yaw) > -0.4:
        peak = x + side * rx * 0.95
        canvas.ellipse(peak, y + 0.22 * ry, rx * (0.5 + 0.4 * ahead), ry * (0.09 + 0.1 * ahead), brim, HEAD)
