"""Opens a video with PyAV: only regular files, no lists of other files, no pictures that are too large."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from stmga.tracklets.limits import check_pixels
from stmga.utils.foreign import open_regular

# Formats of FFmpeg that name other files or addresses, which it would open; and numbered images, which need no PyAV.
OTHERS = frozenset(["concat", "dash", "hls", "imf", "image2", "lavfi", "mlv", "rtsp", "sap", "sdp", "vobsub"])
OTHERS |= {"avisynth", "vapoursynth"}  # scripts, which FFmpeg would run
OTHERS |= {"adf", "bin", "idf", "tty", "xbin"}  # text, which FFmpeg would draw

MARGIN = 1 << 18  # pixels that the buffers of a small picture may have in addition


class VideoError(ValueError):
    """A video, or a frame of it, that cannot be decoded."""


def open_video(file: Path, max_pixels: int | None = None) -> tuple[Any, Any]:
    """The container, which the caller closes, and its video stream; with `max_pixels` if it will be decoded.

    Raises:
        VideoError: it is not a video, is empty or cut off, has no video stream of a known codec, or larger pictures.
        OSError: it cannot be opened, or is a pipe or a device.
        ImportError: PyAV is not installed.
    """
    av = require_av()
    open_regular(file).close()
    limit = {} if max_pixels is None else pixel_limit(max_pixels)
    options = {"format_whitelist": _formats(), "protocol_whitelist": "file"} | limit
    try:
        container = av.open(str(file), options=options)
    except (av.error.InvalidDataError, av.error.ArgumentError) as error:  # the latter: of OTHERS
        raise VideoError(f"cannot open {file}: it {_fault(file)}") from error
    try:
        stream = video_stream(container)
        if max_pixels is not None:
            _check(stream, max_pixels)
            stream.codec_context.options = limit  # pictures may grow on the way
    except ValueError:
        container.close()
        raise
    return container, stream


def video_stream(container: Any) -> Any:
    """The video stream of an open file; `VideoError` if there is none that can be decoded."""
    stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None:
        raise VideoError(f"{container.name} has no video stream" + (" of a known codec" if stream else ""))
    return stream


def pixel_limit(max_pixels: int) -> dict[str, str]:
    """The option of FFmpeg's decoders: twice the limit, since they count the margins of their buffers too.

    Whoever decodes compares the pictures themselves.
    """
    return {"max_pixels": str(2 * max_pixels + MARGIN)}


def require_av() -> Any:
    """PyAV; `ImportError` with what to install."""
    try:
        import av
    except ImportError as error:
        raise ImportError('reading video needs PyAV: pip install "stmga[video]"') from error
    return av


def too_large(name: str, max_pixels: int) -> str:
    """The fault of a video in which the decoder refused a picture without giving its size."""
    return (
        f"{name} has a picture of more pixels than the limit of {max_pixels:,}; scale it down, or read "
        "the tracklets with a larger limit, max_pixels=..., if you trust the file"
    )


def _fault(file: Path) -> str:
    """Why FFmpeg finds no video in a file."""
    with open_regular(file) as opened:
        start = opened.read(8)
    if not start:
        return "is empty"
    if start[4:] in (b"ftyp", b"mdat", b"moov", b"wide", b"free", b"skip"):  # how MP4 and MOV files begin
        return "is cut off or not a video: it has no index; copy it again"
    return "is not a video"


def _check(stream: Any, max_pixels: int) -> None:
    try:
        check_pixels(stream.codec_context.width, stream.codec_context.height, max_pixels)
    except ValueError as error:
        raise VideoError(f"{stream.container.name}: {error}") from error


@functools.cache
def _formats() -> str:
    """The formats that may be read, as FFmpeg takes them."""
    return ",".join(sorted(require_av().formats_available - OTHERS))
