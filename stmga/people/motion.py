"""The detector `motion`: whatever is not background and as large as a person. For fixed cameras; no download."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stmga.people.background import Background
from stmga.people.libraries import require_cv2

WIDTH = 384  # pixels, or more, of the reduced picture that is compared; more cost time and find more noise
SMALLEST = 8  # pixels of a picture in which there can be a person
SPECK = 0.0003  # share of the picture: smaller objects are noise
SLENDER = 4.5  # the height of a person is at most so many times the width
LOWEST = 0.5  # score; what is softer is a shadow, a reflection or a change of light
CLOSE = 9, 5  # height and width of gaps within a person that are filled, in pixels
GAP = 0.15  # of the height of both: how far apart two parts of one person may be, one above the other


class Motion:
    """Boxes of what moves, or has moved and stands still now, in the picture of a fixed camera.

    Called with one frame after the other: ``(h, w, 3)`` uint8 RGB -> boxes ``(n, 4)``, x1 y1 x2 y2 in pixels, and
    scores ``(n,)``, 0 to 1 by how sharp the outline is. A frame of another size starts the background again.

    Limits: the camera must not move. People who touch or hide each other are one box. Whatever moves is a person: cars,
    dogs, doors and sharp shadows too. Someone who sleeps is background after a minute. Someone who was there from the
    beginning is found only after moving away.

    Args:
        fps: frames per second, for everything that is measured in seconds.
        threshold: how much a pixel must differ from the background, in grey levels.
        min_height: of a person, as a share of the height of the picture.

    Raises:
        ImportError: OpenCV is not installed.
        ValueError: a setting out of range.

    >>> motion = Motion(fps=10)
    >>> empty = np.full((96, 128, 3), 200, np.uint8)
    >>> person = empty.copy()
    >>> person[20:80, 40:60] = 30
    >>> for _ in range(5):
    ...     boxes, scores = motion(empty)
    >>> len(boxes), motion(person)[0].round().tolist()
    (0, [[40.0, 20.0, 60.0, 80.0]])
    """

    sees_all_frames = True  # what it finds depends on the frames before

    def __init__(self, fps: float = 25.0, *, threshold: float = 20.0, min_height: float = 0.1) -> None:
        if not 0 < fps <= 1000:
            raise ValueError(f"fps must be frames per second, in 0..1000, got {fps}")
        if not 0 < threshold < 256:
            raise ValueError(f"threshold must be in grey levels, in 0..255, got {threshold}")
        if not 0 < min_height <= 1:
            raise ValueError(f"min_height must be a share of the picture, in 0..1, got {min_height}")
        self.cv2 = require_cv2()
        self.fps, self.threshold, self.min_height = fps, threshold, min_height
        self.reset()

    def reset(self) -> None:
        """Forget the background: another video follows."""
        self.background = Background(self.fps, self.threshold)

    def __call__(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        height, width = frame.shape[:2]
        factor = max(1, width // WIDTH)  # whole: any other is ten times slower
        h, w = height // factor, width // factor
        if min(h, w) < SMALLEST:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        small = frame[: h * factor, : w * factor]
        if factor > 1:
            small = self.cv2.resize(small, (w, h), interpolation=self.cv2.INTER_AREA)
        mask, difference = self.background(small)
        mask = self.cv2.morphologyEx(mask, self.cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        mask = self._closed(mask)
        _, labels, stats, _ = self.cv2.connectedComponentsWithStats(mask, connectivity=8)
        gone = self.background.forget(labels, stats)
        large = [k for k in range(1, len(stats)) if stats[k, 4] >= SPECK * h * w and k not in gone]
        groups = _joined([(*stats[k, :2], *(stats[k, :2] + stats[k, 2:4]), [k]) for k in large])
        boxes, scores = [], []
        for x1, y1, x2, y2, parts in groups:
            if y2 - y1 < self.min_height * h:
                continue
            around = np.s_[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2]
            score = min(1.0, self._outline(np.isin(labels[around], parts), difference[around]))
            if score >= LOWEST:
                boxes.append((x1, y1, x2, y2))
                scores.append(score)
        return np.array(boxes, np.float32).reshape(-1, 4) * factor, np.array(scores, np.float32)

    def _closed(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Small gaps in a mask filled, but not those to the edge of the picture."""
        down, across = CLOSE[0] // 2, CLOSE[1] // 2
        wide = self.cv2.copyMakeBorder(mask, down, down, across, across, self.cv2.BORDER_REPLICATE)
        closed = self.cv2.morphologyEx(wide, self.cv2.MORPH_CLOSE, np.ones(CLOSE, np.uint8))
        return np.ascontiguousarray(closed[down:-down, across:-across])

    def _outline(self, own: NDArray[np.bool_], difference: NDArray[np.float32]) -> float:
        """How sharp the outline of an object is, relative to the threshold: shadows and reflections are soft."""
        band = self.cv2.morphologyEx(own.astype(np.uint8), self.cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        across, down = (self.cv2.Sobel(difference, self.cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
        step = np.asarray(self.cv2.magnitude(across, down))[band > 0] / 4  # grey levels from one pixel to the next
        return float(step.mean() / self.threshold) if step.size else 0.0


Part = tuple[int, int, int, int, list[int]]  # x1, y1, x2, y2, labels


def _joined(parts: list[Part]) -> list[Part]:
    """Parts of one person in one box: those above each other, and close."""
    parts = list(parts)
    i = 0
    while i < len(parts):
        mate = next((j for j in range(i + 1, len(parts)) if _belong(parts[i], parts[j])), None)
        if mate is None:
            i += 1
            continue
        parts[i] = _both(parts[i], parts.pop(mate))
        i = 0  # the larger box may reach others now
    return parts


def _both(a: Part, b: Part) -> Part:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]), a[4] + b[4]


def _belong(a: Part, b: Part) -> bool:
    x1, y1, x2, y2, _ = _both(a, b)
    across = min(a[2], b[2]) - max(a[0], b[0])  # how wide both are, or minus the gap between them
    down = max(a[1], b[1]) - min(a[3], b[3])  # the gap between them, or minus how high both are
    return across >= min(a[2] - a[0], b[2] - b[0]) / 2 and down <= GAP * (y2 - y1) and y2 - y1 <= SLENDER * (x2 - x1)
