"""A detector that knows where everybody is."""

from __future__ import annotations

import numpy as np

from tests.support.street import two_people


class Truth:
    """A detector that knows the boxes of each of the two people's pictures, and counts the frames that it has seen."""

    def __init__(self, boxes, stop_at=None):
        self.boxes, self.stop_at, self.seen = boxes, stop_at, 0
        self.pictures = np.stack(two_people()[0]).astype(np.int16)

    def __call__(self, frame):
        if self.seen == self.stop_at:
            raise KeyboardInterrupt
        self.seen += 1
        number = np.abs(self.pictures - frame).mean((1, 2, 3)).argmin()
        now = [box for box in self.boxes[number] if box[0] < 160 and box[2] > 0]
        return np.array(now, float).reshape(-1, 4), np.full(len(now), 0.9)
