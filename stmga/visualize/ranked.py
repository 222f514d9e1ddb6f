"""Queries and their first matches, of one network or of several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stmga.visualize.canvas import FAINT, GAP, INK, LINE, PAPER, cut, draw_lines, font, stack

RIGHT, WRONG, UNKNOWN, QUERY = "#2a9d4a", "#d13b32", "#9aa3ad", "#1d232b"
WIDTH, HEIGHT = 92, 184  # of a crop
STEP_X, STEP_Y = WIDTH + GAP, HEIGHT + 2 * LINE + GAP + 6
SHIFT = GAP + 6  # before each group of matches
RULE = "#d5dae0"


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
    found = {"best matches, most similar first": matches}
    return compared_picture(queries, found, best=best, title=title, note=note)


def compared_picture(
    queries: Sequence[Card],
    matches: Mapping[str, Sequence[Sequence[Card]]],
    *,
    best: int = 5,
    title: str = "",
    note: str = "",
) -> Image.Image:
    """The same queries ranked by several networks, side by side, as in Figure 9 of the paper.

    Args:
        queries: one row each.
        matches: for each network, by the name that its columns have as a heading, one list of matches per query.
        best: how many matches of each network are drawn.
        title, note: above the picture.

    Raises:
        ValueError: no query, no network, or not one list of matches for each query.

    >>> query = Card(picture=None, tracklet="a", person=1)
    >>> found = {"baseline": [[Card(picture=None, person=2)]], "ST-MGA": [[Card(picture=None, person=1)]]}
    >>> compared_picture([query], found, title="Before and after").mode
    'RGB'
    """
    for name, found in matches.items():
        if not queries or len(queries) != len(found):
            network = f" of {name}" if len(matches) > 1 else ""
            got = f"{len(queries)} queries and {len(found)} lists{network}"
            raise ValueError(f"expected one list of matches for each query, got {got}")
    if not matches:
        raise ValueError("expected the matches of at least one network, got none")
    columns = min(best, max(len(cards) for found in matches.values() for cards in found))
    group = SHIFT + columns * STEP_X if columns else 0
    size = (WIDTH + len(matches) * group, LINE + 6 + len(queries) * STEP_Y - GAP)
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((0, 0), "query", INK, font(13))
    for row, query in enumerate(queries):
        _draw_card(canvas, query, (0, LINE + 6 + row * STEP_Y, WIDTH, HEIGHT), QUERY, None)
    for number, (name, found) in enumerate(matches.items() if columns else ()):
        left = WIDTH + number * group + GAP + SHIFT
        draw.text((left, 0), cut(name, font(13), group - GAP - SHIFT), INK, font(13))
        if len(matches) > 1:
            draw.line((left - (GAP + SHIFT) // 2, 0, left - (GAP + SHIFT) // 2, size[1]), RULE, 1)
        for row, (query, cards) in enumerate(zip(queries, found, strict=True)):
            for column, match in enumerate(cards[:best]):
                answer = verdict(query, match)
                frame = UNKNOWN if answer is None else RIGHT if answer else WRONG
                box = (left + column * STEP_X, LINE + 6 + row * STEP_Y, WIDTH, HEIGHT)
                _draw_card(canvas, match, box, frame, answer)
    return stack([canvas], title=title, note=note)


def _draw_card(
    canvas: Image.Image, card: Card, box: tuple[int, int, int, int], frame: str, answer: bool | None
) -> None:
    left, top, width, height = box
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill="#eceff2", outline=frame, width=4)
    if card.picture is None:
        draw.text((left + width // 2, top + height // 2), "no picture", FAINT, font(12), anchor="mm")
    else:
        picture = card.picture if isinstance(card.picture, Image.Image) else Image.fromarray(card.picture)
        canvas.paste(
            picture.convert("RGB").resize((width - 10, height - 10), Image.Resampling.LANCZOS), (left + 5, top + 5)
        )
    if answer is not None:
        _draw_mark(draw, (left + width - 14, top + 14), frame, answer)
    draw_lines(canvas, card.captions(), (left, top + height + 3, width))


def _draw_mark(draw: ImageDraw.ImageDraw, centre: tuple[int, int], colour: str, right: bool) -> None:
    """A tick or a cross, for readers who cannot distinguish green from red."""
    x, y = centre
    draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=colour, outline=PAPER, width=1)
    strokes = [((-4, 0), (-1, 4), (5, -4))] if right else [((-4, -4), (4, 4)), ((-4, 4), (4, -4))]
    for stroke in strokes:
        draw.line([(x + dx, y + dy) for dx, dy in stroke], fill=PAPER, width=2)
