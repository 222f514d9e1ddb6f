"""Pictures of image files: as upright RGB, and a box cut out of one."""

from __future__ import annotations

import io
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from stmga.tracklets.image_ends import check_jpeg, is_jpeg, truncated
from stmga.tracklets.limits import MAX_PIXELS, max_bytes
from stmga.tracklets.orientation import ORIENTATION, image_orientation, upright, upright_size
from stmga.tracklets.pillow import check_whole, opened, rgb
from stmga.utils.foreign import open_regular, read_regular

Box = tuple[float, float, float, float]  # x, y, width, height in pixels

WIDTH_TAG, HEIGHT_TAG = 256, 257  # of TIFF
OPEN_SHARDS = 16  # files of packs that a process keeps open
GREY = [128, 128, 128]  # with which libjpeg fills missing data
FILLING = bytes(range(1, 255)) * 2  # meaningless data


def read_image(file: Path, span: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """An image file, or the part `(offset, length)` of a file, as upright RGB, `(h, w, 3)` uint8.

    EXIF orientation is applied, as OpenCV, and so detectors and trackers, do.

    Raises:
        OSError: the file cannot be read, or is a pipe or a device.
        ValueError: it is truncated, has more than `max_pixels` pixels, or values of unknown range.
    """
    return decoded(read_bytes(file, span, max_pixels), max_pixels)


def image_size(file: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of the upright picture, from the header. Raises as `read_image`, except for missing data."""
    with open_regular(file, max_bytes(max_pixels)) as source, opened(source, max_pixels) as image:
        # TIFF files are turned as they load; before that, some versions of Pillow give the size as stored.
        if (tags := getattr(image, "tag_v2", None)) is not None:
            return upright_size(tags[WIDTH_TAG], tags[HEIGHT_TAG], tags.get(ORIENTATION, 1))
        return upright_size(*image.size, image_orientation(image))


def read_bytes(file: Path, span: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS) -> bytes:
    """An image file as it is on disk, or the part `(offset, length)` of a file."""
    most = max_bytes(max_pixels)
    if span is None:
        return read_regular(file, most)
    if span[1] > most:
        raise ValueError(f"the picture has {span[1]:,} bytes, more than the limit of {most:,}")
    return read_span(file, span)


def is_plain_jpeg(data: bytes, most: int) -> bool:
    """Whether the bytes are a complete JPEG file in RGB or grey, stored upright, of at most `most` pixels."""
    if not is_jpeg(data):
        return False
    try:
        check_jpeg(data, most)
        with opened(io.BytesIO(data), most) as image:  # reads the header alone
            return image.mode in ("RGB", "L") and image_orientation(image) == 1
    except ValueError:
        return False


def decoded(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The bytes of an image file as upright RGB."""
    pixels = _whole_jpeg(data, max_pixels) if is_jpeg(data) else None
    if pixels is not None and b"Exif" not in data:
        return pixels
    with opened(io.BytesIO(data), max_pixels) as image:
        orientation = image_orientation(image)
        if pixels is None:
            check_whole(data, image.format, image.width * image.height, max_pixels)
            pixels = rgb(image)
        return upright(pixels, orientation)


def _whole_jpeg(data: bytes, max_pixels: int) -> np.ndarray | None:
    """The result of `_jpeg`; `ValueError` if the data end before the picture although an end marker follows.

    libjpeg fills the missing rest with grey. Appending bytes changes this rest, but not a complete picture.
    """
    end = check_jpeg(data, max_pixels)
    pixels = _jpeg(data)
    if pixels is not None and pixels[-1, -1].tolist() == GREY:
        # With Pillow, which gives the same pixels: torchvision's libjpeg prints a warning about the extra bytes.
        with opened(io.BytesIO(data[:end] + FILLING + data[end:]), max_pixels) as image:
            if not np.array_equal(rgb(image), pixels):
                raise truncated("the data of the JPEG file end before the picture does")
    return pixels


def _jpeg(data: bytes) -> np.ndarray | None:
    """The same pixels by torchvision, in less than half of Pillow's time; None if Pillow should decode the file.

    Pillow decodes CMYK, and files with faults, since its errors say what is wrong. It will decode all files once
    torchvision no longer does, as announced.
    """
    try:
        from torchvision.io import decode_jpeg

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    except (ImportError, RuntimeError):
        return None
    if len(pixels) == 4:
        return None
    return pixels.expand(3, -1, -1).permute(1, 2, 0).numpy()


def read_span(file: Path, span: tuple[int, int]) -> bytes:
    """Bytes `(offset, length)` of a file that is kept open; safe with threads and after a fork.

    Raises:
        OSError: it cannot be read.
        ValueError: it ends before the span does.
    """
    offset, length = span
    data = _shard(file).read(offset, length)
    if len(data) != length:
        raise ValueError(f"the file ends before byte {offset + length:,}: it is not whole; pack the data again")
    return data


class _Shard:
    """A file kept open; closed when it has left the cache and all reads are done."""

    def __init__(self, file: Path) -> None:
        self.file = open_regular(file)

    def read(self, offset: int, length: int) -> bytes:
        # pread does not change the position, which threads and forked workers share.
        return os.pread(self.file.fileno(), length, offset)

    def __del__(self) -> None:
        if "file" in vars(self):
            self.file.close()


class _Reopened:
    """The same without pread (Windows): the file is opened for every read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self, offset: int, length: int) -> bytes:
        with open_regular(self.file) as file:
            file.seek(offset)
            return file.read(length)


@lru_cache(maxsize=OPEN_SHARDS)
def _shard(file: Path) -> _Shard | _Reopened:
    return _Shard(file) if hasattr(os, "pread") else _Reopened(file)


def close_shards() -> None:
    """Forget the files kept open by `read_span`. Code that rewrites a pack must call it."""
    _shard.cache_clear()


def outside(box: Box, width: int, height: int) -> Literal["", "partly", "wholly"]:
    """How far a box extends outside an image of this size."""
    x, y, w, h = box
    if x + w <= 0 or y + h <= 0 or x >= width or y >= height:
        return "wholly"
    return "partly" if x < 0 or y < 0 or x + w > width or y + h > height else ""


def crop(picture: np.ndarray, box: Box | None) -> torch.Tensor:
    """The box of an `(h, w, 3)` picture, clipped to it and rounded to whole pixels (at least one), as `(3, h, w)`."""
    if box is not None:
        height, width = picture.shape[:2]
        if outside(box, width, height) == "wholly":
            raise ValueError(f"box {box} is outside the frame, {width} x {height} pixels")
        (left, right), (top, bottom) = _span(box[0], box[2], width), _span(box[1], box[3], height)
        picture = picture[top:bottom, left:right]
    return torch.from_numpy(np.array(picture.transpose(2, 0, 1), order="C"))


def _span(start: float, length: float, limit: int) -> tuple[int, int]:
    first = min(max(round(start), 0), limit - 1)
    return first, min(max(round(start + length), first + 1), limit)
