"""Matrices of MATLAB files, of limited size; no other file is opened for them."""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stmga.tracklets.tracklet import TrackletError
from stmga.utils.foreign import MB, escaped, read_regular

if TYPE_CHECKING:
    import h5py

LIMIT = 64 * MB  # of a file, and of what it holds; the lists of MARS have less than 1 MB
NUMERIC = "biuf"  # kinds of a numpy dtype: truth values and real numbers
CLASSES = ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
COMPRESSED = 15  # the type of a level 5 element whose data are compressed
FILTERS = (1, 2, 3)  # of HDF5: deflate, shuffle, checksums. Others may be plugins, which are loaded as code


def read_mat(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Real numeric matrices of a MATLAB file by name, rows first as in MATLAB; at least those of ``names``.

    Reads versions 5 to 7.2 with scipy and 7.3 (HDF5) with h5py. Text, cells, structures, sparse and complex matrices
    are left out.

    Raises:
        TrackletError: the file cannot be read, is damaged or is not a MATLAB file, has more than 64 MB, packed or
            unpacked, names another file, or a name is not in it.
        ImportError: the library that reads it is not installed.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".mat") as file:
    ...     _ = file.write(b"no matrices".ljust(200)), file.flush()
    ...     read_mat(Path(file.name))
    Traceback (most recent call last):
    stmga.tracklets.tracklet.TrackletError: ... is not a MATLAB file of version 5 or later, or is damaged: ...
    """
    try:
        data = read_regular(path, LIMIT)
    except OSError as error:
        raise TrackletError(f"{path} cannot be read: {error.strerror}") from error
    try:
        found = _load_hdf5(data) if data[124:128] == b"\x00\x02IM" else _load_level5(data)
    except ImportError as error:
        raise ImportError(f'{path} needs {error.name or error}: pip install "stmga[mat]"', name=error.name) from error
    except Exception as error:  # scipy, h5py and zlib raise nearly every type on damaged files
        reason = escaped(str(error), 200) or type(error).__name__
        raise TrackletError(f"{path} is not a MATLAB file of version 5 or later, or is damaged: {reason}") from error
    if missing := [name for name in names if name not in found]:
        has = escaped(", ".join(sorted(found)), 200) or "none that is numeric"
        raise TrackletError(f'{path} has no matrix "{missing[0]}"; it has {has}')
    return found


def read_integers(path: Path, name: str) -> np.ndarray:
    """A matrix of whole numbers. Raises as :func:`read_mat`, and TrackletError for other numbers."""
    values = read_mat(path, name)[name]
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if not (whole == values).all():
        strange = values[whole != values].ravel()[0]
        raise TrackletError(f'{path}: the matrix "{name}" holds {strange:g}, and only whole numbers are expected')
    return whole


def _load_level5(data: bytes) -> dict[str, np.ndarray]:
    from scipy.io import loadmat, whosmat

    _check_unpacked(data)
    # By class first: nested cells would be read by recursion, which has no limit there.
    kinds: dict[str, set[str]] = {}
    for name, shape, kind in whosmat(io.BytesIO(data)):
        kinds.setdefault(name, set()).add(kind)
        if kind in CLASSES:
            _check_size(name, math.prod(map(int, shape)))
    numeric = [name for name, found in kinds.items() if found <= set(CLASSES)]
    values = loadmat(io.BytesIO(data), variable_names=numeric) if numeric else {}
    return {name: v for name, v in values.items() if isinstance(v, np.ndarray) and v.dtype.kind in NUMERIC}


def _check_unpacked(data: bytes) -> None:
    """ValueError if the compressed elements of a file have more than the limit when they are unpacked."""
    order, place, left = "<" if data[126:128] == b"IM" else ">", 128, LIMIT
    while place + 8 <= len(data):
        kind, size = struct.unpack(f"{order}II", data[place : place + 8])
        if kind == COMPRESSED:
            left -= len(zlib.decompressobj().decompress(data[place + 8 : place + 8 + size], left + 1))
            if left < 0:
                raise ValueError(f"its matrices have more than {LIMIT:,} bytes")
        place += 8 + size


def _load_hdf5(data: bytes) -> dict[str, np.ndarray]:
    import h5py

    found, left = {}, LIMIT
    with h5py.File(io.BytesIO(data), "r") as file:
        for name in file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{escaped(name, 80)} is a link, perhaps to another file; MATLAB writes none")
            item = file[name]
            if not isinstance(item, h5py.Dataset) or item.dtype.kind not in NUMERIC:
                continue
            check_dataset(name, item)
            left -= item.size * item.dtype.itemsize
            if left < 0:
                raise ValueError(f"its matrices have more than {LIMIT:,} bytes")
            if item.attrs.get("MATLAB_class") != b"char":  # text, as numbers of 16 bits
                found[name] = _matrix(name, item)
    return found


def check_dataset(name: str, item: h5py.Dataset) -> None:
    """ValueError for a data set whose values are in another file, or are too many, or need other code."""
    if item.external or item.is_virtual:
        raise ValueError(f"the values of {escaped(name, 80)} are in another file; MATLAB writes none such")
    properties = item.id.get_create_plist()
    if any(properties.get_filter(i)[0] not in FILTERS for i in range(properties.get_nfilters())):
        raise ValueError(f"{escaped(name, 80)} is compressed in a way that MATLAB does not use")
    _check_size(name, item.size)
    _check_size(name, math.prod(item.chunks or ()))


def _matrix(name: str, item: Any) -> np.ndarray:
    """HDF5 has the axes in reverse order, and stores the shape of an empty matrix instead of values."""
    if "MATLAB_empty" not in item.attrs:
        return np.asarray(item[()].T)
    shape = [int(n) for n in np.ravel(item[()])]
    if 0 not in shape or len(shape) > 8:
        raise ValueError(f"{escaped(name, 80)} is said to be empty, and has the shape {shape[:8]}")
    return np.zeros(shape)


def _check_size(name: str, count: int) -> None:
    if count > LIMIT // 8:
        raise ValueError(f"{escaped(name, 80)} has {count:,} numbers, and at most {LIMIT // 8:,} are expected")
