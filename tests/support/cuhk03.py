"""A small CUHK03: cuhk-03.mat in the structure of MATLAB 7.3, and the lists of the new protocol."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from scipy import io


def pixels_of(boxes: str, pair: int, person: int, number: int) -> np.ndarray:
    """A picture (h, w, 3) in which no axis can be taken for another."""
    height, width = 9 + person, 4 + number % 2
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = 10 * pair + (boxes == "detected")
    picture[..., 1] = np.arange(height)[:, None] * 5
    picture[..., 2] = np.arange(width) * 20 + number
    return picture


def write_cuhk03(path: Path, pairs: tuple[int, ...], testsets: list, empty: tuple = ()) -> Path:
    """``pairs`` is the number of persons in each; ``empty`` are (boxes, pair, person, number) without a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        inside = file.create_group("#refs#")
        names = iter(range(1_000_000))

        def put(values: np.ndarray) -> h5py.Reference:
            return inside.create_dataset(f"r{next(names)}", data=values).ref

        def picture(*place) -> h5py.Reference:
            if place in empty:  # MATLAB stores the shape of what is empty
                item = inside.create_dataset(f"r{next(names)}", data=np.zeros(2, np.uint64))
                item.attrs["MATLAB_empty"] = 1
                return item.ref
            values = pixels_of(*place).T
            return inside.create_dataset(f"r{next(names)}", data=values, compression="gzip", chunks=values.shape).ref

        def cells(references: list) -> np.ndarray:  # a column of cells, with its axes in reverse order
            return np.array([references], dtype=h5py.ref_dtype)

        for boxes in ("labeled", "detected"):
            columns = []
            for pair, persons in enumerate(pairs, 1):
                rows = [[picture(boxes, pair, p, n) for n in range(1, 11)] for p in range(1, persons + 1)]
                columns.append(put(np.array(rows, dtype=h5py.ref_dtype).T))
            file[boxes] = cells(columns)
        file["testsets"] = cells([put(np.array(rows, dtype=float).T) for rows in testsets])
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def write_new_protocol(path: Path, names: list[str], labels: list[int], compressed: bool = True, **rows) -> Path:
    """``cuhk03_new_protocol_config_labeled.mat``; ``rows`` are train_idx, query_idx and gallery_idx, from 1."""
    filelist = np.empty((len(names), 1), dtype=object)
    filelist[:, 0] = names
    column = lambda values: np.array(values, dtype=np.uint16).reshape(-1, 1)  # noqa: E731
    matrices = {"filelist": filelist, "labels": column(labels), "camId": column([int(n.split("_")[2]) for n in names])}
    path.parent.mkdir(parents=True, exist_ok=True)
    io.savemat(path, matrices | {key: column(v) for key, v in rows.items()}, do_compression=compressed)
    return path
