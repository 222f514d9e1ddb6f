"""How well every tracklet fits its identity, and which other one it could be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from stmga.embedding.embeddings import Embeddings
from stmga.metrics.shared_neighbours import Pairs
from stmga.metrics.sparse_rows import products, summed
from stmga.people.duplicates import Groups
from stmga.people.identities import Membership

LABELS = ("camera", "person", "start", "end", "time", "end_time")


def memberships(
    embeddings: Embeddings,
    people: Groups,
    pieces: Groups,
    pairs: Pairs,
    cut: float,
    may_join: Callable[[int, int], bool],
) -> Iterator[Membership]:
    """One row for each tracklet: what links it to its own identity, and to the next best.

    Args:
        people: the tracklets of each identity.
        pieces: groups of near-duplicates.
        pairs: of pieces, with the mean of what their rows share.
        cut: the score of a person of its own.
        may_join: whether a row could be of an identity; both are row numbers, of an identity its first.
    """
    n = len(embeddings)
    rows, identities, cosines, scores = _scores(embeddings.vectors.numpy(), people, pieces, pairs, cut)
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
    vectors: NDArray[np.float32], people: Groups, pieces: Groups, pairs: Pairs, cut: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(row, identity, mean cosine, mean score) of every tracklet with its own identity and all that it has pairs in."""
    n = len(vectors)
    identity = people.of[pieces.first]
    ends = np.concatenate([pairs.rows, pairs.columns]), np.concatenate([pairs.columns, pairs.rows])
    shares = np.concatenate([pairs.shared, pairs.shared]) * pieces.sizes[ends[1]]
    itself = np.arange(len(pieces.first)) * n + identity  # what the rows of a piece share with each other counts as 0
    codes = np.concatenate([ends[0] * n + identity[ends[1]], itself])
    codes, shared = summed(codes, np.concatenate([shares, np.zeros(len(itself))]))
    piece, identities = np.divmod(codes, n)
    # From pieces to their rows, in order of the rows.
    counts = np.bincount(piece, minlength=len(pieces.first))
    starts, lengths = (np.cumsum(counts) - counts)[pieces.of], counts[pieces.of]
    rows = np.repeat(np.arange(n), lengths)
    at = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(starts, lengths)
    identities, shared = identities[at], shared[at]
    own = people.of[rows] == identities
    squares = np.einsum("nc,nc->n", vectors, vectors)
    others = people.sizes[identities] - own  # a tracklet is not compared with itself
    sums = people.sums(vectors)
    cosines = (products(vectors, rows, sums, identities) - own * squares[rows]) / np.maximum(others, 1)
    scores = np.where(others > 0, cosines + shared / np.maximum(others, 1), cut)
    return rows, identities, cosines, scores
