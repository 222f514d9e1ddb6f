"""Detections of an unfinished video, so that a slow detector does not see a frame twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from stmga.people.boxes import Found


class DetectionLog:
    """A line of JSON for each frame, in order; the last line may be cut by a kill.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "log"
    ...     with DetectionLog(file) as log:
    ...         log.append((np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32)), {"clipped": 1})
    ...     with DetectionLog(file) as log:
    ...         [(boxes.tolist(), scores.tolist(), left_out) for (boxes, scores), left_out in log.earlier()]
    [([[1.0, 2.0, 3.0, 4.0]], [0.5], {'clipped': 1})]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _cut(path)
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed on exit

    def earlier(self) -> Iterator[tuple[Found, dict[str, int]]]:
        """Detections of the first frames, from an earlier attempt, and how many were clipped or left out."""
        with open(self.path, "rb") as lines:
            for line in lines:
                rows, left_out = json.loads(line)
                table = np.array(rows, np.float32).reshape(-1, 5)
                yield (table[:, :4], table[:, 4]), left_out

    def append(self, found: Found, left_out: Mapping[str, int]) -> None:
        """Detections of the next frame."""
        table = np.concatenate([found[0], found[1][:, None]], axis=1).astype(float)
        self.file.write((json.dumps([table.tolist(), left_out]) + "\n").encode())

    def __enter__(self) -> DetectionLog:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()


def _cut(path: Path) -> None:
    """Remove a last line without its end."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        whole = sum(len(line) for line in file if line.endswith(b"\n"))
        file.truncate(whole)
