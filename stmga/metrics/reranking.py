"""k-reciprocal re-ranking of Zhong et al. (CVPR 2017) on sparse neighbours: the dense definition, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmga.metrics.neighbours import Neighbours, distances, nearest, squared_lengths
from stmga.metrics.protocol import CHOICES, Reranking
from stmga.metrics.similarity import check_block
from stmga.metrics.sparse_rows import Floats, Ints, SparseRows
from stmga.utils.isolation import isolated

SCRATCH = 16 << 20  # entries of dense rows in memory at once
HEAD = 256 << 20  # most bytes of query-gallery distances kept from the first pass; larger ones are computed again
PAIRS = 256  # vectors gathered at once
TINY = 1e-12


@isolated
def rerank(
    queries: Tensor,
    gallery: Tensor,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    distance: str = "euclidean",
    block: int | None = None,
    device: str | torch.device | None = None,
) -> Iterator[Tensor]:
    """``(q, c)`` and ``(g, c)`` -> blocks ``(b, g)`` of final distances, smaller = more alike, float32 on the CPU.

    The steps are those of the authors' released code:

    - d: squared Euclidean distances among all q + g vectors, each row divided by its greatest;
    - the k1 + 1 nearest of each vector, itself included;
    - k-reciprocal sets, extended by sets of half the size that overlap them by more than 2/3;
    - weights exp(-d), averaged over the k2 nearest; from them the Jaccard distance J;
    - final distance ``(1 - weight) J + weight d``.

    Other variants (other neighbour counts, other weights) give other numbers.

    Args:
        k1, k2, weight: as in the paper, with its values for the MARS and Market-1501 sets.
        distance: ``"euclidean"``, or ``"cosine"``, which normalises the vectors first.
        block: rows of the result at once; by default 256.
        device: where distances are computed.

    Raises:
        ValueError: k1, k2 or weight out of range, vectors of different widths, none at all, NaN.

    Source: Zhong, Zheng, Cao, Li: Re-ranking person re-identification with k-reciprocal encoding, CVPR 2017.

    >>> x = torch.tensor([[0.0], [1.0], [1.1], [5.0]])
    >>> torch.cat(list(rerank(x[:1], x[1:], k1=2, k2=1)))
    tensor([[0.0442, 0.0517, 1.0000]])
    """
    Reranking(k1=k1, k2=k2, weight=weight)  # checks the values
    check_block(block)
    x = _joined(queries, gallery, distance).to(device or "cpu")
    q, g = len(queries), len(gallery)
    return _blocks(x, q, k1, k2, weight, block or 256, keep=q if 4 * q * g <= HEAD else 0)


def _blocks(x: Tensor, q: int, k1: int, k2: int, weight: float, block: int, *, keep: int) -> Iterator[Tensor]:
    with _one_thread():
        near = nearest(x, max(k1 + 1, k2), keep=keep)
        sets = _reciprocal_sets(near.indices.numpy(), k1)
        weights = _weights(x, near, sets)
    if k2 > 1:
        weights = _expanded(weights, near.indices[:, :k2].numpy())
    jaccard = _Jaccard(weights, q)
    farthest = near.farthest.clamp_min(TINY)[:, None]
    lengths = None if keep else squared_lengths(x)
    for start in range(0, q, block):
        part = slice(start, min(start + block, q))
        if near.head is not None:
            first = near.head[part] / farthest[part]
        else:
            assert lengths is not None
            out = x.new_empty(part.stop - start, len(x) - q)
            first = distances(x[part], x[q:], lengths[part], lengths[q:], out=out).clamp_(min=0).cpu() / farthest[part]
        yield first.mul_(weight).add_(torch.from_numpy(jaccard.rows(part)), alpha=1 - weight)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch's passes over a strip are limited by memory: more threads save no time, and cost twice the CPU time.

    The matrix product, which is most of the work, is not torch's on a CPU and keeps its threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _joined(queries: Tensor, gallery: Tensor, distance: str) -> Tensor:
    if distance not in CHOICES["distance"]:
        raise ValueError(f"distance must be one of {', '.join(CHOICES['distance'])}, got {distance!r}")
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"expected (q, c) and (g, c), got {tuple(queries.shape)} and {tuple(gallery.shape)}")
    if not len(queries) or not len(gallery):
        raise ValueError(f"re-ranking needs queries and a gallery, got {len(queries)} and {len(gallery)}")
    x = torch.cat([queries.detach().float(), gallery.detach().float()])
    if torch.isnan(x.sum()):
        raise ValueError("the vectors to re-rank hold NaN")
    if distance == "cosine":
        x /= torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(TINY)
    return x


def mutual(indices: Ints) -> NDArray[np.bool_]:
    """``(n, k)`` neighbours -> which of them have the row among their own k neighbours."""
    out = np.empty(indices.shape, dtype=bool)
    for part in _chunks(len(indices), SCRATCH // indices.shape[1]):
        row = np.arange(part.start, part.stop)[:, None, None]
        out[part] = (indices[indices[part]] == row).any(2)
    return out


def _chunks(n: int, entries: int = SCRATCH) -> Iterator[slice]:
    rows = max(1, entries // n)
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def _reciprocal_sets(indices: Ints, k1: int) -> tuple[Ints, Ints]:
    """Neighbours ``(n, k)`` -> the extended k-reciprocal set R* of every row as pairs (row, member), sorted."""
    n, half = len(indices), indices[:, : round(k1 / 2) + 1]
    near = indices[:, : k1 + 1]
    near_mutual, half_mutual = mutual(near), mutual(half)
    half_size = half_mutual.sum(1)
    found = []
    for part in _chunks(n):
        inside = np.zeros((part.stop - part.start) * n, dtype=bool)
        row, column = np.nonzero(near_mutual[part])
        candidate = near[part][row, column]
        inside[row * n + candidate] = True
        codes, real = half[candidate] + row[:, None] * n, half_mutual[candidate]
        shared = (inside[codes] & real).sum(1)
        taken = 3 * shared > 2 * half_size[candidate]  # more than 2/3, without rounding
        inside[codes[taken][real[taken]]] = True
        found.append(np.flatnonzero(inside) + part.start * n)
    rows, columns = np.divmod(np.concatenate(found), n)
    return rows, columns


def _weights(x: Tensor, near: Neighbours, sets: tuple[Ints, Ints]) -> SparseRows:
    """exp(-d / greatest d of the row) for every member of the row's set; each row sums to one."""
    rows, columns = sets
    n = len(x)
    square = _known(near, rows * n + columns)
    missing = np.flatnonzero(np.isnan(square))
    for part in np.array_split(missing, -(-len(missing) // PAIRS)) if len(missing) else []:
        a, b = (x[torch.from_numpy(i[part]).to(x.device)].cpu().numpy() for i in (rows, columns))
        a -= b
        square[part] = np.einsum("nc,nc->n", a, a)
    values = np.exp(-square / near.farthest.clamp_min(TINY).numpy()[rows])
    return SparseRows.of(rows, columns, (values / np.bincount(rows, values, n)[rows]).astype(np.float32), n)


def _known(near: Neighbours, codes: Ints) -> Floats:
    """Squared distances of the pairs row * n + column where the column is a neighbour of the row, else NaN."""
    n, k = near.indices.shape
    have = (near.indices + torch.arange(n, dtype=torch.int64, device="cpu")[:, None] * n).numpy().ravel()
    order = np.argsort(have)
    position = order[np.searchsorted(have, codes, sorter=order).clip(max=n * k - 1)]
    return np.where(have[position] == codes, near.squares.numpy().ravel()[position], np.float32(np.nan))


def _expanded(weights: SparseRows, neighbours: Ints) -> SparseRows:
    """Every row becomes the mean of the rows of its ``neighbours`` (n, k2)."""
    n, k = neighbours.shape
    total = np.zeros(min(n, max(1, SCRATCH // 4 // n)) * n, dtype=np.float32)
    found = []
    for part in _chunks(n, SCRATCH // 4):
        entries = []
        for wanted in neighbours[part].T:
            owner, at = weights.gather(wanted)
            entries.append(owner * n + weights.columns[at])
            total[entries[-1]] += weights.values[at]  # no entry occurs twice in one row
        codes = np.sort(np.concatenate(entries))
        codes = codes[np.diff(codes, prepend=-1) > 0]
        found.append((codes + part.start * n, total[codes] / np.float32(k)))
        total[codes] = 0
    codes, values = (np.concatenate(column) for column in zip(*found, strict=True))
    return SparseRows.of(*np.divmod(codes, n), values, n)


class _Jaccard:
    """Jaccard distances of the first q rows to all others, computed from the columns that both have."""

    def __init__(self, weights: SparseRows, q: int) -> None:
        self.weights, self.q, self.n = weights, q, len(weights.starts) - 1
        rows = np.repeat(np.arange(self.n), np.diff(weights.starts))[weights.starts[q] :]
        columns, values = weights.columns[weights.starts[q] :], weights.values[weights.starts[q] :]
        order = np.argsort(columns, kind="stable")
        self.columns = SparseRows.of(columns[order], rows[order] - q, values[order], self.n)

    def rows(self, part: slice) -> Floats:
        """``(b, n - q)``."""
        out = np.empty((part.stop - part.start, self.n - self.q), dtype=np.float32)
        w = self.weights
        for i, row in enumerate(range(part.start, part.stop)):
            own = slice(w.starts[row], w.starts[row + 1])
            owner, at = self.columns.gather(w.columns[own])
            least = np.minimum(w.values[own][owner], self.columns.values[at])
            shared = np.bincount(self.columns.columns[at], least, self.n - self.q)
            out[i] = 1 - shared / (2 - shared)
        return out
