"""Checks that an image file is complete. Decoders fill missing data with grey, most without an error."""

from __future__ import annotations

import re
import struct
import zlib

from stmga.tracklets.limits import check_pixels

PNG = b"\x89PNG\r\n\x1a\n"
SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
NONE = frozenset([0x00, 0x01, 0xFF, *range(0xD0, 0xD8)])  # markers that begin no segment: data, padding, restarts
SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # headers of a JPEG frame, one for each way of coding
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
ALL = (1 << 64) - 1  # a bit for each coefficient of a block
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
ZEROS = 64  # zero bytes at the end of compressed data that cannot be chance
PIXELS_A_ZERO = 5000  # a WebP file of one colour has a byte of 0 at its end for every 10,000 pixels


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG file does."""
    return data.startswith(b"\xff\xd8\xff")


def check_jpeg(data: bytes, max_pixels: int) -> int:
    """The position of the end-of-image marker. Bytes after it are not part of the picture.

    Raises:
        ValueError: too many pixels, no end marker, or missing scans.
    """
    progressive, at = False, 2
    missing = {-1: ALL}  # by component, a mask of the coefficients that no scan has contained; -1: no frame header yet
    try:
        while True:
            if data[at] != 0xFF or data[at + 1] in NONE:  # data or garbage: skipped, as libjpeg does
                found = _MARKER.search(data, at)
                at = found.start() if found else len(data)
            marker = data[at + 1]
            if marker in (EOI, SOI):
                break
            if marker in SOF:
                check_pixels(data[at + 7] << 8 | data[at + 8], data[at + 5] << 8 | data[at + 6], max_pixels)
                progressive = marker in PROGRESSIVE
                missing = dict.fromkeys(data[at + 10 : at + 10 + 3 * data[at + 9] : 3], ALL)
            elif marker == SOS:
                _take_scan(missing, data[at + 4 : at + 600], progressive)
            at += 2 + (data[at + 2] << 8 | data[at + 3])
    except IndexError:
        raise truncated("the JPEG file has no end-of-image marker") from None
    if marker == SOI:
        raise truncated("another JPEG picture begins before the first has ended")
    if any(missing.values()):
        raise truncated("scans of the JPEG file are missing")
    return at


def _take_scan(missing: dict[int, int], header: bytes, progressive: bool) -> None:
    """Record the coefficients in a scan; for sequential files all of them, whatever the header says, as decoders do."""
    end = 1 + 2 * header[0]
    first, last, bits = header[end], header[end + 1], header[end + 2]
    brought = 0 if progressive and bits & 15 else (2 << last) - (1 << first) if progressive else ALL
    for component in header[1:end:2]:
        missing[component] = missing.get(component, 0) & ~brought


def check_png(data: bytes) -> None:
    """Raise `ValueError` unless all chunks exist and those of the picture have the right checksums."""
    at = len(PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if end > len(data):
            break
        if kind == b"IEND":
            return
        sound = zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
        if kind in (b"IHDR", b"PLTE", b"IDAT") and not sound:
            raise truncated(f"the checksum of its {kind.decode()} chunk is wrong")
        at = end
    raise truncated("the PNG file has no IEND chunk")


def check_tail(data: bytes, form: str | None, pixels: int) -> None:
    """Raise `ValueError` for a compressed picture without an end marker whose last bytes are all zero."""
    if form == "WEBP":
        data = data[: 8 + struct.unpack("<I", data[4:8])[0]]  # later bytes are not part of the picture
    elif form != "AVIF":
        return
    zeros = len(data) - len(data.rstrip(b"\0"))
    if zeros > ZEROS + pixels // PIXELS_A_ZERO:
        raise truncated(f"its last {zeros:,} bytes are zero")


def truncated(why: str) -> ValueError:
    """The error for an incomplete file."""
    return ValueError(f"the file is truncated or damaged: {why}; copy it again")
