"""Pixels of one frame: a picture as RGB, a box cut out of it, values that are a picture's."""

from __future__ import annotations

import io
import math
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from stmga.tracklets.orientation import ORIENTATION, image_orientation, upright, upright_size

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[float, float, float, float]  # x, y, width, height in pixels

WIDTH_TAG, HEIGHT_TAG = 256, 257  # of TIFF
OPEN_SHARDS = 16  # files of packs that a process keeps open
OVERSHOOT = 1e-3  # how far floats may leave 0..1: what rounding does, not what resizing or normalising does


def read_image(file: Path, span: tuple[int, int] | None = None) -> np.ndarray:
    """An image file, or the part `(offset, length)` of a file, as upright RGB, `(h, w, 3)` uint8.

    EXIF orientation is applied, as OpenCV, and so detectors and trackers, do.
    """
    return decoded(read_bytes(file, span))


def image_size(file: Path) -> tuple[int, int]:
    """Width and height of the upright picture, from the header alone."""
    from PIL import Image

    with Image.open(file) as image:
        # TIFF files are turned as they load; before that, some versions of Pillow give the size as stored.
        if (tags := getattr(image, "tag_v2", None)) is not None:
            return upright_size(tags[WIDTH_TAG], tags[HEIGHT_TAG], tags.get(ORIENTATION, 1))
        return upright_size(*image.size, image_orientation(image))


def read_bytes(file: Path, span: tuple[int, int] | None = None) -> bytes:
    """An image file as it is on disk, or the part `(offset, length)` of a file."""
    return file.read_bytes() if span is None else read_span(file, span)


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG file does."""
    return data.startswith(b"\xff\xd8\xff")


def is_plain_jpeg(data: bytes, most: int) -> bool:
    """Whether they are a whole JPEG file in RGB or grey, stored upright, of at most so many pixels."""
    if not is_jpeg(data) or not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return False
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:  # reads the header alone
        small = image.width * image.height <= most
        return small and image.mode in ("RGB", "L") and image_orientation(image) == 1


def decoded(data: bytes) -> np.ndarray:
    """The bytes of an image file as upright RGB."""
    pixels = _jpeg(data)
    if pixels is not None and b"Exif" not in data:
        return pixels
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:  # reads the header alone
        orientation = image_orientation(image)
        return upright(rgb(image) if pixels is None else pixels, orientation)


def _jpeg(data: bytes) -> np.ndarray | None:
    """The same numbers by torchvision, in less than half of Pillow's time; None for what Pillow should look at.

    That is another format, CMYK, and whatever is wrong, since Pillow says what; and all of it once torchvision, which
    has announced that, no longer decodes.
    """
    if not is_jpeg(data):
        return None
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
    """A file kept open; closed when the cache has dropped it and all reads are done."""

    def __init__(self, file: Path) -> None:
        self.fd = -1
        self.fd = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))

    def read(self, offset: int, length: int) -> bytes:
        # pread leaves the position alone, which threads and forked workers share.
        return os.pread(self.fd, length, offset)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class _Reopened:
    """The same where there is no pread (Windows): opened for every read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self, offset: int, length: int) -> bytes:
        with open(self.file, "rb") as file:
            file.seek(offset)
            return file.read(length)


@lru_cache(maxsize=OPEN_SHARDS)
def _shard(file: Path) -> _Shard | _Reopened:
    return _Shard(file) if hasattr(os, "pread") else _Reopened(file)


def close_shards() -> None:
    """Forget the files kept open by `read_span`. Code that rewrites a pack must call it."""
    _shard.cache_clear()


def rgb(image: Image.Image) -> np.ndarray:
    """A PIL image of any mode as `(h, w, 3)` uint8: grey repeated, alpha dropped, 16-bit grey scaled to 8 bits.

    `ValueError` for pixels with no known range: mode "F", and "I" beyond 16 bits.
    """
    advice = f"PIL image of mode {image.mode!r} has no 8-bit colours; scale it to 0..255 and convert it to 'L' or 'RGB'"
    if image.mode.startswith("F"):
        raise ValueError(advice)
    if image.mode.startswith("I"):  # Pillow would clip it at 255 instead of scaling it
        grey = np.asarray(image)
        if grey.size and (grey.min() < 0 or grey.max() > 0xFFFF):
            raise ValueError(f"{advice}: its values are {grey.min()}..{grey.max()}")
        return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def to_pixels(frame: Any) -> torch.Tensor:
    """One frame in memory (PIL image, `(h, w, 3)` array, `(3, h, w)` tensor) as a tensor `(3, h, w)`.

    EXIF orientation is applied to an image as `PIL.Image.open` returned it; one that was made from another is taken as
    it is.
    """
    if isinstance(frame, torch.Tensor):
        return frame.detach().cpu()
    if isinstance(frame, np.ndarray):
        pixels = frame
    else:
        orientation = image_orientation(frame)
        pixels = upright(rgb(frame), orientation)
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))  # a copy: the user's array may be read-only


def checked_range(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 as it is, floats in 0..1; an overshoot of up to 0.001 is clamped, more is a `ValueError`, as is NaN."""
    if not pixels.is_floating_point() or not pixels.numel():
        return pixels
    low, high = (bound.item() for bound in torch.aminmax(pixels.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("the frames hold NaN or infinite values; expected floats in 0..1")
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise ValueError(
            f"float frames must be in 0..1, got {low:.4g}..{high:.4g}; divide 0..255 values by 255, or pass uint8; "
            "do not pass normalised pixels"
        )
    return pixels.clamp(0, 1) if low < 0 or high > 1 else pixels


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
