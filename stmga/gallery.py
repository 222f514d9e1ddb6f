"""Exact cosine search over embeddings, in blocks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.calibration import Calibration
from stmga.embeddings import Embeddings
from stmga.text import some

logger = logging.getLogger(__name__)

_NOTHING = torch.iinfo(torch.int64).min  # the key of a pair that may not be an answer: below every real key
_SAME_TRACKLET = 0.99  # one tracklet embedded twice, even in other precisions, is above this


class GalleryError(ValueError):
    """Embeddings that cannot be put into, or compared with, this gallery."""


@dataclass(frozen=True)
class Match:
    """One answer: ``rank`` counts from 1, ``similarity`` the cosine in -1..1, ``row`` the place in the gallery."""

    id: str
    similarity: float
    rank: int
    person: Any
    camera: Any
    row: int


class Gallery:
    """Embeddings to search in, all made by the same weights.

    ``device`` is where the search computes ("cpu", "cuda"); the vectors stay on the CPU and travel block by block, so a
    gallery may be larger than the memory of the device.

    >>> items = [{"tracklet": "a", "person": 1}, {"tracklet": "b", "person": 2}]
    >>> gallery = Gallery(Embeddings(torch.eye(2), items, digest="1f0c"))
    >>> query = Embeddings(torch.tensor([[0.6, 0.8]]), [{"tracklet": "q"}], digest="1f0c")
    >>> [(match.id, match.person, round(match.similarity, 3)) for match in gallery.search(query, k=2)[0]]
    [('b', 2, 0.8), ('a', 1, 0.6)]
    """

    def __init__(self, embeddings: Embeddings | None = None, *, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.digest = ""
        self.model = ""
        self.items: list[dict[str, Any]] = []
        self._parts: list[Tensor] = []
        self._ids: set[str] = set()
        self._calibrations: list[Calibration] = []
        if embeddings is not None:
            self.add(embeddings)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Gallery({len(self)} tracklets, model={self.model or 'unnamed'!r}, device={str(self.device)!r})"

    @property
    def embeddings(self) -> Embeddings:
        """Everything added so far, in order."""
        if not len(self):
            raise GalleryError("the gallery is empty; put embeddings in with gallery.add(embeddings)")
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        return Embeddings(self._parts[0], self.items, self.digest, self.model, calibration=self.calibration)

    @property
    def calibration(self) -> Calibration | None:
        """What the similarities mean: the calibration of the embeddings added; None without, or if they disagree."""
        return self._calibrations[0] if len(self._calibrations) == 1 else None

    def add(self, embeddings: Embeddings) -> None:
        """Append; on an error the gallery stays as it was. Two different calibrations leave none, with a warning.

        Raises:
            GalleryError: other weights than the gallery's, another width, or an id that the gallery has already.
        """
        if self._parts:
            self._check_comparable(embeddings, "embeddings to add")
        ids = embeddings.ids
        known = [name for name in ids if name in self._ids]
        if known:
            raise GalleryError(f"{len(known)} of the ids to add are in the gallery already: {some(known, 10)}")
        self.digest, self.model = embeddings.digest, embeddings.model
        self._parts.append(embeddings.vectors)
        self.items = [*self.items, *embeddings.items]
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
        block: int = 1024,
    ) -> list[list[Match]]:
        """The ``k`` most similar gallery tracklets of each query, best first; equal similarities in gallery order.

        A query never matches the gallery tracklet of its own id. Fewer than ``k`` come back where fewer are left.

        Args:
            threshold: keep only similarities of at least this.
            other_camera: drop gallery tracklets of the query's own camera; if either camera is unknown the pair stays.
            block: queries and gallery tracklets compared at once; memory grows with its square, the answer is the same.

        Raises:
            GalleryError: the gallery is empty, or was made with other weights than the queries.
        """
        similarities, rows = self.topk(queries, k, threshold=threshold, other_camera=other_camera, block=block)
        answers = []
        for values, places in zip(similarities.tolist(), rows.tolist(), strict=True):
            found = ((value, row) for value, row in zip(values, places, strict=True) if row >= 0)
            answers.append([self._match(row, value, rank) for rank, (value, row) in enumerate(found, start=1)])
        return answers

    def topk(
        self,
        queries: Embeddings,
        k: int = 10,
        *,
        threshold: float | None = None,
        other_camera: bool = False,
        block: int = 1024,
    ) -> tuple[Tensor, Tensor]:
        """:meth:`search` as tensors: similarities (q, k) float32 and gallery rows (q, k) int64, both on the CPU.

        ``k`` is cut to the size of the gallery. Where no answer is left the similarity is -inf and the row -1.
        """
        gallery = self.embeddings
        self._check_search(queries, k, threshold, block)
        k = min(k, len(gallery))
        query_ids, gallery_ids = _codes(queries.ids, gallery.ids)
        # As text: a folder reader says camera "1" where a manifest says 1.
        query_cameras, gallery_cameras = _codes(
            *([None if camera is None else str(camera) for camera in e.cameras] for e in (queries, gallery))
        )
        self._warn_of_shared_names(queries, gallery)

        keys = torch.full((len(queries), k), _NOTHING)
        for q in _blocks(len(queries), block):
            best = keys[q].to(self.device)
            wanted = self._unit(queries.vectors[q])
            for g in _blocks(len(gallery), block):
                similarity = (wanted @ self._unit(gallery.vectors[g]).T).float()
                forbidden = query_ids[q, None] == gallery_ids[g]
                if other_camera:
                    forbidden |= (query_cameras[q, None] == gallery_cameras[g]) & (query_cameras[q, None] >= 0)
                forbidden = forbidden.to(self.device)
                if threshold is not None:
                    forbidden |= similarity < threshold
                new = _to_keys(similarity, first_row=g.start).masked_fill_(forbidden, _NOTHING)
                best = torch.cat([best, new], dim=1).topk(k, dim=1).values
            keys[q] = best.cpu()
        return _from_keys(keys)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the gallery as an embeddings file (:meth:`Embeddings.save`)."""
        return self.embeddings.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> Gallery:
        """A gallery of an embeddings file (:meth:`Embeddings.load`)."""
        return cls(Embeddings.load(path), device=device)

    def _warn_of_shared_names(self, queries: Embeddings, gallery: Embeddings) -> None:
        """An id that two different tracklets share hides one from the other, perhaps the very answer: say so."""
        place = {name: row for row, name in enumerate(gallery.ids)}
        pairs = [(q, place[name]) for q, name in enumerate(queries.ids) if name in place]
        if not pairs:
            return
        q, g = torch.tensor(pairs).unbind(1)
        unlike = F.cosine_similarity(queries.vectors[q], gallery.vectors[g]) < _SAME_TRACKLET
        if unlike.any():
            logger.warning(
                "%d queries have the id of a gallery tracklet that looks different, and will not match it (first: %s); "
                "give different tracklets different ids",
                int(unlike.sum()),
                queries.ids[int(q[unlike][0])],
            )

    def _unit(self, vectors: Tensor) -> Tensor:
        # float64, so that equal vectors get equal similarities wherever they lie in a block: float32 kernels round
        # differently at the edge of a matrix, and ties would then depend on the block size.
        return F.normalize(vectors.to(self.device, torch.float64), dim=1)

    def _match(self, row: int, similarity: float, rank: int) -> Match:
        item = self.items[row]
        return Match(str(item["tracklet"]), similarity, rank, item.get("person"), item.get("camera"), row)

    def _check_search(self, queries: Embeddings, k: int, threshold: float | None, block: int) -> None:
        self._check_comparable(queries, "queries")
        if k < 1 or block < 1:
            raise ValueError(f"k and block must be at least 1, got k={k}, block={block}")
        if threshold is not None and not -1 <= threshold <= 1:
            raise ValueError(f"threshold is a cosine in -1..1, got {threshold}")

    def _check_comparable(self, embeddings: Embeddings, what: str) -> None:
        if embeddings.digest != self.digest:
            raise GalleryError(
                f"the gallery was made with {_name(self)}, the {what} with {_name(embeddings)}: "
                "vectors of different weights cannot be compared; embed both with the same weights"
            )
        own, other = self._parts[0].shape[1], embeddings.vectors.shape[1]
        if own != other:
            raise GalleryError(f"the gallery's vectors have {own} numbers, those of the {what} {other}")


def _name(source: Gallery | Embeddings) -> str:
    return f"{source.model or 'an unnamed model'} (digest {source.digest[:12] or 'none'})"


def _blocks(length: int, block: int) -> Iterator[slice]:
    return (slice(start, min(start + block, length)) for start in range(0, length, block))


def _codes(*columns: Iterable[str | None]) -> list[Tensor]:
    """Columns of names -> columns of integers, equal where the names are equal; None is -1."""
    numbers: dict[str | None, int] = {None: -1}
    return [torch.tensor([numbers.setdefault(name, len(numbers)) for name in column]) for column in columns]


# An answer as one integer: the similarity's bits above, the row's below. Greater key = greater similarity, then earlier
# row. No two keys are equal, so `topk`, which promises nothing about ties, has none to decide.


def _to_keys(similarity: Tensor, *, first_row: int) -> Tensor:
    """(q, g) float32 -> (q, g) int64."""
    bits = (similarity + 0.0).view(torch.int32)  # + 0.0 makes -0.0 and 0.0 the same
    ordered = torch.where(bits >= 0, bits, bits ^ 0x7FFFFFFF).to(torch.int64)
    rows = torch.arange(first_row, first_row + similarity.shape[1], device=similarity.device)
    return (ordered << 32) | (0xFFFFFFFF - rows)


def _from_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """(q, k) int64 -> similarities (q, k) float32 and rows (q, k) int64."""
    nothing = keys == _NOTHING
    ordered = (keys >> 32).to(torch.int32)
    similarity = torch.where(ordered >= 0, ordered, ordered ^ 0x7FFFFFFF).view(torch.float32)
    return similarity.masked_fill(nothing, -torch.inf), (0xFFFFFFFF - (keys & 0xFFFFFFFF)).masked_fill(nothing, -1)
