"""Videos whose pictures carry their number, whole and damaged, made by PyAV's own encoders."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WIDTH, HEIGHT, BITS = 96, 64, 8


def numbered(number: int) -> np.ndarray:
    """Picture `number`: bars in the upper half are its bits, lowest left, white for 1; a ramp below says what is up."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    bits = [number >> bit & 1 for bit in range(BITS)]
    pixels[: HEIGHT // 2] = 255 * np.repeat(np.array(bits, np.uint8), WIDTH // BITS)[None, :, None]
    pixels[HEIGHT // 2 :] = np.linspace(0, 200, WIDTH, dtype=np.uint8)[None, :, None]
    return pixels


def number_on(picture: np.ndarray) -> int:
    bars = picture[: HEIGHT // 2].mean((0, 2)).reshape(BITS, -1).mean(1)
    return sum(1 << bit for bit, light in enumerate(bars) if light > 128)


def video_of(
    file: Path,
    numbers: Sequence[int],
    codec: str,
    *,
    gop: int = 10,
    rotation: int | None = None,
    mirrored: bool = False,
    times: Sequence[int] | None = None,
    options: Mapping[str, str] = {},
    muxer: Mapping[str, str] = {},
    keep: Callable[[int, bool], bool] = lambda number, key: True,
    stamp: Callable[[int], int] | None = None,
) -> Path:
    """Encode the pictures of these numbers.

    `rotation` is in degrees counter-clockwise, `times` in milliseconds. `keep(number of the packet, whether it is a
    keyframe)` drops packets; `stamp` gives those that are left other time stamps, by their number.
    """
    import av

    try:
        container: Any = av.open(str(file), "w", options=dict(muxer))
        stream = container.add_stream(codec, rate=25)
    except (ValueError, av.FFmpegError) as error:  # this build of FFmpeg has no such encoder
        pytest.skip(f"no encoder {codec}: {error}")
    stream.width, stream.height = WIDTH, HEIGHT
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    stream.codec_context.bit_rate = 2_000_000
    stream.codec_context.time_base = Fraction(1, 1000 if times else 25)
    stream.options = {"g": str(gop)} | dict(options)
    if rotation is not None:
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV writes no display matrix")
        stream.set_display_rotation(rotation, hflip=mirrored)
    count = kept = 0
    with container:
        for packet in _packets(stream, numbers, times):
            count += 1
            if keep(count - 1, packet.is_keyframe):
                if stamp is not None:
                    packet.pts = packet.dts = stamp(kept)
                kept += 1
                container.mux(packet)
    return file


def _packets(stream: Any, numbers: Sequence[int], times: Sequence[int] | None) -> Iterator[Any]:
    import av

    for place, number in enumerate(numbers):
        frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
        frame.pts = times[place] if times else place
        frame.time_base = stream.codec_context.time_base
        yield from stream.encode(frame)
    yield from stream.encode()


def sequential(file: Path) -> list[np.ndarray]:
    """Every picture, as stored, as PyAV yields them one after the other; damaged packets are passed over.

    By one thread: with several, what is made up for a damaged part of a picture is not the same each time.
    """
    import av

    pictures: list[np.ndarray] = []
    with av.open(str(file)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for packet in container.demux(video=0):
            with contextlib.suppress(av.FFmpegError):
                pictures += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
    return pictures


def filmed(file: Path, pictures: Sequence[np.ndarray], fps: int = 10, codec: str = "mpeg4") -> Path:
    """Encode RGB pictures `(h, w, 3)` so well that colours hardly change."""
    import av

    container: Any = av.open(str(file), "w")
    stream = container.add_stream(codec, rate=fps)
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.bit_rate = 8_000_000
    stream.options = {"g": "10"}
    with container:
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file
