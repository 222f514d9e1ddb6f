"""All frames of a video, one after the other, with their time stamps; or those of a camera as they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.video import _pictures, _pixels
from stmga.tracklets.video_file import VideoError, open_video, pixel_limit, require_av, video_stream
from stmga.utils.text import counted

USUAL_FPS = 25.0  # of a video that does not say
TIMEOUT = 20.0  # seconds to wait for a live source


class VideoFrames:
    """Iterates over (index, picture `(h, w, 3)` uint8 RGB, upright, time stamp in seconds or None).

    The indices are those of `decode`: from 0, as decoding by one thread counts. Several threads decode; at the first
    damage, the video is opened again and decoded by one, because several may lose pictures near it. What cannot be
    decoded is skipped, as players do; `damage` says at the end what was missing.

    Args:
        address: a video file, or with `live` a device or an address that FFmpeg can open.
        max_pixels: larger pictures are an error.
        live: it can be read once only.

    Raises:
        VideoError: it cannot be opened, or has a picture that is too large.
        ImportError: PyAV is not installed.
    """

    def __init__(self, address: str | Path, *, max_pixels: int = MAX_PIXELS, live: bool = False) -> None:
        self.address, self.max_pixels, self.live = address, max_pixels, live
        self.read = self.skipped = self.corrupt = 0
        self.at = 0  # the number of the frame decoded last
        self.damaged_at: int | None = None  # that number when the first damage was met
        self.cut = ""
        self.tolerant = live  # goes on after damage: a live source cannot be read again
        try:
            self.container, self.stream = self._open()
        except (require_av().FFmpegError, OSError) as error:
            raise VideoError(f"cannot open {address}: {error}") from error
        rate = self.stream.average_rate or self.stream.guessed_rate
        self.says_fps = bool(rate) and 0 < float(rate) <= 1000
        self.fps = float(rate) if self.says_fps else USUAL_FPS
        self.expected: int | None = self.stream.frames or None

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, float | None]]:
        try:
            try:
                yield from self._numbered()
            except _DamageError:
                self.container.close()
                self.container, self.stream = self._open()
                self.stream.codec_context.thread_count = 1
                self.tolerant = True
                yield from self._numbered(behind=self.read)
        finally:
            self.container.close()

    def __enter__(self) -> VideoFrames:
        return self

    def __exit__(self, *args: object) -> None:
        self.container.close()

    @property
    def damage(self) -> str:
        """What could not be read, as text; "" if nothing is known to be missing."""
        found = []
        if self.expected is not None and self.read < self.expected:
            found.append(f"{self.read:,} of {self.expected:,} frames that its header counts could be read")
        if self.skipped:
            found.append(f"{counted(self.skipped, 'damaged packet')} skipped")
        if self.corrupt:
            found.append(f"{counted(self.corrupt, 'frame')} damaged in part")
        if self.damaged_at is not None:
            found.append(f"the damage begins near frame {self.damaged_at:,} (from 0)")
        if self.cut:
            found.append(f"reading ended with: {self.cut}")
        return "; ".join(found)

    def _open(self) -> tuple[Any, Any]:
        if self.live:
            container, stream = _open_live(str(self.address), self.max_pixels)
        else:
            container, stream = open_video(Path(self.address), self.max_pixels)
        stream.thread_type = "AUTO"
        return container, stream

    def _numbered(self, behind: int = 0) -> Iterator[tuple[int, np.ndarray, float | None]]:
        """The frames from number `behind` on."""
        self.at = 0
        try:
            frames = _pictures(self.container, self.stream, self.max_pixels, skipped=self._skip)
            for index, frame in enumerate(frames):
                self.at = index
                if index < behind:
                    continue
                if frame.is_corrupt:
                    self._damaged()
                    self.corrupt += 1
                stamp = None if frame.pts is None else float(frame.pts * frame.time_base)
                pixels = _pixels(frame)
                self.read = index + 1
                yield index, pixels, stamp
        except (require_av().FFmpegError, OSError) as error:  # damage outside of the pictures, or a lost connection
            self._damaged()
            self.cut = str(error)

    def _skip(self) -> None:
        self._damaged()
        self.skipped += 1

    def _damaged(self) -> None:
        if not self.tolerant:
            raise _DamageError
        if self.damaged_at is None:
            self.damaged_at = self.at


class _DamageError(Exception):
    pass


def _open_live(address: str, max_pixels: int) -> tuple[Any, Any]:
    transport = {"rtsp_transport": "tcp"} if address.startswith("rtsp") else {}  # UDP loses packets
    device = "v4l2" if address.startswith("/dev/") else None
    container = require_av().open(address, format=device, options=pixel_limit(max_pixels) | transport, timeout=TIMEOUT)
    try:
        return container, video_stream(container)
    except ValueError:
        container.close()
        raise
