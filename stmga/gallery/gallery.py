"""The gallery in memory: exact cosine search over embeddings, in blocks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings, check_rows, contents, matching_calibration
from stmga.embedding.embeddings_file import read_file, write_file
from stmga.embedding.same_weights import require_same_weights
from stmga.embedding.vectors import Vectors, check_kind
from stmga.gallery.base import check_embeddings, checked_ids, refuse_known, unknown_ids
from stmga.gallery.columns import Columns
from stmga.gallery.matches import GalleryError
from stmga.gallery.person_gallery import PersonGallery

if TYPE_CHECKING:
    from stmga.gallery.lance_gallery import LanceGallery
    from stmga.gallery.sqlite_gallery import SqliteGallery

logger = logging.getLogger(__name__)

SQLITE = (".db", ".sqlite", ".sqlite3")


class MemoryContents:
    """Vectors and items in memory, which stay as they are, so that a search can continue with them.

    ``row_of`` is shared with the contents that came from these by adding: rows beyond the last are theirs.
    """

    has_gaps = False

    def __init__(
        self, parts: Sequence[Vectors] = (), items: Sequence[dict[str, Any]] = (), row_of: dict[str, int] | None = None
    ) -> None:
        self.parts, self.items = list(parts), list(items)
        self.row_of = {str(item["tracklet"]): row for row, item in enumerate(self.items)} if row_of is None else row_of

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def columns(self) -> Columns:
        return Columns.of(self.items)

    def items_at(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [self.items[row] for row in rows]

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        rows = (self.row_of.get(name, -1) for name in ids)
        return [row if row < len(self) else -1 for row in rows]

    def with_more(self, vectors: Vectors, items: Sequence[dict[str, Any]]) -> MemoryContents:
        for row, item in enumerate(items, start=len(self)):
            self.row_of[str(item["tracklet"])] = row
        return MemoryContents([*self.parts, vectors], [*self.items, *items], self.row_of)

    def with_rows(self, rows: Tensor) -> MemoryContents:
        """Only some rows, in order, their vectors as they are kept."""
        parts, start = [], 0
        for part in self.parts:
            here = rows[(rows >= start) & (rows < start + len(part))] - start
            if len(here):
                parts.append(Vectors(part.numbers[here], None if part.scale is None else part.scale[here]))
            start += len(part)
        return MemoryContents(parts, [self.items[row] for row in rows.tolist()])


class Gallery(PersonGallery):
    """Embeddings to search in, all made by the same weights.

    ``device`` is where the search computes ("cpu", "cuda"). The vectors stay on the CPU and are copied block by block,
    so a gallery may be larger than the memory of the device. A loaded gallery stays in its file until it is searched,
    so it may also be larger than the memory of the machine.

    ``storage`` is how vectors are kept: "float32", "float16" (half the size), or "int8" (a quarter; see
    :class:`stmga.embedding.vectors.Vectors`). The search uses the vectors as they are kept.

    >>> items = [{"tracklet": "a", "person": 1}, {"tracklet": "b", "person": 2}]
    >>> gallery = Gallery(Embeddings(torch.eye(2), items, digest="1f0c"))
    >>> query = Embeddings(torch.tensor([[0.6, 0.8]]), [{"tracklet": "q"}], digest="1f0c")
    >>> [(match.id, match.person, round(match.similarity, 3)) for match in gallery.search(query, k=2)[0]]
    [('b', 2, 0.8), ('a', 1, 0.6)]
    """

    digest = ""
    model = ""

    def __init__(
        self,
        embeddings: Embeddings | None = None,
        *,
        device: str | torch.device = "cpu",
        storage: str = "float32",
    ) -> None:
        self.device = torch.device(device)
        self.storage = storage
        check_kind(storage)
        self.changes = 0  # grows when tracklets are removed or replaced: an index of this gallery is then out of date
        self._contents = MemoryContents()
        self._calibrations: list[Calibration] = []
        if embeddings is not None:
            self.add(embeddings)

    def __len__(self) -> int:
        return len(self._contents)

    @property
    def items(self) -> list[dict[str, Any]]:
        """What is known of each tracklet, in order."""
        return self._contents.items

    @property
    def parts(self) -> list[Vectors]:
        """The vectors as they are kept, in order."""
        return self._contents.parts

    @contextmanager
    def reading(self) -> Iterator[MemoryContents]:
        """The contents now: later changes make others."""
        yield self._contents

    def __repr__(self) -> str:
        size = f"{len(self):,} x {self.parts[0].dim}" if self.parts else "empty"
        known = contents(self.model, self.items) if self.parts else []
        return f"Gallery({', '.join([size, *known, self.storage, str(self.device)])})"

    @property
    def dim(self) -> int:
        """Length of a vector; 0 while the gallery is empty."""
        return self.parts[0].dim if self.parts else 0

    @property
    def calibration(self) -> Calibration | None:
        """What the similarities mean: the calibration of the embeddings added; None without, or if they disagree."""
        return self._calibrations[0] if len(self._calibrations) == 1 else None

    def add(self, embeddings: Embeddings) -> None:
        """Append; on an error the gallery stays as it was. Two different calibrations leave none, with a warning.

        Raises:
            GalleryError: other weights than the gallery's, another width, or an id that the gallery has already.
        """
        check_embeddings(embeddings, "add")
        if self.parts:
            names = "the gallery's vectors", "the embeddings to add"
            require_same_weights(self, embeddings, *names, error=GalleryError)
        ids = embeddings.ids
        known = [name for name, row in zip(ids, self._contents.rows_of(ids), strict=True) if row >= 0]
        refuse_known(known)
        self.digest, self.model = embeddings.digest, embeddings.model
        self._contents = self._contents.with_more(Vectors.keep(embeddings.vectors, self.storage), embeddings.items)
        if embeddings.calibration is not None and embeddings.calibration not in self._calibrations:
            self._calibrations.append(embeddings.calibration)
            if len(self._calibrations) > 1:
                logger.warning(
                    "the embeddings in the gallery have %d different calibrations, so that it keeps none; "
                    "calibrate all of them on the same tracklets",
                    len(self._calibrations),
                )

    def remove(self, ids: Sequence[str]) -> None:
        """Remove tracklets; the rows of later ones move up.

        Raises:
            GalleryError: an id that is not there; then none is removed.
        """
        gone = self._rows_of(ids)
        keep = torch.ones(len(self), dtype=torch.bool, device="cpu")
        keep[gone] = False
        self._contents = self._contents.with_rows(keep.nonzero().flatten())
        self.changes += bool(len(gone))

    def update(self, embeddings: Embeddings) -> None:
        """Replace the vector and the item of tracklets that are there, by id.

        Raises:
            GalleryError: an id that is not there, or other weights; then nothing is replaced.
        """
        check_embeddings(embeddings, "update")
        rows = self._rows_of(embeddings.ids)
        require_same_weights(self, embeddings, "the gallery's vectors", "the new ones", error=GalleryError)
        kept = Vectors.keep(embeddings.vectors, self.storage)
        items, numbers = list(self.items), torch.cat([part.numbers for part in self.parts])
        scale = (
            torch.cat([part.scale for part in self.parts if part.scale is not None]) if kept.scale is not None else None
        )
        numbers[rows] = kept.numbers
        if scale is not None and kept.scale is not None:
            scale[rows] = kept.scale
        for row, item in zip(rows.tolist(), embeddings.items, strict=True):
            items[row] = item
        self._contents = MemoryContents([Vectors(numbers, scale)], items)
        self.changes += 1

    def ids_of(self, person: str) -> list[str]:
        return [str(item["tracklet"]) for item in self.items if str(item.get("person")) == person
                and item.get("person") is not None]  # fmt: skip

    def _rows_of(self, ids: Sequence[str]) -> Tensor:
        names = checked_ids(ids)
        rows = self._contents.rows_of(names)
        unknown = [name for name, row in zip(names, rows, strict=True) if row < 0]
        if unknown:
            raise unknown_ids(unknown, self._contents.row_of)
        return torch.tensor(rows, dtype=torch.int64, device="cpu")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the gallery as an embeddings file (:meth:`Embeddings.save`), its vectors as they are kept."""
        self._check_filled()
        write_file(path, self.parts, self.items, [], self.digest, self.model, self.calibration)
        return Path(path)

    @staticmethod
    def open(
        path: str | os.PathLike[str], *, device: str | torch.device = "cpu", read_only: bool = False
    ) -> SqliteGallery | LanceGallery:
        """A gallery that is kept in a file, ``*.db``, ``*.sqlite`` or ``*.sqlite3``, or in LanceDB, ``*.lance`` or ``s3://``.

        It is made if it does not exist. With ``read_only`` it must exist, and is not changed.

        Raises:
            ValueError: a file of another kind; embeddings files are loaded by :meth:`load`.
            GalleryError: it is not a gallery or is damaged.
        """
        if "://" in os.fspath(path) or Path(path).suffix.lower() == ".lance":
            from stmga.gallery.lance_gallery import LanceGallery

            return LanceGallery(path, device=device, read_only=read_only)
        from stmga.gallery.sqlite_gallery import SqliteGallery

        if Path(path).suffix.lower() not in SQLITE:
            name = f"{path} is not the name of a gallery in a file, which ends in {', '.join(SQLITE)} or .lance"
            more = "; `stmga enrol people.db FILE` or gallery.add(Embeddings.load(FILE)) puts embeddings into one"
            raise ValueError(name + (more if Path(path).suffix == ".safetensors" else ""))
        return SqliteGallery(path, device=device, read_only=read_only)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, device: str | torch.device = "cpu", storage: str | None = None
    ) -> Gallery:
        """A gallery from an embeddings file (:meth:`Embeddings.load`), in the file's storage or in ``storage``.

        In the file's storage, the vectors are mapped into memory: they are checked once, then read when a search needs
        them.
        """
        file = read_file(path)
        if storage not in (None, file.vectors.kind):
            return cls(Embeddings.load(path), device=device, storage=storage or file.vectors.kind)
        try:
            check_rows(file.vectors, file.items)
        except ValueError as error:
            raise ValueError(f"{path} cannot be used: {error}") from error
        gallery = cls(device=device, storage=file.vectors.kind)
        gallery.digest, gallery.model = file.digest, file.model
        gallery._contents = MemoryContents([file.vectors], file.items)
        gallery._calibrations = (
            [known] if (known := matching_calibration(file.calibration, file.digest)) is not None else []
        )
        return gallery
