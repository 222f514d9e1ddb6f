"""Rows in groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
