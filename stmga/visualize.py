"""Pictures of what the network finds: ranked matches and part attentions. numpy and Pillow, no plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stmga.utils.arrays import to_numpy

PAPER, INK, FAINT = "#ffffff", "#1d232b", "#66707c"
RIGHT, WRONG, UNKNOWN, QUERY = "#2a9d4a", "#d13b32", "#9aa3ad", "#1d232b"
MARGIN, GAP, LINE = 20, 12, 16
HEAT = np.array([[16, 12, 60], [106, 28, 128], [208, 56, 92], [248, 148, 66], [252, 236, 150]], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Card:
    """One crop of a ranked picture, and what is known about it.

    ``picture`` is a PIL image or a uint8 array ``(h, w, 3)``; ``None`` leaves an empty box.
    """

    picture: Image.Image | NDArray[np.uint8] | None
    tracklet: str = ""
    person: Any = None
    camera: Any = None
    similarity: float | None = None

    def captions(self) -> list[str]:
        """Two short lines below the crop."""
        camera = [] if self.camera is None else [f"cam {self.camera}"]
        similarity = [] if self.similarity is None else [f"{self.similarity:.3f}"]
        name = self.tracklet if self.person is None else f"person {self.person}"
        return [name, ", ".join(camera + similarity)]


def verdict(query: Card, match: Card) -> bool | None:
    """Whether a match is right; ``None`` where either person is unknown.

    >>> verdict(Card(picture=None, person=3), Card(picture=None, person=3))
    True
    """
    return None if query.person is None or match.person is None else bool(query.person == match.person)


def ranked_picture(
    queries: Sequence[Card], matches: Sequence[Sequence[Card]], *, best: int = 5, title: str = "", note: str = ""
) -> Image.Image:
    """One row for each query: its crop, then its ``best`` first matches, framed and marked right, wrong or unknown.

    Raises:
        ValueError: no query, or not one list of matches for each query.

    >>> crop = np.full((128, 64, 3), 200, np.uint8)
    >>> query = Card(picture=crop, tracklet="a", person=1, camera=1)
    >>> found = [Card(picture=crop, tracklet="b", person=1, camera=2, similarity=0.91)]
    >>> ranked_picture([query], [found], title="First matches").mode
    'RGB'
    """
    if not queries or len(queries) != len(matches):
        raise ValueError(
            f"expected one list of matches for each query, got {len(queries)} queries and {len(matches)} lists"
        )
    width, height = 92, 184
    step_x, step_y = width + GAP, height + 2 * LINE + GAP + 6
    columns = min(best, max(len(found) for found in matches))
    shift = GAP + 6  # separates the queries
    size = (width + (shift + columns * step_x if columns else 0), LINE + 6 + len(queries) * step_y - GAP)
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((0, 0), "query", INK, _font(13))
    if columns:
        draw.text((step_x + shift, 0), "best matches, most similar first", INK, _font(13))
    for row, (query, found) in enumerate(zip(queries, matches, strict=True)):
        top = LINE + 6 + row * step_y
        _draw_card(canvas, query, (0, top, width, height), QUERY, None)
        for column, match in enumerate(found[:best]):
            answer = verdict(query, match)
            frame = UNKNOWN if answer is None else RIGHT if answer else WRONG
            _draw_card(canvas, match, (shift + (column + 1) * step_x, top, width, height), frame, answer)
    return stack([canvas], title=title, note=note)


def part_overlay(
    frames: Any, attentions: Any, *, names: Sequence[str] = (), title: str = "", note: str = ""
) -> Image.Image:
    """uint8 frames ``(t, h, w, 3)`` and attentions ``(t, n, h', w')`` -> the frames, and a row of heat for each part.

    Each part's colours run from its lowest to its highest value over all frames. The range is printed beside the row,
    because a part that hardly varies (an untrained one) looks as colourful as one that does. ``names`` label the parts.

    Either may be an array or a tensor on any device.

    Raises:
        ValueError: shapes that do not fit each other, or values that are not finite.

    >>> part_overlay(np.zeros((4, 128, 64, 3), np.uint8), np.random.rand(4, 7, 16, 8)).mode
    'RGB'
    """
    frames, heat = to_numpy(frames), to_numpy(attentions).astype(np.float32)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"expected uint8 frames (t, h, w, 3), got {frames.dtype} {frames.shape}")
    if heat.ndim != 4 or len(heat) != len(frames):
        raise ValueError(f"expected attentions ({len(frames)}, n, h, w) for {len(frames)} frames, got {heat.shape}")
    if heat.size == 0 or not np.isfinite(heat).all():
        raise ValueError(f"attentions {heat.shape} are empty or hold NaN or infinite values")
    label, height = 96, 116
    width = max(1, round(height * frames.shape[2] / frames.shape[1]))
    step_x, step_y = width + 5, height + 5
    parts = heat.shape[1]
    canvas = Image.new("RGB", (label + len(frames) * step_x - 5, (parts + 1) * step_y - 5), PAPER)
    small = [Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS) for frame in frames]
    for row in range(-1, parts):
        top = (row + 1) * step_y
        lines = ["frames"] if row < 0 else [names[row] if row < len(names) else f"part {row + 1}", _span(heat[:, row])]
        _draw_lines(canvas, lines, (0, top + height // 2 - LINE, label - 8), centre=False)
        for column, picture in enumerate(small):
            shown = picture if row < 0 else _heated(picture, heat[column, row], heat[:, row])
            canvas.paste(shown, (label + column * step_x, top))
    return stack([canvas], title=title, note=note)


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
    inner = max(inner, round(_font(20).getlength(title)))
    lines = _wrapped(note, _font(13), inner)
    head = (32 if title else 0) + 18 * len(lines) + ((MARGIN if margin else GAP) if title or lines else 0)
    body = max(heights) if across else sum(heights) + gap * (len(pictures) - 1)
    canvas = Image.new("RGB", (inner + 2 * margin, head + body + 2 * margin), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((margin, margin - 2), title, INK, _font(20))
    for i, line in enumerate(lines):
        draw.text((margin, margin + (32 if title else 0) + 18 * i), line, FAINT, _font(13))
    left, top = margin, margin + head
    for picture in pictures:
        canvas.paste(picture, (left, top))
        left, top = (left + picture.width + gap, top) if across else (left, top + picture.height + gap)
    return canvas


@lru_cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)  # Pillow's own scalable sans serif, the same on every machine


def _draw_card(
    canvas: Image.Image, card: Card, box: tuple[int, int, int, int], frame: str, answer: bool | None
) -> None:
    left, top, width, height = box
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill="#eceff2", outline=frame, width=4)
    if card.picture is None:
        draw.text((left + width // 2, top + height // 2), "no picture", FAINT, _font(12), anchor="mm")
    else:
        picture = card.picture if isinstance(card.picture, Image.Image) else Image.fromarray(card.picture)
        canvas.paste(
            picture.convert("RGB").resize((width - 10, height - 10), Image.Resampling.LANCZOS), (left + 5, top + 5)
        )
    if answer is not None:
        _draw_mark(draw, (left + width - 14, top + 14), frame, answer)
    _draw_lines(canvas, card.captions(), (left, top + height + 3, width))


def _draw_mark(draw: ImageDraw.ImageDraw, centre: tuple[int, int], colour: str, right: bool) -> None:
    """A tick or a cross, for readers who cannot distinguish green from red."""
    x, y = centre
    draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=colour, outline=PAPER, width=1)
    strokes = [((-4, 0), (-1, 4), (5, -4))] if right else [((-4, -4), (4, 4)), ((-4, 4), (4, -4))]
    for stroke in strokes:
        draw.line([(x + dx, y + dy) for dx, dy in stroke], fill=PAPER, width=2)


def _draw_lines(canvas: Image.Image, lines: Sequence[str], box: tuple[int, int, int], *, centre: bool = True) -> None:
    """Lines of at most ``width`` pixels each; the first in ink, the others faint."""
    left, top, width = box
    draw, font = ImageDraw.Draw(canvas), _font(12)
    for i, line in enumerate(lines):
        line = _cut(line, font, width)
        x = left + (width - font.getlength(line)) / 2 if centre else left
        draw.text((x, top + i * LINE), line, FAINT if i else INK, font)


def _cut(text: str, font: Any, width: int) -> str:
    """The text, its middle replaced by an ellipsis if it is too wide: ids differ at their ends."""
    if font.getlength(text) <= width:
        return text
    for keep in range(len(text) - 1, 0, -1):
        shorter = text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
        if font.getlength(shorter) <= width:
            return shorter
    return ""


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _span(values: NDArray[np.float32]) -> str:
    return f"{values.min():.3f} to {values.max():.3f}"


def _heated(picture: Image.Image, heat: NDArray[np.float32], all_frames: NDArray[np.float32]) -> Image.Image:
    """The picture in grey under the heat of one part; warm and opaque where the attention is high."""
    low, high = float(all_frames.min()), float(all_frames.max())
    scaled = (heat - low) / max(high - low, 1e-12)
    smooth = Image.fromarray(scaled).resize(picture.size, Image.Resampling.BICUBIC)
    value = np.clip(np.asarray(smooth), 0, 1)
    steps = np.arange(len(HEAT)) / (len(HEAT) - 1)
    colour = np.stack([np.interp(value, steps, HEAT[:, c]) for c in range(3)], axis=-1)
    grey = np.asarray(picture.convert("L"), dtype=np.float32)[..., None]
    opacity = 0.15 + 0.6 * value[..., None]
    return Image.fromarray(np.rint((1 - opacity) * grey + opacity * colour).astype(np.uint8))
