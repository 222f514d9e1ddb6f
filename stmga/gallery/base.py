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
from stmga.gallery.contents import Contents, self_rows
from stmga.gallery.matches import GalleryError, Match
from stmga.gallery.search import SearchRules, search_rows
from stmga.gallery.topk import rows_of
from stmga.gallery.where import Where
from stmga.tracklets.times import TravelTime
from stmga.utils.text import counted, did_you_mean, preview

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
        travel: Sequence[TravelTime] = (),
        rerank: bool = False,
        block: int = 4096,
    ) -> list[list[Match]]:
        """The ``k`` most similar gallery tracklets of each query, best first; equal similarities in gallery order.

        A query never matches the gallery tracklet of its own id. Fewer than ``k`` come back where fewer are left.

        Args:
            threshold: keep only similarities of at least this.
            other_camera: drop gallery tracklets of the query's own camera; if either camera is unknown the pair stays.
            where: search only in this part of the gallery.
            travel: seconds that people take between cameras. Drops gallery tracklets that nobody could have reached. A
                time that fits adds to the similarity (:class:`stmga.gallery.travel.TravelPrior`), in the order and for
                the threshold. Tracklets without times stay as they are.
            rerank: order by k-reciprocal re-ranking (:func:`stmga.metrics.rerank`). The queries and the whole gallery
                are neighbours, whatever the other arguments drop. Similarities stay cosines, so they need not fall with
                the rank. Time grows with the square of the number of tracklets.
            block: queries and gallery tracklets compared at once; memory grows with its square, results do not change.

        Raises:
            GalleryError: the gallery is empty, or was made with other weights than the queries.
            ValueError: a camera or person of ``where`` that the gallery does not have, a travel time of a camera
                without times, or two of one pair of cameras.
        """
        rules = SearchRules(threshold=threshold, other_camera=other_camera, where=where, travel=travel, rerank=rerank,
                            block=block)  # fmt: skip
        with self.reading() as contents:
            return matches(contents, *self._search(contents, queries, k, rules))

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
        travel: Sequence[TravelTime] = (),
        rerank: bool = False,
        block: int = 4096,
    ) -> tuple[Tensor, Tensor]:
        """:meth:`search` as tensors: similarities (q, k) float32 and gallery rows (q, k) int64, both on the CPU.

        ``k`` is at most the size of the gallery. Where no match is left, the similarity is -inf and the row -1.
        """
        rules = SearchRules(threshold=threshold, other_camera=other_camera, where=where, travel=travel, rerank=rerank,
                            block=block)  # fmt: skip
        with self.reading() as contents:
            return self._search(contents, queries, k, rules)[:2]

    def _search(
        self, contents: Contents, queries: Embeddings, k: int, rules: SearchRules
    ) -> tuple[Tensor, Tensor, Tensor]:
        self.check_search(queries, k, rules.threshold, rules.block)
        calibration = self.calibration if rules.travel else None
        return search_rows(contents, queries, min(k, len(self)), rules, calibration=calibration, device=self.device)

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


def refuse_known(ids: Sequence[str]) -> None:
    """Raise GalleryError if any of the ids to add is there."""
    if ids:
        raise GalleryError(f"{len(ids)} of the ids to add are in the gallery already: {preview(ids, 10)}")


def unknown_ids(ids: Sequence[str], known: Iterable[str]) -> GalleryError:
    """The error for ids that a gallery does not have; ``known`` are some that it has."""
    hint = did_you_mean(ids[0], known)
    return GalleryError(f"the gallery has no tracklet {preview(ids)}" + (f"; {hint}" if hint else ""))


def matches(contents: Contents, similarities: Tensor, rows: Tensor, travel: Tensor | None = None) -> list[list[Match]]:
    """Similarities (q k), rows (q k), -1 for none, and what travel times add (q k), as matches."""
    wanted = sorted({row for found in rows.tolist() for row in found if row >= 0})
    items = dict(zip(wanted, contents.items_at(wanted), strict=True))
    added = torch.zeros_like(similarities) if travel is None else travel
    answers = []
    for columns in zip(similarities.tolist(), rows.tolist(), added.tolist(), strict=True):
        found = (one for one in zip(*columns, strict=True) if one[1] >= 0)
        answers.append([_match(items[row], row, value, i, more) for i, (value, row, more) in enumerate(found, start=1)])
    return answers


def _match(item: dict[str, Any], row: int, similarity: float, rank: int, travel: float) -> Match:
    return Match(str(item["tracklet"]), similarity, rank, item.get("person"), item.get("camera"), row, travel)
