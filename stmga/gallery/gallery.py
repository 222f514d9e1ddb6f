"""Exact cosine search over embeddings, in blocks."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings, check_rows, contents, matching_calibration
from stmga.embedding.embeddings_file import read_file, write_file
from stmga.embedding.same_weights import require_same_weights
from stmga.embedding.vectors import Vectors, check_kind
from stmga.gallery.cameras import camera_codes
from stmga.gallery.match import Match
from stmga.gallery.search import search_rows
from stmga.gallery.topk import rows_of
from stmga.tracklets.times import TravelTime
from stmga.utils.text import preview

logger = logging.getLogger(__name__)

_SAME_TRACKLET = 0.99  # one tracklet embedded twice, even in other precisions, is above this


class GalleryError(ValueError):
    """Embeddings that cannot be put into, or compared with, this gallery."""


class Gallery:
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
        self.digest = ""
        self.model = ""
        self.items: list[dict[str, Any]] = []
        self.parts: list[Vectors] = []  # the vectors as they are kept, in order
        self._ids: set[str] = set()
        self._calibrations: list[Calibration] = []
        if embeddings is not None:
            self.add(embeddings)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __repr__(self) -> str:
        size = f"{len(self):,} x {self.parts[0].dim}" if self.parts else "empty"
        known = contents(self.model, self.items) if self.parts else []
        return f"Gallery({', '.join([size, *known, self.storage, str(self.device)])})"

    @property
    def dim(self) -> int:
        """Length of a vector; 0 while the gallery is empty."""
        return self.parts[0].dim if self.parts else 0

    @property
    def embeddings(self) -> Embeddings:
        """Everything added so far, in order, as float32; all of it must fit into memory."""
        self._check_filled()
        parts = [part.rows(slice(None)) for part in self.parts]
        vectors = parts[0] if len(parts) == 1 else torch.cat(parts)
        return Embeddings(vectors, self.items, self.digest, self.model, calibration=self.calibration)

    @property
    def calibration(self) -> Calibration | None:
        """What the similarities mean: the calibration of the embeddings added; None without, or if they disagree."""
        return self._calibrations[0] if len(self._calibrations) == 1 else None

    def add(self, embeddings: Embeddings) -> None:
        """Append; on an error the gallery stays as it was. Two different calibrations leave none, with a warning.

        Raises:
            GalleryError: other weights than the gallery's, another width, or an id that the gallery has already.
        """
        _check_embeddings(embeddings, "add")
        if self.parts:
            names = "the gallery's vectors", "the embeddings to add"
            require_same_weights(self, embeddings, *names, error=GalleryError)
        ids = embeddings.ids
        known = [name for name in ids if name in self._ids]
        if known:
            raise GalleryError(f"{len(known)} of the ids to add are in the gallery already: {preview(known, 10)}")
        self.digest, self.model = embeddings.digest, embeddings.model
        # New lists, so that a search in another thread continues with the old ones. The vectors come last, so that
        # a thread that sees them also sees their items.
        self.items = [*self.items, *embeddings.items]
        self.parts = [*self.parts, Vectors.keep(embeddings.vectors, self.storage)]
        self._ids.update(ids)
        if embeddings.calibration is not None and embeddings.calibration not in self._calibrations:
            self._calibrations.append(embeddings.calibration)
            if len(self._calibrations) > 1:
                logger.warning(
                    "the embeddings in the gallery have %d different calibrations, so that it keeps none; "
                    "calibrate all of them on the same tracklets",
                    len(self._calibrations),
                )

    def search(
        self,
        queries: Embeddings,
        k: int = 10,
        *,
        threshold: float | None = None,
        other_camera: bool = False,
        travel: Sequence[TravelTime] = (),
        rerank: bool = False,
        block: int = 4096,
    ) -> list[list[Match]]:
        """The ``k`` most similar gallery tracklets of each query, best first; equal similarities in gallery order.

        A query never matches the gallery tracklet of its own id. Fewer than ``k`` come back where fewer are left.

        Args:
            threshold: keep only similarities of at least this.
            other_camera: drop gallery tracklets of the query's own camera; if either camera is unknown the pair stays.
            travel: seconds that people take between cameras. Drops gallery tracklets that nobody could have reached. A
                time that fits adds to the similarity (:class:`stmga.gallery.travel.TravelPrior`), in the order and for
                the threshold. Tracklets without ``time`` and ``end_time`` stay as they are.
            rerank: order by k-reciprocal re-ranking (:func:`stmga.metrics.rerank`). The queries and the whole gallery
                are neighbours, whatever the other arguments drop. Similarities stay cosines, so they need not fall with
                the rank. Time grows with the square of the number of tracklets.
            block: queries and gallery tracklets compared at once; memory grows with its square, results do not change.

        Raises:
            GalleryError: the gallery is empty, or was made with other weights than the queries.
            ValueError: a travel time of a camera without times, or two of one pair of cameras.
        """
        self.check_search(queries, k, threshold, block)
        found = search_rows(
            self, queries, k, threshold=threshold, other_camera=other_camera, travel=travel, rerank=rerank, block=block
        )
        return self.matches(*found)

    def matches(self, similarities: Tensor, rows: Tensor, travel: Tensor | None = None) -> list[list[Match]]:
        """The result of :meth:`topk` as matches; ``travel`` (q, k) is what travel times add to the similarities."""
        added = torch.zeros_like(similarities) if travel is None else travel
        answers = []
        for columns in zip(similarities.tolist(), rows.tolist(), added.tolist(), strict=True):
            found = (one for one in zip(*columns, strict=True) if one[1] >= 0)
            answers.append([self._match(row, value, rank, more) for rank, (value, row, more) in enumerate(found, 1)])
        return answers

    def topk(
        self,
        queries: Embeddings,
        k: int = 10,
        *,
        threshold: float | None = None,
        other_camera: bool = False,
        travel: Sequence[TravelTime] = (),
        rerank: bool = False,
        block: int = 4096,
    ) -> tuple[Tensor, Tensor]:
        """:meth:`search` as tensors: similarities (q, k) float32 and gallery rows (q, k) int64, both on the CPU.

        ``k`` is at most the size of the gallery. Where no match is left, the similarity is -inf and the row -1.
        """
        self.check_search(queries, k, threshold, block)
        return search_rows(
            self, queries, k, threshold=threshold, other_camera=other_camera, travel=travel, rerank=rerank, block=block
        )[:2]

    def rows(self, which: slice | Tensor) -> Tensor:
        """Some of the vectors as float32, by their rows in the gallery."""
        rows = torch.arange(len(self), dtype=torch.int64, device="cpu")[which] if isinstance(which, slice) else which
        return rows_of(self.parts, rows)

    def excluded(self, queries: Embeddings, rows: Tensor, *, other_camera: bool) -> Tensor:
        """(q m) gallery rows -> (q m), True where a row is excluded: the query's own id, or its camera if asked for."""
        self_rows = self.self_rows(queries, self.parts, self.items)
        excluded = (rows == self_rows[:, None]) | (rows < 0)
        if other_camera:  # only the candidates' items are read: there are few of them among millions
            mine, theirs = camera_codes(queries, [self.items[row] for row in rows.clamp(min=0).flatten().tolist()])
            excluded |= (mine[:, None] == theirs.view_as(rows)) & (mine[:, None] >= 0)
        return excluded

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the gallery as an embeddings file (:meth:`Embeddings.save`), its vectors as they are kept."""
        self._check_filled()
        write_file(path, self.parts, self.items, [], self.digest, self.model, self.calibration)
        return Path(path)

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
        gallery.digest, gallery.model, gallery.items = file.digest, file.model, file.items
        gallery.parts, gallery._ids = [file.vectors], {str(item["tracklet"]) for item in file.items}
        gallery._calibrations = (
            [known] if (known := matching_calibration(file.calibration, file.digest)) is not None else []
        )
        return gallery

    def self_rows(self, queries: Embeddings, parts: list[Vectors], items: list[dict[str, Any]]) -> Tensor:
        """(q), the row of each query's own id, or -1.

        If two different tracklets share an id, the search hides one from the other. A warning says so.
        """
        ids = queries.ids
        row_of = dict.fromkeys(ids, -1)
        if not self._ids.isdisjoint(row_of):
            row_of |= {name: row for row, item in enumerate(items) if (name := str(item["tracklet"])) in row_of}
        rows = torch.tensor([row_of[name] for name in ids], dtype=torch.int64, device="cpu")
        shared = (rows >= 0).nonzero().flatten()
        if len(shared):
            there = rows_of(parts, rows[shared])
            unlike = F.cosine_similarity(queries.vectors[shared], there) < _SAME_TRACKLET
            if unlike.any():
                logger.warning(
                    "%d queries have the id of a gallery tracklet that looks different, and will not match it (first: "
                    "%s); give different tracklets different ids",
                    int(unlike.sum()),
                    ids[int(shared[unlike][0])],
                )
        return rows

    def _match(self, row: int, similarity: float, rank: int, travel: float) -> Match:
        item = self.items[row]
        return Match(str(item["tracklet"]), similarity, rank, item.get("person"), item.get("camera"), row, travel)

    def _check_filled(self) -> None:
        if not len(self):
            raise GalleryError("the gallery is empty; put embeddings in with gallery.add(embeddings)")

    def check_search(self, queries: Embeddings, k: int, threshold: float | None = None, block: int = 1) -> None:
        """Raise the errors of :meth:`search`."""
        _check_embeddings(queries, "search")
        self._check_filled()
        require_same_weights(self, queries, "the gallery's vectors", "the queries", error=GalleryError)
        if type(k) is not int or type(block) is not int or k < 1 or block < 1:
            raise ValueError(f"k and block must be whole numbers of at least 1, got k={k!r}, block={block!r}")
        if threshold is not None and not (isinstance(threshold, (int, float)) and -1 <= threshold <= 1):
            raise ValueError(f"threshold is a cosine in -1..1, got {threshold!r}")


def _check_embeddings(given: object, call: str) -> None:
    if not isinstance(given, Embeddings):
        raise TypeError(
            f"{call}() takes Embeddings, got {type(given).__name__}: embed tracklets with TrackletEmbedder, "
            "or wrap vectors in Embeddings(vectors, items, digest=...)"
        )
    check_rows(Vectors(given.vectors), given.items)  # again: both can be changed after they were checked
