"""Boxes of one frame after the other -> the number of the person in each. The library `trackers` does it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.people.boxes import Found
from stmga.people.libraries import require_trackers
from stmga.utils.text import did_you_mean

TRACKERS = {
    "bytetrack": "ByteTrackTracker",
    "sort": "SORTTracker",
    "ocsort": "OCSORTTracker",
    "botsort": "BoTSORTTracker",
    "cbiou": "CBIoUTracker",
}
LOST = 1.0  # seconds after which a person who is not found has left; the next one is another track


class Tracker:
    """A tracker of the library ``trackers``, by name, or any object with its ``update``.

    A track begins with its second box, as the library defines it, so that a single false box is not one.

    Args:
        tracker: one of ``TRACKERS``, or an object whose ``update(supervision.Detections)`` returns ``Detections`` with
            ``tracker_id``, -1 where there is none.
        fps: frames per second.

    Raises:
        ValueError: an unknown name.
        ImportError: the library is not installed.
    """

    def __init__(self, tracker: str | Any, fps: float) -> None:
        trackers, self.supervision = require_trackers()
        self.wants_frames = tracker == "botsort"  # for the motion of the camera
        if not isinstance(tracker, str):
            self.tracker = tracker
            if hasattr(tracker, "reset"):
                tracker.reset()
        else:
            kind = getattr(trackers, TRACKERS[check_tracker(tracker)])
            self.tracker = kind(lost_track_buffer=round(30 * LOST), frame_rate=fps)  # counted at 30 frames per second

    def update(self, found: Found, frame: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Found]:
        """The numbers ``(n,)`` of the boxes that belong to a track, and those boxes and scores."""
        detections = self.supervision.Detections(xyxy=found[0], confidence=found[1])
        extra = {"frame": np.ascontiguousarray(frame[..., ::-1])} if self.wants_frames else {}  # it takes BGR
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            tracked = self.tracker.update(detections, **extra)
        ids = np.asarray(tracked.tracker_id if len(tracked) else [], dtype=np.int64)
        keep = ids >= 0
        return ids[keep], (np.asarray(tracked.xyxy)[keep], np.asarray(tracked.confidence)[keep])


def check_tracker(name: str) -> str:
    """The name, if there is such a tracker; otherwise ValueError."""
    if name not in TRACKERS:
        raise ValueError(
            f"no tracker {name!r}. {did_you_mean(name, TRACKERS) or 'There are ' + ', '.join(TRACKERS)}".rstrip()
        )
    return name
