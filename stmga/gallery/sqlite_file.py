"""The SQLite file of a gallery: opened, checked, read and written in transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stmga.gallery.matches import GalleryError
from stmga.utils.foreign import check_regular, escaped

logger = logging.getLogger(__name__)

MARK = 0x53544D47  # "STMG": the application id of the file
VERSION = 1
WAIT = 5.0  # seconds to wait for another writer
TABLES = (
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # Small columns first: SQLite reads a row from its beginning, and the vectors are long.
    "CREATE TABLE blocks (number INTEGER PRIMARY KEY, persons BLOB NOT NULL, cameras BLOB NOT NULL, "
    "times BLOB NOT NULL, vectors BLOB NOT NULL)",
    "CREATE TABLE tracklets (row INTEGER PRIMARY KEY, hash INTEGER NOT NULL, person INTEGER NOT NULL, "
    "camera INTEGER NOT NULL, text INTEGER NOT NULL)",
    "CREATE INDEX tracklets_hash ON tracklets (hash)",
    "CREATE INDEX tracklets_person ON tracklets (person)",
    "CREATE INDEX tracklets_camera ON tracklets (camera)",
    "CREATE TABLE gaps (row INTEGER PRIMARY KEY)",  # free rows of blocks, to be filled
    "CREATE TABLE labels (number INTEGER PRIMARY KEY, kind INTEGER NOT NULL, hash INTEGER NOT NULL, "
    "text INTEGER NOT NULL)",
    "CREATE INDEX labels_hash ON labels (hash)",
    "CREATE TABLE texts (row INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE spares (row INTEGER PRIMARY KEY, size INTEGER NOT NULL)",  # texts that were erased
    "CREATE INDEX spares_size ON spares (size, row)",
)


class SqliteFile:
    """One connection. Transactions of several threads come one after the other.

    Raises:
        GalleryError: the file is not a gallery, is damaged, or another process writes to it.
        OSError: it cannot be opened or created, is a pipe or a device, or the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool) -> None:
        self.path, self.read_only = Path(path), read_only
        self._lock = threading.RLock()
        self._depth = 0
        if read_only or self.path.exists():
            check_regular(self.path)
        elif not self.path.absolute().parent.is_dir():
            raise FileNotFoundError(f"the folder {self.path.absolute().parent} does not exist; create it first")
        journal = self._journal_size() > 0
        self.db = self._connect(read_only and not journal)
        try:
            with self._named_errors():
                self._set_up()
                unfinished = journal and self._recover()
                if not read_only and not self.db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    self._create()
                self._check()
                if not read_only:  # the log of another mode would keep what is erased
                    self.db.execute("PRAGMA journal_mode = DELETE")
        except BaseException:
            self.db.close()
            raise
        if unfinished:
            logger.warning("%s: the last write was not finished; the gallery is as it was before it", self.path)
        if read_only and journal:
            self.db.close()
            self.db = self._connect(True)
            self._set_up()

    def close(self) -> None:
        with self._lock:  # a search of another thread ends first
            self.db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Inside, nothing that other processes write is seen."""
        with self._lock, self._named_errors():
            if self._depth:
                yield self.db
                return
            self.db.execute("BEGIN")
            self._depth += 1
            try:
                yield self.db
            finally:
                self._depth -= 1
                self.db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is written inside is kept."""
        if self.read_only:
            raise GalleryError(f"{self.path} was opened with read_only=True")
        with self._lock, self._named_errors():
            self.db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def _connect(self, read_only: bool) -> sqlite3.Connection:
        uri = self.path.absolute().as_uri() + ("?mode=ro" if read_only else "?mode=rwc")
        try:
            return sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise OSError(f"{self.path} cannot be opened: {error}") from error

    def _set_up(self) -> None:
        for setting in ("secure_delete = ON", "trusted_schema = OFF", "cache_size = -32000", "temp_store = MEMORY"):
            self.db.execute(f"PRAGMA {setting}")

    def _recover(self) -> bool:
        """Undo a write that was not finished. False if the journal is that of a process that is still writing."""
        self.db.execute("PRAGMA busy_timeout = 0")
        try:
            self.db.execute("BEGIN IMMEDIATE")  # which undoes it
            self.db.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            return False
        finally:
            self.db.execute(f"PRAGMA busy_timeout = {round(1000 * WAIT)}")
        return True

    def _create(self) -> None:
        self.db.execute("PRAGMA page_size = 65536")
        self.db.execute("BEGIN IMMEDIATE")
        if not self.db.execute("SELECT 1 FROM sqlite_master").fetchone():  # another process may have been faster
            self.db.execute(f"PRAGMA application_id = {MARK}")
            self.db.execute(f"PRAGMA user_version = {VERSION}")
            for table in TABLES:
                self.db.execute(table)
        self.db.execute("COMMIT")

    def _check(self) -> None:
        mark, version = (self.db.execute(f"PRAGMA {key}").fetchone()[0] for key in ("application_id", "user_version"))
        if mark != MARK:
            raise GalleryError(f"{self.path} is not a gallery; expected a file made by `stmga enrol` or Gallery.open")
        if version != VERSION:
            raise GalleryError(f"{self.path} is a gallery of format {version}, this stmga reads format {VERSION}")
        found = {sql for (sql,) in self.db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
        if found != set(TABLES):
            raise GalleryError(f"{self.path} has other tables than a gallery")

    def _journal_size(self) -> int:
        try:
            return os.stat(f"{self.path}-journal").st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors of SQLite as those of a gallery or a disk."""
        try:
            yield
        except sqlite3.OperationalError as error:
            text = str(error)
            if "locked" in text:
                raise GalleryError(f"{self.path} is being read or written by another process; try again") from error
            raise OSError(f"{self.path}: {escaped(text, 200)}") from error
        except sqlite3.ProgrammingError as error:
            if "closed" in str(error):
                raise GalleryError(f"the gallery {self.path} is closed; open it again") from error
            raise
        except (sqlite3.DatabaseError, OverflowError) as error:
            raise GalleryError(f"{self.path} is damaged or not a gallery: {escaped(str(error), 200)}") from error
