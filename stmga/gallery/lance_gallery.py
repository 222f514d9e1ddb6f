"""A gallery in LanceDB: in a folder or in object storage, with its index."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.embedding.embeddings import Embeddings
from stmga.embedding.embeddings_file import check_items
from stmga.gallery.base import check_embeddings, checked_ids, refuse_known, unknown_ids
from stmga.gallery.contents import Contents
from stmga.gallery.lance_contents import LanceContents, changed_rows, quoted, rows_named, rows_table, scan, text
from stmga.gallery.lance_index import IndexSettings, build_index, drop_index, find_index, search_index
from stmga.gallery.lance_table import LanceTable, about_of, dim_of, schema_of
from stmga.gallery.matches import PersonMatch
from stmga.gallery.search import SearchRules
from stmga.gallery.stored import StoredGallery, about_vectors
from stmga.gallery.where import Where


class LanceGallery(StoredGallery):
    """A gallery in LanceDB; see :class:`stmga.Gallery` for what it does; needs ``pip install stmga[lance]``.

    ``place`` is a folder, or an address in object storage (``s3://``, ``gs://``, ``az://``) with its
    ``storage_options``. Every change is one commit: it is there as a whole, or not at all. A search uses the version
    that it began with. In a folder, one process writes at a time; another one waits up to five seconds and is then
    refused. Object storage has no such lock: write from one process only.

    The search is exact until :meth:`create_index`. LanceDB itself filters by ``where``, and reads only what passes.

    :meth:`forget`, :meth:`remove` and :meth:`update` write the whole table again and delete all older versions, since
    LanceDB keeps deleted rows in its files. Their time grows with the gallery.

    Attributes:
        effort: lists of the index that are searched; None is a sixteenth of them. More finds more and takes longer.
        use_index: whether :meth:`search` uses the index, if there is one.

    Raises:
        ImportError: LanceDB is not installed.
        GalleryError: the folder is something else, or damaged.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with LanceGallery(folder.name + "/people.lance") as gallery:
    ...     gallery.enrol("ann", Embeddings(torch.eye(2)[:1], [{"tracklet": "a"}], digest="1f0c"))
    ...     gallery, gallery.persons
    (LanceGallery(1 x 2, unnamed weights, people.lance), {'ann': 1})
    """

    def __init__(
        self,
        place: str | os.PathLike[str],
        *,
        device: str | torch.device = "cpu",
        read_only: bool = False,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.effort: int | None = None
        self.use_index = True
        self._file = LanceTable(place, read_only=read_only, storage_options=storage_options)

    def __len__(self) -> int:
        table = self._file.open()
        return 0 if table is None else int(table.count_rows())

    def __repr__(self) -> str:
        size = f"{len(self):,} x {self.dim}" if self.dim else "empty"
        name = self._file.place.rstrip("/").rsplit("/", 1)[-1]
        index = [self.index.kind] if self.index else []
        return f"LanceGallery({', '.join([size, self.model or 'unnamed weights', name, *index])})"

    @property
    def dim(self) -> int:
        """Length of a vector; 0 while nothing was added."""
        return dim_of(self._file.open())

    @contextmanager
    def reading(self) -> Iterator[LanceContents]:
        """The version that is the last one now."""
        with self._file.errors():
            yield self._contents()

    def _contents(self, where: Where | None = None, table: Any = None) -> LanceContents:
        table = self._file.open() if table is None else table
        return LanceContents(table, 0 if table is None else table.count_rows(), dim_of(table), where)

    def add(self, embeddings: Embeddings) -> None:
        """Add tracklets, in one commit.

        Raises:
            GalleryError: other weights or another calibration than the gallery's, or an id that it has already.
        """
        check_embeddings(embeddings, "add")
        check_items(embeddings.items)
        with self._file.writing() as table:
            about = about_vectors(embeddings)
            schema = schema_of(embeddings.dim, about)
            if table is None:
                self._file.create(rows_table(embeddings, 0, schema))
                return
            self._require_same(embeddings, "the embeddings to add")
            there = rows_named(table, "tracklet", embeddings.ids)
            refuse_known([name for name in embeddings.ids if text(name) in there])
            rows = rows_table(embeddings, table.count_rows(), schema)
            # What a table says of itself changes only when it is written as a whole.
            if about["calibration"] and not about_of(table)["calibration"]:
                self._rewrite(table, schema=schema, more=rows)
            else:
                table.add(rows)

    def update(self, embeddings: Embeddings) -> None:
        """Replace the vector and the item of tracklets that are there, by id; the old ones are deleted.

        Raises:
            GalleryError: an id that is not there, or other weights; then nothing is replaced.
        """
        check_embeddings(embeddings, "update")
        check_items(embeddings.items)
        with self._file.writing() as table:
            rows = self._rows_of(table, embeddings.ids)
            self._require_same(embeddings, "the new ones")
            if rows:
                self._rewrite(table, replaced=(rows, rows_table(embeddings, 0, table.schema)))

    def remove(self, ids: Sequence[str]) -> None:
        """Remove tracklets; the rows of later ones move up, and nothing of them is left in the place.

        GalleryError for an id that is not there; then none is removed.
        """
        ids = checked_ids(ids)
        with self._file.writing() as table:
            if rows := self._rows_of(table, ids):
                self._rewrite(table, gone=rows)

    def ids_of(self, person: str) -> list[str]:
        if (table := self._file.open()) is None:
            return []
        with self._file.errors():
            rows = [row for b in scan(table, ["row"], f"person = {quoted(person)}") for row in b["row"].to_pylist()]
            return [str(item["tracklet"]) for item in self._contents(table=table).items_at(rows)]

    def compact(self) -> None:
        """Write the table again in one piece: searches are faster after hundreds of small additions."""
        with self._file.writing() as table:
            if table is not None:
                self._rewrite(table)

    def create_index(self, *, kind: str = "ivf", lists: int | None = None) -> None:
        """Build LanceDB's index of the vectors, in place of any other; :meth:`search` uses it from then on.

        It finds candidates, which are ranked by their own vectors: similarities and order are exact, but matches may be
        missing. Tracklets that are added later are searched one by one until the next :meth:`create_index`. What
        rewrites the table also builds its index again.

        Args:
            kind: ``"ivf"`` lists of similar vectors; ``"ivf-int8"`` a quarter of its size; ``"ivf-pq"`` a sixteenth.
            lists: how many lists; by default 4 times the root of the number of tracklets. There must be 256 of these.
        """
        self._check_filled()
        with self._file.writing() as table:
            build_index(table, kind, lists)  # LanceDB's own optimize would merge its lists

    def drop_index(self) -> None:
        """Search exactly again."""
        with self._file.writing() as table:
            if table is not None:
                drop_index(table)
                self._file.sweep(table)

    @property
    def index(self) -> IndexSettings | None:
        """Kind and lists of the index; None without one."""
        table = self._file.open()
        return None if table is None else find_index(table)

    def recall(self, queries: Embeddings, k: int = 10) -> float:
        """The share, 0..1, of the k matches of the exact search that the search with the index finds."""
        with self.reading() as contents:
            rules = SearchRules()
            found, exact = self._search(contents, queries, k, rules)[1], super()._search(contents, queries, k, rules)[1]
        hits = (exact[:, :, None] == found[:, None, :]) & (exact[:, :, None] >= 0)
        return float(hits.any(2).sum() / (exact >= 0).sum().clamp(min=1))

    def _search(
        self, contents: Contents, queries: Embeddings, k: int, rules: SearchRules
    ) -> tuple[Tensor, Tensor, Tensor]:
        assert isinstance(contents, LanceContents)
        self.check_search(queries, k, rules.threshold, rules.block)
        k, part, index = min(k, contents.count), contents, None
        if not rules.rerank and not rules.travel:  # these need to know all of the gallery
            part = contents if rules.where is None else self._contents(rules.where, contents.table)
            rules = replace(rules, where=None)
            index = find_index(contents.table) if self.use_index else None
        if index is not None:
            effort = self.effort or max(1, index.lists // 16)
            values, rows = search_index(
                part, queries, k, effort=effort, threshold=rules.threshold, other_camera=rules.other_camera
            )
            added = torch.zeros_like(values)
        elif len(part):
            values, rows, added = super()._search(part, queries, min(k, len(part)), rules)
        else:
            values = added = torch.empty(len(queries), 0, dtype=torch.float32, device="cpu")
            rows = torch.empty(len(queries), 0, dtype=torch.int64, device="cpu")
        values, rows, added = (
            F.pad(found, (0, k - found.shape[1]), value=fill)
            for found, fill in ((values, -torch.inf), (rows, -1), (added, 0))
        )
        if len(part):
            rows = torch.where(rows >= 0, part.numbers[rows.clamp(min=0)], -1)
        return values, rows, added

    def _search_persons(
        self,
        contents: Contents,
        queries: Embeddings,
        k: int,
        how: str,
        other_camera: bool,
        where: Where | None,
        block: int,
    ) -> list[list[PersonMatch]]:
        assert isinstance(contents, LanceContents)
        part = contents if where is None else self._contents(where, contents.table)
        if not len(part):
            return [[] for _ in queries]
        return super()._search_persons(part, queries, k, how, other_camera, None, block)

    def _rows_of(self, table: Any, ids: Sequence[str]) -> list[int]:
        found = rows_named(table, "tracklet", ids)
        if unknown := [name for name in ids if text(name) not in found]:
            some = (
                []
                if table is None
                else table.search().select(["tracklet"]).limit(1000).to_arrow()["tracklet"].to_pylist()
            )
            raise unknown_ids(unknown, some)
        return [found[str(text(name))] for name in ids]

    def _about(self) -> Mapping[str, str]:
        return about_of(self._file.open())

    @property
    def _place(self) -> str:
        return self._file.place

    def _rewrite(
        self,
        table: Any,
        *,
        gone: Sequence[int] = (),
        replaced: tuple[Sequence[int], Any] = ((), None),
        more: Any = None,
        schema: Any = None,
    ) -> None:
        """Write all rows again; see :func:`changed_rows`."""
        index = find_index(table)
        fresh = self._file.rewrite(
            table, schema or table.schema, changed_rows(table, np.array(gone, np.int64), *replaced, more)
        )
        if index is not None and fresh.count_rows() >= 256:
            build_index(fresh, *index)
