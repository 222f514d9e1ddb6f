"""One video, frame after frame: its persons as tracks."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.people.boxes import DetectorError, Found, persons_of
from stmga.people.clock import Clock
from stmga.people.detection_file import DetectionFile
from stmga.people.detection_log import DetectionLog
from stmga.people.detectors import Detectors
from stmga.people.region import Region
from stmga.people.sources import Source
from stmga.people.track_folder import VideoSummary, VideoWriter
from stmga.people.trackers import Tracker
from stmga.people.tracks import Track, Tracks
from stmga.tracklets.images import crop
from stmga.tracklets.tracklet import Tracklet
from stmga.tracklets.video_frames import VideoFrames
from stmga.utils.ahead import read_ahead
from stmga.utils.progress import progress_bar

QUALITY = 95  # of the crops of a live source


class VideoRun:
    """Decodes, detects and tracks one video. Arguments as in :class:`stmga.people.tracking.TrackSettings`."""

    def __init__(
        self,
        source: Source,
        detectors: Detectors,
        tracker: str | Any,
        *,
        start: float | None,
        region: Region | None,
        min_frames: int | None,
        person_class: int | None,
        seconds: float | None,
        max_pixels: int,
        progress: bool,
    ) -> None:
        self.source, self.start, self.region = source, start, region
        self.min_frames, self.person_class, self.seconds, self.progress = min_frames, person_class, seconds, progress
        self.video = VideoFrames(source.address, max_pixels=max_pixels, live=source.live)
        self.detector = detectors.of(source, self.video.fps)
        self.tracker = Tracker(tracker, self.video.fps)
        self.clock = Clock(self.video.fps)
        self.left_out = Counter[str]()
        self.log: DetectionLog | None = None

    @property
    def sees_all_frames(self) -> bool:
        """Whether the detector must see every frame from the first on."""
        return getattr(self.detector, "sees_all_frames", False)

    def __enter__(self) -> VideoRun:
        self.video.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self.video.__exit__(*args)

    def tracks(self, writer: VideoWriter | None = None, *, keep: int | None = None) -> Iterator[tuple[Track, Tracklet]]:
        """Every track when it has ended; ``writer`` keeps detections, and the crops of a live source.

        With ``keep``, tracklets have the pixels of so many crops or up to twice as many instead, and nothing is read
        again.
        """
        live = writer if self.source.live else None
        self.found = Tracks(
            self.video.fps, self.min_frames, _jpeg if live else None, live.save_crop if live else None, keep
        )
        with ExitStack() as stack:
            if writer is not None and writer.detections is not None:
                self.log = stack.enter_context(DetectionLog(writer.detections))
            try:
                yield from map(self._named, self._ended())
            except KeyboardInterrupt:
                if not self.source.live:  # the others can be read again
                    raise
            yield from map(self._named, self.found.finish())

    def summary(self) -> VideoSummary:
        """After the last track."""
        damage = self.video.damage
        if isinstance(self.detector, DetectionFile) and self.detector.unread:
            unread = f"{self.detector.unread:,} detections are of frames after the last"
            damage = f"{damage}; {unread}" if damage else unread
        return VideoSummary(
            camera=self.source.camera,
            address=self.source.public_address,
            frames=self.clock.frames,
            fps=round(self.video.fps, 3),
            tracks=self.found.kept,
            dropped=self.found.dropped,
            clipped=self.left_out["clipped"],
            outside=self.left_out["outside"],
            damage=damage,
            clock=str(self.clock) if self.start is not None else "",
        )

    def _ended(self) -> Iterator[Track]:
        earlier = iter(()) if self.log is None else self.log.earlier()
        begun = time.monotonic()
        frames = self.video if self.source.live else read_ahead(self.video)  # a live source must not fall behind
        bar = progress_bar(
            frames, total=self.video.expected, unit=" frames", desc=self.source.camera, shown=self.progress
        )
        with bar:
            for index, picture, stamp in bar:
                seconds = self.clock(stamp)
                found, left_out = next(earlier, None) or self._detect(index, picture)
                self.left_out.update(left_out)
                if self.region is not None:
                    inside = self.region.inside(found[0])
                    found = found[0][inside], found[1][inside]
                ids, tracked = self.tracker.update(found, picture)
                yield from self.found.add(index, seconds, ids, tracked, picture)
                if self.seconds is not None and self.source.live and time.monotonic() - begun >= self.seconds:
                    return

    def _detect(self, index: int, picture: NDArray[np.uint8]) -> tuple[Found, Counter[str]]:
        left_out = Counter[str]()
        height, width = picture.shape[:2]
        try:
            found = persons_of(self.detector(picture), (width, height), left_out, self.person_class)
        except DetectorError as error:
            raise DetectorError(f"{self.source.address}: frame {index}: {error}") from error
        if self.log is not None:
            self.log.append(found, left_out)
        return found, left_out

    def _named(self, track: Track) -> tuple[Track, Tracklet]:
        return track, track.tracklet(self.source.camera, Path(self.source.address).absolute(), self.start)


def _jpeg(picture: NDArray[np.uint8], box: NDArray[np.float32]) -> bytes:
    from PIL import Image

    x1, y1, x2, y2 = map(float, box)
    pixels = crop(picture, (x1, y1, x2 - x1, y2 - y1)).permute(1, 2, 0).numpy()
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=QUALITY)
    return data.getvalue()
