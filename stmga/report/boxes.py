"""Which boxes to draw on which frame of a video, and how one looks."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stmga.tracklets.tracklet import Frame, Tracklet

TURN = 137.508  # degrees of hue from one identity to the next, so that neighbours differ


class Boxes:
    """The boxes of a video, by frame.

    A track that has every third frame of a video has boxes in between, too: they move evenly.

    Args:
        video: the file of the frames that count; frames of others are left out.
        tracklets: with the number that each row of :meth:`at` gives.
    """

    def __init__(self, video: Path, tracklets: Iterable[tuple[int, Tracklet]]) -> None:
        parts = [(number, *found) for number, t in tracklets if (found := _of(video, t)) is not None]
        self.count = len(parts)
        frames = np.concatenate([np.zeros(0, np.int64), *(part[1] for part in parts)])
        numbers = np.concatenate([np.zeros(0, np.int64), *(np.full(len(part[1]), part[0]) for part in parts)])
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *(part[2] for part in parts)])
        order = np.argsort(frames, kind="stable")
        self._frames, self._numbers, self._boxes = frames[order], numbers[order], boxes[order]
        self.last = int(self._frames[-1]) if len(frames) else -1

    def __len__(self) -> int:
        return len(self._frames)

    def at(self, frame: int) -> Iterator[tuple[int, list[float]]]:
        """Number and box (x, y, width, height) of all that are in a frame, from 0."""
        first, last = np.searchsorted(self._frames, [frame, frame + 1])
        for row in range(first, last):
            yield int(self._numbers[row]), self._boxes[row].tolist()


def videos_of(tracklets: Iterable[Tracklet]) -> dict[Path, Any]:
    """The videos that frames of tracklets are in, in order, and the camera of each."""
    return {
        frame.file: tracklet.camera
        for tracklet in tracklets
        for frame in tracklet.frames
        if isinstance(frame, Frame) and frame.index is not None
    }


def _of(video: Path, tracklet: Tracklet) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """Frame numbers and boxes of a tracklet in a video; None if it has none there."""
    name = os.path.abspath(video)
    known = {
        frame.index: frame.box
        for frame in tracklet.frames
        if isinstance(frame, Frame)
        and frame.index is not None
        and frame.box is not None
        and os.path.abspath(frame.file) == name
    }
    if not known:
        return None
    indices = np.array(sorted(known), dtype=np.int64)
    boxes = np.array([known[index] for index in indices.tolist()], dtype=np.float32)
    steps = np.diff(indices)
    usual = int(np.median(steps)) if len(steps) else 1
    runs = np.split(np.arange(len(indices)), np.flatnonzero(steps > usual) + 1)
    numbers = [np.arange(indices[run[0]], indices[run[-1]] + 1) for run in runs]
    between = [
        np.stack([np.interp(wanted, indices[run], boxes[run, side]) for side in range(4)], axis=1)
        for wanted, run in zip(numbers, runs, strict=True)
    ]
    return np.concatenate(numbers), np.concatenate(between).astype(np.float32)


def colour_of(identity: int) -> tuple[int, int, int]:
    """A colour for each identity, of medium lightness.

    >>> colour_of(1), colour_of(2)
    ((45, 210, 93), (141, 45, 210))
    """
    red, green, blue = colorsys.hls_to_rgb(identity * TURN % 360 / 360, 0.5, 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_box(image: Image.Image, box: list[float], identity: int, unsure: bool) -> None:
    """A box with its identity; dashed, and with a question mark, if it is unsure."""
    draw, colour = ImageDraw.Draw(image), colour_of(identity)
    width = max(2, round(image.height / 300))
    x, y, w, h = box
    left, top, right, bottom = round(x), round(y), round(x + w), round(y + h)
    if unsure:
        for line in (
            (left, top, right, top),
            (left, bottom, right, bottom),
            (left, top, left, bottom),
            (right, top, right, bottom),
        ):
            _dashed(draw, line, colour, width)
    else:
        draw.rectangle((left, top, right, bottom), outline=colour, width=width)
    font = _font(max(12, round(image.height / 27)))
    text = f"{identity}?" if unsure else f"{identity}"
    size = round(font.getlength(text)) + 8, font.size + 6
    below = top - size[1] if top >= size[1] else top  # inside the box where it begins at the edge of the picture
    corner = min(max(left, 0), max(0, image.width - size[0])), max(0, below)
    draw.rectangle((*corner, corner[0] + size[0], corner[1] + size[1]), fill=colour)
    ink = "#000" if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 130 else "#fff"
    draw.text((corner[0] + size[0] / 2, corner[1] + size[1] / 2), text, ink, font, anchor="mm")


def _dashed(
    draw: ImageDraw.ImageDraw, line: tuple[int, int, int, int], colour: tuple[int, int, int], width: int
) -> None:
    left, top, right, bottom = line
    length, dash = max(right - left, bottom - top), 4 * width
    for start in range(0, length, 2 * dash):
        end = min(start + dash, length)
        ends = (left + start, top, left + end, top) if top == bottom else (left, top + start, left, top + end)
        draw.line(ends, colour, width)


@lru_cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
