"""Vectors and labels of a gallery in SQLite, in blocks of rows, so that a search reads few and long values."""

from __future__ import annotations

import itertools
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmga.gallery.columns import UNKNOWN, Codes, Columns, times_of
from stmga.gallery.matches import GalleryError
from stmga.utils.foreign import escaped

ROWS = 128  # of a block
GONE = -2  # the person of a row that is no tracklet


@dataclass
class Block:
    """Some rows: codes of persons and cameras (n) int32, times (n 2) float64, vectors (n c) float32."""

    persons: NDArray[np.int32]
    cameras: NDArray[np.int32]
    times: NDArray[np.float64]
    vectors: NDArray[np.float32]

    @classmethod
    def empty(cls, dim: int) -> Block:
        codes = np.full(ROWS, GONE, np.int32), np.full(ROWS, UNKNOWN, np.int32)
        return cls(*codes, np.full((ROWS, 2), math.nan), np.zeros((ROWS, dim), np.float32))

    @classmethod
    def of(cls, row: Sequence[bytes], dim: int) -> Block:
        shapes = ((np.int32, (ROWS,)), (np.int32, (ROWS,)), (np.float64, (ROWS, 2)), (np.float32, (ROWS, dim)))
        return cls(*(_array(data, *form).copy() for data, form in zip(row, shapes, strict=True)))

    def set(self, slot: int, person: int, camera: int, times: tuple[float, float], vector: Any) -> None:
        self.persons[slot], self.cameras[slot], self.times[slot], self.vectors[slot] = person, camera, times, vector

    def clear(self, slot: int) -> None:
        self.set(slot, GONE, UNKNOWN, (math.nan, math.nan), 0)

    def row(self) -> tuple[bytes, ...]:
        return tuple(column.tobytes() for column in (self.persons, self.cameras, self.times, self.vectors))


class Blocks:
    """Blocks that are changed in one transaction: each is read when it is needed first, and written by :meth:`save`."""

    def __init__(self, db: sqlite3.Connection, dim: int) -> None:
        self.db, self.dim = db, dim
        self.changed: dict[int, Block] = {}

    def at(self, row: int) -> tuple[Block, int]:
        """The block of a row, and where the row is in it."""
        number, slot = divmod(row, ROWS)
        if number not in self.changed:
            sql = "SELECT persons, cameras, times, vectors FROM blocks WHERE number = ?"
            found = self.db.execute(sql, (number,)).fetchone()
            self.changed[number] = Block.empty(self.dim) if found is None else Block.of(found, self.dim)
        return self.changed[number], slot

    def save(self) -> None:
        rows = ((number, *block.row()) for number, block in self.changed.items())
        self.db.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?)", rows)


class SqliteVectors:
    """The vectors of all rows; read from the file when they are asked for."""

    def __init__(self, db: sqlite3.Connection, count: int, dim: int) -> None:
        self.db, self.count, self._dim = db, count, dim

    def __len__(self) -> int:
        return self.count

    @property
    def dim(self) -> int:
        return self._dim

    def rows(self, which: slice | Tensor, device: str | torch.device = "cpu") -> Tensor:
        """Some rows as float32."""
        if isinstance(which, slice):
            start, stop, _ = which.indices(self.count)
            first = start // ROWS
            found = np.concatenate([self._block(*row) for row in self._read(first, -(-stop // ROWS))])
            return torch.from_numpy(found[start - first * ROWS : stop - first * ROWS]).to(device)
        out = torch.empty(len(which), self.dim, dtype=torch.float32, device="cpu")
        numbers = which.cpu() // ROWS
        for number in numbers.unique().tolist():
            here = (numbers == number).nonzero().flatten()
            block = np.concatenate([self._block(*row) for row in self._read(number, number + 1)])
            out[here] = torch.from_numpy(block)[which.cpu()[here] % ROWS]
        return out.to(device)

    def _read(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        sql = "SELECT number, vectors FROM blocks WHERE number >= ? AND number < ? ORDER BY number"
        rows = self.db.execute(sql, (start, stop)).fetchall()
        if [number for number, _ in rows] != list(range(start, stop)):
            raise GalleryError("the gallery is damaged: some of its vectors are missing")
        return iter(rows)

    def _block(self, number: int, data: bytes) -> NDArray[np.float32]:
        found: NDArray[np.float32] = _array(data, np.float32, (ROWS, self.dim))
        if not math.isfinite(float(found.sum(dtype=np.float64))):
            raise GalleryError(f"the gallery is damaged: block {number} has vectors that are not finite")
        return found


def read_columns(db: sqlite3.Connection, count: int) -> Columns:
    """Persons, cameras and times of all rows."""
    blocks = db.execute("SELECT persons, cameras, times FROM blocks ORDER BY number").fetchall()
    shapes = ((np.int32, (ROWS,)), (np.int32, (ROWS,)), (np.float64, (ROWS, 2)))
    columns = [
        np.concatenate([_array(row[i], dtype, shape) for row in blocks] or [np.zeros((0, *shape[1:]), dtype)])[:count]
        for i, (dtype, shape) in enumerate(shapes)
    ]
    persons, cameras, times = (torch.from_numpy(column) for column in columns)
    person, camera = _codes(db, "person", persons.long()), _codes(db, "camera", cameras.long())
    return Columns(person, camera, times[:, 0], times[:, 1], present=persons != GONE)


def _codes(db: sqlite3.Connection, kind: str, numbers: Tensor) -> Codes:
    rows = db.execute("SELECT number, name FROM labels WHERE kind = ?", (kind,))
    labels = {number: decoded(name) for number, name in rows}
    most = max([*labels, int(numbers.max()) if len(numbers) else UNKNOWN], default=UNKNOWN)
    if not 0 <= most + 1 <= len(labels) + len(numbers) + 1 or (len(numbers) and int(numbers.min()) < GONE):
        raise GalleryError("the gallery is damaged: a label has an impossible number")
    return Codes(numbers, [labels.get(number) for number in range(most + 1)])


class Labels:
    """The numbers of persons or of cameras, in one transaction."""

    def __init__(self, db: sqlite3.Connection, kind: str) -> None:
        self.db, self.kind = db, kind
        self._free: Iterator[int] | None = None

    def number(self, label: Any) -> int:
        """Of a name as text; a new one gets the least number that is free."""
        if label is None:
            return UNKNOWN
        found = self.find(str(label))
        if found is None:
            found = self._next()
            self.db.execute("INSERT INTO labels VALUES (?, ?, ?)", (self.kind, found, encoded(str(label))))
        return found

    def _next(self) -> int:
        if self._free is None:
            taken = {number for (number,) in self.db.execute("SELECT number FROM labels WHERE kind = ?", (self.kind,))}
            self._free = (number for number in itertools.count() if number not in taken)
        return next(self._free)

    def find(self, name: str) -> int | None:
        sql = "SELECT number FROM labels WHERE kind = ? AND name = ?"
        found = self.db.execute(sql, (self.kind, encoded(name))).fetchone()
        return None if found is None else int(found[0])

    def drop_unused(self, numbers: Iterable[int]) -> None:
        """Delete the names of these numbers that no tracklet has any more."""
        for number in set(numbers) - {UNKNOWN}:
            if not self.db.execute(f"SELECT 1 FROM tracklets WHERE {self.kind} = ?", (number,)).fetchone():
                self.db.execute("DELETE FROM labels WHERE kind = ? AND number = ?", (self.kind, number))


def encoded(name: str) -> str:
    """A name as SQLite keeps it, as JSON: names of files may have bytes that are not valid Unicode."""
    return json.dumps(name)


def decoded(text: str) -> str:
    """The inverse of :func:`encoded`; GalleryError for something else."""
    try:
        return str(json.loads(text))
    except (TypeError, ValueError) as error:
        raise GalleryError(f"the gallery is damaged: {escaped(repr(text), 80)} is not a name") from error


def place(block: Block, slot: int, item: Mapping[str, Any], codes: tuple[int, int], vector: Any) -> None:
    """Put one tracklet into a block."""
    block.set(slot, *codes, times_of(item), vector)


def _array(data: bytes, dtype: Any, shape: tuple[int, ...]) -> Any:
    """The bytes of a block as a read-only array; GalleryError if there are too many or too few."""
    if not isinstance(data, bytes) or len(data) != np.dtype(dtype).itemsize * math.prod(shape):
        raise GalleryError("the gallery is damaged: a block has a wrong size")
    return np.frombuffer(data, dtype).reshape(shape)
