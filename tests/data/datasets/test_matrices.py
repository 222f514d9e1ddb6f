"""Hostile MATLAB files and lists: no other file is read for them, and they fill no memory."""

import os
import struct
import zlib

import h5py
import numpy as np
import pytest
from scipy import io

from stmga.data.datasets.matrices import read_integers, read_mat
from stmga.data.datasets.reader import read_lines
from stmga.tracklets.tracklet import TrackletError

LEVEL5 = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"


def hdf5(path, fill):
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


@pytest.mark.parametrize("kind", ["external link", "soft link", "raw values", "virtual"])
def test_values_of_another_file_are_not_read(tmp_path, kind):
    secret, raw = tmp_path / "secret.h5", tmp_path / "secret.bin"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(4.0)
    raw.write_bytes(bytes(32))

    def fill(file):
        if kind == "raw values":
            file.create_dataset("x", (4,), dtype="f8", external=[(str(raw), 0, 32)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((4,), dtype="f8")
            layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
            file.create_virtual_dataset("x", layout)
        else:
            file["x"] = h5py.ExternalLink(str(secret), "x") if kind == "external link" else h5py.SoftLink("/y")

    with pytest.raises(TrackletError, match="another file"):
        read_mat(hdf5(tmp_path / "a.mat", fill), "x")


def huge(file):
    file.create_dataset("x", (10**6, 10**6), dtype="f8", chunks=(1000, 1000))


def packed(file):
    file.create_dataset("x", (64, 2**18), dtype="f8", chunks=(1, 2**18), compression="gzip")


def large_chunk(file):
    file.create_dataset("x", (1,), dtype="f8", maxshape=(None,), chunks=(2**27,), compression="gzip")


def no_empty(file):
    file["x"] = np.array([10**6, 10**6], np.uint64)
    file["x"].attrs["MATLAB_empty"] = 1


@pytest.mark.parametrize("fill", [huge, packed, large_chunk, no_empty])
def test_an_hdf5_file_that_would_fill_the_memory(tmp_path, fill):
    with pytest.raises(TrackletError, match=r"numbers, and at most|more than 67,108,864 bytes|said to be empty"):
        read_mat(hdf5(tmp_path / "a.mat", fill), "x")


def test_a_compressed_matrix_that_would_fill_the_memory(tmp_path):
    data = zlib.compress(bytes(100 << 20))
    (tmp_path / "a.mat").write_bytes(LEVEL5 + struct.pack("<II", 15, len(data)) + data)
    with pytest.raises(TrackletError, match="more than 67,108,864 bytes"):
        read_mat(tmp_path / "a.mat")


def test_cells_are_not_read_however_deep(tmp_path):
    rows = np.arange(6).reshape(2, 3)
    io.savemat(tmp_path / "a.mat", {"rows": rows})
    cell = element(14, b"")
    for _ in range(20_000):
        cell = array(1, (1, 1), b"x", cell)
    with open(tmp_path / "a.mat", "ab") as file:
        file.write(cell)
    assert read_mat(tmp_path / "a.mat").keys() == {"rows"}


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind, shape, name, values):
    about = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack("<ii", *shape)) + element(1, name)
    return element(14, about + values)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_lists_that_are_no_regular_files_or_too_large(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "sparse", "wb") as file:
        file.write(LEVEL5)
        file.truncate(1 << 40)
    for read in (read_mat, read_lines):
        with pytest.raises(TrackletError, match="a pipe, a socket or a device"):
            read(tmp_path / "pipe")
        with pytest.raises(TrackletError, match="1,099,511,627,776 bytes"):
            read(tmp_path / "sparse")


@pytest.mark.parametrize("strange", [1.5, np.nan, np.inf, -np.inf, 1e30])
def test_numbers_that_are_not_whole_are_named(tmp_path, strange):
    io.savemat(tmp_path / "a.mat", {"rows": np.array([[1, 2], [3, strange]])})
    with pytest.raises(TrackletError, match=rf'"rows" holds {strange:g}'.replace("+", r"\+")):
        read_integers(tmp_path / "a.mat", "rows")
    io.savemat(tmp_path / "a.mat", {"rows": np.array([[1.0, -2.0]])})
    assert read_integers(tmp_path / "a.mat", "rows").tolist() == [[1, -2]]
