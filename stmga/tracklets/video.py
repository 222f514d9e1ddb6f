"""Exact pictures of a video by number; each span is decoded once. Needs PyAV (`pip install "stmga[video]"`)."""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.orientation import MIRRORED, matrix_orientation, upright, upright_size
from stmga.tracklets.video_file import VideoError, open_video, require_av, too_large
from stmga.tracklets.video_index import VideoIndex, video_index

logger = logging.getLogger(__name__)

TRIES = 3  # keyframes to try for a picture before decoding from the beginning of the file


def decode(file: Path, indices: Collection[int], max_pixels: int = MAX_PIXELS) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, picture `(h, w, 3)` uint8 RGB, upright) for the frames `indices`, which count from 0.

    Frame k is the k-th picture that decoding from the beginning yields, as trackers count. If the packets prove that
    this is the k-th by time stamp, decoding starts at the keyframe before it. Otherwise pictures are counted once from
    the beginning; after that, their time stamps are known and can be used to seek.

    Raises:
        VideoError: it cannot be read, has no such frame, or larger pictures than `max_pixels`.
        ImportError: PyAV is not installed.
    """
    av = require_av()
    try:
        # A forked worker must not read its parent's handle.
        version = str(file), os.stat(file).st_mtime_ns, os.getpid(), max_pixels
        index = video_index(*version[:2])
        wanted = sorted(set(indices))
        if not index.counted and wanted and wanted[-1] >= len(index.shown):
            raise _no_frame(file, len(index.shown), wanted[-1])
        decoder = _kept.pop(version, None) or _Decoder(file, max_pixels)
        for number in wanted:
            yield number, _pixels(_picture(decoder, index, number))
        _keep(version, decoder)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"cannot decode {file}: {error}; copy the file again, or convert it anew") from error


def video_size(file: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int, int | None]:
    """(width, height, frames) of the upright first picture; the last is what the header says, which need not be true.

    It is None where the header says nothing. `VideoError` for pictures of more than `max_pixels`, before any decoding.
    """
    container, stream = open_video(file, max_pixels)
    with container:
        frame = next(_pictures(container, stream, max_pixels), None)
        if frame is None:
            raise VideoError("none of its pictures can be decoded")
        orientation = _orientation(frame)
        if orientation in MIRRORED:
            words = "%s is marked to be mirrored and is, as players show it; OpenCV does not mirror: see that boxes fit"
            logger.warning(words, file)
        return *upright_size(frame.width, frame.height, orientation), stream.frames or None


def frame_count(file: Path) -> int | None:
    """How many frames a video has, by its packets; None if only decoding all of it would show."""
    index = video_index(str(file), os.stat(file).st_mtime_ns)
    return None if index.counted else len(index.shown)


def pictures(file: Path, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[float | None, np.ndarray]]:
    """Yields (seconds or None, picture `(h, w, 3)` uint8 RGB, upright) for all frames from the beginning, in order.

    The k-th is the one that :func:`decode` gives for k. Seconds are the time stamp of the file.

    Raises:
        VideoError: it cannot be opened, or not be read to its end; or larger pictures than `max_pixels`.
        ImportError: PyAV is not installed.
    """
    av = require_av()
    try:
        container, stream = open_video(file, max_pixels)
        with container:
            for frame in _pictures(container, stream, max_pixels):
                yield frame.time, _pixels(frame)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"cannot decode {file}: {error}; copy the file again, or convert it anew") from error


class _Decoder:
    """An open video; `at` is the number of the picture decoded last, -1 before the first."""

    def __init__(self, file: Path, max_pixels: int) -> None:
        self.file = file
        self.max_pixels = max_pixels
        self.container: Any = None
        self.restart()

    def restart(self) -> None:
        """Go to the beginning by opening the file again, so that counting starts in the same state."""
        if self.container is not None:
            self.container.close()
        self.container, self.stream = open_video(self.file, self.max_pixels)
        self.stream.codec_context.thread_count = 1  # worker processes share the load, and threads do not survive a fork
        self.frames = _pictures(self.container, self.stream, self.max_pixels)
        self.at, self.sought = -1, False

    def seek(self, index: VideoIndex, key: int) -> Any:
        """The picture of the keyframe `key`; None if the container cannot get there."""
        stamp = index.shown[key]
        try:
            self.container.seek(stamp, stream=self.stream)
        except require_av().FFmpegError:
            return None
        known = lambda packet: packet.pts is None or packet.pts < stamp or index.has(packet.pts, packet.size)  # noqa: E731
        self.frames = _pictures(self.container, self.stream, self.max_pixels, known)
        self.at, self.sought = key, True
        for frame in self.frames:
            if frame.pts is None or frame.pts >= stamp:  # some seek by the time of decoding, and too far
                return frame if frame.pts == stamp and not frame.is_corrupt else None
        return None

    def follow(self, index: VideoIndex, number: int) -> Any:
        """Decode forward to a picture after `at`; None if it does not come, or differs from the index."""
        frame, shown = None, index.shown
        while self.at < number:
            frame = next(self.frames, None)
            if frame is None or (self.sought and frame.is_corrupt):  # its concealment depends on earlier pictures
                return None
            if self.at + 1 < len(shown) and frame.pts != shown[self.at + 1]:
                return None
            self.at += 1
            if index.counted and index.shown is shown:  # no other thread has begun to count
                index.count(self.at, frame.pts, frame.key_frame)
        return frame


def _pictures(
    container: Any,
    stream: Any,
    max_pixels: int,
    known: Callable[[Any], bool] = lambda packet: True,
    skipped: Callable[[], None] = lambda: None,
) -> Iterator[Any]:
    """All pictures from here on, up to an unknown packet; `skipped` is called for every packet that is skipped.

    Packets that cannot be decoded are skipped, as players and OpenCV do. Pictures that are too large are not skipped,
    since this would change the numbers of all later ones.
    """
    av = require_av()
    for packet in container.demux(stream):
        if not known(packet):
            return
        try:
            pictures = packet.decode()
        except av.FFmpegError as error:
            width, height = stream.codec_context.width, stream.codec_context.height
            refused = isinstance(error, av.error.ArgumentError) and not width  # FFmpeg sets the size to 0
            if refused or width * height > max_pixels:
                raise VideoError(too_large(container.name, max_pixels)) from error
            skipped()
            continue
        for picture in pictures:
            if picture.width * picture.height > max_pixels:
                raise VideoError(too_large(container.name, max_pixels))
            yield picture


# The video read last stays open, because the next clip of a tracklet continues where this one ended. Otherwise a clip
# of 8 frames would decode from the keyframe, some 100 frames before. Taken out while in use: threads cannot share it.
_kept: dict[tuple[str, int, int, int], _Decoder] = {}


def _keep(version: tuple[str, int, int, int], decoder: _Decoder) -> None:
    with contextlib.suppress(KeyError):
        _kept.popitem()[1].container.close()
    _kept[version] = decoder


def _picture(decoder: _Decoder, index: VideoIndex, number: int) -> Any:
    frame = _by_seek(decoder, index, number)
    if frame is None and (decoder.sought or not index.counted):
        if not index.counted:
            logger.info("%s: its pictures do not come as its packets say, so they are counted", decoder.file)
            index.recount()
        decoder.restart()
        frame = decoder.follow(index, number)
    if frame is None:
        raise _no_frame(decoder.file, decoder.at + 1, number)
    return frame


def _by_seek(decoder: _Decoder, index: VideoIndex, number: int) -> Any:
    """A picture, decoded from the keyframe before it; None if that does not reach it."""
    while index.doubtful and index.doubtful[0][0] <= number:
        span = index.doubtful[0]
        if _reach(decoder, index, *span) is None:
            return None
        with contextlib.suppress(ValueError):  # another thread was faster
            index.doubtful.remove(span)
    key = index.key_before(number)
    if decoder.at < number and (key is None or key <= decoder.at + 1):
        return decoder.follow(index, number)  # nothing to skip
    return _reach(decoder, index, key, number)


def _reach(decoder: _Decoder, index: VideoIndex, key: int | None, number: int) -> Any:
    """Decode a picture from the keyframe `key`, an earlier one, or the beginning."""
    for _ in range(TRIES):
        if key is None:
            break
        if (frame := decoder.seek(index, key)) is not None:
            return frame if key == number else decoder.follow(index, number)
        key = index.key_before(key - 1)
    decoder.restart()
    return decoder.follow(index, number)


def _no_frame(file: Path, count: int, number: int) -> VideoError:
    return VideoError(
        f"{file} has {count} frames, no frame {number} (from 0); see that it is whole, and the video that was tracked"
    )


def _pixels(frame: Any) -> np.ndarray:
    return upright(frame.to_ndarray(format="rgb24"), _orientation(frame))


def _orientation(frame: Any) -> int:
    """1 to 8, as EXIF numbers them, from the display matrix in the file."""
    from av.sidedata.sidedata import Type

    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    return 1 if matrix is None else matrix_orientation(struct.unpack("=9i", bytes(matrix)[:36]))
