"""CUHK03's file ``cuhk-03.mat`` (MATLAB 7.3, HDF5): its crops, one at a time, and the persons of its tests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stmga.data.datasets.matrices import check_dataset
from stmga.tracklets.tracklet import TrackletError
from stmga.utils.files import atomic_write
from stmga.utils.foreign import escaped, open_regular
from stmga.utils.progress import progress_bar

if TYPE_CHECKING:
    import h5py

MAT, RELEASE = "cuhk-03.mat", "cuhk03_release"
BOXES = ("labeled", "detected")
VIEW = 5  # pictures of a person in the first camera of a pair; as many in the second


def unpack_cuhk03(root: str | Path, *, progress: bool = False) -> dict[str, int]:
    """Write the crops of ``cuhk-03.mat`` as PNG files into ``root``; returns how many there are, by kind of boxes.

    ``images_labeled/1_002_1_03.png`` is the third picture of person 2 of the first pair of cameras, seen by camera 1.
    The lists of the new protocol name the crops so, and other libraries write them so. One picture is in memory at a
    time. Files that are there already are kept, so a call that was stopped can be repeated.

    Args:
        root: the folder with ``cuhk-03.mat``, or with ``cuhk03_release/cuhk-03.mat``.
        progress: show a progress bar.

    Raises:
        TrackletError: there is no such file, or it is damaged or another one.
        ImportError: h5py is not installed.
        OSError: a crop cannot be written.

    >>> unpack_cuhk03("/data/none")
    Traceback (most recent call last):
    stmga.tracklets.tracklet.TrackletError: there is no cuhk-03.mat in /data/none or /data/none/cuhk03_release
    """
    root, counts = Path(root), {}
    with open_cuhk03(find_mat(root)) as file:
        for boxes in BOXES:
            folder = root / f"images_{boxes}"
            folder.mkdir(exist_ok=True)
            counts[boxes] = 0
            for name, pixels in progress_bar(file.pictures(boxes), desc=folder.name, unit="crop", shown=progress):
                counts[boxes] += 1
                if not (folder / name).exists():
                    atomic_write(folder / name, _png(pixels))
    return counts


def find_mat(root: Path) -> Path:
    """``cuhk-03.mat`` in a folder of the set; TrackletError if there is none."""
    places = [root / MAT, root / RELEASE / MAT]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise TrackletError(f"there is no {MAT} in {places[0].parent} or {places[1].parent}")
    return found


@contextmanager
def open_cuhk03(path: Path) -> Iterator[Cuhk03File]:
    """The file, open for reading; h5py reads what is asked for. Raises as :func:`unpack_cuhk03`."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f'{path} needs h5py: pip install "stmga[mat]"', name="h5py") from error
    with open_regular(path) as raw:
        with _damage(path):
            file = h5py.File(raw, "r")
        with file:
            yield Cuhk03File(path, file)


class Cuhk03File:
    """What is in the file: cells, which are HDF5 data sets of references with their axes in reverse order."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.file = path, file

    def pictures(self, boxes: str) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Name and pixels ``(h, w, 3)`` of every crop, pair by pair and person by person; empty cells are left out."""
        for pair, cells in enumerate(self._cells(boxes), 1):
            with _damage(self.path):
                persons = self._references(self._dataset(cells)).T  # as in MATLAB: a row per person
                if persons.ndim != 2 or persons.shape[1] != 2 * VIEW:
                    raise ValueError(f"{boxes} of pair {pair} has shape {persons.shape}, expected 10 cells per person")
            for person, row in enumerate(persons, 1):
                for number, cell in enumerate(row.tolist(), 1):
                    name = f"{pair}_{person:03d}_{1 if number <= VIEW else 2}_{number:02d}.png"
                    with _damage(self.path):
                        pixels = self._picture(name, cell)
                    if pixels is not None:
                        yield name, pixels

    def testsets(self) -> list[NDArray[np.int64]]:
        """For each classic split, ``(100, 2)``: pair of cameras and person in it, both from 1."""
        found = []
        for cell in self._cells("testsets"):
            with _damage(self.path):
                rows = self._dataset(cell)[()].T
                if rows.ndim != 2 or rows.shape[1] != 2 or (rows != np.round(rows)).any():
                    raise ValueError(f"a test set has shape {rows.shape}, expected rows of pair and person")
                found.append(rows.astype(np.int64))
        return found

    def _cells(self, name: str) -> list[Any]:
        """The references of a cell array at the top of the file."""
        import h5py

        with _damage(self.path):
            if not isinstance(self.file.get(name, getlink=True), h5py.HardLink):
                has = escaped(", ".join(self.file), 200)
                raise ValueError(f'it has no "{name}"; it has {has}')
            return self._references(self.file[name]).ravel().tolist()

    def _references(self, item: Any) -> NDArray[Any]:
        import h5py

        if not isinstance(item, h5py.Dataset) or h5py.check_ref_dtype(item.dtype) is not h5py.Reference:
            raise ValueError(f"{escaped(item.name, 80)} is not a cell array")
        check_dataset(item.name, item)
        return np.asarray(item[()], dtype=object)

    def _dataset(self, reference: Any) -> Any:
        import h5py

        item = self.file[reference]
        if not isinstance(item, h5py.Dataset):
            raise ValueError(f"{escaped(item.name, 80)} is not an array")
        check_dataset(item.name, item)
        return item

    def _picture(self, name: str, reference: Any) -> NDArray[np.uint8] | None:
        item = self._dataset(reference)
        if "MATLAB_empty" in item.attrs:
            return None
        if item.dtype != np.uint8 or item.ndim != 3 or item.shape[0] != 3 or not item.size:
            raise ValueError(f"picture {name} is {item.dtype} {item.shape}, expected uint8 (3, w, h)")
        return np.ascontiguousarray(item[()].T)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Whatever h5py raises on a damaged file, which is nearly every type, as TrackletError."""
    try:
        yield
    except Exception as error:
        reason = escaped(str(error), 200) or type(error).__name__
        raise TrackletError(f"{path} is not the file of CUHK03, or is damaged: {reason}") from error


def _png(pixels: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()
