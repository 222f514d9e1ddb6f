"""Vectors and labels of a gallery in SQLite, in blocks of rows, so that a search reads few and long values."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmga.gallery.columns import UNKNOWN, Codes, Columns, times_of
from stmga.gallery.matches import GalleryError
from stmga.gallery.sqlite_texts import Texts, all_decoded, decoded, encoded, short_hash

ROWS = 128  # of a block
AT_ONCE = 256  # blocks that are changed in memory: 34 MB of 256-dimensional vectors
FETCHED = 64  # blocks that are read at once for single rows
KINDS = ("person", "camera")
GONE = -2  # the person of a row without a tracklet


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
    """Blocks that are changed in one transaction: each is read when it is needed first, and written by :meth:`save`.

    Some are in memory at a time, so that rows should come in order.
    """

    def __init__(self, db: sqlite3.Connection, dim: int) -> None:
        self.db, self.dim = db, dim
        self.changed: dict[int, Block] = {}

    def at(self, row: int) -> tuple[Block, int]:
        """The block of a row, and where the row is in it."""
        number, slot = divmod(row, ROWS)
        if number not in self.changed:
            if len(self.changed) == AT_ONCE:
                self.save()
            sql = "SELECT persons, cameras, times, vectors FROM blocks WHERE number = ?"
            found = self.db.execute(sql, (number,)).fetchone()
            self.changed[number] = Block.empty(self.dim) if found is None else Block.of(found, self.dim)
        return self.changed[number], slot

    def save(self) -> None:
        """Blocks that are there are overwritten in place, so that nothing of them is left elsewhere."""
        for number, block in self.changed.items():
            sql = "UPDATE blocks SET persons = ?, cameras = ?, times = ?, vectors = ? WHERE number = ?"
            if not self.db.execute(sql, (*block.row(), number)).rowcount:
                self.db.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", (number, *block.row()))
        self.changed.clear()


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
            found = np.concatenate(self._blocks(first, -(-stop // ROWS)))[start - first * ROWS : stop - first * ROWS]
        else:
            wanted = which.cpu().numpy()
            found = np.empty((len(wanted), self.dim), np.float32)
            numbers, slots = np.divmod(wanted, ROWS)
            order = np.argsort(numbers, kind="stable")
            needed, starts = np.unique(numbers[order], return_index=True)
            groups = np.split(order, starts[1:])
            for i in range(0, len(needed), FETCHED):
                blocks = self._some(needed[i : i + FETCHED].tolist())
                for block, here in zip(blocks, groups[i : i + FETCHED], strict=True):
                    found[here] = block[slots[here]]
        flat = found.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = float(flat @ flat)  # of unit vectors, their number
        if not math.isfinite(squares):
            raise GalleryError("the gallery is damaged: it has vectors that are not finite")
        return torch.from_numpy(found).to(device)

    def _blocks(self, start: int, stop: int) -> list[NDArray[np.float32]]:
        sql = "SELECT number, vectors FROM blocks WHERE number >= ? AND number < ? ORDER BY number"
        return self._checked(self.db.execute(sql, (start, stop)).fetchall(), list(range(start, stop)))

    def _some(self, numbers: list[int]) -> list[NDArray[np.float32]]:
        sql = f"SELECT number, vectors FROM blocks WHERE number IN ({','.join('?' * len(numbers))}) ORDER BY number"
        return self._checked(self.db.execute(sql, numbers).fetchall(), numbers)

    def _checked(self, rows: Sequence[tuple[int, bytes]], numbers: list[int]) -> list[NDArray[np.float32]]:
        if [number for number, _ in rows] != numbers:
            raise GalleryError("the gallery is damaged: some of its vectors are missing")
        return [_array(data, np.float32, (ROWS, self.dim)) for _, data in rows]


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
    sql = "SELECT number, data FROM labels JOIN texts ON texts.row = labels.text WHERE kind = ?"
    rows = db.execute(f"{sql} ORDER BY number", (KINDS.index(kind),)).fetchall()
    names = all_decoded([data for _, data in rows], str)
    # Labels that were dropped leave numbers that nothing has: here, the others get the numbers 0, 1, 2 ...
    used = torch.tensor([number for number, _ in rows], dtype=torch.int64, device="cpu")
    at, named = torch.searchsorted(used, numbers), numbers >= 0
    if not torch.equal(used[at[named].clamp(max=len(used) - 1)] if len(used) else used, numbers[named]):
        raise GalleryError("the gallery is damaged: a label has a number without a name")
    return Codes(torch.where(named, at, numbers), names)


class Labels:
    """The numbers of persons or of cameras, in one transaction."""

    def __init__(self, db: sqlite3.Connection, kind: str) -> None:
        self.db, self.kind = db, kind

    def number(self, label: Any, texts: Texts) -> int:
        """Of a name as text; a new one gets the next number."""
        if label is None:
            return UNKNOWN
        found = self.find(str(label))
        if found is None:
            row = (KINDS.index(self.kind), short_hash(str(label)), texts.put(encoded(str(label))))
            found = self.db.execute("INSERT INTO labels (kind, hash, text) VALUES (?, ?, ?)", row).lastrowid
        return int(found or 0)

    def find(self, name: str) -> int | None:
        sql = "SELECT number, data FROM labels JOIN texts ON texts.row = labels.text WHERE kind = ? AND hash = ?"
        rows = self.db.execute(sql, (KINDS.index(self.kind), short_hash(name))).fetchall()
        return next((int(number) for number, data in rows if decoded(data, str) == name), None)

    def drop_unused(self, numbers: Iterable[int], texts: Texts) -> None:
        """Delete the names of these numbers that no tracklet has any more."""
        for number in set(numbers) - {UNKNOWN}:
            if not self.db.execute(f"SELECT 1 FROM tracklets WHERE {self.kind} = ?", (number,)).fetchone():
                texts.erase([row for (row,) in self.db.execute("SELECT text FROM labels WHERE number = ?", (number,))])
                self.db.execute("DELETE FROM labels WHERE number = ?", (number,))


def place(block: Block, slot: int, item: Mapping[str, Any], codes: tuple[int, int], vector: Any) -> None:
    """Put one tracklet into a block."""
    block.set(slot, *codes, times_of(item), vector)


def _array(data: bytes, dtype: Any, shape: tuple[int, ...]) -> Any:
    """The bytes of a block as a read-only array; GalleryError if there are too many or too few."""
    if not isinstance(data, bytes) or len(data) != np.dtype(dtype).itemsize * math.prod(shape):
        raise GalleryError("the gallery is damaged: a block has a wrong size")
    return np.frombuffer(data, dtype).reshape(shape)
