"""One identity for each person, over cameras and time: tracklets grouped by their vectors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.embedding.embeddings import Embeddings
from stmga.metrics.shared_neighbours import Pairs, shared_neighbours
from stmga.metrics.sparse_rows import products, summed
from stmga.people.agglomerate import agglomerate
from stmga.people.constraints import KnownPersons, NoOverlap, Span
from stmga.people.identities import Identities, Membership
from stmga.utils.isolation import isolated
from stmga.utils.text import did_you_mean

logger = logging.getLogger(__name__)


@isolated
def link(
    embeddings: Embeddings,
    *,
    threshold: float | None = None,
    false_match_rate: float | None = None,
    known: Mapping[str, Any] | None = None,
) -> Identities:
    """Group tracklets into persons: average linkage on cosine + shared neighbours, under constraints.

    Two groups of tracklets become one person while the mean score of their pairs is at least the threshold. The score
    of a pair is its cosine plus the share of neighbours that both have (0..1, see
    :func:`stmga.metrics.shared_neighbours.shared_neighbours`), so a pair that many similar tracklets connect may be
    less similar itself.

    Two tracklets of one camera that overlap in time are never one person. Times are read from the items: ``time`` and
    ``end_time`` in seconds on a clock that all videos of the camera share, or ``start`` and ``end`` in frames of one
    ``video``. Tracklets without times are not kept apart by them; they are counted and logged.

    Args:
        embeddings: of one or more cameras, made by the same weights.
        threshold: score from which two groups are one person.
        false_match_rate: the threshold that the calibration of the embeddings gives for this rate; default: 1e-3.
        known: the person of some tracklets, by id, as corrected by hand. Tracklets of one known person are always
            together, those of two always apart. The known person wins over the times.

    Raises:
        ValueError: no tracklets, no threshold and no calibration, both a threshold and a rate, a rate that was not
            measured, or a known tracklet that is not there.

    >>> import torch
    >>> vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    >>> items = [{"tracklet": "a", "camera": 1}, {"tracklet": "b", "camera": 2}, {"tracklet": "c", "camera": 2}]
    >>> people = link(Embeddings(vectors, items, digest="1f0c"), threshold=0.6)
    >>> people, [row.identity for row in people]
    (Identities(2 from 3 tracklets, 1 with one tracklet), [1, 1, 2])
    """
    if not len(embeddings):
        raise ValueError("there are no tracklets to link")
    cut, floor, rate = _thresholds(embeddings, threshold, false_match_rate)
    persons = _known(embeddings, known or {})
    clock, frames = _spans(embeddings, _by_clock), _spans(embeddings, _by_frame)
    pairs = shared_neighbours(embeddings.vectors, floor=floor)
    labels = agglomerate(
        embeddings.vectors.numpy(),
        pairs,
        cut,
        constraints=[KnownPersons(persons), NoOverlap(clock), NoOverlap(frames)],
        together=_together(persons),
    )
    free = len(embeddings) - len(clock.keys() | frames.keys())
    if free:
        logger.warning("%s of %s tracklets have no times: nothing keeps those of one camera apart that overlap",
                       f"{free:,}", f"{len(embeddings):,}")  # fmt: skip
    rows = list(_memberships(embeddings, labels, pairs, cut))
    return Identities(rows, threshold=cut, false_match_rate=rate, without_times=free)


def _thresholds(
    embeddings: Embeddings, threshold: float | None, rate: float | None
) -> tuple[float, float, float | None]:
    """The cut, the cosine from which a neighbour counts, and the false-match rate of the cut."""
    if threshold is not None and rate is not None:
        raise ValueError("give a threshold or a false-match rate, not both")
    if threshold is not None:
        if not -1 <= threshold <= 2:
            raise ValueError(f"threshold must be a score in -1..2, got {threshold}")
        return threshold, min(threshold, 1.0), None
    calibration = embeddings.calibration
    if calibration is None:
        raise ValueError(
            "these embeddings have no calibration, so no score says that two tracklets are one person: "
            "pass threshold=, or calibrate their weights (stmga calibrate)"
        )
    point = calibration.threshold(rate)
    # A neighbour is less than a match: half way to the threshold of the next higher rate.
    looser = [p for p in calibration.thresholds if p.false_match_rate > point.false_match_rate]
    next_ = min(looser, key=lambda p: p.false_match_rate, default=point)
    return point.similarity, (point.similarity + next_.similarity) / 2, point.false_match_rate


def _known(embeddings: Embeddings, known: Mapping[str, Any]) -> dict[int, Any]:
    rows = {name: row for row, name in enumerate(embeddings.ids)}
    for name in known:
        if name not in rows:
            raise ValueError(f'no tracklet "{name}" to know the person of. {did_you_mean(name, rows)}'.rstrip())
    return {rows[name]: person for name, person in known.items() if person is not None}


def _together(persons: Mapping[int, Any]) -> Iterator[tuple[int, int]]:
    first: dict[Any, int] = {}
    for row, person in persons.items():
        if first.setdefault(person, row) != row:
            yield first[person], row


def _by_clock(item: Mapping[str, Any]) -> Span | None:
    if item.get("time") is None or item.get("end_time") is None:
        return None
    return item.get("camera"), (item["time"], item["end_time"])


def _by_frame(item: Mapping[str, Any]) -> Span | None:
    if item.get("video") is None or item.get("start") is None or item.get("end") is None:
        return None
    return (item.get("camera"), item["video"]), (item["start"], item["end"])


def _spans(embeddings: Embeddings, span: Callable[[Mapping[str, Any]], Span | None]) -> dict[int, Span]:
    found = {}
    for row, item in enumerate(embeddings.items):
        if (one := span(item)) is None:
            continue
        _, (start, end) = one
        if not all(isinstance(t, (int, float)) and not isinstance(t, bool) for t in (start, end)) or not start <= end:
            raise ValueError(f'tracklet "{item["tracklet"]}" ends at {end!r}, before it starts at {start!r}')
        found[row] = one
    return found


def _memberships(embeddings: Embeddings, labels: NDArray[np.int64], pairs: Pairs, cut: float) -> Iterator[Membership]:
    """What links every tracklet to its own identity, and to the next best."""
    n = len(embeddings)
    vectors = embeddings.vectors.numpy()
    _, which = np.unique(labels, return_inverse=True)  # clusters are named by their first row, so they are in order
    sizes = np.bincount(which)
    sums = np.zeros((len(sizes), vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, which, vectors)
    # Every tracklet with every cluster that it has a pair in, and with its own.
    ends = np.concatenate([pairs.rows, pairs.columns]), np.concatenate([pairs.columns, pairs.rows])
    codes = np.concatenate([ends[0] * n + which[ends[1]], np.arange(n) * n + which])
    codes, shared = summed(codes, np.concatenate([pairs.shared, pairs.shared, np.zeros(n, dtype=np.float32)]))
    rows, clusters = np.divmod(codes, n)
    own = which[rows] == clusters
    lengths = np.einsum("nc,nc->n", vectors, vectors)
    others = sizes[clusters] - own  # a tracklet is not compared with itself
    cosines = (products(vectors, rows, sums, clusters) - own * lengths[rows]) / np.maximum(others, 1)
    scores = np.where(others > 0, cosines + shared / np.maximum(others, 1), cut)
    best_other = np.full(n, -1.0)
    np.maximum.at(best_other, rows[~own], scores[~own])
    alone = sizes[which] == 1
    instead = np.where(alone, best_other, np.maximum(best_other, cut))
    near, far = 2 - scores[own], 2 - instead  # as distances: a score is at most 2
    confidence = (1 + (far - near) / np.maximum(np.maximum(near, far), 1e-12)) / 2
    for row, item in enumerate(embeddings.items):
        yield Membership(
            identity=int(which[row]) + 1,
            tracklet=item["tracklet"],
            **{name: item.get(name) for name in ("camera", "person", "start", "end", "time", "end_time")},
            similarity=None if alone[row] else round(float(cosines[own][row]), 4),
            confidence=round(float(confidence[row]), 4),
        )
