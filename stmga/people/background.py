"""What a fixed camera sees without people: a background model that does not absorb whoever stands still."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.people.libraries import require_cv2

ADAPT = 10.0  # seconds in which the background follows a slow change of light
RECENT = 0.5  # seconds of the average that shows whether something moves
STILL = 60.0  # seconds without any movement after which an object becomes background, such as a chair
GHOST = 0.5  # seconds without movement after which a ghost becomes background
MOVING = 0.03  # share of an object's pixels that have moved in that time: more, and it lives
NOISE = 3.0  # a pixel differs if it differs by so many times what it changes from frame to frame
GRID = 4  # every fourth pixel is enough for the light as a whole
FLOODED = 0.6  # share of the picture that differs: above it the light or the camera has changed


class Background:
    """The mean picture of a fixed camera, learned where nobody is.

    A pixel is foreground if it differs from the mean by more than the threshold, and by more than its own flicker.
    Foreground is not learned, so a person may stand still. Two kinds of objects are learned at once: one in which
    nothing has moved for a minute (a chair that was put down), and one whose outline is an edge of the mean, not of the
    picture: a ghost, left where a person stood when the video began. A ghost is not a person from its first frame on.
    It is learned when nothing has moved in it for half a second, so that a mistake about someone who moves does not
    last.

    Args:
        fps: frames per second.
        threshold: difference in grey levels, 0 to 255, of the channel that differs most.
    """

    def __init__(self, fps: float, threshold: float) -> None:
        self.cv2 = require_cv2()
        self.fps, self.threshold = fps, threshold
        self.mean: Any = None
        self.flooded = 0  # frames in which most of the picture differed

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """A picture ``(h, w, 3)`` -> its foreground, 0 or 255, and the difference of each pixel, both ``(h, w)``."""
        now = image.astype(np.float32)
        if self.mean is None or self.mean.shape != now.shape:
            self._restart(now)
        self.now = now = self.cv2.multiply(now, (*(1 / self._gain(now)).tolist(), 1.0))
        change = self._largest(now, self.recent)
        self._learn(now, self.recent, RECENT)
        self._learn(change, self.flicker, ADAPT)
        self.age += 1 / self.fps
        self.age[change > self.threshold] = 0
        difference = self._largest(now, self.mean)
        mask = np.where(difference > self.cv2.max(NOISE * self.flicker, self.threshold), np.uint8(255), np.uint8(0))
        self.flooded = self.flooded + 1 if mask.mean() > FLOODED * 255 else 0
        if self.flooded > self.fps / 2:
            self._restart(now)
            return np.zeros_like(mask), difference
        near = self.cv2.dilate(mask, np.ones((5, 5), np.uint8))  # the soft edge of a person is not background
        self._learn(now, self.mean, ADAPT, self.cv2.bitwise_not(near))
        return mask, difference

    def forget(self, labels: NDArray[np.int32], stats: NDArray[np.int32]) -> list[int]:
        """Learn the objects in the last picture that are background; returns the labels of all that are not persons.

        Args:
            labels: the object of each pixel ``(h, w)``, 0 for none.
            stats: left, top, width, height of each object ``(n, 5)``, as ``cv2.connectedComponentsWithStats`` has them.
        """
        gone = []
        for label in range(1, len(stats)):
            x, y, w, h = stats[label, :4]
            part = np.s_[max(y - 2, 0) : y + h + 2, max(x - 2, 0) : x + w + 2]
            own = labels[part] == label
            ages = self.age[part][own]
            ghost = self._is_ghost(part, own)
            # While the model is younger, nothing has had the time to move.
            if np.mean(ages < STILL) < MOVING or (ghost and np.mean(ages < GHOST) < MOVING):
                self.mean[part][own] = self.now[part][own]
            elif not ghost:
                continue
            gone.append(label)
        return gone

    def _is_ghost(self, part: Any, own: NDArray[np.bool_]) -> bool:
        """Whether the outline of an object is seen in the mean rather than in the picture."""
        inside = own.astype(np.uint8)
        band = self.cv2.morphologyEx(inside, self.cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(bool)
        if not band.any():  # the object is the whole picture
            return False
        edges = [self._edges(picture[part])[band].mean() for picture in (self.now, self.mean)]
        return bool(edges[1] > 2 * edges[0])

    def _edges(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        grey = self.cv2.cvtColor(picture, self.cv2.COLOR_RGB2GRAY)
        across, down = (self.cv2.Sobel(grey, self.cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
        return np.asarray(self.cv2.magnitude(across, down))

    def _gain(self, now: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much brighter the picture is than the mean, per channel: cameras adjust themselves to whoever comes."""
        few = np.s_[::GRID, ::GRID]
        return np.median((now[few] + 1) / (self.mean[few] + 1), axis=(0, 1)).astype(np.float32)

    def _restart(self, now: NDArray[np.float32]) -> None:
        self.mean, self.recent, self.now = now.copy(), now.copy(), now
        self.flicker, self.age = np.zeros(now.shape[:2], np.float32), np.zeros(now.shape[:2], np.float32)
        self.flooded = 0

    def _largest(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
        red, green, blue = self.cv2.split(self.cv2.absdiff(a, b))
        return np.asarray(self.cv2.max(self.cv2.max(red, green), blue))

    def _learn(self, now: NDArray[np.float32], mean: NDArray[np.float32], seconds: float, mask: Any = None) -> None:
        self.cv2.accumulateWeighted(now, mean, min(1.0, 1 / (seconds * self.fps)), mask)
