"""Safe use of Pillow: nothing too large is decoded, no other program is run, no missing data is filled in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from stmga.tracklets.image_ends import PNG, check_jpeg, check_png, check_tail, is_jpeg
from stmga.tracklets.limits import check_pixels, max_bytes

if TYPE_CHECKING:
    from PIL import Image

# Not EPS, which runs Ghostscript. HEIF works if pillow-heif is registered.
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "TIFF", "PPM", "GIF", "TGA", "JPEG2000", "AVIF", "HEIF")
TILE_WIDTH, TILE_HEIGHT = 322, 323  # tags of TIFF
HEADER_READS = 20_000  # steps in which Pillow reads a header; most files take some dozens
HEADER_BYTES = 32 << 20  # of a header with its profiles, thumbnails and texts


@contextmanager
def opened(source: BinaryIO, max_pixels: int) -> Iterator[Image.Image]:
    """An image of which only the header is read. Loading its pixels inside gives all of them or an error.

    Raises:
        ValueError: too many pixels, values of unknown range, or a format that is not read.
    """
    from PIL import Image, UnidentifiedImageError

    with _strict():
        try:
            header: Any = _Header(source)
            image = Image.open(header)
            header.done = True
        except UnidentifiedImageError:  # its message has the object in place of the file
            raise UnidentifiedImageError("cannot identify it as an image of a known format") from None
        except Image.DecompressionBombError as error:
            own = "PIL.Image.MAX_IMAGE_PIXELS"
            raise ValueError(
                f"more pixels than the limit of {max_pixels:,}, or than Pillow's ({own}): {error}"
            ) from error
        with image:
            if image.format not in FORMATS:
                raise ValueError(f"files of the format {image.format} are not read; convert it to PNG or JPEG")
            check_image(image, max_pixels)
            check_single(image)
            yield image


class _Header:
    """A file whose header must end: Pillow reads comments and padding byte by byte, as long as there are any."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self.done = source, False
        self._reads = self._bytes = 0

    def read(self, size: int = -1) -> bytes:
        if not self.done:
            self._reads, self._bytes = self._reads + 1, self._bytes + max(size, 0)
            if self._reads > HEADER_READS or self._bytes > HEADER_BYTES:
                raise ValueError("the file is damaged: its header does not end; convert it again")
        return self._source.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def check_image(image: Image.Image, max_pixels: int) -> None:
    """Raise `ValueError` for an image with too many pixels or values of unknown range, from its header."""
    check_pixels(*image.size, max_pixels)
    if (tags := getattr(image, "tag_v2", None)) and (tile := tags.get(TILE_WIDTH)):
        check_pixels(int(tile), int(tags.get(TILE_HEIGHT, 1)), max_pixels)  # a tile may be larger than the picture
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"an image of mode {image.mode!r} has no 8-bit colours; scale it to 0..255 by the range of its values "
            "and convert it to 'L' or 'RGB'"
        )


def check_single(image: Image.Image) -> None:
    """Raise `ValueError` for an animation, or a file of several pages: nobody said which picture is meant.

    Not for MPO, a JPEG file of a camera whose other pictures belong to the first.
    """
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise ValueError(
            f"the {image.format} file holds several pictures; save the one you mean as PNG or JPEG, "
            "or pass the file as the video of a track file"
        )


def check_source(image: Image.Image, max_pixels: int) -> None:
    """Raise `ValueError` for an image whose file is truncated, if its pixels have not been loaded yet."""
    source: Any = getattr(image, "fp", None)
    if source is None or image.format not in ("JPEG", "MPO", "PNG", "WEBP", "AVIF"):
        return
    position = source.tell()
    source.seek(0)
    data = source.read(max_bytes(max_pixels))
    source.seek(position)
    check_whole(data, image.format, image.width * image.height, max_pixels)


def check_whole(data: bytes, form: str | None, pixels: int, max_pixels: int) -> None:
    """Raise `ValueError` for a file of that format with a missing or zeroed end, where Pillow would not notice."""
    if is_jpeg(data):
        check_jpeg(data, max_pixels)
    elif data.startswith(PNG):
        check_png(data)
    else:
        check_tail(data, form, pixels)


def rgb(image: Image.Image) -> np.ndarray:
    """A PIL image as `(h, w, 3)` uint8: grey repeated, alpha dropped."""
    return np.asarray(image.convert("RGB"))


_lock = threading.Lock()
_inside = 0
_asked = False


@contextmanager
def _strict() -> Iterator[None]:
    """Inside, Pillow refuses truncated files, even if the process has set it to load them."""
    from PIL import ImageFile

    global _inside, _asked
    with _lock:
        if not _inside:
            _asked, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = _asked
