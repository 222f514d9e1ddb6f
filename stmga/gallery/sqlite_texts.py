"""Texts of a gallery in SQLite that can be erased: they are overwritten where they are, and never moved.

``PRAGMA secure_delete`` overwrites what is deleted, but not the copies that SQLite leaves in a page when it moves rows
to another one. So what says who somebody is, names and items, is in a table whose rows are only added at its end and
overwritten by others of the same size, which SQLite does in place. Other tables have numbers only; they find a text by
its row or by a hash of 32 bits, which many texts have.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from stmga.gallery.matches import GalleryError
from stmga.utils.foreign import fast_json, parse_json

STEP = 64  # bytes by which rows grow


class Texts:
    """The texts inside one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._next = 1 + int(db.execute("SELECT COALESCE(MAX(row), 0) FROM texts").fetchone()[0])

    def put(self, text: str) -> int:
        """Keep a text; the row says where it is."""
        data = _padded(text)
        found = self.db.execute("SELECT row FROM spares WHERE size = ? ORDER BY row LIMIT 1", (len(data),)).fetchone()
        if found is None:
            row, self._next = self._next, self._next + 1
            self.db.execute("INSERT INTO texts VALUES (?, ?)", (row, data))
            return row
        row = int(found[0])
        self.db.execute("DELETE FROM spares WHERE row = ?", (row,))
        self.db.execute("UPDATE texts SET data = ? WHERE row = ?", (data, row))
        return row

    def erase(self, rows: Sequence[int]) -> None:
        """Overwrite texts with zeros; their rows are used again for others of the same size."""
        for row in rows:
            found = self.db.execute("SELECT LENGTH(data) FROM texts WHERE row = ?", (row,)).fetchone()
            if found is None:
                raise GalleryError("the gallery is damaged: a text is missing")
            self.db.execute("UPDATE texts SET data = ? WHERE row = ?", (bytes(found[0]), row))
            self.db.execute("INSERT INTO spares VALUES (?, ?)", (row, found[0]))


def encoded(name: str) -> str:
    """A name as it is kept, as JSON: names of files may have bytes that are not valid Unicode."""
    return json.dumps(name)


def decoded(data: Any, kind: type) -> Any:
    """The value of a text, which must be of a kind; GalleryError for something else."""
    try:
        value = parse_json(data)
    except (TypeError, ValueError) as error:
        raise GalleryError(f"the gallery is damaged: a text cannot be read ({error})") from error
    if not isinstance(value, kind):
        raise GalleryError(f"the gallery is damaged: a text has {type(value).__name__}, not {kind.__name__}")
    return value


def all_decoded(data: Sequence[bytes], kind: type) -> list[Any]:
    """As :func:`decoded`, of many texts without lists and objects: a hundred thousand names in a tenth of the time."""
    try:
        values = fast_json(b"[" + b",".join(data) + b"]")
    except (TypeError, ValueError) as error:
        raise GalleryError(f"the gallery is damaged: a text cannot be read ({error})") from error
    if len(values) != len(data) or not all(isinstance(value, kind) for value in values):
        raise GalleryError(f"the gallery is damaged: a text is no {kind.__name__}")
    return list(values)


def short_hash(name: str) -> int:
    """32 bits of a name. Too few to tell from a hash that is left over whether a name was there."""
    data = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=4).digest(), "big")


def _padded(text: str) -> bytes:
    data = text.encode()
    return data + b" " * (-len(data) % STEP)
