"""How well every tracklet fits its identity, and which other one it could be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from stmga.embedding.embeddings import Embeddings
from stmga.metrics.shared_neighbours import Pairs
from stmga.metrics.sparse_rows import products, summed
from stmga.people.groups import Groups
from stmga.people.identities import Membership

LABELS = ("camera", "person", "start", "end", "time", "end_time")


def memberships(
    embeddings: Embeddings,
    people: Groups,
    pairs: Pairs,
    cut: float,
    may_join: Callable[[int, int], bool],
) -> Iterator[Membership]:
    """One row for each tracklet: what links it to its own identity, and to the next best.

    Args:
        people: the tracklets of each identity.
        pairs: with what their rows share.
        cut: the score of a person of its own.
        may_join: whether a row could be of an identity; both are row numbers, of an identity its first.
    """
    n = len(embeddings)
    rows, identities, cosines, scores = _scores(embeddings.vectors.numpy(), people, pairs, cut)
    own = people.of[rows] == identities
    other = np.full(n, -1)  # the best identity that it could be instead
    instead = np.full(n, -1.0)
    order = np.argsort(-scores, kind="stable")
    for i in order[~own[order]].tolist():
        row = int(rows[i])
        if other[row] < 0 and may_join(row, int(people.first[identities[i]])):
            other[row], instead[row] = identities[i], scores[i]
    alone = people.sizes[people.of] == 1
    instead = np.where(alone, instead, np.maximum(instead, cut))
    near, far = 2 - scores[own], 2 - instead  # as distances: a score is at most 2
    confidence = (1 + (far - near) / np.maximum(np.maximum(near, far), 1e-12)) / 2
    for row, item in enumerate(embeddings.items):
        yield Membership(
            identity=int(people.of[row]) + 1,
            tracklet=item["tracklet"],
            **{name: item.get(name) for name in LABELS},
            similarity=None if alone[row] else round(float(cosines[own][row]), 4),
            confidence=round(float(np.clip(confidence[row], 0, 1)), 4),
            alternative=None if other[row] < 0 else int(other[row]) + 1,
        )


def _scores(
    vectors: NDArray[np.float32], people: Groups, pairs: Pairs, cut: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(row, identity, mean cosine, mean score) of every tracklet with its own identity and all that it has pairs in."""
    n = len(vectors)
    itself = np.arange(n) * n + people.of
    ends = np.concatenate([pairs.rows, pairs.columns]), np.concatenate([pairs.columns, pairs.rows])
    codes = np.concatenate([ends[0] * n + people.of[ends[1]], itself])
    codes, shared = summed(codes, np.concatenate([pairs.shared, pairs.shared, np.zeros(n)]))
    rows, identities = np.divmod(codes, n)
    own = people.of[rows] == identities
    squares = np.einsum("nc,nc->n", vectors, vectors)
    others = people.sizes[identities] - own  # a tracklet is not compared with itself
    cosines = (products(vectors, rows, people.sums(vectors), identities) - own * squares[rows]) / np.maximum(others, 1)
    scores = np.where(others > 0, cosines + shared / np.maximum(others, 1), cut)
    return rows, identities, cosines, scores
