"""Whether the file of a picture is whole. Decoders fill what is missing with grey, and most do not say so."""

from __future__ import annotations

import re
import struct
import zlib

from stmga.tracklets.limits import check_pixels

PNG = b"\x89PNG\r\n\x1a\n"
SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
NONE = frozenset([0x00, 0x01, 0xFF, *range(0xD0, 0xD8)])  # what begins no segment: data, filling, restarts
SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # headers of a JPEG frame, one for each way of coding
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
ALL = (1 << 64) - 1  # a bit for each coefficient of a block
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
ZEROS = 64  # bytes at the end of compressed data that are no longer chance
PIXELS_A_ZERO = 5000  # a WebP file of one colour has a byte of 0 at its end for every 10,000 pixels


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG file does."""
    return data.startswith(b"\xff\xd8\xff")


def check_jpeg(data: bytes, max_pixels: int) -> int:
    """Where the picture ends, that is the place of its end-of-image marker. What follows it is no part of the picture.

    Raises:
        ValueError: too many pixels; or no end, or scans that are missing.
    """
    progressive, place = False, 2
    missing = {-1: ALL}  # by component, the coefficients that no scan has brought; here of a file without a frame
    try:
        while True:
            if data[place] != 0xFF or data[place + 1] in NONE:  # data, or garbage: passed over as libjpeg does
                found = _MARKER.search(data, place)
                place = found.start() if found else len(data)
            marker = data[place + 1]
            if marker in (EOI, SOI):
                break
            if marker in SOF:
                check_pixels(data[place + 7] << 8 | data[place + 8], data[place + 5] << 8 | data[place + 6], max_pixels)
                progressive = marker in PROGRESSIVE
                missing = dict.fromkeys(data[place + 10 : place + 10 + 3 * data[place + 9] : 3], ALL)
            elif marker == SOS:
                _take_scan(missing, data[place + 4 : place + 600], progressive)
            place += 2 + (data[place + 2] << 8 | data[place + 3])
    except IndexError:
        raise truncated("the JPEG file has no end-of-image marker") from None
    if marker == SOI:
        raise truncated("another JPEG picture begins before the first has ended")
    if any(missing.values()):
        raise truncated("scans of the JPEG file are missing")
    return place


def _take_scan(missing: dict[int, int], header: bytes, progressive: bool) -> None:
    """Note what a scan brings; of sequential files everything, whatever its numbers say, as decoders have it."""
    end = 1 + 2 * header[0]
    first, last, bits = header[end], header[end + 1], header[end + 2]
    brought = 0 if progressive and bits & 15 else (2 << last) - (1 << first) if progressive else ALL
    for component in header[1:end:2]:
        missing[component] = missing.get(component, 0) & ~brought


def check_png(data: bytes) -> None:
    """`ValueError` unless all chunks are there and those of the picture have the right checksums."""
    place = len(PNG)
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        end = place + 12 + length
        if end > len(data):
            break
        if kind == b"IEND":
            return
        sound = zlib.crc32(data[place + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
        if kind in (b"IHDR", b"PLTE", b"IDAT") and not sound:
            raise truncated(f"the checksum of its {kind.decode()} chunk is wrong")
        place = end
    raise truncated("the PNG file has no IEND chunk")


def check_tail(data: bytes, form: str | None, pixels: int) -> None:
    """`ValueError` for a compressed picture of a format without an end marker whose last bytes are all zero."""
    if form == "WEBP":
        data = data[: 8 + struct.unpack("<I", data[4:8])[0]]  # what follows is no part of the picture
    elif form != "AVIF":
        return
    zeros = len(data) - len(data.rstrip(b"\0"))
    if zeros > ZEROS + pixels // PIXELS_A_ZERO:
        raise truncated(f"its last {zeros:,} bytes are zero")


def truncated(why: str) -> ValueError:
    """The error for a file that is not whole."""
    return ValueError(f"the file is truncated or damaged: {why}; copy it again")
