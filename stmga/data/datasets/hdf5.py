"""The part of HDF5 that MATLAB 7.3 uses for numeric matrices, which is how LS-VID keeps its list of the test.

Superblock 0, groups of one level, data sets in version 1 headers, stored whole or in chunks, deflated or not: as in the
HDF5 File Format Specification 3.0, whose names are used here. Anything else raises a ValueError.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

DATASPACE, DATATYPE, LAYOUT, FILTERS, CONTINUATION, SYMBOLS = 0x01, 0x03, 0x08, 0x0B, 0x10, 0x11
DEFLATE = 1
MAGIC = b"\x89HDF\r\n\x1a\n"
USER_BLOCK = 512  # MATLAB's own header comes before the file proper


def read(data: bytes) -> dict[str, np.ndarray]:
    """Numeric matrices by name, the axes in MATLAB's order (the file has them the other way round).

    >>> read(bytes(1024))
    Traceback (most recent call last):
    ValueError: expected HDF5 with a superblock of version 0 and addresses of 8 bytes
    """
    data = data[USER_BLOCK:]
    if data[:9] != MAGIC + b"\0" or data[13:15] != b"\x08\x08":
        raise ValueError("expected HDF5 with a superblock of version 0 and addresses of 8 bytes")
    (root,) = struct.unpack_from("<Q", data, 64)  # of the root group's symbol table entry
    tree, heap = struct.unpack_from("<QQ", dict(_messages(data, root))[SYMBOLS])
    (names,) = struct.unpack_from("<Q", data, heap + 24)  # the local heap's data segment
    found = {}
    for offset, header in _symbols(data, tree):
        start = names + offset
        matrix = _dataset(data, header)
        if matrix is not None:
            found[data[start : data.index(b"\0", start)].decode("utf-8")] = matrix.T
    return found


def _messages(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Type and content of each message of a version 1 object header."""
    version, _, count, _, size = struct.unpack_from("<BBHII", data, at)
    if version != 1:
        raise ValueError(f"an object header of version {version}")
    blocks = [(at + 16, size)]
    for start, length in blocks:  # grows while it is read
        at, end = start, start + length
        while at + 8 <= end and count:
            kind, size = struct.unpack_from("<HH", data, at)
            body = data[at + 8 : at + 8 + size]
            if kind == CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", body))
            yield kind, body
            at, count = at + 8 + size, count - 1


def _symbols(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Name's offset in the heap and address of the header, for each member of a group."""
    if data[at : at + 4] == b"SNOD":
        (count,) = struct.unpack_from("<H", data, at + 6)
        for i in range(count):
            yield struct.unpack_from("<QQ", data, at + 8 + 40 * i)
        return
    if data[at : at + 5] != b"TREE\0":
        raise ValueError("a group that is no symbol table")
    (count,) = struct.unpack_from("<H", data, at + 6)
    for i in range(count):
        yield from _symbols(data, struct.unpack_from("<Q", data, at + 24 + 8 + 16 * i)[0])


def _dataset(data: bytes, header: int) -> np.ndarray | None:
    """Values of a data set; None for what is no matrix of numbers."""
    messages = dict(_messages(data, header))
    kind = _number(messages[DATATYPE]) if DATATYPE in messages else None
    if kind is None or LAYOUT not in messages:
        return None
    version, rank = messages[DATASPACE][:2]
    shape = struct.unpack_from(f"<{rank}Q", messages[DATASPACE], 8 if version == 1 else 4)
    layout = messages[LAYOUT]
    if layout[0] != 3:
        raise ValueError(f"a data layout of version {layout[0]}")
    if layout[1] == 0:  # compact: in the header itself
        return np.frombuffer(layout[4:], kind, int(np.prod(shape))).reshape(shape)
    if layout[1] == 1:
        (start,) = struct.unpack_from("<Q", layout, 2)
        return np.frombuffer(data, kind, int(np.prod(shape)), start).reshape(shape)
    (tree,) = struct.unpack_from("<Q", layout, 3)
    chunk = struct.unpack_from(f"<{rank}I", layout, 11)
    deflated = FILTERS in messages and _deflated(messages[FILTERS])
    values = np.zeros(shape, kind)
    for place, size, start in _chunks(data, tree, rank):
        raw = data[start : start + size]
        block = np.frombuffer(zlib.decompress(raw) if deflated else raw, kind).reshape(chunk)
        inside = tuple(slice(a, min(a + c, s)) for a, c, s in zip(place, chunk, shape, strict=True))
        values[inside] = block[tuple(slice(0, part.stop - part.start) for part in inside)]
    return values


def _number(message: bytes) -> np.dtype | None:
    """A datatype message as a numpy type; None for text, references and the like."""
    kind, bits = message[0] & 0x0F, message[1]
    (size,) = struct.unpack_from("<I", message, 4)
    if kind > 1 or (kind == 0 and size not in (1, 2, 4, 8)) or (kind == 1 and size not in (4, 8)):
        return None
    letter = "f" if kind == 1 else "i" if bits & 8 else "u"
    return np.dtype(f"{'>' if bits & 1 else '<'}{letter}{size}")


def _deflated(message: bytes) -> bool:
    """Whether chunks are deflated (True) or as they are (False); other filters are refused."""
    version, count = message[:2]
    if version != 1 or count > 1 or (count and message[8] != DEFLATE):
        raise ValueError("a filter other than deflate")
    return bool(count)


def _chunks(data: bytes, at: int, rank: int) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """First element, size in the file and address of each chunk."""
    if data[at : at + 5] != b"TREE\x01":
        raise ValueError("chunks that are not kept in a tree")
    level, count = struct.unpack_from("<BH", data, at + 5)
    step = 8 + 8 * (rank + 1) + 8  # a key and the child after it
    for i in range(count):
        key = at + 24 + step * i
        size, _, *place, _, child = struct.unpack_from(f"<II{rank + 1}QQ", data, key)
        if level:
            yield from _chunks(data, child, rank)
        else:
            yield tuple(place), size, child
