"""A supersampled canvas in world units that can paint a picture and its part labels with the same strokes."""

from __future__ import annotations

from enum import IntEnum
from math import atan2, cos, hypot, pi, sin
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from stmga.data.walkers.looks import Colour

SUPERSAMPLING = 3  # odd: a label is read at the exact centre of its pixel

Point = tuple[float, float]


class Label(IntEnum):
    """What a pixel shows. Regions of the body, not garments: the skirt of a dress is `LEGS`, arms are `TORSO`."""

    BACKGROUND = 0
    HEAD = 1
    TORSO = 2
    LEGS = 3
    SHOES = 4
    BAG = 5
    OCCLUDER = 6


class Box(NamedTuple):
    """A detector's box in world units: x to the right, y up from the ground, 1 = the height of an average person."""

    left: float
    top: float
    width: float
    height: float


class Canvas:
    """Shapes are given in world units; `background` is the view of the scene through `box` at canvas resolution."""

    def __init__(self, background: Image.Image, box: Box, *, labels: bool = False) -> None:
        self.box = box
        self.scale = background.height / box.height
        self.force: Label | None = None  # while set, every stroke gets this label
        self._image = background
        self._draw = ImageDraw.Draw(background, "RGBA")
        self._labels = Image.new("L", background.size, 0) if labels else None
        self._mark = ImageDraw.Draw(self._labels) if self._labels is not None else None

    def polygon(self, points: list[Point], colour: Colour, label: Label) -> None:
        if not points:  # a patch on the far side of the body
            return
        pixels = self._pixels(points)
        self._draw.polygon(pixels, fill=colour)
        if self._mark is not None:
            self._mark.polygon(pixels, fill=int(label if self.force is None else self.force))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, label: Label) -> None:
        self.polygon([(x + rx * c, y + ry * s) for c, s in _CIRCLE], colour, label)

    def limb(self, a: Point, b: Point, ra: float, rb: float, colour: Colour, label: Label, light: int = 0) -> None:
        """A tapered limb with round ends; `light` (-1 left, +1 right) darkens the side away from it."""
        self.polygon(_capsule(a, b, ra, rb), colour, label)
        if light:
            (ax, ay), (bx, by) = a, b
            self.shade(_capsule((ax - light * 0.5 * ra, ay), (bx - light * 0.5 * rb, by), ra * 0.5, rb * 0.5), 56)

    def shade(self, points: list[Point], alpha: int, colour: Colour = (0, 0, 0)) -> None:
        """Darken (or tint) an area; labels stay as they are."""
        if points:
            self._draw.polygon(self._pixels(points), fill=(*colour, alpha))

    def picture(self) -> np.ndarray:
        """(h, w, 3) uint8, reduced."""
        return np.asarray(self._image.reduce(SUPERSAMPLING))

    def labels(self) -> np.ndarray:
        """(h, w) uint8, the label at the centre of each pixel."""
        assert self._labels is not None, "this canvas was made without labels"
        middle = SUPERSAMPLING // 2
        return np.asarray(self._labels)[middle::SUPERSAMPLING, middle::SUPERSAMPLING]

    def _pixels(self, points: list[Point]) -> list[Point]:
        left, top, k = self.box.left, self.box.top, self.scale
        return [((x - left) * k, (top - y) * k) for x, y in points]


_CIRCLE = [(cos(i * pi / 10), sin(i * pi / 10)) for i in range(20)]
_HALF = [i * pi / 6 for i in range(7)]


def _capsule(a: Point, b: Point, ra: float, rb: float) -> list[Point]:
    (ax, ay), (bx, by) = a, b
    # A limb that points at the camera has no direction in the picture: any will do.
    turn = atan2(by - ay, bx - ax) + pi / 2 if hypot(bx - ax, by - ay) > 1e-9 else 0.0
    start = [(ax + ra * cos(turn + i), ay + ra * sin(turn + i)) for i in _HALF]
    return start + [(bx + rb * cos(turn + pi + i), by + rb * sin(turn + pi + i)) for i in _HALF]
