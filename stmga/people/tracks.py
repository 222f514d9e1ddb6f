"""Tracks as they grow: the boxes of one person in one video, frame after frame."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stmga.people.boxes import Found
from stmga.people.trackers import LOST
from stmga.tracklets.images import crop as crop_of
from stmga.tracklets.tracklet import Frame, Tracklet

SHORTEST = 0.5  # seconds; shorter tracks are mostly not persons


@dataclass
class Track:
    """One person in one video, from coming into view until leaving.

    Attributes:
        number: from 1 in the video, in the order in which tracks were long enough; 0 until then.
        frames: from 0, as sequential decoding counts.
        boxes: x, y, width, height of each, one after the other.
        scores: of each box.
        begin, end: seconds since the first frame of the video.
        crops: JPEG files, or until ``number`` is known their contents, for sources that can be read once only; or
            pixels ``(3, h, w)``, where only some are kept.
        step: every how many frames a crop is kept.
    """

    begin: float
    end: float = 0.0
    number: int = 0
    frames: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[float] = field(default_factory=lambda: array("f"))
    scores: array[float] = field(default_factory=lambda: array("f"))
    crops: list[bytes | Path | Tensor] = field(default_factory=list)
    step: int = 1

    def __len__(self) -> int:
        return len(self.frames)

    def rows(self) -> Iterator[tuple[int, list[float], float]]:
        """Frame, box and score."""
        for i, frame in enumerate(self.frames):
            yield frame, [round(value, 2) for value in self.boxes[4 * i : 4 * i + 4]], round(self.scores[i], 4)

    def tracklet(self, camera: str, video: Path, start: float | None) -> Tracklet:
        """The track as a tracklet of a camera; ``start`` is the time of the video's first frame, if known."""
        frames: Any = [crop for crop in self.crops if isinstance(crop, Tensor)]
        extra: dict[str, Any] = {}
        if frames:  # pixels do not say where they are from
            extra = {"video": str(video), "start": self.frames[0], "end": self.frames[-1]}
        elif self.crops:
            frames = tuple(Frame(file) for file in self.crops if isinstance(file, Path))
        else:
            frames = tuple(Frame(video, (box[0], box[1], box[2], box[3]), frame) for frame, box, _ in self.rows())
        if start is not None:
            extra["end_time"] = round(start + self.end, 3)
        time = None if start is None else round(start + self.begin, 3)
        return Tracklet(f"{camera}-{self.number}", frames, camera=camera, time=time, extra=extra)


class Tracks:
    """The tracks of one video as they begin, grow and end.

    Args:
        fps: frames per second.
        min_frames: shorter tracks are left out, and counted in ``dropped``; default: half a second.
        crop: gives the JPEG of a box of a frame; ``save`` writes it for a track. For sources that are read once.
        keep: instead, keep the pixels of this many crops of each track or up to twice as many, spread evenly.
    """

    def __init__(
        self,
        fps: float,
        min_frames: int | None = None,
        crop: Callable[[NDArray[np.uint8], NDArray[np.float32]], bytes] | None = None,
        save: Callable[[int, int, bytes], Path] | None = None,
        keep: int | None = None,
    ) -> None:
        self.patience = math.ceil(fps * LOST) + 1  # frames; then the tracker has given it up too
        self.min_frames = min_frames or max(3, round(SHORTEST * fps))
        self.crop, self.save, self.keep = crop, save, keep
        self.open: dict[int, tuple[Track, int]] = {}  # by the tracker's number: the track, and its last frame
        self.kept = self.dropped = 0

    def add(self, index: int, seconds: float, ids: NDArray[np.int64], found: Found, picture: Any) -> Iterator[Track]:
        """The boxes of the next frame; yields tracks that have ended."""
        for id_, box, score in zip(ids.tolist(), *found, strict=True):
            track, _ = self.open.setdefault(id_, (Track(begin=seconds), index))
            self.open[id_] = track, index
            track.frames.append(index)
            track.boxes.extend((box[0], box[1], box[2] - box[0], box[3] - box[1]))
            track.scores.append(float(score))
            track.end = seconds
            if self.keep is not None:
                self._keep_pixels(track, picture, box)
            elif self.crop is not None:
                track.crops.append(self.crop(picture, box))
            if len(track) >= self.min_frames:
                self._keep(track)
        yield from self._ended(index - self.patience)

    def finish(self) -> Iterator[Track]:
        """The video is over; yields the tracks that are left."""
        yield from self._ended(None)

    def _keep(self, track: Track) -> None:
        if not track.number:
            self.kept += 1
            track.number = self.kept
        if self.save is not None:
            for i in reversed(range(len(track.crops))):
                if not isinstance(crop := track.crops[i], bytes):
                    break  # and so are all before it
                track.crops[i] = self.save(track.number, track.frames[i], crop)

    def _keep_pixels(self, track: Track, picture: NDArray[np.uint8], box: NDArray[np.float32]) -> None:
        """A crop every ``step`` frames. When there are twice too many, every other one goes, and the step doubles."""
        if self.keep is None or (len(track) - 1) % track.step:
            return
        x1, y1, x2, y2 = map(float, box)
        track.crops.append(crop_of(picture, (x1, y1, x2 - x1, y2 - y1)))
        if len(track.crops) >= 2 * self.keep:
            del track.crops[1::2]
            track.step *= 2

    def _ended(self, before: int | None) -> Iterator[Track]:
        for id_ in [id_ for id_, (_, last) in self.open.items() if before is None or last < before]:
            track, _ = self.open.pop(id_)
            if track.number:
                yield track
            else:
                self.dropped += 1
