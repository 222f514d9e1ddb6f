"""What all galleries can do, wherever their vectors are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings, check_rows
from stmga.embedding.same_weights import require_same_weights
from stmga.embedding.vectors import Vectors
from stmga.gallery.contents import Contents, pairs_excluded, self_rows
from stmga.gallery.matches import GalleryError, Match
from stmga.gallery.topk import rows_of, topk
from stmga.gallery.where import Where
from stmga.utils.text import counted, preview

if TYPE_CHECKING:
    from typing_extensions import Self


class SearchableGallery(ABC):
    """Vectors of one network with what is known of their tracklets: search by tracklet and by person."""

    device: torch.device

    @property
    @abstractmethod
    def digest(self) -> str: ...

    @property
    @abstractmethod
    def model(self) -> str: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def dim(self) -> int: ...

    @property
    @abstractmethod
    def calibration(self) -> Calibration | None: ...

    @abstractmethod
    def reading(self) -> AbstractContextManager[Contents]:
        """What is searched; it stays as it is inside, whatever other threads and processes write."""

    @abstractmethod
    def add(self, embeddings: Embeddings) -> None: ...

    @abstractmethod
    def remove(self, ids: Sequence[str]) -> None: ...

    @abstractmethod
    def update(self, embeddings: Embeddings) -> None: ...

    def close(self) -> None:  # noqa: B027 - galleries in memory have nothing to close
        """Let go of the file, if there is one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    @property
    def embeddings(self) -> Embeddings:
        """Everything in the gallery, in order, as float32; all of it must fit into memory."""
        self._check_filled()
        with self.reading() as contents:
            rows = torch.arange(sum(map(len, contents.parts)), dtype=torch.int64, device="cpu")
            if contents.has_gaps and contents.columns.present is not None:
                rows = contents.columns.present.nonzero().flatten()
            vectors, items = rows_of(contents.parts, rows), contents.items_at(rows.tolist())
        try:
            return Embeddings(vectors, items, self.digest, self.model, calibration=self.calibration)
        except ValueError as error:  # what was added was checked, so a file was changed since
            raise GalleryError(f"the gallery is damaged: {error}") from error

    def search(
        self,
        queries: Embeddings,
        k: int = 10,
        *,
        threshold: float | None = None,
        other_camera: bool = False,
        where: Where | None = None,
        block: int = 4096,
    ) -> list[list[Match]]:
        """The ``k`` most similar gallery tracklets of each query, best first; equal similarities in gallery order.

        A query never matches the gallery tracklet of its own id. Fewer than ``k`` come back where fewer are left.

        Args:
            threshold: keep only similarities of at least this.
            other_camera: drop gallery tracklets of the query's own camera; if either camera is unknown the pair stays.
            where: search only in this part of the gallery.
            block: queries and gallery tracklets compared at once; memory grows with its square, results do not change.

        Raises:
            GalleryError: the gallery is empty, or was made with other weights than the queries.
            ValueError: a camera or person of ``where`` that the gallery does not have.
        """
        with self.reading() as contents:
            found = self._topk(contents, queries, k, threshold, other_camera, where, block)
            return matches(contents, *found)

    def matches(self, similarities: Tensor, rows: Tensor) -> list[list[Match]]:
        """The result of :meth:`topk` as matches."""
        with self.reading() as contents:
            return matches(contents, similarities, rows)

    def topk(
        self,
        queries: Embeddings,
        k: int = 10,
        *,
        threshold: float | None = None,
        other_camera: bool = False,
        where: Where | None = None,
        block: int = 4096,
    ) -> tuple[Tensor, Tensor]:
        """:meth:`search` as tensors: similarities (q, k) float32 and gallery rows (q, k) int64, both on the CPU.

        ``k`` is at most the size of the gallery. Where no match is left, the similarity is -inf and the row -1.
        """
        with self.reading() as contents:
            return self._topk(contents, queries, k, threshold, other_camera, where, block)

    def _topk(
        self,
        contents: Contents,
        queries: Embeddings,
        k: int,
        threshold: float | None,
        other_camera: bool,
        where: Where | None,
        block: int,
    ) -> tuple[Tensor, Tensor]:
        self.check_search(queries, k, threshold, block)
        return topk(
            queries.vectors,
            contents.parts,
            min(k, len(self)),
            self_rows=self_rows(queries, contents),
            exclude=pairs_excluded(queries, contents, other_camera, where),
            threshold=threshold,
            block=block,
            device=self.device,
        )

    def rows(self, which: slice | Tensor) -> Tensor:
        """Some of the vectors as float32, by their rows in the gallery."""
        with self.reading() as contents:
            if isinstance(which, slice):
                n = sum(map(len, contents.parts))
                which = torch.arange(n, dtype=torch.int64, device="cpu")[which]
            return rows_of(contents.parts, which)

    def excluded(self, queries: Embeddings, rows: Tensor, *, other_camera: bool) -> Tensor:
        """(q m) gallery rows -> (q m), True where a row is excluded: the query's own id, or its camera if asked for."""
        with self.reading() as contents:
            excluded = (rows == self_rows(queries, contents)[:, None]) | (rows < 0)
            if other_camera:
                camera = contents.columns.camera
                mine = camera.numbers_for(queries.cameras)
                excluded |= (mine[:, None] == camera.numbers[rows.clamp(min=0)]) & (mine[:, None] >= 0)
            return excluded

    def check_search(self, queries: Embeddings, k: int, threshold: float | None = None, block: int = 1) -> None:
        """Raise the errors of :meth:`search`."""
        check_embeddings(queries, "search")
        self._check_filled()
        require_same_weights(self, queries, "the gallery's vectors", "the queries", error=GalleryError)
        if type(k) is not int or type(block) is not int or k < 1 or block < 1:
            raise ValueError(f"k and block must be whole numbers of at least 1, got k={k!r}, block={block!r}")
        if threshold is not None and not (isinstance(threshold, (int, float)) and -1 <= threshold <= 1):
            raise ValueError(f"threshold is a cosine in -1..1, got {threshold!r}")

    def _check_filled(self) -> None:
        if not len(self):
            raise GalleryError("the gallery is empty; put embeddings in with gallery.add(embeddings)")


def check_embeddings(given: object, call: str) -> None:
    """TypeError for anything but embeddings, ValueError for embeddings that were changed into something else."""
    if not isinstance(given, Embeddings):
        raise TypeError(
            f"{call}() takes Embeddings, got {type(given).__name__}: embed tracklets with TrackletEmbedder, "
            "or wrap vectors in Embeddings(vectors, items, digest=...)"
        )
    check_rows(Vectors(given.vectors), given.items)  # again: both can be changed after they were checked


def checked_ids(ids: Sequence[str]) -> list[str]:
    """Ids as text.

    Raises:
        TypeError: one text, which Python would take letter by letter.
        GalleryError: an id that is given twice.
    """
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise TypeError(f"ids are a list of texts, got {ids!r}; for one id give [{str(ids)!r}]")
    names = [str(name) for name in ids]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise GalleryError(f"{counted(len(twice), 'id')} given twice: {preview(twice)}")
    return names


def matches(contents: Contents, similarities: Tensor, rows: Tensor) -> list[list[Match]]:
    """Similarities (q k) and rows (q k), -1 for none, as matches."""
    wanted = sorted({row for found in rows.tolist() for row in found if row >= 0})
    items = dict(zip(wanted, contents.items_at(wanted), strict=True))
    answers = []
    for values, found_rows in zip(similarities.tolist(), rows.tolist(), strict=True):
        found = ((value, row) for value, row in zip(values, found_rows, strict=True) if row >= 0)
        answers.append([_match(items[row], row, value, rank) for rank, (value, row) in enumerate(found, start=1)])
    return answers


def _match(item: dict[str, Any], row: int, similarity: float, rank: int) -> Match:
    return Match(str(item["tracklet"]), similarity, rank, item.get("person"), item.get("camera"), row)
