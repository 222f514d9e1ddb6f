"""Near-duplicates: pieces of one stay in one camera, as trackers cut them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stmga.metrics.neighbours import nearest
from stmga.metrics.shared_neighbours import Pairs
from stmga.people.agglomerate import Constraint, agglomerate

ALIKE = 0.93  # the mean cosine of near-duplicates
NEAR = 20  # how many of the nearest are looked at


class SameCamera:
    """Rows of different cameras are kept apart; an unknown camera is one of its own.

    >>> SameCamera({0: "door", 1: "hall", 2: "door"}).allows(0, 1)
    False
    """

    def __init__(self, cameras: Mapping[int, Any]) -> None:
        self._cameras = cameras

    def allows(self, a: int, b: int) -> bool:
        return bool(self._cameras.get(a) == self._cameras.get(b))

    def merge(self, into: int, other: int) -> None:
        pass  # a group has one camera, that of any row


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows in groups.

    Attributes:
        first: the first row of each group ``(g,)``, rising.
        of: the group of each row ``(n,)``.
        sizes: rows of each group ``(g,)``.
    """

    first: NDArray[np.int64]
    of: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def named(cls, labels: NDArray[np.int64]) -> Groups:
        """From the first row of the group of each row.

        >>> Groups.named(np.array([0, 1, 0])).sizes
        array([2, 1])
        """
        first, of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        return cls(first, of, sizes)

    def sums(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, c)`` -> the sum of the vectors of each group, ``(g, c)``."""
        found = np.zeros((len(self.first), vectors.shape[1]), dtype=np.float32)
        np.add.at(found, self.of, vectors)
        return found

    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of rows that are in one group: every row with the first."""
        names = self.first[self.of]
        others = np.flatnonzero(names != np.arange(len(names)))
        return list(zip(names[others].tolist(), others.tolist(), strict=True))


def near_duplicates(vectors: Tensor, constraints: Iterable[Constraint]) -> Groups:
    """``(n, c)`` unit vectors -> groups of near-duplicates, by average linkage down to a mean cosine of 0.93.

    A second piece of the same stay is not a second witness that two tracklets show one person, so linking compares
    groups, not their rows.

    >>> import torch
    >>> near_duplicates(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), []).of
    array([0, 1, 0])
    """
    n = len(vectors)
    near = nearest(vectors, min(NEAR + 1, n))
    rows, columns = np.broadcast_to(np.arange(n)[:, None], near.indices.shape), near.indices.numpy()
    alike = (near.squares.numpy() <= 2 - 2 * ALIKE) & (rows != columns)
    codes = np.unique((np.minimum(rows, columns) * n + np.maximum(rows, columns))[alike])
    pairs = Pairs(*np.divmod(codes, n), np.zeros(len(codes), dtype=np.float32))
    return Groups.named(agglomerate(vectors.numpy(), pairs, ALIKE, constraints=constraints))
