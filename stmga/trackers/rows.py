"""Rows of MOT files in memory: what trackers of other libraries return, frame after frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.tracklets.images import outside
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.tracklets.video import video_size
from stmga.utils.arrays import to_numpy
from stmga.utils.text import preview

FORM = "expected rows (n, 6 or more) as frame, id, x, y, w, h, ..., frames from 1"


def mot_rows(detections: Any, index: int) -> NDArray[np.float64]:
    """The tracked boxes of one frame as rows ``frame, id, x, y, w, h, score, -1, -1, -1`` of a MOT file.

    Detections without a track (id -1) are left out.

    Args:
        detections: what a tracker returned: ``supervision.Detections``, or anything with its ``xyxy``, ``tracker_id``
            and ``confidence``.
        index: of the frame, from 0; rows count from 1.

    >>> from types import SimpleNamespace
    >>> boxes = np.array([[10, 20, 40, 100], [60, 20, 90, 110]])
    >>> mot_rows(SimpleNamespace(xyxy=boxes, tracker_id=np.array([7, -1]), confidence=None), 0)[:, :7]
    array([[ 1.,  7., 10., 20., 30., 80.,  1.]])
    """
    if detections.tracker_id is None and len(detections.xyxy):
        raise ValueError("the detections have no tracker_id: pass what the tracker's update returned")
    boxes = to_numpy(detections.xyxy).reshape(-1, 4).astype(np.float64)
    n = len(boxes)
    ids = np.zeros(0) if detections.tracker_id is None else to_numpy(detections.tracker_id)
    scores = np.ones(n) if detections.confidence is None else to_numpy(detections.confidence)
    rows = np.full((n, 10), -1.0)
    rows[:, 0], rows[:, 1], rows[:, 6] = index + 1, ids, scores
    rows[:, 2:4], rows[:, 4:6] = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    return rows[rows[:, 1] >= 0]


def checked_rows(rows: Any) -> NDArray[np.float64]:
    """Rows as an array of its own.

    Raises:
        ValueError: another shape, numbers that are not finite, frames below 1, frames or ids that are not whole, boxes
            without area, or a track that is in one frame twice.
    """
    found = np.array(to_numpy(rows), dtype=np.float64)
    if found.ndim != 2 or found.shape[1] < 6:
        raise ValueError(f"rows of shape {found.shape}, {FORM}")
    numbers, boxes = found[:, :2], found[:, 4:6]
    for wrong, what in (
        (~np.isfinite(found[:, :6]).all(1), "is not finite"),
        ((numbers % 1 != 0).any(1) | (numbers[:, 0] < 1), "has no whole frame from 1 and whole id"),
        ((boxes <= 0).any(1), "has a box without area"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"row {row} {what}: {preview(found[row].tolist(), 10)}; {FORM}")
    tracked = found[found[:, 1] >= 0, :2]
    each, counts = np.unique(tracked, axis=0, return_counts=True)
    if (counts > 1).any():
        frame, track = each[counts > 1][0].astype(int).tolist()
        raise ValueError(f"track {track} is in frame {frame} twice")
    return found


def tracklets_of(rows: NDArray[np.float64], video: Path) -> list[Tracklet]:
    """A tracklet for each track of checked rows, by its id as text, over the frames of a video.

    Boxes wholly outside the picture, which trackers predict, are left out; a track with no others has no frames.
    """
    width, height, _ = video_size(video)
    frames: dict[int, list[Frame]] = {}
    for frame, track, x, y, w, h in rows[np.argsort(rows[:, 0], kind="stable"), :6].tolist():
        if track >= 0:
            found = frames.setdefault(int(track), [])
            if outside((x, y, w, h), width, height) != "wholly":
                found.append(Frame(video, (x, y, w, h), int(frame) - 1))
    return [Tracklet(str(track), tuple(found)).as_checked() for track, found in sorted(frames.items())]
