"""Lists of text in MATLAB files of level 5: cell arrays, into which scipy recurses without limit."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from stmga.data.datasets.matrices import COMPRESSED, LIMIT
from stmga.tracklets.tracklet import TrackletError
from stmga.utils.foreign import escaped, read_regular

MATRIX = 14  # the type of an element that is an array
CELL, CHAR = 1, 4  # classes of arrays
TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}  # types of an element with letters
ORDERS = {b"IM": "<", b"MI": ">"}

Element = tuple[int, bytes]  # its type and its data


def read_texts(path: Path, name: str) -> list[str]:
    """The texts of a cell array, in MATLAB's order.

    Raises:
        TrackletError: the file cannot be read, is damaged or is not a MATLAB file of version 5 to 7.2, has more than 64
            MB, packed or unpacked, or has no cell array of this name that holds text alone.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".mat") as file:
    ...     read_texts(Path(file.name), "filelist")
    Traceback (most recent call last):
    stmga.tracklets.tracklet.TrackletError: ... the list "filelist" cannot be read: it is not a MATLAB file ...
    """
    try:
        data = read_regular(path, LIMIT)
    except OSError as error:
        raise TrackletError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return _texts(data, name)
    except (ValueError, StopIteration, struct.error, zlib.error) as error:
        reason = escaped(str(error), 200) or "it ends early"
        raise TrackletError(f'{path}: the list "{name}" cannot be read: {reason}') from error


def _texts(data: bytes, name: str) -> list[str]:
    order = ORDERS.get(data[126:128])
    if order is None:
        raise ValueError("it is not a MATLAB file of version 5 to 7.2")
    names = []
    for element in _elements(data[128:], order):
        kind, body = _unpacked(element, order)
        if kind != MATRIX:
            continue
        array, found, parts = _array(body, order)
        names.append(found)
        if found == name:
            if array != CELL:
                raise ValueError("it is not a cell array")
            return [_text(part, order) for part in parts]
    raise ValueError(f"the file has {', '.join(names) or 'nothing'}")


def _elements(data: bytes, order: str) -> Iterator[Element]:
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if small := kind >> 16:  # up to 4 bytes, in the second half of the tag
            kind, body, step = kind & 0xFFFF, data[place + 4 : place + 4 + small], 8
        else:
            body, step = data[place + 8 : place + 8 + size], 8 + size + (0 if kind == COMPRESSED else -size % 8)
            if len(body) != size:
                raise ValueError("it ends early")
        yield kind, body
        place += step


def _unpacked(element: Element, order: str) -> Element:
    kind, body = element
    if kind != COMPRESSED:
        return element
    data = zlib.decompressobj().decompress(body, LIMIT + 1)
    if len(data) > LIMIT:
        raise ValueError(f"it has more than {LIMIT:,} bytes")
    return next(_elements(data, order))


def _array(body: bytes, order: str) -> tuple[int, str, Iterator[Element]]:
    """Class and name of an array, and its parts: the cells, or the letters."""
    parts = _elements(body, order)
    (_, flags), _, (_, name) = next(parts), next(parts), next(parts)
    return struct.unpack_from(f"{order}I", flags)[0] & 0xFF, name.decode("latin-1"), parts


def _text(cell: Element, order: str) -> str:
    kind, body = cell
    array, _, parts = _array(body, order) if kind == MATRIX else (0, "", iter(()))
    if array != CHAR:
        raise ValueError("it has a cell that is not text")
    kind, letters = next(parts)
    if kind not in TEXT:
        raise ValueError("it has a cell that is not text")
    codec = TEXT[kind]
    return letters.decode(f"{codec}-{'le' if order == '<' else 'be'}" if codec == "utf-16" else codec)
