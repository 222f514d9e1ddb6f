"""A gallery in one SQLite file: it may be larger than the memory, and what is written once is kept."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from stmga.embedding.embeddings import Embeddings
from stmga.embedding.embeddings_file import check_items, items_json
from stmga.gallery.base import check_embeddings, checked_ids, refuse_known, unknown_ids
from stmga.gallery.columns import Columns
from stmga.gallery.matches import GalleryError
from stmga.gallery.sqlite_blocks import KINDS, ROWS, Blocks, Labels, SqliteVectors, place, read_columns
from stmga.gallery.sqlite_file import SqliteFile
from stmga.gallery.sqlite_texts import Texts, decoded, short_hash
from stmga.gallery.stored import StoredGallery, about_vectors


class SqliteContents:
    """The contents of the file inside one transaction."""

    def __init__(self, db: sqlite3.Connection, count: int, dim: int, columns: Callable[[], Columns]) -> None:
        self.db, self._columns = db, columns
        self.parts = [SqliteVectors(db, count, dim)]

    @property
    def columns(self) -> Columns:
        return self._columns()

    @property
    def has_gaps(self) -> bool:
        return self.db.execute("SELECT 1 FROM gaps").fetchone() is not None

    def items_at(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [_item_at(self.db, row) for row in rows]

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        return [-1 if row is None else row for row in (_row(self.db, name) for name in ids)]


class SqliteGallery(StoredGallery):
    """A gallery in a file; see :class:`stmga.Gallery` for what it does with tracklets and persons.

    Every change is a transaction of SQLite: it is in the file as a whole when the call returns, or not at all. One
    process writes at a time; another one waits up to five seconds and is then refused. Vectors are read in blocks, so
    the gallery may be larger than the memory.

    What :meth:`forget`, :meth:`remove` and :meth:`update` take away is overwritten with zeros in the file, and the
    journal is deleted. Copies of the file, and what the disk itself keeps, are beyond it.

    Args:
        path: the file; it is made if it does not exist.
        device: where the search computes.
        read_only: the file must exist, and is not changed.

    Raises:
        GalleryError: the file is not a gallery or is damaged.
        OSError: it cannot be opened.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with SqliteGallery(folder.name + "/people.db") as gallery:
    ...     gallery.enrol("ann", Embeddings(torch.eye(2)[:1], [{"tracklet": "a"}], digest="1f0c"))
    >>> with SqliteGallery(folder.name + "/people.db", read_only=True) as gallery:
    ...     gallery, gallery.persons
    (SqliteGallery(1 x 2, unnamed weights, people.db), {'ann': 1})
    """

    def __init__(
        self, path: str | os.PathLike[str], *, device: str | torch.device = "cpu", read_only: bool = False
    ) -> None:
        self.device = torch.device(device)
        self._file = SqliteFile(path, read_only=read_only)
        self._kept: tuple[int, Columns] | None = None  # columns, and the state of the file that they are of

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        with self._file.reading() as db:
            return int(self._about()["count"]) - int(db.execute("SELECT COUNT(*) FROM gaps").fetchone()[0])

    def __repr__(self) -> str:
        size = f"{len(self):,} x {self.dim}" if self.dim else "empty"
        return f"SqliteGallery({size}, {self.model or 'unnamed weights'}, {self._file.path.name})"

    @property
    def dim(self) -> int:
        """Length of a vector; 0 while nothing was added."""
        return int(self._about()["dim"])

    @contextmanager
    def reading(self) -> Iterator[SqliteContents]:
        """The contents of the file; other processes cannot write meanwhile."""
        with self._file.reading() as db:
            count = int(self._about()["count"])
            last = db.execute("SELECT COALESCE(MAX(number), -1) FROM blocks").fetchone()[0]
            if count > (last + 1) * ROWS:
                raise GalleryError("the gallery is damaged: some of its vectors are missing")
            yield SqliteContents(db, count, self.dim, lambda: self._columns(db, count))

    def _columns(self, db: sqlite3.Connection, count: int) -> Columns:
        """The columns of the file, which are read again when it has changed."""
        state = int(db.execute("PRAGMA data_version").fetchone()[0])  # changes when another connection writes
        if self._kept is None or self._kept[0] != state:
            self._kept = state, read_columns(db, count)
        return self._kept[1]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._file.writing() as db:
            self._kept = None  # here, where no other thread reads; names that are forgotten leave the memory too
            yield db

    def add(self, embeddings: Embeddings) -> None:
        """Add tracklets; on an error the file stays as it was.

        Raises:
            GalleryError: other weights or another calibration than the gallery's, or an id that it has already.
        """
        check_embeddings(embeddings, "add")
        check_items(embeddings.items)
        with self._writing() as db:
            about = self._about()
            if about["digest"] or int(about["dim"]):
                self._require_same(embeddings, "the embeddings to add")
            refuse_known([name for name in embeddings.ids if _row(db, name) is not None])
            count = int(about["count"])
            gaps = [row for (row,) in db.execute("SELECT row FROM gaps ORDER BY row LIMIT ?", (len(embeddings),))]
            rows = [*gaps, *range(count, count + len(embeddings) - len(gaps))]
            db.executemany("DELETE FROM gaps WHERE row = ?", ((row,) for row in gaps))
            self._write(db, rows, embeddings)
            now = about_vectors(embeddings)
            now["calibration"] = about["calibration"] or now["calibration"]
            now |= {"dim": str(embeddings.dim), "count": str(max([count, *(row + 1 for row in rows)]))}
            db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", now.items())

    def update(self, embeddings: Embeddings) -> None:
        """Replace the vector and the item of tracklets that are there, by id.

        Raises:
            GalleryError: an id that is not there, or other weights; then nothing is replaced.
        """
        check_embeddings(embeddings, "update")
        check_items(embeddings.items)
        with self._writing() as db:
            rows = self._rows_of(db, embeddings.ids)
            self._require_same(embeddings, "the new ones")
            old = self._delete(db, rows)
            self._write(db, rows, embeddings)
            _drop_labels(db, old)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove tracklets; what the file had of them is overwritten.

        Raises:
            GalleryError: an id that is not there; then none is removed.
        """
        with self._writing() as db:
            rows = self._rows_of(db, ids)
            blocks = Blocks(db, self.dim)
            for row in sorted(rows):
                block, slot = blocks.at(row)
                block.clear(slot)
            blocks.save()
            _drop_labels(db, self._delete(db, rows))
            db.executemany("INSERT INTO gaps VALUES (?)", ((row,) for row in rows))

    def ids_of(self, person: str) -> list[str]:
        """The ids of the tracklets of a person."""
        with self._file.reading() as db:
            number = Labels(db, "person").find(person)
            rows = db.execute("SELECT row FROM tracklets WHERE person = ? ORDER BY row", (number,)).fetchall()
            return [str(_item_at(db, row)["tracklet"]) for (row,) in rows]

    def _write(self, db: sqlite3.Connection, rows: Sequence[int], embeddings: Embeddings) -> None:
        """Put tracklets into rows that are free."""
        blocks, texts = Blocks(db, embeddings.dim), Texts(db)
        labels = [Labels(db, kind) for kind in KINDS]
        lines = zip(rows, embeddings.items, embeddings.vectors.numpy(), strict=True)
        for row, item, vector in sorted(lines, key=lambda line: line[0]):
            person, camera = (one.number(item.get(one.kind), texts) for one in labels)
            place(*blocks.at(row), item, (person, camera), vector)
            line = row, short_hash(str(item["tracklet"])), person, camera, texts.put(items_json(item))
            db.execute("INSERT INTO tracklets VALUES (?, ?, ?, ?, ?)", line)
        blocks.save()

    def _delete(self, db: sqlite3.Connection, rows: Sequence[int]) -> list[tuple[int, int]]:
        """Erase the items of rows; their persons and cameras come back."""
        sql = "SELECT person, camera, text FROM tracklets WHERE row = ?"
        old = [db.execute(sql, (row,)).fetchone() for row in rows]
        Texts(db).erase([text for _, _, text in old])
        db.executemany("DELETE FROM tracklets WHERE row = ?", ((row,) for row in rows))
        return [(person, camera) for person, camera, _ in old]

    def _rows_of(self, db: sqlite3.Connection, ids: Sequence[str]) -> list[int]:
        found = {name: _row(db, name) for name in checked_ids(ids)}
        unknown = [name for name, row in found.items() if row is None]
        if unknown:
            some = db.execute("SELECT row FROM tracklets LIMIT 1000").fetchall()
            raise unknown_ids(unknown, [str(_item_at(db, row)["tracklet"]) for (row,) in some])
        return [row for row in found.values() if row is not None]

    @property
    def _place(self) -> str:
        return str(self._file.path)

    def _about(self) -> dict[str, str]:
        with self._file.reading() as db:
            found = dict(db.execute("SELECT key, value FROM about"))
        about = {"digest": "", "model": "", "dim": "0", "count": "0", "calibration": ""} | found
        if not (about["dim"].isdecimal() and about["count"].isdecimal()):
            raise GalleryError(f"{self._file.path} is damaged: its size is not a number")
        return about


def _row(db: sqlite3.Connection, name: str) -> int | None:
    rows = db.execute("SELECT row FROM tracklets WHERE hash = ?", (short_hash(name),)).fetchall()
    return next((int(row) for (row,) in rows if str(_item_at(db, row)["tracklet"]) == name), None)


def _item_at(db: sqlite3.Connection, row: int) -> dict[str, Any]:
    sql = "SELECT data FROM tracklets JOIN texts ON texts.row = tracklets.text WHERE tracklets.row = ?"
    found = db.execute(sql, (row,)).fetchone()
    if found is None:
        raise GalleryError("the gallery is damaged: a tracklet has no item")
    item: dict[str, Any] = decoded(found[0], dict)
    if "tracklet" not in item:
        raise GalleryError("the gallery is damaged: an item has no id")
    return item


def _drop_labels(db: sqlite3.Connection, old: Sequence[tuple[int, int]]) -> None:
    texts = Texts(db)
    for i, kind in enumerate(KINDS):
        Labels(db, kind).drop_unused((codes[i] for codes in old), texts)
