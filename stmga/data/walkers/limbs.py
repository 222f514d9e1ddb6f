"""Legs, shoes, arms and what is carried."""

from __future__ import annotations

from dataclasses import replace
from math import hypot

from stmga.data.walkers.body import SHOULDER, Body, Leg, Tube, View
from stmga.data.walkers.canvas import Canvas, Label, Point
from stmga.data.walkers.looks import Colour, Look, mix


def draw_leg(canvas: Canvas, view: View, look: Look, leg: Leg) -> None:
    hip, knee, ankle = view.see(leg.hip), view.see(leg.knee), view.see(leg.ankle)
    w = view.stature * (0.6 + 0.4 * look.width)
    trousers = look.bottom == "trousers" and look.top != "dress"
    below = look.bottom_colour if trousers else look.skin
    thigh = look.skin if look.bottom == "skirt" or look.top == "dress" else look.bottom_colour
    hem = 0.027 * w * (look.flare if trousers else 1.0)
    _draw_shoe(canvas, view, look, leg)
    canvas.limb(knee, ankle, 0.037 * w, hem, below, Label.LEGS, view.light)
    if look.boots and not trousers:
        canvas.limb(_between(knee, ankle, 0.45), ankle, 0.036 * w, 0.03 * w, look.shoe_colour, Label.SHOES, view.light)
    canvas.limb(hip, knee, 0.056 * w, 0.041 * w, thigh, Label.LEGS, view.light)
    if thigh != below:  # shorts end just above the knee and are a little wider
        canvas.limb(hip, _between(hip, knee, 0.85), 0.058 * w, 0.046 * w, thigh, Label.LEGS, view.light)


def _draw_shoe(canvas: Canvas, view: View, look: Look, leg: Leg) -> None:
    side, y, forward = leg.ankle
    heel, toe = view.see((side, y - 0.022, forward - 0.024)), view.see(leg.toe)
    r = view.stature * 0.022
    canvas.limb(heel, toe, r * 1.05, r * 0.85, look.shoe_colour, Label.SHOES)
    canvas.limb(view.see(leg.ankle), heel, r * 1.15, r, look.shoe_colour, Label.SHOES)
    sole = mix(look.shoe_colour, (20, 20, 20) if sum(look.shoe_colour) > 300 else (225, 225, 220), 0.7)
    canvas.limb((heel[0], heel[1] - r * 0.75), (toe[0], toe[1] - r * 0.6), r * 0.25, r * 0.25, sole, Label.SHOES)


def draw_arm(canvas: Canvas, view: View, look: Look, arm: tuple[Body, Body, Body]) -> None:
    shoulder, elbow, hand = (view.see(p) for p in arm)
    w = view.stature * (0.5 + 0.5 * look.width)
    plump = 1.18 if look.top in ("hoodie", "jacket", "coat") else 1.0
    canvas.ellipse(*hand, 0.021 * view.stature, 0.024 * view.stature, look.skin, Label.TORSO)
    cuff = _between(elbow, hand, 0.88) if look.sleeve > 0.5 else hand
    lower: Colour = look.top_colour if look.sleeve > 0.5 else look.skin
    upper_end = elbow if look.sleeve > 0.5 else _between(shoulder, elbow, look.sleeve * 2)
    if look.sleeve <= 0.5:
        canvas.limb(shoulder, elbow, 0.029 * w, 0.024 * w, look.skin, Label.TORSO, view.light)
    upper = look.accent if look.pattern == "halves" else look.top_colour
    s = w * plump
    canvas.limb(elbow, cuff, 0.026 * s, 0.021 * s, lower, Label.TORSO, view.light)
    if look.sleeve > 0.5:
        _decorate_sleeve(canvas, look, elbow, cuff, 0.023 * s)
    canvas.limb(shoulder, upper_end, 0.034 * s, 0.029 * s, upper, Label.TORSO, view.light)
    _decorate_sleeve(canvas, look, shoulder, upper_end, 0.031 * s)
    # A thin dark edge on the inner side keeps an arm apart from a torso of the same colour.
    inner = -1 if shoulder[0] > view.x else 1
    canvas.shade(_strip(shoulder, elbow, inner * 0.031 * w, inner * 0.009 * w), 60)


def _decorate_sleeve(canvas: Canvas, look: Look, a: Point, b: Point, half: float) -> None:
    """The pattern of the top on one part of a sleeve, between two joints: as coarse as it is on the torso."""
    (ax, ay), (bx, by) = a, b
    length = hypot(bx - ax, by - ay)
    if length < 0.02:  # an arm that points at the camera
        return
    px, py = half * (by - ay) / length, half * (ax - bx) / length  # from the middle line to the edge
    if look.pattern in ("stripes", "checks"):
        for start in range(round(length / 0.056)):
            low, high = (_between(a, b, min((start + at) * 0.056 / length, 1.0)) for at in (0.3, 0.75))
            band = [(low[0] - px, low[1] - py), (low[0] + px, low[1] + py),
                    (high[0] + px, high[1] + py), (high[0] - px, high[1] - py)]  # fmt: skip
            canvas.polygon(band, look.accent, Label.TORSO)
    if look.pattern in ("columns", "checks"):
        canvas.limb(a, b, 0.3 * half, 0.3 * half, look.accent, Label.TORSO)
    if look.pattern == "dots":
        for share in (0.3, 0.75):
            canvas.ellipse(*_between(a, b, share), 0.013, 0.015, look.accent, Label.TORSO)


def _strip(a: Point, b: Point, out: float, thick: float) -> list[Point]:
    (ax, ay), (bx, by) = a, b
    return [(ax + out, ay), (ax + out - thick, ay), (bx + 0.85 * out - thick, by), (bx + 0.85 * out, by)]


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])


def draw_backpack(canvas: Canvas, view: View, look: Look, hips: float) -> None:
    """A rounded box on the back; from the front only its sides and the straps are seen."""
    behind = -0.078 * (0.4 + 0.6 * look.width) - 0.045
    top, low = hips + SHOULDER - 0.02, hips + 0.06
    levels = tuple((low + (top - low) * v, a, b, behind) for v, a, b in _PACK)
    pack = Tube(view, levels)
    canvas.polygon(pack.outline(), look.bag_colour, Label.BAG)
    dark = mix(look.bag_colour, (0, 0, 0), 0.35)
    canvas.polygon(pack.patch(180 - 44, 180 + 44, 0.56, 0.88), dark, Label.BAG)
    canvas.polygon(pack.patch(180 - 60, 180 + 60, 0.26, 0.3), dark, Label.BAG)
    canvas.shade(pack.shaded(view.light), 50)


def draw_straps(canvas: Canvas, look: Look, torso: Tube) -> None:
    """The straps of a backpack over the shoulders, or of a messenger bag across the chest."""
    if look.bag == "backpack":
        for angle in (-42, 30):
            canvas.polygon(torso.patch(angle, angle + 13, 0.04, 0.5), look.bag_colour, Label.BAG)
    elif look.bag == "messenger":
        for middle in (0, 180):  # chest and back: from the other shoulder down to the bag
            if torso.visible(middle):
                over, out = (-50, 60) if middle == 0 else (-130, 120)
                (ax, ay), (bx, by) = torso.at(over * look.bag_side, 0.07), torso.at(out * look.bag_side, 0.85)
                strap = [(ax, ay - 0.012), (ax, ay + 0.012), (bx, by + 0.012), (bx, by - 0.012)]
                canvas.polygon(strap, look.bag_colour, Label.BAG)


def draw_messenger(canvas: Canvas, view: View, look: Look, hips: float) -> None:
    """A flat bag that hangs at one hip."""
    side = look.bag_side * (0.105 * look.width + 0.035)
    levels = ((hips + 0.07, 0.03, 0.085, -0.01), (hips - 0.07, 0.034, 0.09, -0.01))
    bag = Tube(_moved(view, side), levels)
    canvas.polygon(bag.outline(), look.bag_colour, Label.BAG)
    canvas.polygon(bag.outline(0.0, 0.45), mix(look.bag_colour, (0, 0, 0), 0.25), Label.BAG)


def draw_handbag(canvas: Canvas, view: View, look: Look, hand: Body) -> None:
    side, y, forward = hand
    centre = _moved(view, side)
    grip = centre.see((0, y - 0.01, forward))
    bag = Tube(centre, ((y - 0.07, 0.024, 0.06, forward), (y - 0.16, 0.034, 0.085, forward)))
    (lx, ly), (rx, ry) = bag.outline()[0], bag.outline()[-1]
    for end in ((lx * 0.8 + rx * 0.2, ly), (lx * 0.2 + rx * 0.8, ry)):
        canvas.limb(grip, end, 0.006, 0.006, mix(look.bag_colour, (0, 0, 0), 0.4), Label.BAG)
    canvas.polygon(bag.outline(), look.bag_colour, Label.BAG)
    canvas.polygon(bag.outline(0.0, 0.2), mix(look.bag_colour, (0, 0, 0), 0.3), Label.BAG)


def _moved(view: View, side: float) -> View:
    """The same view with its axis moved to the person's left, since a tube is centred on the axis."""
    x, _ = view.see((side, 0.0, 0.0))
    return replace(view, x=x)


_PACK = ((1.0, 0.05, 0.03), (0.93, 0.083, 0.05), (0.5, 0.094, 0.062), (0.06, 0.09, 0.062), (0.0, 0.06, 0.045))
