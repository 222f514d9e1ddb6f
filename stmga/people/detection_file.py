"""Detections from a file, in MOT's format: `frame,-1,x,y,w,h,score`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.people.boxes import DetectorError, Found
from stmga.tracklets.text_file import read_lines
from stmga.utils.foreign import shown


class DetectionFile:
    """A detector that reads: call number k gives the boxes of frame k, from 1 as the file counts.

    Args:
        path: lines ``frame,-1,x,y,w,h,score``; more columns are ignored. Scores are in 0..1.

    Raises:
        DetectorError: a line that is not like this.
        OSError: the file is missing.
    """

    sees_all_frames = True

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: a folder of detections has one file <camera>.txt a camera")
        rows = [_row(path, number, line) for number, line in enumerate(read_lines(path), 1) if line.strip()]
        frames = np.array([row[0] for row in rows], np.int64)
        order = np.argsort(frames, kind="stable")
        self.path = path
        self.frames, self.table = frames[order], np.array([row[1:] for row in rows], np.float32).reshape(-1, 5)[order]
        self.at = 0

    def __call__(self, frame: NDArray[Any]) -> Found:
        self.at += 1
        first, end = np.searchsorted(self.frames, [self.at, self.at + 1])
        rows = self.table[first:end]
        return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1), rows[:, 4]

    @property
    def unread(self) -> int:
        """How many detections are of frames that did not come."""
        return int((self.frames > self.at).sum())


def _row(path: Path, number: int, line: str) -> tuple[float, ...]:
    cells = line.replace(";", ",").split(",") if "," in line or ";" in line else line.split()
    try:
        frame, x, y, w, h, score = (float(cells[i]) for i in (0, 2, 3, 4, 5, 6))
    except (ValueError, IndexError):
        raise DetectorError(f"{path}:{number}: expected frame,-1,x,y,w,h,score, got {shown(line)}") from None
    if frame != int(frame) or frame < 1:
        raise DetectorError(f"{path}:{number}: frames count from 1, got {cells[0]}")
    if not np.isfinite([x, y, w, h, score]).all() or min(w, h) <= 0:
        raise DetectorError(f"{path}:{number}: expected x, y, width, height in pixels, got {shown(line)}")
    if not 0 <= score <= 1:
        raise DetectorError(f"{path}:{number}: scores must be in 0..1, got {score:g}; scale those of the whole file")
    return frame, x, y, w, h, score
