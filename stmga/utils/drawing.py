"""Lines, dots and text on white paper, written as PNG or SVG: for plots, without a plotting library."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

INK, FAINT, GRID = "#1d232b", "#66707c", "#dfe3e8"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # for the colour-blind
SUFFIXES = (".png", ".svg")
SHARP = 2  # pixels of a PNG for each unit
FINE = 2  # it is drawn so many times larger, for smooth edges
ANCHORS = {"l": "start", "m": "middle", "r": "end"}


class Line(NamedTuple):
    """A line through points (x, y)."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float


class Dot(NamedTuple):
    """A filled circle."""

    x: float
    y: float
    radius: float
    colour: str


class Text(NamedTuple):
    """One line of text whose middle is at the height y; it begins (l), has its middle (m) or ends (r) at x."""

    x: float
    y: float
    text: str
    colour: str
    size: float
    anchor: str


class Drawing:
    """Shapes on a page of ``width`` x ``height``, measured from its top left corner.

    >>> page = Drawing(200, 100)
    >>> page.line([(10, 90), (190, 90)])
    >>> page.text(100, 50, "a < b", anchor="m")
    >>> page.encode(".svg").count(b"a &lt; b"), page.encode(".png")[:4]
    (1, b'\\x89PNG')
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.shapes: list[Line | Dot | Text] = []

    def line(self, points: Sequence[tuple[float, float]], colour: str = INK, width: float = 1) -> None:
        """A line through points."""
        self.shapes.append(Line(tuple(points), colour, width))

    def dot(self, x: float, y: float, colour: str = INK, radius: float = 5) -> None:
        """A filled circle."""
        self.shapes.append(Dot(x, y, radius, colour))

    def text(self, x: float, y: float, text: str, colour: str = INK, size: float = 13, anchor: str = "l") -> None:
        """One line of text, see :class:`Text`."""
        self.shapes.append(Text(x, y, text, colour, size, anchor))

    def encode(self, suffix: str) -> bytes:
        """The file: ``".png"`` or ``".svg"``; ValueError for another."""
        if suffix not in SUFFIXES:
            raise ValueError(f"a picture is written as {' or '.join(SUFFIXES)}, got {suffix!r}")
        return self._png() if suffix == ".png" else self._svg()

    def _png(self) -> bytes:
        from PIL import Image, ImageDraw

        k = SHARP * FINE
        canvas = Image.new("RGB", (self.width * k, self.height * k), "white")
        draw = ImageDraw.Draw(canvas)
        for shape in self.shapes:
            if isinstance(shape, Line):
                draw.line([(x * k, y * k) for x, y in shape.points], shape.colour, max(1, round(shape.width * k)))
            elif isinstance(shape, Dot):
                x, y, r = shape.x * k, shape.y * k, shape.radius * k
                draw.ellipse((x - r, y - r, x + r, y + r), shape.colour)
            else:
                place = shape.x * k, shape.y * k
                draw.text(place, shape.text, shape.colour, _font(shape.size * k), anchor=f"{shape.anchor}m")
        out = io.BytesIO()
        canvas.resize((self.width * SHARP, self.height * SHARP), Image.Resampling.LANCZOS).save(out, "PNG")
        return out.getvalue()

    def _svg(self) -> bytes:
        page = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        shapes = "\n".join(_element(shape) for shape in self.shapes)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {page} font-family="Arial, Helvetica, sans-serif">'
        return f'{head}\n<rect width="100%" height="100%" fill="white"/>\n{shapes}\n</svg>\n'.encode()


def text_width(text: str, size: float = 13) -> float:
    """How wide a text is."""
    return float(_font(size).getlength(text))


def shortened(text: str, width: float, size: float = 13) -> str:
    """The text, with an ellipsis for its middle where it is wider than ``width``."""
    keep = len(text)
    short = text
    while keep > 1 and text_width(short, size) > width:
        keep -= 1
        short = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
    return short


def check_picture(path: str | Path) -> None:
    """Raise ValueError or OSError for a picture that cannot be written, before minutes of work."""
    if Path(path).suffix not in SUFFIXES or Path(path).is_dir():
        raise ValueError(f"the picture can be written as {' or '.join(SUFFIXES)}, got {str(path)!r}")
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {Path(path).absolute().parent} does not exist; create it first")


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from just below ``low`` to just above ``high``, some ``about`` of them.

    >>> ticks(0.13, 0.91, 4)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9) / about))
    step *= next(m for m in (1, 2, 5, 10, 20) if (high - low) / (m * step) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from just below ``low`` to just above ``high``.

    >>> log_ticks(0.6, 37)
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
    """
    return list(_log_ticks(low, high))


def _log_ticks(low: float, high: float) -> Iterator[float]:
    marks = [
        round(m * 10.0**e, 12)
        for e in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
        for m in (1, 2, 5)
    ]
    below, above = max(m for m in marks if m <= low), min(m for m in marks if m >= high)
    return (m for m in marks if below <= m <= max(above, min(m for m in marks if m > below)))


def _element(shape: Line | Dot | Text) -> str:
    if isinstance(shape, Line):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        return f'<polyline points="{points}" fill="none" stroke="{shape.colour}" stroke-width="{shape.width:g}"/>'
    if isinstance(shape, Dot):
        return f'<circle cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="{shape.radius:g}" fill="{shape.colour}"/>'
    place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" text-anchor="{ANCHORS[shape.anchor]}" dominant-baseline="central"'
    # As wide as in the PNG, whatever font the viewer has: labels were placed by that width.
    length = f'textLength="{text_width(shape.text, shape.size):.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text {place} font-size="{shape.size:g}" fill="{shape.colour}" {length}>{escape(shape.text)}</text>'


@lru_cache
def _font(size: float) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)  # the same on every machine
