"""Text files as editors, spreadsheets and shells write them: UTF-8 or UTF-16, with or without a byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from stmga.tracklets.limits import MAX_TEXT
from stmga.tracklets.tracklet import TrackletError
from stmga.utils.foreign import read_regular


def read_lines(path: Path, errors: str = "replace") -> list[str]:
    """The lines of a text file, without their line ends.

    `errors` is the handling of bytes that are not UTF-8. `TrackletError` for a file that cannot be read or is not text.
    """
    try:
        data = read_regular(path, MAX_TEXT)
    except OSError as error:
        raise TrackletError(f"cannot read {path}: {error.strerror}") from error
    encoding = _encoding(data)
    text = data.decode(encoding, errors if encoding == "utf-8-sig" else "replace")
    if "\0" in text:
        raise TrackletError(f"{path} is not a text file: it has bytes of value 0")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # The first character of a track file or manifest is ASCII: in UTF-16 one of its two bytes is 0.
    if len(data) > 1 and 0 in data[:2] and data[:2] != b"\0\0":
        return "utf-16-be" if data[0] == 0 else "utf-16-le"
    return "utf-8-sig"
