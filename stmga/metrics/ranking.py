"""Rank-k (CMC), mean average precision and mINP from similarities: exact, in blocks of queries, by counting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stmga.metrics.counting import block_ranks, comparable
from stmga.metrics.matching import CameraCodes, LabelCodes, MatchRules, check_lengths, to_codes
from stmga.metrics.protocol import CHOICES
from stmga.utils.arrays import to_numpy
from stmga.utils.isolation import isolated

ROWS = 256  # rows of a matrix copied at once


class NoMatchError(ValueError):
    """There is nothing to score: no query has a correct match in its list."""


@dataclass(frozen=True, kw_only=True)
class RankScores:
    """Scores of a ranking: ``cmc[k - 1]`` is rank-k. Queries in ``unmatched`` have no correct match and do not count.

    ``mINP`` is the mean over the queries of correct matches / rank of the last correct match (Ye et al. 2021): how far
    down one must look to have found all. ``matches`` is the number of correct matches of an average query.
    """

    mAP: float  # noqa: N815 - its name everywhere
    cmc: tuple[float, ...]
    mINP: float  # noqa: N815
    queries: int
    matches: float
    unmatched: tuple[int, ...] = ()

    def rank(self, k: int) -> float:
        """Share of the counted queries with a correct match among their first ``k``."""
        if k < 1:
            raise ValueError(f"rank(k) needs k >= 1, got {k}")
        return self.cmc[min(k, len(self.cmc)) - 1]

    def __str__(self) -> str:
        ranks = ", ".join(f"rank-{k} {self.rank(k):.1%}" for k in (1, 5, 10))
        none = f"; {len(self.unmatched)} without a match do not count" if self.unmatched else ""
        return f"mAP {self.mAP:.1%}, {ranks}, mINP {self.mINP:.1%} ({self.queries} queries{none})"


def average_precision(ranks: ArrayLike, *, ap: str = "hits") -> float:
    """Mean of the precision at each correct match, from the ranks (from 0) of all correct matches.

    ``ap="trapezoid"`` averages, at each correct match, the precision there and one rank before (1 before the first
    rank), as old MATLAB code does. It is lower by up to a few points.

    >>> average_precision([0, 2])   # (1/1 + 2/3) / 2
    0.8333333333333333
    >>> average_precision([0, 2], ap="trapezoid")   # ((1 + 1) / 2 + (1/2 + 2/3) / 2) / 2
    0.7916666666666666
    """
    ranks = np.sort(to_numpy(ranks))
    if ranks.size == 0:
        raise ValueError("average precision is undefined without a correct match")
    if ap not in CHOICES["ap"]:
        raise ValueError(f"ap must be one of {', '.join(CHOICES['ap'])}, got {ap!r}")
    hits = np.arange(ranks.size)
    precision = (hits + 1) / (ranks + 1)
    if ap == "trapezoid":
        before = np.where(ranks > 0, hits / np.maximum(ranks, 1), 1.0)
        precision = (precision + before) / 2
    return float(np.mean(precision))


@isolated
def rank_scores(
    similarity: Iterable[Any],
    query_persons: Sequence[Any],
    gallery_persons: Sequence[Any],
    *,
    query_cameras: Sequence[Any] | None = None,
    gallery_cameras: Sequence[Any] | None = None,
    query_ids: Sequence[Any] | None = None,
    gallery_ids: Sequence[Any] | None = None,
    ap: str = "hits",
) -> RankScores:
    """``(q, g)`` similarities (larger = more similar) and the persons -> rank-k, mAP and mINP.

    For embeddings and a protocol, use :func:`stmga.metrics.evaluate`, which counts by the same rules.

    Args:
        similarity: array or tensor ``(q, g)``, or any iterable of its ``q`` rows or of blocks ``(b, g)`` of rows, so
            it need not fit in memory. It is not changed.
        query_persons, gallery_persons: one identity each. A gallery entry of person ``None`` is always a wrong answer.
        query_cameras, gallery_cameras: with both given, a gallery entry of the query's person leaves the query's list
            if it comes from the query's camera, or may come from it, because either camera is ``None``.
        query_ids, gallery_ids: with both given, an entry with the query's own id is left out too.
        ap: see :func:`average_precision`.

    Equal similarities rank in gallery order. A query without a match does not count; ``unmatched`` has its index.

    Raises:
        NoMatchError: no query that counts.
        ValueError: lengths that do not fit, cameras or ids of one side only, NaN.

    >>> cameras = {"query_cameras": [1], "gallery_cameras": [1, 2, 2]}
    >>> scores = rank_scores([[0.9, 0.8, 0.7]], ["ann"], ["ann", "bob", "ann"], **cameras)
    >>> scores.mAP, scores.rank(1), scores.rank(2), scores.mINP
    (0.5, 0.0, 1.0, 0.5)
    """
    persons = to_codes("persons", _listed(query_persons), _listed(gallery_persons))
    shape = len(persons[0]), len(persons[1])
    cameras = _optional_codes("cameras", query_cameras, gallery_cameras, shape=shape)
    ids = _optional_codes("ids", query_ids, gallery_ids, shape=shape)
    sides = (
        LabelCodes(person, camera if camera is None else CameraCodes(camera), own)
        for person, camera, own in zip(persons, cameras, ids, strict=True)
    )
    answers = MatchRules(*sides)
    return score_blocks(_own_blocks(similarity, *shape), answers, ap=ap)


def score_blocks(blocks: Iterable[Any], answers: MatchRules, *, ap: str = "hits") -> RankScores:
    """Blocks ``(b, g)`` of similarities, all rows in order -> scores. The blocks are written into.

    Raises:
        NoMatchError: no query that counts.
    """
    queries, gallery = len(answers.queries), len(answers.gallery)
    precisions: list[float] = []
    penalties: list[float] = []
    matches, start = 0, 0
    firsts = np.zeros(gallery, dtype=np.int64)  # how many queries have their first correct match at each rank
    unmatched: list[int] = []
    for block in blocks:
        right, removed = zip(*(answers.of(i) for i in range(start, start + len(block))), strict=True)
        for i, ranks in enumerate(block_ranks(block, right, removed), start=start):
            if ranks.size:
                precisions.append(average_precision(ranks, ap=ap))
                penalties.append(ranks.size / (ranks[-1] + 1))
                matches += ranks.size
                firsts[ranks[0]] += 1
            else:
                unmatched.append(i)
        start += len(block)
    assert start == queries
    if not precisions:
        raise NoMatchError(f"none of the {queries} queries has a match in the gallery, so there is nothing to score")
    return RankScores(
        mAP=float(np.mean(precisions)),
        cmc=tuple((np.cumsum(firsts) / len(precisions)).tolist()),
        mINP=float(np.mean(penalties)),
        queries=len(precisions),
        matches=matches / len(precisions),
        unmatched=tuple(unmatched),
    )


def _listed(labels: Any) -> Sequence[Any]:
    return labels.tolist() if hasattr(labels, "tolist") else labels  # the entries of a tensor equal nothing


def _optional_codes(
    what: str, queries: Sequence[Any] | None, gallery: Sequence[Any] | None, *, shape: tuple[int, int]
) -> Sequence[NDArray[np.int64] | None]:
    if queries is None and gallery is None:
        return None, None
    if queries is None or gallery is None:
        raise ValueError(f"query_{what} and gallery_{what} go together: give both or neither")
    check_lengths(what, queries, gallery, shape)
    return to_codes(what, _listed(queries), _listed(gallery))


def _own_blocks(similarity: Iterable[Any], queries: int, gallery: int) -> Iterator[Any]:
    """The caller's rows or blocks, checked, as copies that may be written into."""
    expected = f"expected similarity ({queries}, {gallery}) for these persons"
    rows = 0
    for block in _pieces(similarity):
        if rows >= queries or block.shape[1:] != (gallery,):
            raise ValueError(f"{expected}; row {rows} has shape {tuple(block.shape[1:])}")
        if rows + len(block) > queries:
            raise ValueError(f"{expected}, got row {queries} and more")
        if broken := _first_nan(block):
            raise ValueError(f"similarity holds NaN in row {rows + broken - 1}")
        rows += len(block)
        yield block
    if rows != queries:
        raise ValueError(f"{expected}, got {rows} rows")


def _pieces(similarity: Iterable[Any]) -> Iterator[Any]:
    """Blocks ``(b, ...)`` of anything with rows, as copies on the same device."""
    whole: Any = similarity
    if hasattr(whole, "shape") and len(whole.shape) == 2:
        similarity = (whole[i : i + ROWS] for i in range(0, len(whole), ROWS))
    for piece in similarity:
        if isinstance(piece, Tensor) and piece.device.type != "cpu":
            wide = piece.dtype in (torch.float32, torch.float64)
            block: Any = piece.detach().to(piece.dtype if wide else torch.float64, copy=True)
        else:
            block = comparable(to_numpy(piece))
        yield block if block.ndim > 1 else block[None]


def _first_nan(block: Any) -> int:
    """Number (from 1) of the first row that holds NaN; 0 if none does."""
    if block.shape[1] == 0 or not np.isnan(float(block.min())):  # the minimum is NaN if any value is
        return 0
    rows = np.isnan(to_numpy(block)).any(axis=1)
    return int(np.flatnonzero(rows)[0]) + 1
