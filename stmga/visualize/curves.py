"""Figures of several runs as lines: a panel for each setting that was varied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from stmga.utils.drawing import COLOURS, GRID, ticks
from stmga.visualize.canvas import FAINT, GAP, INK, PAPER, font, stack

WIDTH, HEIGHT = 440, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 52, 40  # around the lines
SHARP = 2  # drawn so much larger, then reduced: smooth lines


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line: for each value of the panel, the figures of its runs, of which the mean and the range are drawn."""

    name: str
    runs: Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A setting that was varied: its values from left to right, the curves over them, and a value to be marked."""

    title: str
    values: Sequence[float]
    curves: Sequence[Curve]
    marked: float | None = None


def curves_picture(panels: Sequence[Panel], *, title: str = "", note: str = "") -> Image.Image:
    """Panels beside each other with one scale; a dot for each mean, a bar from the smallest to the largest run.

    Values are placed at equal distances, whatever they are. A value without runs has no dot.

    Raises:
        ValueError: no figure at all, or not one list of runs for each value.

    >>> line = Curve(name="mAP", runs=[[61.0, 62.0], [64.0]])
    >>> curves_picture([Panel(title="tau", values=[0.01, 0.05], curves=[line], marked=0.05)]).mode
    'RGB'
    """
    for panel in panels:
        for curve in panel.curves:
            if len(curve.runs) != len(panel.values):
                got = f"{len(panel.values)} values of {panel.title} and {len(curve.runs)} lists of {curve.name}"
                raise ValueError(f"expected one list of runs for each value, got {got}")
    figures = [figure for panel in panels for curve in panel.curves for runs in curve.runs for figure in runs]
    if not figures or not all(map(math.isfinite, figures)):
        raise ValueError(f"expected finite figures to draw, got {figures or 'none'}")
    marks = ticks(min(figures), max(*figures, min(figures) + 1e-3))
    return stack([_panel(panel, marks) for panel in panels], title=title, note=note, across=True, margin=20)


def _panel(panel: Panel, marks: Sequence[float]) -> Image.Image:
    canvas = Image.new("RGB", (WIDTH * SHARP, HEIGHT * SHARP), PAPER)
    draw = ImageDraw.Draw(canvas)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(panel.values))
    xs = [(LEFT + (i + 0.5) * step) * SHARP for i in range(len(panel.values))]

    def y(figure: float) -> float:
        share = (figure - marks[0]) / (marks[-1] - marks[0])
        return (HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)) * SHARP

    small, digits = font(12 * SHARP), max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    for mark in marks:
        draw.line((LEFT * SHARP, y(mark), (WIDTH - RIGHT) * SHARP, y(mark)), GRID, SHARP)
        draw.text(((LEFT - 8) * SHARP, y(mark)), f"{mark:.{digits}f}", FAINT, small, anchor="rm")
    for x, value in zip(xs, panel.values, strict=True):
        chosen = value == panel.marked
        draw.text((x, (HEIGHT - BOTTOM + 8) * SHARP), f"{value:g}", INK if chosen else FAINT, small, anchor="mt")
        if chosen:
            for top in range(TOP, HEIGHT - BOTTOM, 8):
                draw.line((x, top * SHARP, x, (top + 4) * SHARP), FAINT, SHARP)
    draw.text(((LEFT + WIDTH - RIGHT) / 2 * SHARP, HEIGHT * SHARP), panel.title, INK, small, anchor="mb")
    legend = LEFT
    for number, (curve, colour) in enumerate(zip(panel.curves, COLOURS, strict=False)):
        points = [(x, [y(run) for run in runs]) for x, runs in zip(xs, curve.runs, strict=True) if runs]
        _curve(draw, points, colour, number)
        _dot(draw, (legend + 6) * SHARP, 22 * SHARP, colour, number)
        draw.text(((legend + 16) * SHARP, 22 * SHARP), curve.name, INK, small, anchor="lm")
        legend += 16 + round(font(12).getlength(curve.name)) + 2 * GAP
    return canvas.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _curve(
    draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, Sequence[float]]], colour: str, number: int
) -> None:
    means = [(x, sum(ys) / len(ys)) for x, ys in points]
    draw.line(means, colour, 2 * SHARP, joint="curve")
    for (x, ys), (_, mean) in zip(points, means, strict=True):
        if len(ys) > 1:
            draw.line((x, min(ys), x, max(ys)), colour, SHARP)
            for end in (min(ys), max(ys)):
                draw.line((x - 4 * SHARP, end, x + 4 * SHARP, end), colour, SHARP)
        _dot(draw, x, mean, colour, number)


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, colour: str, number: int) -> None:
    """A circle for the first curve, a square for the others: not every reader sees their colours."""
    box = (x - 4 * SHARP, y - 4 * SHARP, x + 4 * SHARP, y + 4 * SHARP)
    (draw.rectangle if number % 2 else draw.ellipse)(box, fill=colour, outline=PAPER, width=SHARP)
