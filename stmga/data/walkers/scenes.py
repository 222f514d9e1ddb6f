"""A camera: its scene, its height, and the effects of its optics and light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from stmga.data.walkers.canvas import SUPERSAMPLING, Box
from stmga.data.walkers.looks import Colour, mix

# The part of the world that a scene covers, in world units (1 = height of an average person, the ground at 0).
LOWEST, HIGHEST = -0.9, 1.9
HORIZON = (0.3, 0.62)  # where the ground ends, from the lowest to the highest
PLACES = ("street", "park", "hall", "parking", "shops")


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Scene, viewing angle and optical properties of one camera."""

    place: str
    texture_seed: int
    pitch: float  # how much lower a nearer point appears, per unit of depth
    light: int  # side the light comes from: -1 left, +1 right
    brightness: float
    contrast: float
    gains: tuple[float, float, float]  # colour temperature
    noise: float  # standard deviation, in grey levels
    blur: float  # 0 sharp .. 1: weight of the neighbours


def make_camera(rng: np.random.Generator, number: int) -> Camera:
    """Draw a camera from its own random stream; consecutive numbers have different kinds of scene."""
    warmth = rng.uniform(-1, 1)
    return Camera(
        place=PLACES[number % len(PLACES)],
        texture_seed=int(rng.integers(2**31)),
        pitch=rng.uniform(0.08, 0.26),
        light=1 if rng.random() < 0.5 else -1,
        brightness=rng.uniform(0.8, 1.22),
        contrast=rng.uniform(0.78, 1.12),
        gains=(1 + 0.12 * warmth, 1 + rng.uniform(-0.04, 0.04), 1 - 0.14 * warmth),
        noise=rng.uniform(1.5, 6.0),
        blur=rng.uniform(0.0, 0.7),
    )


def photograph(camera: Camera, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, optics and sensor: (t, h, w, 3) uint8 in and out."""
    x = frames.astype(np.float32)
    if camera.blur > 0:
        for axis in (1, 2):
            x = _smooth(x, axis, camera.blur / 4)
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    x = (mean + (x - mean) * camera.contrast) * (np.array(camera.gains, np.float32) * camera.brightness)
    x += camera.noise * rng.standard_normal((*x.shape[:3], 1), dtype=np.float32)
    x += 0.4 * camera.noise * rng.standard_normal(x.shape, dtype=np.float32)
    return x.round().clip(0, 255).astype(np.uint8)


def _smooth(x: np.ndarray, axis: int, share: float) -> np.ndarray:
    first, last = [np.take(x, [i], axis) for i in (0, -1)]
    padded = np.moveaxis(np.concatenate([first, x, last], axis), axis, 0)
    beside = np.moveaxis(padded[:-2] + padded[2:], 0, axis)
    return x * (1 - 2 * share) + beside * share


def horizon(camera: Camera) -> float:
    """Where the ground of this camera's scene ends: the first that its painter draws."""
    return float(np.random.default_rng(camera.texture_seed).uniform(*HORIZON))


def view(camera: Camera, box: Box, size: tuple[int, int], width: float) -> Image.Image:
    """The background in `box` as a new picture at canvas resolution; `width` is that of the scene."""
    scene = _scene(camera, size[0], width)
    k = scene.height / (HIGHEST - LOWEST)
    left = min(max(box.left, 0.0), width - box.width) * k
    top = min(max(HIGHEST - box.top, 0.0), HIGHEST - LOWEST - box.height) * k
    # The scene is a whole number of pixels: a box as large as the scene may exceed it by less than one.
    region = (left, top, min(left + box.width * k, scene.width), min(top + box.height * k, scene.height))
    target = (size[1] * SUPERSAMPLING, size[0] * SUPERSAMPLING)
    return scene.resize(target, Image.Resampling.BILINEAR, box=region)


@lru_cache(maxsize=32)  # a scene is drawn once for all tracklets of a camera; `view` never draws on it
def _scene(camera: Camera, unit: int, width: float) -> Image.Image:
    """The whole scene, `unit` pixels to a person's height."""
    rng = np.random.default_rng(camera.texture_seed)
    painter = _Painter(rng, camera.place, unit, width)
    return painter.paint()


class _Painter:
    """Paints one scene: a far wall down to the horizon, the ground below it, and objects along the horizon."""

    def __init__(self, rng: np.random.Generator, place: str, unit: int, width: float) -> None:
        self.rng, self.place, self.unit, self.width = rng, place, unit, width
        self.horizon = rng.uniform(*HORIZON)
        size = (round(width * unit), round((HIGHEST - LOWEST) * unit))
        self.image = Image.new("RGB", size)
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def paint(self) -> Image.Image:
        wall, ground = self._colours()
        self._gradient(HIGHEST, self.horizon, mix(wall, (255, 255, 255), 0.15), mix(wall, (0, 0, 0), 0.1))
        self._gradient(self.horizon, LOWEST, mix(ground, (0, 0, 0), 0.12), mix(ground, (255, 255, 255), 0.12))
        things = {"street": self._houses, "park": self._trees, "hall": self._panels, "parking": self._cars,
                  "shops": self._windows}  # fmt: skip
        things[self.place]()
        self._ground_lines(ground)
        soft = self.image.filter(ImageFilter.GaussianBlur(self.unit / 110))
        return self._textured(soft)

    def _colours(self) -> tuple[Colour, Colour]:
        walls, grounds = {
            "street": (((172, 160, 148), (196, 190, 178), (150, 120, 100)), ((128, 128, 128), (150, 146, 138))),
            "park": (((140, 160, 124), (168, 186, 196), (120, 142, 104)), ((134, 150, 92), (178, 162, 130))),
            "hall": (((206, 204, 196), (186, 196, 204), (214, 200, 176)), ((176, 170, 160), (134, 140, 150))),
            "parking": (((142, 150, 156), (176, 172, 166), (120, 118, 122)), ((92, 94, 98), (112, 110, 106))),
            "shops": (((148, 138, 130), (190, 176, 160), (110, 112, 124)), ((166, 158, 150), (140, 128, 120))),
        }[self.place]
        jitter = self.rng.integers(-12, 13, 3)
        wall, ground = walls[self.rng.integers(len(walls))], grounds[self.rng.integers(len(grounds))]
        shifted = [tuple(int(v) for v in (np.array(c) + jitter).clip(0, 255)) for c in (wall, ground)]
        return shifted[0], shifted[1]  # type: ignore[return-value]

    def _rect(self, left: float, top: float, right: float, low: float, colour: Colour, alpha: int = 255) -> None:
        u = self.unit
        if right > left and top > low:
            box = (left * u, (HIGHEST - top) * u, right * u, (HIGHEST - low) * u)
            self.draw.rectangle(box, fill=(*colour, alpha))

    def _ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        u = self.unit
        self.draw.ellipse(((x - rx) * u, (HIGHEST - y - ry) * u, (x + rx) * u, (HIGHEST - y + ry) * u), fill=colour)

    def _gradient(self, top: float, low: float, first: Colour, last: Colour) -> None:
        for i in range(24):
            a, b = (top + (low - top) * (i + j) / 24 for j in (0, 1))
            self._rect(0, a, self.width, b - 0.01, mix(first, last, i / 23))

    def _steps(self, low: float, high: float) -> list[tuple[float, float]]:
        """The width of the scene cut into pieces of random length: (left, right)."""
        at, pieces = -self.rng.uniform(0, low), []
        while at < self.width:
            step = self.rng.uniform(low, high)
            pieces.append((at, at + step))
            at += step
        return pieces

    def _any(self, *colours: Colour) -> Colour:
        return mix(colours[self.rng.integers(len(colours))], (128, 128, 128), self.rng.uniform(0.05, 0.4))

    def _houses(self) -> None:
        for left, right in self._steps(0.7, 1.6):
            face = self._any((150, 84, 64), (196, 182, 150), (120, 126, 134), (222, 214, 200), (104, 92, 84))
            self._rect(left, HIGHEST, right, self.horizon, face)
            pane = self._any((52, 62, 76), (88, 104, 120), (40, 40, 44))
            for x in np.arange(left + 0.12, right - 0.2, 0.34):
                for y in (self.horizon + 0.26, self.horizon + 0.82):
                    self._rect(x, y + 0.34, x + 0.19, y, pane)
        self._rect(0, self.horizon + 0.04, self.width, self.horizon, (96, 94, 92))

    def _trees(self) -> None:
        for left, right in self._steps(0.18, 0.5):
            green = self._any((66, 104, 50), (92, 130, 62), (124, 144, 74), (54, 82, 54))
            x, high = (left + right) / 2, self.rng.uniform(0.15, 0.9)
            if high > 0.55:
                self._rect(x - 0.03, self.horizon + high, x + 0.03, self.horizon - 0.05, (82, 62, 46))
            self._ellipse(x, self.horizon + high, self.rng.uniform(0.18, 0.4), self.rng.uniform(0.14, 0.34), green)
        path = self.rng.uniform(-0.15, 0.1)
        self._rect(0, path, self.width, path - 0.4, (186, 172, 142), 150)

    def _panels(self) -> None:
        for i, (left, right) in enumerate(self._steps(0.4, 0.9)):
            tone = int(self.rng.integers(0, 40))
            self._rect(left, HIGHEST, right, self.horizon, (tone * 5, tone * 5, tone * 5), 34)
            self._rect(left - 0.01, HIGHEST, left + 0.012, self.horizon, (90, 90, 94), 150)
            if i % 3 == 1:
                self._rect(left + 0.1, 1.3, right - 0.08, self.horizon, self._any((122, 86, 58), (70, 92, 120)))
            elif i % 3 == 2:
                poster = self._any((200, 60, 50), (50, 110, 170), (230, 190, 70), (60, 140, 90))
                self._rect(left + 0.12, self.horizon + 0.62, right - 0.12, self.horizon + 0.24, poster)
        self._rect(0, self.horizon + 0.05, self.width, self.horizon, (92, 84, 78))

    def _cars(self) -> None:
        self._rect(0, self.horizon + 0.75, self.width, self.horizon + 0.6, (96, 98, 100))
        for left, right in self._steps(0.95, 1.5):
            paint = self._any((190, 30, 34), (30, 60, 130), (220, 220, 222), (40, 42, 46), (130, 134, 138))
            low, wide = self.horizon - 0.12, right - left
            cabin = (left + 0.2 * wide, low + 0.5, left + 0.75 * wide, low + 0.22)
            self._rect(*cabin, mix(paint, (0, 0, 0), 0.25))
            self._rect(cabin[0] + 0.04, cabin[1] - 0.04, cabin[2] - 0.04, low + 0.3, (64, 78, 90))
            self._rect(left + 0.06, low + 0.3, right - 0.1, low + 0.05, paint)
            for share in (0.25, 0.75):
                self._ellipse(left + share * wide, low + 0.06, 0.075, 0.075, (26, 26, 28))

    def _windows(self) -> None:
        for left, right in self._steps(0.6, 1.2):
            glass = self._any((70, 88, 100), (120, 136, 140), (150, 128, 96), (48, 52, 60))
            self._rect(left + 0.05, self.horizon + 0.72, right - 0.04, self.horizon + 0.08, glass)
            for _ in range(int(self.rng.integers(2, 6))):
                x, y = self.rng.uniform(left + 0.1, right - 0.1), self.horizon + self.rng.uniform(0.12, 0.5)
                ware = self._any((220, 180, 60), (190, 60, 60), (70, 120, 180), (230, 225, 215), (90, 140, 80))
                self._rect(x, y + 0.13, x + 0.08, y, ware)
            sign = self._any((190, 40, 40), (30, 80, 150), (40, 120, 70), (230, 190, 60), (50, 44, 60))
            self._rect(left + 0.03, self.horizon + 0.96, right - 0.02, self.horizon + 0.76, sign)

    def _ground_lines(self, ground: Colour) -> None:
        """Kerbs, tiles or parking lines: they widen towards the camera."""
        if self.place == "park":
            return
        u, dark = self.unit, mix(ground, (255, 255, 255) if self.place == "parking" else (0, 0, 0), 0.35)
        depth = self.horizon - LOWEST
        for i in range(1, 7):
            y = self.horizon - depth * (i / 7) ** 1.7
            if self.place != "parking":
                self._rect(0, y, self.width, y - 0.006 * (1 + i / 3), dark, 120)
        centre, gap = self.width / 2, 0.3 if self.place != "parking" else 0.8
        for i in range(-int(self.width / gap), int(self.width / gap) + 1):
            far, near = centre + i * gap, centre + i * gap * 2.2
            ends = (far * u, (HIGHEST - self.horizon + 0.12) * u, near * u, (HIGHEST - LOWEST) * u)
            self.draw.line(ends, fill=(*dark, 110), width=max(1, u // 60))

    def _textured(self, image: Image.Image) -> Image.Image:
        """Blotches of several sizes, stronger on the ground: plaster, dirt, leaves."""
        w, h = image.size
        rough = np.zeros((h, w), np.float32)
        for cells, weight in ((self.unit // 4 or 1, 3.5), (self.unit // 12 or 1, 3.0), (self.unit // 40 or 1, 3.5)):
            grain = self.rng.standard_normal((h // cells + 2, w // cells + 2)).astype(np.float32)
            rough += weight * np.asarray(Image.fromarray(grain).resize((w, h), Image.Resampling.BICUBIC))
        line = round((HIGHEST - self.horizon) * self.unit)
        rough[line:] *= 1.5
        if self.place == "park":
            rough *= 1.4
        return Image.fromarray((np.asarray(image, np.float32) + rough[..., None]).clip(0, 255).astype(np.uint8))
