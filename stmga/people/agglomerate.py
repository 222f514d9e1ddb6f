"""Average linkage of vectors under constraints, on sparse pairs."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stmga.metrics.shared_neighbours import Pairs
from stmga.metrics.sparse_rows import products


class Constraint(Protocol):
    """What keeps clusters apart. Clusters are named by the row of one of their members."""

    def allows(self, a: int, b: int) -> bool:
        """Whether two clusters may become one."""

    def merge(self, into: int, other: int) -> None:
        """The cluster ``other`` has become a part of ``into``."""


def agglomerate(
    vectors: NDArray[np.float32],
    pairs: Pairs,
    cut: float,
    *,
    constraints: Iterable[Constraint] = (),
    together: Iterable[tuple[int, int]] = (),
) -> NDArray[np.int64]:
    """``(n, c)`` unit vectors -> the cluster of each row ``(n,)``, named by the first row that is in it.

    The score of two clusters is the mean of cosine + shared neighbours over all pairs of their members. The best pair
    is merged first, until no score reaches ``cut``. The mean cosine is exact without any pair: the product of the sums
    of two clusters over the product of their sizes. Two clusters are compared where ``pairs`` has a pair of their
    members.

    Args:
        pairs: from :func:`stmga.metrics.shared_neighbours.shared_neighbours`.
        constraints: two clusters that one of them refuses are never merged.
        together: pairs of rows that are merged before all others, whatever their score.

    >>> x = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)
    >>> every = Pairs(np.array([0, 0, 1]), np.array([1, 2, 2]), np.zeros(3, np.float32))
    >>> agglomerate(x, every, 0.7), agglomerate(x, every, 0.2)
    (array([0, 0, 2]), array([0, 0, 0]))
    """
    clusters = _Clusters(vectors, pairs, cut, list(constraints))
    for a, b in together:
        clusters.merge(clusters.of(a), clusters.of(b))
    clusters.score_all()
    clusters.run()
    found = np.array([clusters.of(row) for row in range(len(vectors))], dtype=np.int64)
    _, first, which = np.unique(found, return_index=True, return_inverse=True)
    return first[which]


class _Clusters:
    """Clusters as they merge. A cluster is named by a row; a merge counts up its version, which ends older scores."""

    def __init__(self, vectors: NDArray[np.float32], pairs: Pairs, cut: float, constraints: list[Constraint]) -> None:
        n = len(vectors)
        self.cut, self.constraints = cut, constraints
        self.parent = list(range(n))
        self.version = [0] * n
        self.sizes = np.ones(n)
        self.sums = np.array(vectors, dtype=np.float32)
        self.shared: list[dict[int, float]] = [{} for _ in range(n)]
        triples = zip(pairs.rows.tolist(), pairs.columns.tolist(), pairs.shared.tolist(), strict=True)
        for a, b, share in triples:
            self.shared[a][b] = self.shared[b][a] = share
        self.heap: list[tuple[float, int, int, int, int]] = []

    def of(self, row: int) -> int:
        """The cluster that a row is in."""
        while self.parent[row] != row:
            self.parent[row] = row = self.parent[self.parent[row]]
        return row

    def score_all(self) -> None:
        """Put all pairs that reach the cut on the heap, as they are before the first comparison."""
        rows = np.array([(self.of(a), self.of(b)) for a in range(len(self.parent)) for b in self.shared[a] if a < b])
        if not len(rows):
            return
        a, b = rows.T
        shares = np.array([self.shared[x][y] for x, y in rows.tolist()])
        scores = (products(self.sums, a, self.sums, b) + shares) / (self.sizes[a] * self.sizes[b])
        good = np.flatnonzero(scores >= self.cut)
        versions = np.array(self.version)
        entries = zip((-scores[good]).tolist(), a[good].tolist(), b[good].tolist(),
                      versions[a[good]].tolist(), versions[b[good]].tolist(), strict=True)  # fmt: skip
        self.heap = list(entries)
        heapq.heapify(self.heap)

    def run(self) -> None:
        """Merge the best pair again and again."""
        while self.heap:
            _, a, b, version_a, version_b = heapq.heappop(self.heap)
            fresh = self.version[a] == version_a and self.version[b] == version_b
            fresh = fresh and self.parent[a] == a and self.parent[b] == b
            if fresh and all(constraint.allows(a, b) for constraint in self.constraints):
                self._score(self.merge(a, b))

    def merge(self, a: int, b: int) -> int:
        """Make one cluster of two, under the name of the one with more neighbours; returns that name."""
        if a == b:
            return a
        if len(self.shared[a]) < len(self.shared[b]):
            a, b = b, a
        self.parent[b] = a
        self.version[a] += 1
        self.sizes[a] += self.sizes[b]
        self.sums[a] += self.sums[b]
        for constraint in self.constraints:
            constraint.merge(a, b)
        mine, theirs = self.shared[a], self.shared[b]
        for other, share in theirs.items():
            mine[other] = mine.get(other, 0.0) + share
            del self.shared[other][b]
        self.shared[b] = {}
        mine.pop(a, None)
        mine.pop(b, None)
        for other, share in mine.items():
            self.shared[other][a] = share
        return a

    def _score(self, a: int) -> None:
        """Put the pairs of a cluster that reach the cut on the heap."""
        mine = self.shared[a]
        if not mine:
            return
        others = np.fromiter(mine, dtype=np.int64, count=len(mine))
        shares = np.fromiter(mine.values(), dtype=np.float64, count=len(mine))
        scores = (self.sums[others] @ self.sums[a] + shares) / (self.sizes[others] * self.sizes[a])
        for i in np.flatnonzero(scores >= self.cut).tolist():
            b = int(others[i])
            heapq.heappush(self.heap, (-float(scores[i]), a, b, self.version[a], self.version[b]))
