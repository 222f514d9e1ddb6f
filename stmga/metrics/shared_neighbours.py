"""How many of their neighbours two vectors share: evidence for one person beside their own similarity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stmga.metrics.neighbours import nearest
from stmga.metrics.reranking import mutual
from stmga.metrics.sparse_rows import Floats, Ints, SparseRows, summed

ENTRIES = 8 << 20  # pairs of entries that are worked on at once


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of rows, ``rows < columns``, each once and in order, with the share of neighbours that both have."""

    rows: Ints
    columns: Ints
    shared: Floats

    def __len__(self) -> int:
        return len(self.rows)


def shared_neighbours(vectors: Tensor, *, match: float, floor: float, most: int = 10) -> Pairs:
    """``(n, c)`` vectors of length one, or zero -> pairs of rows that are neighbours or have a neighbour in common.

    Neighbours of a row are the rows among its ``k`` nearest that have it among their own, with a cosine of at least
    ``floor``. Each has the weight exp(cosine - 1). The weights of a row sum to one. They are averaged with those of its
    ``k / 3`` nearest rows, as far as these have a cosine of at least ``floor``. ``shared`` is the Jaccard similarity of
    two rows, ``s / (2 - s)`` with ``s`` the sum of the smaller weights. The two rows themselves do not count: two
    vectors that are only neighbours of each other share nothing. A row and each of its ``most`` nearest with a cosine
    of at least ``floor`` are a pair in any case.

    ``k`` is the mean number of rows that match a row, over the rows that match any, from 1 to ``most``: with three
    vectors per person, the ten nearest are mostly other people, who would be shared too.

    Args:
        match: cosine from which two rows match, at least ``floor``.
        floor: cosine from which a row is a neighbour.
        most: the largest ``k``.

    Source: the k-reciprocal sets, weights and local expansion of Zhong et al., CVPR 2017 (as in
    :func:`stmga.metrics.reranking.rerank`), with a floor, without the pair itself, and with ``k`` from the data.

    >>> import torch
    >>> x = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]]))
    >>> pairs = shared_neighbours(x, match=0.9, floor=0.9)
    >>> pairs.rows, pairs.columns, pairs.shared.round(2)
    (array([0, 0, 1]), array([1, 2, 2]), array([0.2, 0.2, 0.2], dtype=float32))
    """
    n = len(vectors)
    near = nearest(vectors, min(2 * most + 1, n))
    rows, indices, squares = np.arange(n)[:, None], near.indices.numpy(), near.squares.numpy()
    cosines = _cosines(vectors, indices, squares)
    others = indices != rows
    alike = others & (cosines >= floor)
    k = _count((others & (cosines >= match)).sum(1), most)
    few = 1 + round(k / 3)
    weights = _weights(indices[:, : k + 1], cosines[:, : k + 1], alike[:, : k + 1])
    weights = _expanded(weights, indices[:, :few], alike[:, :few])
    alike = alike[:, : most + 1]
    codes = (np.minimum(rows, indices) * n + np.maximum(rows, indices))[:, : most + 1][alike]
    found = [*_sums(weights, n), (codes, np.zeros(len(codes), dtype=np.float32))]
    codes, least = summed(*(np.concatenate(part) for part in zip(*found, strict=True)))
    return Pairs(*np.divmod(codes, n), (least / (2 - least)).astype(np.float32))


def _count(matches: Ints, most: int) -> int:
    """The mean number of matches of the rows that have any, from 1 to ``most``."""
    matched = matches[matches > 0]
    return int(np.clip(round(matched.mean()), 1, most)) if len(matched) else 1


def _cosines(vectors: Tensor, indices: Ints, squares: Floats) -> Floats:
    """Cosines of the k nearest ``(n, k)``, from their squared distances."""
    lengths = vectors.square().sum(1).numpy()  # one, or zero
    return (lengths[:, None] + lengths[indices] - squares) / 2


def _weights(indices: Ints, cosines: Floats, alike: NDArray[np.bool_]) -> SparseRows:
    """The k nearest ``(n, k)`` -> the weights of every row's neighbours and of itself; each row sums to one."""
    n, kept = len(indices), mutual(indices) & alike
    rows = np.concatenate([np.arange(n), np.nonzero(kept)[0]])
    columns = np.concatenate([np.arange(n), indices[kept]])
    values = np.concatenate([np.ones(n), np.exp(cosines[kept] - 1)]).astype(np.float32)
    order = np.argsort(rows, kind="stable")
    rows, columns, values = rows[order], columns[order], values[order]
    return SparseRows.of(rows, columns, (values / np.bincount(rows, values, n)[rows]).astype(np.float32), n)


def _expanded(weights: SparseRows, indices: Ints, alike: NDArray[np.bool_]) -> SparseRows:
    """Every row becomes the mean of itself and of those of ``indices (n, k)`` that are ``alike``."""
    n = len(indices)
    rows = np.concatenate([np.arange(n), np.nonzero(alike)[0]])
    owner, at = weights.gather(np.concatenate([np.arange(n), indices[alike]]))
    codes, total = summed(rows[owner] * n + weights.columns[at], weights.values[at])
    rows, columns = np.divmod(codes, n)
    return SparseRows.of(rows, columns, (total / np.bincount(rows, total, n)[rows]).astype(np.float32), n)


def _sums(weights: SparseRows, n: int) -> Iterator[tuple[Ints, Floats]]:
    """Blocks of pairs ``row * n + column`` with the sum of the smaller weights over the columns that both have."""
    rows = np.repeat(np.arange(n), np.diff(weights.starts))
    order = np.argsort(weights.columns, kind="stable")
    by_column = SparseRows.of(weights.columns[order], rows[order], weights.values[order], n)
    entries = np.cumsum(np.diff(by_column.starts)[weights.columns])[weights.starts[1:] - 1]
    stops = np.searchsorted(entries, np.arange(ENTRIES, entries[-1] + ENTRIES, ENTRIES), side="right").clip(1)
    start = 0
    for stop in np.unique(np.append(stops, n)):
        own = slice(weights.starts[start], weights.starts[stop])
        which, at = by_column.gather(weights.columns[own])
        row, common, other = rows[own][which], weights.columns[own][which], by_column.columns[at]
        least = np.minimum(weights.values[own][which], by_column.values[at])
        least[(common == row) | (common == other)] = 0
        pair = other > row
        yield summed(row[pair] * n + other[pair], least[pair])
        start = stop
