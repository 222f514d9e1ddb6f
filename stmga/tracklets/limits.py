"""How large a picture may be, checked before anything decodes it: a file of 200 bytes can ask for 16 GB of memory."""

from __future__ import annotations

MAX_PIXELS = 64_000_000  # of one picture; 8K video has 33 million
MAX_TEXT = 1 << 30  # bytes of a manifest or track file; a million frames take 0.1 GB
BESIDE = 32 << 20  # bytes of profiles, thumbnails and comments
BYTES = 8  # of a file for each pixel of the limit: four channels of 16 bits, uncompressed


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """`ValueError` for a picture of more pixels than the limit.

    >>> check_pixels(1920, 1080, MAX_PIXELS)
    >>> check_pixels(65500, 65500, MAX_PIXELS)
    Traceback (most recent call last):
    ValueError: 65500 x 65500 pixels are more than the limit of 64,000,000; scale it down, or ...
    """
    if width * height > max_pixels:
        raise ValueError(
            f"{width} x {height} pixels are more than the limit of {max_pixels:,}; scale it down, or read "
            f"the tracklets with max_pixels={width * height}, if you trust the file"
        )


def max_bytes(max_pixels: int) -> int:
    """The most bytes that the file of one picture may have: its pixels uncompressed, and what goes with them."""
    return BYTES * max_pixels + BESIDE
