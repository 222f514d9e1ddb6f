"""A sparse matrix by rows, in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
PAIRS = 1 << 16  # pairs of rows gathered at once


@dataclass(eq=False)
class SparseRows:
    """A sparse matrix by rows: row i has ``columns[starts[i]:starts[i + 1]]``, rising, with their values."""

    starts: Ints
    columns: Ints
    values: Floats

    @classmethod
    def of(cls, rows: Ints, columns: Ints, values: Floats, n: int) -> SparseRows:
        """``n`` rows from (row, column, value) triples sorted by row."""
        return cls(np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]), columns, values)

    def gather(self, wanted: Ints) -> tuple[Ints, Ints]:
        """For every entry of the ``wanted`` rows, in order: the number of its row in ``wanted``, and its index."""
        lengths = self.starts[wanted + 1] - self.starts[wanted]
        owner = np.repeat(np.arange(len(wanted)), lengths)
        return owner, np.arange(len(owner)) + np.repeat(self.starts[wanted] - (np.cumsum(lengths) - lengths), lengths)


def products(x: Floats, rows: Ints, y: Floats, columns: Ints) -> Floats:
    """The products of pairs of rows, ``x[rows[i]] @ y[columns[i]]``, in bounded memory.

    >>> products(np.eye(2, dtype=np.float32), np.array([0, 1]), np.full((1, 2), 3, np.float32), np.array([0, 0]))
    array([3., 3.], dtype=float32)
    """
    blocks = range(0, max(1, len(rows)), PAIRS)
    return np.concatenate([np.einsum("nc,nc->n", x[rows[i : i + PAIRS]], y[columns[i : i + PAIRS]]) for i in blocks])


def summed(codes: Ints, values: NDArray[np.floating]) -> tuple[Ints, NDArray[np.floating]]:
    """Codes in rising order, each once, with the sum of its values.

    >>> summed(np.array([5, 2, 5]), np.array([1.0, 2.0, 3.0]))
    (array([2, 5]), array([2., 4.]))
    """
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    return codes[first], np.add.reduceat(values[order], first) if len(first) else values[:0]
