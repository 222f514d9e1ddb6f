"""Rank-k (CMC) and mean average precision from similarities: small, exact, numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stmga.arrays import to_numpy


class NoMatchError(ValueError):
    """There is nothing to score: no query has a right answer that it may find."""


@dataclass(frozen=True, kw_only=True)
class RankScores:
    """What a ranking is worth: ``cmc[k - 1]`` is rank-k; queries in ``unmatched`` had nothing to find, do not count."""

    mAP: float  # noqa: N815 - its name everywhere
    cmc: tuple[float, ...]
    queries: int
    unmatched: tuple[int, ...]

    def rank(self, k: int) -> float:
        """Share of the counted queries with a right answer among their first ``k``."""
        if k < 1:
            raise ValueError(f"rank(k) needs k >= 1, got {k}")
        return self.cmc[min(k, len(self.cmc)) - 1]

    def __str__(self) -> str:
        ranks = ", ".join(f"rank-{k} {self.rank(k):.1%}" for k in (1, 5, 10))
        none = f"; {len(self.unmatched)} without a match do not count" if self.unmatched else ""
        return f"mAP {self.mAP:.1%}, {ranks} ({self.queries} queries{none})"


def match_places(similarity: ArrayLike, relevant: ArrayLike, ignored: ArrayLike) -> NDArray[np.int64]:
    """``(g,)`` each -> places (from 0) of the relevant entries in the ranked list.

    Ignored entries leave the list; equal similarities keep gallery order.

    >>> match_places([0.1, 0.9, 0.5, 0.9], relevant=[1, 0, 0, 1], ignored=[0, 1, 0, 0])
    array([0, 2])
    """
    order = np.argsort(-to_numpy(similarity).astype(np.float64), kind="stable")
    order = order[~to_numpy(ignored).astype(bool)[order]]
    return np.flatnonzero(to_numpy(relevant).astype(bool)[order])


def average_precision(places: ArrayLike) -> float:
    """Mean of the precision at each right answer, from the places (0 = first) of all right answers.

    >>> average_precision([0, 2])   # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    places = to_numpy(places)
    if places.size == 0:
        raise ValueError("average precision is undefined without a right answer")
    return float(np.mean((np.arange(places.size) + 1) / (places + 1)))


def rank_scores(
    similarity: Iterable[Any],
    query_persons: Sequence[Any],
    gallery_persons: Sequence[Any],
    *,
    query_cameras: Sequence[Any] | None = None,
    gallery_cameras: Sequence[Any] | None = None,
    query_ids: Sequence[Any] | None = None,
    gallery_ids: Sequence[Any] | None = None,
) -> RankScores:
    """``(q, g)`` similarities (larger = more alike) and who is who -> rank-k and mAP.

    Args:
        similarity: array or tensor ``(q, g)``, or any iterable of its ``q`` rows, so that it need not fit in memory.
        query_persons, gallery_persons: one identity each. A gallery entry of person ``None`` is always a wrong answer.
        query_cameras, gallery_cameras: with both given, a gallery entry of the query's person leaves the query's list
            if it comes from the query's camera, or may come from it, because either camera is ``None``.
        query_ids, gallery_ids: with both given, an entry with the query's own id is left out too.

    Equal similarities rank in gallery order. A query without a match does not count; ``unmatched`` has its index.

    Raises:
        NoMatchError: no query that counts.
        ValueError: lengths that do not fit, cameras or ids of one side only, NaN.

    >>> cameras = {"query_cameras": [1], "gallery_cameras": [1, 2, 2]}
    >>> scores = rank_scores([[0.9, 0.8, 0.7]], ["ann"], ["ann", "bob", "ann"], **cameras)
    >>> scores.mAP, scores.rank(1), scores.rank(2)
    (0.5, 0.0, 1.0)
    """
    person, persons = _codes("persons", query_persons, gallery_persons)
    known = [("cameras", query_cameras, gallery_cameras), ("ids", query_ids, gallery_ids)]
    cameras, ids = (_optional_codes(what, q, g, shape=(len(person), len(persons))) for what, q, g in known)
    precisions: list[float] = []
    firsts = np.zeros(len(persons), dtype=np.int64)  # how many queries have their first right answer at each place
    unmatched: list[int] = []
    for i, row in enumerate(_checked_rows(similarity, len(person), len(persons))):
        relevant = (persons == person[i]) & (person[i] != NOBODY)
        ignored = np.zeros(len(persons), dtype=bool)
        if cameras is not None:
            ignored |= relevant & _maybe_same(cameras[0][i], cameras[1])
        if ids is not None:
            ignored |= (ids[1] == ids[0][i]) & (ids[0][i] != NOBODY)
        places = match_places(row, relevant, ignored)
        if places.size:
            precisions.append(average_precision(places))
            firsts[places[0]] += 1
        else:
            unmatched.append(i)
    if not precisions:
        raise NoMatchError(
            f"none of the {len(person)} queries has a match in the gallery, so there is nothing to score"
        )
    cmc = np.cumsum(firsts) / len(precisions)
    return RankScores(
        mAP=float(np.mean(precisions)), cmc=tuple(cmc.tolist()), queries=len(precisions), unmatched=tuple(unmatched)
    )


NOBODY = -1  # the code of None
Codes = tuple[NDArray[np.int64], NDArray[np.int64]]


def _codes(what: str, queries: Sequence[Any], gallery: Sequence[Any]) -> Codes:
    """Labels of any hashable kind as numbers that are equal where the labels are; ``1`` and ``"1"`` differ."""
    seen: dict[Any, int] = {None: NOBODY}
    try:
        q, g = (
            np.array([seen.setdefault(label, len(seen)) for label in side], dtype=np.int64)
            for side in map(_listed, (queries, gallery))
        )
    except TypeError as error:
        raise TypeError(f"{what} must be plain values such as strings or numbers: {error}") from None
    return q, g


def _listed(labels: Any) -> Iterable[Any]:
    return labels.tolist() if hasattr(labels, "tolist") else labels  # the entries of a tensor equal nothing


def _optional_codes(
    what: str, queries: Sequence[Any] | None, gallery: Sequence[Any] | None, *, shape: tuple[int, int]
) -> Codes | None:
    if queries is None and gallery is None:
        return None
    if queries is None or gallery is None:
        raise ValueError(f"query_{what} and gallery_{what} go together: give both or neither")
    if (len(queries), len(gallery)) != shape:
        raise ValueError(
            f"expected one of {what} for each of {shape[0]} queries and {shape[1]} gallery entries, "
            f"got {len(queries)} and {len(gallery)}"
        )
    return _codes(what, queries, gallery)


def _maybe_same(camera: int, cameras: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True where the cameras are the same or, one being unknown, may be."""
    return (cameras == camera) | (cameras == NOBODY) | (camera == NOBODY)


def _checked_rows(similarity: Iterable[Any], queries: int, gallery: int) -> Iterator[NDArray[np.float64]]:
    rows = 0
    for row in similarity:
        values = to_numpy(row).astype(np.float64)
        if rows >= queries or values.shape != (gallery,):
            raise ValueError(
                f"expected similarity ({queries}, {gallery}) for these persons; row {rows} has shape {values.shape}"
            )
        if np.isnan(values).any():
            raise ValueError(f"similarity holds NaN in row {rows}")
        rows += 1
        yield values
    if rows != queries:
        raise ValueError(f"expected similarity ({queries}, {gallery}) for these persons, got {rows} rows")
