"""What all pictures share: colours, text that fits its place, and several pictures as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = "#ffffff", "#1d232b", "#66707c"
MARGIN, GAP, LINE = 20, 12, 16


def stack(
    pictures: Sequence[Image.Image], *, title: str = "", note: str = "", across: bool = False, margin: int | None = None
) -> Image.Image:
    """Several pictures as one, below each other or ``across``, under a title and a grey note.

    ``margin`` is in pixels; by default there is one if there is a title or a note.

    >>> stack([Image.new("RGB", (40, 30)), Image.new("RGB", (20, 50))], across=True, margin=0).size
    (80, 50)
    """
    if not pictures:
        raise ValueError("nothing to stack: the list of pictures is empty")
    margin = (MARGIN if title or note else 0) if margin is None else margin
    gap = 2 * MARGIN if across and margin else MARGIN
    widths, heights = [p.width for p in pictures], [p.height for p in pictures]
    inner = sum(widths) + gap * (len(pictures) - 1) if across else max(widths)
    inner = max(inner, round(font(20).getlength(title)))
    lines = wrapped(note, font(13), inner)
    head = (32 if title else 0) + 18 * len(lines) + ((MARGIN if margin else GAP) if title or lines else 0)
    body = max(heights) if across else sum(heights) + gap * (len(pictures) - 1)
    canvas = Image.new("RGB", (inner + 2 * margin, head + body + 2 * margin), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((margin, margin - 2), title, INK, font(20))
    for i, line in enumerate(lines):
        draw.text((margin, margin + (32 if title else 0) + 18 * i), line, FAINT, font(13))
    left, top = margin, margin + head
    for picture in pictures:
        canvas.paste(picture, (left, top))
        left, top = (left + picture.width + gap, top) if across else (left, top + picture.height + gap)
    return canvas


@lru_cache
def font(size: int) -> Any:
    return ImageFont.load_default(size)  # Pillow's own scalable sans serif, the same on every machine


def draw_lines(canvas: Image.Image, lines: Sequence[str], box: tuple[int, int, int], *, centre: bool = True) -> None:
    """Lines of at most ``width`` pixels each; the first in ink, the others faint."""
    left, top, width = box
    draw, small = ImageDraw.Draw(canvas), font(12)
    for i, line in enumerate(lines):
        line = cut(line, small, width)
        x = left + (width - small.getlength(line)) / 2 if centre else left
        draw.text((x, top + i * LINE), line, FAINT if i else INK, small)


def cut(text: str, font: Any, width: int) -> str:
    """The text, its middle replaced by an ellipsis if it is too wide: ids differ at their ends."""
    if font.getlength(text) <= width:
        return text
    for keep in range(len(text) - 1, 0, -1):
        shorter = text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
        if font.getlength(shorter) <= width:
            return shorter
    return ""


def wrapped(text: str, font: Any, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
