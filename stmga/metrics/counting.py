"""Ranks by counting how many entries come before a correct match, without sorting the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stmga.utils.arrays import to_numpy

Indices = NDArray[np.int64]
SORT_FROM = 128  # from this many correct matches of a query, one sort is cheaper than counting for each
PAIRS = 1 << 24  # comparisons at once on an accelerator


def match_ranks(similarity: ArrayLike, relevant: ArrayLike, ignored: ArrayLike) -> Indices:
    """``(g,)`` each -> ranks (from 0) of the relevant entries in the ranked list.

    Ignored entries leave the list; equal similarities keep gallery order.

    >>> match_ranks([0.1, 0.9, 0.5, 0.9], relevant=[1, 0, 0, 1], ignored=[0, 1, 0, 0])
    array([0, 2])
    """
    row = comparable(to_numpy(similarity))
    gone = to_numpy(ignored).astype(bool)
    row[gone] = np.nan
    return np.sort(_row_ranks(row, np.flatnonzero(to_numpy(relevant).astype(bool) & ~gone)))


def block_ranks(block: Any, right: Sequence[Indices], removed: Sequence[Indices]) -> list[Indices]:
    """Similarities ``(b, g)`` and, for each row, its correct and removed columns -> sorted ranks of the correct ones.

    The block is overwritten: removed entries become NaN, which is neither greater than nor equal to anything. It may be
    an array or a tensor on any device, with the same result.
    """
    if isinstance(block, Tensor) and block.device.type != "cpu":
        return device_ranks(block, right, removed)
    array = block.numpy() if isinstance(block, Tensor) else block
    found = []
    for row, columns, gone in zip(array, right, removed, strict=True):
        row[gone] = np.nan
        found.append(np.sort(_row_ranks(row, columns)))
    return found


def _row_ranks(row: NDArray[Any], columns: Indices) -> Indices:
    if len(columns) >= SORT_FROM:
        rank = np.empty(len(row), dtype=np.int64)
        rank[np.argsort(-row, kind="stable")] = np.arange(len(row))  # NaN comes last
        return rank[columns]
    count = np.count_nonzero
    # Before an entry come all greater ones, and the equal ones that are earlier in the gallery.
    return np.array([count(row[:c] >= row[c]) + count(row[c + 1 :] > row[c]) for c in columns.tolist()], np.int64)


def device_ranks(block: Tensor, right: Sequence[Indices], removed: Sequence[Indices]) -> list[Indices]:
    """:func:`block_ranks` that compares all pairs of a correct match and an entry at once: one transfer per block."""
    rows, columns = _pairs(removed, block.device)
    block[rows, columns] = torch.nan
    rows, columns = _pairs(right, block.device)
    values, order = block[rows, columns], torch.arange(block.shape[1], dtype=torch.int64, device=block.device)
    counts = torch.empty(len(rows), dtype=torch.int64, device=block.device)
    step = max(1, PAIRS // max(1, block.shape[1]))
    for part in (slice(start, start + step) for start in range(0, len(rows), step)):
        entries, value = block[rows[part]], values[part, None]
        before = (entries > value) | ((entries == value) & (order < columns[part, None]))
        counts[part] = before.sum(1)
    ends = np.cumsum([len(columns) for columns in right])
    return [np.sort(ranks) for ranks in np.split(counts.cpu().numpy(), ends[:-1])]


def _pairs(columns: Sequence[Indices], device: torch.device) -> tuple[Tensor, Tensor]:
    rows = np.repeat(np.arange(len(columns)), [len(c) for c in columns])
    joined = np.concatenate(columns) if columns else np.empty(0, np.int64)
    return torch.from_numpy(rows).to(device), torch.from_numpy(joined).to(device)


def comparable(values: NDArray[Any]) -> NDArray[Any]:
    """A copy that can hold NaN; float32 and float64 keep their type."""
    keeps = values.dtype in (np.float32, np.float64)
    return np.array(values, dtype=values.dtype if keeps else np.float64)
