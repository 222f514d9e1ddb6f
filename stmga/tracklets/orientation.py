"""Orientation of pictures: reads it from the metadata as one of EXIF's eight numbers, and applies it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION = 0x0112  # the EXIF tag
MIRRORED = (2, 4, 5, 7)

# (a, b, c, d) of a display matrix, which takes the pixel (x, y) to (a x + c y, b x + d y).
MATRICES = {
    (1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8,
}  # fmt: skip


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels `(h, w, 3)` as stored -> the upright picture, `(w, h, 3)` for the orientations 5 to 8.

    >>> upright(np.arange(6).reshape(2, 3, 1), 6)[..., 0]  # a quarter turn clockwise
    array([[3, 0],
           [4, 1],
           [5, 2]])
    """
    if orientation == 1:
        return pixels
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if across else 1])


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height as stored -> width and height of the upright picture."""
    return (height, width) if orientation > 4 else (width, height)


def image_orientation(image: Image.Image) -> int:
    """1 to 8, from the EXIF block of an image as `PIL.Image.open` returned it; 1 if there is none.

    Call it before the pixels are loaded: Pillow rotates TIFF files itself on loading, and drops their EXIF block.
    """
    from PIL import Image

    # An image derived from another (format None) keeps that one's block, but its pixels may have been rotated.
    if image.format is None or not (block := image.info.get("exif")):
        return 1
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # an unreadable block is ignored, as in OpenCV
        exif.load(block)
        found = exif.get(ORIENTATION)
        if isinstance(found, int) and 1 <= found <= 8:
            return found
    return 1


def matrix_orientation(matrix: Sequence[int]) -> int:
    """1 to 8, from the nine numbers of a video's display matrix; 1 for angles that are not quarter turns."""
    a, b, _, c, d = matrix[:5]
    scale = max(abs(a), abs(b), abs(c), abs(d)) or 1
    return MATRICES.get((round(a / scale), round(b / scale), round(c / scale), round(d / scale)), 1)
