"""The numeric matrices of MATLAB files, versions 5 to 7.3: what the lists of MARS, LS-VID and iLIDS-VID are kept in."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stmga.data.datasets import hdf5
from stmga.tracklets.tracklet import TrackletError

NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # miINT8 ...
MATRIX, COMPRESSED = 14, 15  # miMATRIX, miCOMPRESSED
NUMERIC = range(6, 16)  # array classes mxDOUBLE ... mxUINT64; others (cells, structures, text) are passed over
COMPLEX = 0x0800


def read_mat(path: str | Path, *names: str) -> dict[str, np.ndarray]:
    """Real numeric matrices of a MATLAB file, by name, rows first as in MATLAB; at least those asked for by `names`.

    Reads level-5 files (MAT-File Format, The MathWorks, 2019), compressed or not, and of version 7.3 (HDF5) what MATLAB
    writes for such matrices. Cells, structures, text and sparse or complex matrices are passed over.

    Raises:
        TrackletError: the file does not exist, is cut short or is no such file, or a name is not in it.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".mat") as file:
    ...     _ = file.write(b"no matrices".ljust(200)), file.flush()
    ...     read_mat(file.name)
    Traceback (most recent call last):
    stmga.tracklets.tracklet.TrackletError: ... is no MATLAB file of version 5 or later...
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TrackletError(f"{path} cannot be read: {error.strerror}") from error
    try:
        found = hdf5.read(data) if data[124:128] == b"\x00\x02IM" else dict(_matrices(data))
    except (struct.error, zlib.error, IndexError, KeyError, ValueError) as error:
        reason = f": {error}" if isinstance(error, (zlib.error, ValueError)) else ""
        raise TrackletError(f"{path} is no MATLAB file of version 5 or later, or is damaged{reason}") from error
    if missing := [name for name in names if name not in found]:
        has = ", ".join(sorted(found)) or "none that is numeric"
        raise TrackletError(f'{path} has no matrix "{missing[0]}"; it has {has}')
    return found


def _matrices(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    if data[126:128] not in (b"IM", b"MI"):
        raise ValueError("the header does not say so")
    order = "<" if data[126:128] == b"IM" else ">"
    for kind, body in _elements(data[128:], order):
        if kind == COMPRESSED:
            kind, body = next(_elements(zlib.decompress(body), order))
        if kind == MATRIX and (matrix := _matrix(body, order)):
            yield matrix


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element; a small one keeps both in its first 8 bytes, others are padded to 8."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        small = kind >> 16
        start = at + (4 if small else 8)
        size, kind = (small, kind & 0xFFFF) if small else (size, kind)
        if start + size > len(data):
            raise ValueError("it is cut short")
        yield kind, data[start : start + size]
        at = at + 8 if small else start + size + (0 if kind == COMPRESSED else -size % 8)


def _matrix(body: bytes, order: str) -> tuple[str, np.ndarray] | None:
    """Name and values of a numeric matrix; None for anything else."""
    (_, flags), (_, shape), (_, name), *values = _elements(body, order)
    (flag,) = struct.unpack_from(order + "I", flags)
    if flag & 0xFF not in NUMERIC or flag & COMPLEX or not values:
        return None
    kind, numbers = values[0]
    rows = np.frombuffer(shape, order + "i4")
    return name.decode("ascii"), np.frombuffer(numbers, order + NUMBERS[kind]).reshape(tuple(rows), order="F")
