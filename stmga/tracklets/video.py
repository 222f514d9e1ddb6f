"""Exact frames of a video by their number, each needed span decoded once. PyAV (`pip install "stmga[video]"`)."""

from __future__ import annotations

import bisect
import contextlib
import functools
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class VideoError(ValueError):
    """A video, or a frame of it, that cannot be decoded; the message names the file."""


def decode(file: Path, indices: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, picture `(h, w, 3)` uint8 RGB) for the frames `indices`, from 0 in the order of showing.

    Seeks to the keyframe before a wanted frame and decodes on as long as no keyframe is nearer to the next one. Frames
    are found by their time stamps, so a variable frame rate is no trouble.
    """
    av = _av()
    try:
        version = str(file), os.stat(file).st_mtime_ns, os.getpid()  # a forked worker must not read its parent's handle
        timeline = _timeline(*version[:2])
        wanted = sorted(set(indices))
        if timeline.shown and wanted and wanted[-1] >= len(timeline.shown):
            raise VideoError(f"{file} has {len(timeline.shown)} frames, no frame {wanted[-1]} (from 0)")
        decoder = _kept.pop(version, None) or _Decoder(file)
        if timeline.shown:
            yield from _by_time(decoder, timeline, wanted)
            _keep(version, decoder)
        else:
            yield from _by_count(decoder, wanted)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"cannot decode {file}: {error}") from error


def video_size(file: Path) -> tuple[int, int, int | None]:
    """(width, height, number of frames or None where the header does not say), from the header alone."""
    av = _av()
    with av.open(str(file)) as container:
        if not container.streams.video:
            raise VideoError("it has no video stream")
        stream = container.streams.video[0]
        return stream.width, stream.height, stream.frames or None


class _Timeline(NamedTuple):
    shown: list[int]  # time stamps of all frames, in the order of showing; empty where the container keeps none
    keys: list[int]  # those of the keyframes


@functools.lru_cache(maxsize=64)
def _timeline(file: str, changed: int) -> _Timeline:
    """Read from the packets, nothing is decoded. `changed` only tells a file from its next version."""
    shown, keys = [], []
    with _av().open(file) as container:
        for packet in container.demux(video=0):
            if packet.size == 0 or packet.is_discard:  # the end, or what an edit list cuts away
                continue
            if packet.pts is None:
                return _Timeline([], [])
            shown.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    return _Timeline(sorted(shown), sorted(keys))


class _Decoder:
    """An open video that knows which frame it has decoded last."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.container = _av().open(str(file))
        self.stream = self.container.streams.video[0]
        self.stream.codec_context.thread_count = 1  # worker processes share the load, and threads do not survive a fork
        self.frames: Iterator[Any] = self.container.decode(self.stream)
        self.at: int | None = None

    def seek(self, stamp: int) -> None:
        self.container.seek(stamp, stream=self.stream)
        self.frames = self.container.decode(self.stream)
        self.at = None

    def next(self) -> Any:
        """The next frame, or None at the end."""
        frame = next(self.frames, None)
        self.at = None if frame is None else frame.pts
        return frame


# The video read last stays open, because the next clip of a tracklet continues where this one ended. Otherwise a clip
# of 8 frames would decode from the keyframe, some 100 frames before. Taken out while in use: threads cannot share it.
_kept: dict[tuple[str, int, int], _Decoder] = {}


def _keep(version: tuple[str, int, int], decoder: _Decoder) -> None:
    with contextlib.suppress(KeyError):
        _kept.popitem()[1].container.close()
    _kept[version] = decoder


def _by_time(decoder: _Decoder, timeline: _Timeline, indices: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    shown, keys = timeline
    for index in indices:
        target = shown[index]
        key = bisect.bisect_right(keys, target) - 1
        picture = _next(decoder, target) if _goes_on(decoder, timeline, target) else None
        while picture is None:
            # Ten seconds before the first frame is surely the start of the file.
            decoder.seek(keys[key] if key >= 0 else shown[0] - int(10 / decoder.stream.time_base))
            picture = _next(decoder, target)
            if picture is None and key < 0:
                raise VideoError(
                    f"{decoder.file}: frame {index} (from 0) cannot be decoded; the video is damaged there"
                )
            key -= 1  # some containers seek by decoding time and land too late: from a keyframe earlier, then
        yield index, picture


def _goes_on(decoder: _Decoder, timeline: _Timeline, target: int) -> bool:
    """Whether decoding on leads to `target` with nothing to skip: no keyframe between, or only as the next frame."""
    shown, keys = timeline
    if decoder.at is None or decoder.at >= target:
        return False
    following = shown[bisect.bisect_right(shown, decoder.at)]
    key = bisect.bisect_right(keys, target) - 1
    return key < 0 or keys[key] <= following


def _next(decoder: _Decoder, target: int) -> np.ndarray | None:
    """Decode on to the frame shown at `target`; None if it does not come."""
    while (frame := decoder.next()) is not None:
        if frame.pts is not None and frame.pts >= target:
            return frame.to_ndarray(format="rgb24") if frame.pts == target else None
    return None


def _by_count(decoder: _Decoder, indices: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Without time stamps there is nothing to seek by: from the start of a video just opened."""
    left = set(indices)
    for index, frame in enumerate(decoder.frames):
        if index in left:
            left.discard(index)
            yield index, frame.to_ndarray(format="rgb24")
        if not left:
            return
    raise VideoError(f"{decoder.file} has no frame {min(left)} (from 0) that can be decoded")


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError('reading video needs PyAV: pip install "stmga[video]"') from error
    return av
