"""Accuracy against cost as a picture: a panel for each data set, a labelled point for each network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stmga.utils.drawing import COLOURS, FAINT, GRID, INK, Drawing, log_ticks, shortened, text_width, ticks

WIDTH, HEIGHT = 560, 400  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 62, 22, 44, 52
LABEL, LINE, RADIUS = 12, 16, 5
LONGEST = 250  # of a label
DIRECTIONS = [(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)]


class Point(NamedTuple):
    """A network on one data set."""

    name: str
    gmac: float  # of 8 frames, since clips differ in length
    score: float  # in %


class Box(NamedTuple):
    """A rectangle that labels must not enter."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that both have in common."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0) * max(high, 0)

    def outside(self, other: Box) -> float:
        """The area of it that is not within the other."""
        return (self.right - self.left) * (self.bottom - self.top) - self.overlap(other)


def cost_picture(panels: Mapping[str, Sequence[Point]], *, note: str = "", score: str = "mAP, %") -> Drawing:
    """A panel for each data set, two in a row, over one axis of GMAC; a network has one colour in all of them.

    The axis of cost is logarithmic where the costs differ tenfold or more.
    """
    costs = [point.gmac for points in panels.values() for point in points]
    log = max(costs) >= 10 * min(costs)
    marks = log_ticks(min(costs), max(costs)) if log else ticks(0, max(costs) * 1.08)
    names = list(dict.fromkeys(point.name for points in panels.values() for point in points))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    across = min(2, len(panels))
    page = Drawing(WIDTH * across, HEIGHT * math.ceil(len(panels) / across) + (24 if note else 0))
    for i, (title, points) in enumerate(panels.items()):
        _Panel(page, WIDTH * (i % across), HEIGHT * (i // across), marks, log, points).draw(title, colours, score)
    if note:
        page.text(LEFT, page.height - 16, shortened(note, page.width - LEFT - RIGHT, 11), FAINT, 11)
    return page


class _Panel:
    """The axes of one data set."""

    def __init__(
        self, page: Drawing, x: float, y: float, marks: Sequence[float], log: bool, points: Sequence[Point]
    ) -> None:
        self.page, self.marks, self.log, self.points = page, marks, log, points
        self.frame = Box(x + LEFT, y + TOP, x + WIDTH - RIGHT, y + HEIGHT - BOTTOM)
        scores = [point.score for point in points]
        spare = max(max(scores) - min(scores), 1) * 0.12
        self.scores = ticks(max(min(scores) - spare, 0), min(max(scores) + spare, 100))

    def draw(self, title: str, colours: Mapping[str, str], score: str) -> None:
        """Grid, axes, points and their labels."""
        page, frame = self.page, self.frame
        page.text(frame.left, frame.top - 20, shortened(title, WIDTH - LEFT - RIGHT - 60, 14), INK, 14)
        page.text(frame.right, frame.top - 20, score, FAINT, 12, "r")
        for mark in self.scores:
            y = self.y(mark)
            page.line([(frame.left, y), (frame.right, y)], GRID)
            page.text(frame.left - 8, y, f"{mark:g}", FAINT, 12, "r")
        for mark in self.marks:
            x = self.x(mark)
            page.line([(x, frame.top), (x, frame.bottom)], GRID)
            page.text(x, frame.bottom + 14, f"{mark:g}", FAINT, 12, "m")
        page.line([(frame.left, frame.top), (frame.left, frame.bottom), (frame.right, frame.bottom)], FAINT)
        axis = "GMAC of 8 frames" + (", logarithmic" if self.log else "")
        page.text((frame.left + frame.right) / 2, frame.bottom + 34, axis, FAINT, 12, "m")
        places = self._labels()
        for point, (box, far) in zip(self.points, places, strict=True):
            if far:
                x, y = self.x(point.gmac), self.y(point.score)
                nearest = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
                page.line([(x, y), nearest], FAINT)
        for point, (box, _) in zip(self.points, places, strict=True):
            page.dot(self.x(point.gmac), self.y(point.score), colours[point.name], RADIUS)
            text = shortened(point.name, LONGEST, LABEL)
            page.text(box.left + 2, (box.top + box.bottom) / 2, text, colours[point.name], LABEL)

    def x(self, gmac: float) -> float:
        """Where a cost is."""
        low, high = self.marks[0], self.marks[-1]
        share = math.log(gmac / low) / math.log(high / low) if self.log else (gmac - low) / (high - low)
        return self.frame.left + share * (self.frame.right - self.frame.left)

    def y(self, score: float) -> float:
        """Where a score is."""
        low, high = self.scores[0], self.scores[-1]
        return self.frame.bottom - (score - low) / (high - low) * (self.frame.bottom - self.frame.top)

    def _labels(self) -> list[tuple[Box, bool]]:
        """A box for each label, which overlaps no other and no point, and whether it needs a line to its point."""
        places = [(self.x(point.gmac), self.y(point.score)) for point in self.points]
        taken = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in places]
        found = []
        for (x, y), point in zip(places, self.points, strict=True):
            width = text_width(shortened(point.name, LONGEST, LABEL), LABEL) + 4
            choices = [
                (_beside(x, y, width, distance, *direction), distance > 9)
                for distance in range(9, 200, 8)
                for direction in DIRECTIONS
            ]
            best = min(choices, key=lambda c: sum(c[0].overlap(box) for box in taken) + c[0].outside(self.frame))
            taken.append(best[0])
            found.append(best)
        return found


def _beside(x: float, y: float, width: float, distance: float, right: int, down: int) -> Box:
    left = x + distance if right > 0 else x - distance - width if right < 0 else x - width / 2
    top = y - LINE / 2 + down * (distance + LINE / 2)
    return Box(left, top, left + width, top + LINE)
