"""Trees in the layout of official data sets, written by the tests: small pictures, or names alone."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

TYPES = {"uint8": (9, 2), "uint16": (11, 4), "int32": (12, 5), "float64": (6, 9)}  # array class, number type


def write_mat(file: Path, **matrices: np.ndarray) -> None:
    """A level-5 MATLAB file, not compressed, by the published format."""

    def element(kind: int, body: bytes) -> bytes:
        return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)

    data = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    for name, values in matrices.items():
        kind, number = TYPES[values.dtype.name]
        body = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack("<2i", *values.shape))
        body += element(1, name.encode()) + element(number, values.tobytes(order="F"))
        data += element(14, body)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


class Pictures:
    """Files that are all one small picture: written once, linked from then on."""

    def __init__(self, root: Path) -> None:
        self.sources = {".jpg": root / ".one.jpg", ".png": root / ".one.png"}
        root.mkdir(parents=True, exist_ok=True)
        for source in self.sources.values():
            Image.new("RGB", (4, 8), (200, 100, 50)).save(source)
        self.made: set[Path] = set()
        self.links = 0

    def put(self, file: Path) -> Path:
        if file.parent not in self.made:
            file.parent.mkdir(parents=True, exist_ok=True)
            self.made.add(file.parent)
        source = self.sources[file.suffix]
        try:
            os.link(source, file)
        except OSError:  # a file system allows only so many links to one file
            source.rename(source.with_name(f".{self.links}{source.name}"))
            Image.new("RGB", (4, 8), (200, 100, 50)).save(source)
            os.link(source, file)
        self.links += 1
        return file


def mars_names(rows: Iterable[Iterable[int]]) -> list[str]:
    """File names for the rows (first, last, person, camera) of a list of MARS, in its order."""
    names, tracks = [], {}
    for first, last, person, camera in rows:
        key = f"{'00-1' if person == -1 else f'{person:04d}'}C{camera}"
        tracks[key] = tracks.get(key, 0) + 1
        names += [f"{key}T{tracks[key]:04d}F{i:03d}.jpg" for i in range(1, last - first + 2)]
    return names


def mars_tree(root: Path, train: np.ndarray, test: np.ndarray, queries: np.ndarray, *, files: bool) -> None:
    """A tree of MARS by these lists; `files` puts a picture for every name."""
    info = root / "info"
    write_mat(info / "tracks_train_info.mat", track_train_info=train.astype(np.int32))
    write_mat(info / "tracks_test_info.mat", track_test_info=test.astype(np.int32))
    write_mat(info / "query_IDX.mat", query_IDX=queries.astype(np.uint16).reshape(1, -1))
    pictures = Pictures(root)
    for part, rows in (("train", train), ("test", test)):
        names = mars_names(rows.tolist())
        (info / f"{part}_name.txt").write_text("".join(f"{name}\n" for name in names))
        (root / f"bbox_{part}").mkdir()
        for name in names if files else ():
            pictures.put(root / f"bbox_{part}" / name[:4] / name)


SMALL_TRAIN = np.array([[1, 2, 1, 1], [3, 5, 1, 2], [6, 6, 3, 1]])
SMALL_TEST = np.array([[1, 2, -1, 1], [3, 3, 0, 2], [4, 6, 2, 1], [7, 8, 2, 3], [9, 9, 2, 3], [10, 11, 4, 6]])
SMALL_QUERIES = np.array([3, 4, 6])
