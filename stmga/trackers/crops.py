"""The crops of a tracker's boxes, checked: frames and boxes come from other libraries."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stmga.tracklets.images import crop, outside
from stmga.utils.arrays import to_numpy

Channels = Literal["bgr", "rgb"]
BOXES = "expected boxes (n, 4) as x1, y1, x2, y2 in pixels"


def crops_of(boxes: Any, frame: Any, channels: Channels) -> list[Tensor]:
    """The crops ``(3, h, w)`` uint8 RGB of the boxes of a frame.

    A box that is partly outside the frame is clipped. Corners are rounded to whole pixels, as in
    :class:`stmga.Tracklet`.

    Args:
        boxes: ``(n, 4)`` as x1, y1, x2, y2 in pixels.
        frame: ``(h, w, 3)`` uint8.
        channels: the order of the frame's channels.

    Raises:
        TypeError: a frame that is not an array of uint8.
        ValueError: a frame of another shape, or a box that is not finite, has no area or is wholly outside the frame.

    >>> crops_of([[-4, 10, 20, 50]], np.zeros((48, 64, 3), np.uint8), "bgr")[0].shape
    torch.Size([3, 38, 20])
    """
    pixels = _frame(frame)
    found = []
    for number, box in enumerate(_boxes(boxes)):
        x1, y1, x2, y2 = box.tolist()
        inside = x1, y1, x2 - x1, y2 - y1
        height, width = pixels.shape[:2]
        if outside(inside, width, height) == "wholly":
            raise ValueError(
                f"box {number} {box.tolist()} is outside the frame, which has {width} x {height} pixels; "
                "leave such boxes out before the call"
            )
        one = crop(pixels, inside)
        found.append(one.flip(0) if channels == "bgr" else one)
    return found


def _frame(frame: Any) -> NDArray[np.uint8]:
    if not isinstance(frame, np.ndarray):
        raise TypeError(f"the frame is {type(frame).__name__}, expected a numpy array (h, w, 3) of uint8")
    if frame.dtype != np.uint8:
        raise TypeError(f"the frame is {frame.dtype}, expected uint8 in 0..255, as cv2.VideoCapture reads it")
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ValueError(f"frame of shape {frame.shape}, expected (h, w, 3){_hint(frame.shape)}")
    return frame


def _hint(shape: tuple[int, ...]) -> str:
    """What to type for the usual mistakes."""
    if 0 in shape:
        return ": it is empty"
    if len(shape) == 2 or shape[2:] == (1,):
        return ": it is grey; convert it with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)"
    if shape[2:] == (4,):
        return ": it has an alpha channel; convert it with cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)"
    if len(shape) == 3 and shape[0] == 3:
        return "; move the channels with frame.transpose(1, 2, 0)"
    return ""


def _boxes(boxes: Any) -> NDArray[np.float64]:
    found = to_numpy(boxes)
    if not found.size:
        return np.zeros((0, 4))
    if found.ndim != 2 or found.shape[1] != 4 or found.dtype.kind not in "fiu":
        raise ValueError(f"boxes of shape {found.shape} and type {found.dtype}; {BOXES}")
    found = found.astype(np.float64)
    if broken := np.flatnonzero(~np.isfinite(found).all(1)).tolist():
        raise ValueError(f"box {broken[0]} is not finite: {found[broken[0]].tolist()}; {BOXES}")
    if wrong := np.flatnonzero((found[:, 2:] <= found[:, :2]).any(1)).tolist():
        raise ValueError(f"box {wrong[0]} has no area: {found[wrong[0]].tolist()}; {BOXES}")
    return found


def track_ids(ids: Any, n: int) -> list[int]:
    """The ids of ``n`` boxes as integers; negative where a box belongs to no track.

    Raises:
        ValueError: another number of ids, ids that are not whole numbers, or one track with two boxes.

    >>> track_ids([3.0, -1.0, -1.0], 3)
    [3, -1, -1]
    """
    found = to_numpy(ids)
    if found.shape != (n,):
        raise ValueError(f"ids of shape {found.shape} for {n} boxes, expected ({n},)")
    if n and (found.dtype.kind not in "fiu" or not np.isfinite(found).all() or (found % 1).any()):
        raise ValueError(f"track ids must be whole numbers, negative for no track, got {found.tolist()}")
    every = [int(one) for one in found.tolist()]
    tracked = [one for one in every if one >= 0]
    if len(set(tracked)) < len(tracked):
        twice = next(one for one in tracked if tracked.count(one) > 1)
        raise ValueError(f"track {twice} has two boxes in one frame")
    return every
