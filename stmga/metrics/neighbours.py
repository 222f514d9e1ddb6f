"""The nearest neighbours of every vector, each pair computed once and no matrix kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stmga.metrics.similarity import product

STRIP = 24 << 20  # bytes of the current strip of the distance matrix
GROUP, WIDE = 16, 64  # entries in a group; the minima of groups bound the distance of the k-th nearest
SPARE = 4  # extra neighbours, so that rounding cannot change which k are nearest
CLOSE = 1e-6  # rounding error of a float32 product, as a share of the squared lengths
SETTLED = 64  # rows ordered again at once
_FAR = (0x7F800000 << 32) | 0xFFFFFFFF  # the key of an infinite distance: nothing yet


@dataclass(eq=False)
class Neighbours:
    """For n vectors, ``indices`` and ``squares`` (n, k): the k nearest of each and their d^2, nearest first.

    Each vector is its own neighbour, first unless others are equal to it. ``farthest`` (n,) is the greatest d^2 of
    each, and ``head`` the part of the matrix that was asked for, or None. Everything is on the CPU.
    """

    indices: Tensor
    squares: Tensor
    farthest: Tensor
    head: Tensor | None


def nearest(x: Tensor, k: int, *, keep: int = 0) -> Neighbours:
    """``(n, c)`` float32 -> the k nearest of each by Euclidean distance; equal distances in order of the rows.

    The matrix is symmetric, so only its upper half is computed, in strips. Each strip is used for its rows and for its
    columns. ``keep=q`` keeps the squared distances of the first q vectors to all others, (q, n - q).

    >>> nearest(torch.tensor([[0.0], [1.0], [3.0]]), 2).indices
    tensor([[0, 1],
            [1, 0],
            [2, 1]])
    """
    n = len(x)
    squares = squared_lengths(x)
    best = _Best(n, min(k + SPARE, n), x.device)
    farthest = x.new_zeros(n)
    head = torch.empty(keep, n - keep, dtype=torch.float32, device="cpu") if keep else None
    rows = max(4 * GROUP, STRIP // (4 * n) // GROUP * GROUP)
    buffer = x.new_empty(min(rows, n) * n)
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        strip = buffer[: (stop - start) * (n - start)].view(stop - start, n - start)
        distances(x[start:stop], x[start:], squares[start:stop], squares[start:], out=strip)
        strip.diagonal().zero_()  # a vector's distance to itself, whatever the rounding
        if head is not None and start < keep:
            head[start:stop] = strip[: keep - start, keep - start :].clamp(min=0).cpu()
        farthest[start:stop] = torch.maximum(farthest[start:stop], strip.amax(1))
        if stop < n:
            farthest[start:] = torch.maximum(farthest[start:], strip.view(-1, GROUP, n - start).amax(1).amax(0))
        best.add_rows(strip, start)
        if stop < n:
            best.add_columns(strip[:, stop - start :], start, stop)
    indices, near = best.sorted()
    _settle(x, indices, near, CLOSE * (squares + squares.max()))
    return Neighbours(indices[:, :k].cpu(), near[:, :k].cpu(), farthest.cpu(), head)


def _settle(x: Tensor, indices: Tensor, squares: Tensor, close: Tensor) -> None:
    """Sort rows again in float64 if they have distances that float32 cannot separate.

    This gives the order of the definition, with ties by index, on any device and for any size of the strips.
    """
    unsure = ((squares[:, 1:] - squares[:, :-1]) <= close[:, None]).any(1).nonzero()[:, 0]
    for rows in unsure.split(SETTLED):
        found = indices[rows].sort(dim=1).values
        exact = (x[found].double() - x[rows, None].double()).square_().sum(2)
        order = exact.argsort(dim=1, stable=True)
        indices[rows], squares[rows] = found.gather(1, order), exact.gather(1, order).float()


def distances(x: Tensor, y: Tensor, xx: Tensor, yy: Tensor, *, out: Tensor) -> Tensor:
    """Squared Euclidean distances ``(n, m)`` of rows with squared lengths ``xx``, ``yy``; rounding may go below 0."""
    product(x * -2, y, out=out)
    return out.add_(xx[:, None]).add_(yy)


def squared_lengths(x: Tensor) -> Tensor:
    """``(n, c)`` -> ``(n,)``, without a copy of all vectors."""
    return torch.cat([part.square().sum(1) for part in x.split(1024)])


class _Best:
    """The k smallest keys of every row. A key has the distance in its high bits and the index in its low bits."""

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        self.k = k
        self.keys = torch.full((n, k), _FAR, dtype=torch.int64, device=device)

    def add_rows(self, strip: Tensor, start: int) -> None:
        """``(b, m)`` distances of the rows from ``start`` on to the columns from ``start`` on."""
        b, m = strip.shape
        limit = _distance(self.keys[start : start + b, -1])  # farther entries cannot be among the k nearest
        if m > start and m // WIDE >= self.k:  # the k-th smallest of the groups' minima bounds the k-th nearest
            groups = strip[:, : m // WIDE * WIDE].unflatten(1, (-1, WIDE)).amin(2)
            limit = torch.minimum(limit, groups.kthvalue(self.k, dim=1).values)
        row, column = _within(strip, limit[:, None])
        self._merge(row, column + start, strip[row, column], slice(start, start + b))

    def add_columns(self, strip: Tensor, start: int, first: int) -> None:
        """The same distances ``(b, m)`` for the columns, which are the vectors from ``first`` on."""
        b, m = strip.shape
        limit = _distance(self.keys[first:, -1])
        if start == 0 and b // GROUP >= self.k:
            groups = strip.unflatten(0, (-1, GROUP)).amin(1)
            limit = torch.minimum(limit, groups.kthvalue(self.k, dim=0).values)
        row, column = _within(strip, limit)
        order = column.argsort(stable=True)
        row, column = row[order], column[order]
        self._merge(column, row + start, strip[row, column], slice(first, first + m))

    def sorted(self) -> tuple[Tensor, Tensor]:
        """Indices and squared distances."""
        return self.keys & 0xFFFFFFFF, _distance(self.keys)

    def _merge(self, owner: Tensor, other: Tensor, distance: Tensor, part: slice) -> None:
        """Merge new entries, sorted by ``owner``, a row number within ``part``."""
        if not len(owner):
            return
        old = self.keys[part]
        counts = torch.bincount(owner, minlength=len(old))
        slot = torch.arange(len(owner), dtype=torch.int64, device=owner.device) - (counts.cumsum(0) - counts)[owner]
        new = old.new_full((len(old), int(counts.max())), _FAR)
        new[owner, slot] = ((distance.clamp_(min=0) + 0.0).view(torch.int32).long() << 32) | other
        self.keys[part] = torch.cat([old, new], dim=1).topk(self.k, dim=1, largest=False).values


def _within(strip: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the entries within their limit, row by row."""
    if strip.device.type == "cpu":  # numpy takes a fifth of torch's time
        at = torch.from_numpy(np.flatnonzero(strip.numpy() <= limit.numpy()))
    else:
        at = (strip <= limit).flatten().nonzero()[:, 0]
    row = at // strip.shape[1]
    return row, at - row * strip.shape[1]


def _distance(keys: Tensor) -> Tensor:
    return (keys >> 32).to(torch.int32).view(torch.float32)
