"""Tracklets over videos, read into memory with one pass over each video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from stmga.tracklets.images import crop
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.tracklets.video import decode


def preload(tracklets: Sequence[Tracklet]) -> list[Tracklet]:
    """The same tracklets with the crops of their video frames in memory; others are left as they are.

    Tracklets that are in the picture at the same time share frames. Read one by one, each of them decodes these frames
    again. The crops of all tracklets are in memory at once, so pass some at a time.

    Raises:
        ValueError: a video cannot be decoded, or lacks a frame.
    """
    wanted: dict[Path, dict[int, list[tuple[int, int]]]] = {}
    for number, tracklet in enumerate(tracklets):
        if isinstance(tracklet.frames, tuple) and all(
            isinstance(frame, Frame) and frame.index is not None for frame in tracklet.frames
        ):
            for i, frame in enumerate(tracklet.frames):
                wanted.setdefault(frame.file, {}).setdefault(frame.index, []).append((number, i))
    crops: dict[int, dict[int, Tensor]] = {}
    for file, frames in wanted.items():
        limit = min(tracklets[number].max_pixels for places in frames.values() for number, _ in places)
        for index, picture in decode(file, frames, limit):
            for number, i in frames[index]:
                crops.setdefault(number, {})[i] = crop(picture, tracklets[number].frames[i].box)
    return [
        replace(tracklet, frames=[crops[number][i] for i in range(len(tracklet))]) if number in crops else tracklet
        for number, tracklet in enumerate(tracklets)
    ]
