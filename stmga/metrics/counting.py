"""Places in a ranked list by counting: how many entries come before a right answer, without sorting the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stmga.utils.arrays import to_numpy

Places = NDArray[np.int64]
SORT_FROM = 128  # right answers of one query from which one sort is cheaper than counting for each of them
PAIRS = 1 << 24  # comparisons at once on an accelerator


def match_places(similarity: ArrayLike, relevant: ArrayLike, ignored: ArrayLike) -> Places:
    """``(g,)`` each -> places (from 0) of the relevant entries in the ranked list.

    Ignored entries leave the list; equal similarities keep gallery order.

    >>> match_places([0.1, 0.9, 0.5, 0.9], relevant=[1, 0, 0, 1], ignored=[0, 1, 0, 0])
    array([0, 2])
    """
    row = comparable(to_numpy(similarity))
    gone = to_numpy(ignored).astype(bool)
    row[gone] = np.nan
    return np.sort(_row_places(row, np.flatnonzero(to_numpy(relevant).astype(bool) & ~gone)))


def block_places(block: Any, right: Sequence[Places], removed: Sequence[Places]) -> list[Places]:
    """Similarities ``(b, g)`` and, for each row, its right and removed columns -> sorted places of the right ones.

    The block is scratch space: removed entries become NaN, which is neither greater than nor equal to anything. An
    array, or a tensor on any device; the numbers are the same.
    """
    if isinstance(block, Tensor) and block.device.type != "cpu":
        return device_places(block, right, removed)
    array = block.numpy() if isinstance(block, Tensor) else block
    found = []
    for row, columns, gone in zip(array, right, removed, strict=True):
        row[gone] = np.nan
        found.append(np.sort(_row_places(row, columns)))
    return found


def _row_places(row: NDArray[Any], columns: Places) -> Places:
    if len(columns) >= SORT_FROM:
        place = np.empty(len(row), dtype=np.int64)
        place[np.argsort(-row, kind="stable")] = np.arange(len(row))  # NaN comes last
        return place[columns]
    count = np.count_nonzero
    # Before an entry come the greater ones, and of the equal ones those that stand earlier in the gallery.
    return np.array([count(row[:c] >= row[c]) + count(row[c + 1 :] > row[c]) for c in columns.tolist()], np.int64)


def device_places(block: Tensor, right: Sequence[Places], removed: Sequence[Places]) -> list[Places]:
    """:func:`block_places` with all pairs of a right answer and an entry compared at once, one transfer a block."""
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
    return [np.sort(places) for places in np.split(counts.cpu().numpy(), ends[:-1])]


def _pairs(columns: Sequence[Places], device: torch.device) -> tuple[Tensor, Tensor]:
    rows = np.repeat(np.arange(len(columns)), [len(c) for c in columns])
    joined = np.concatenate(columns) if columns else np.empty(0, np.int64)
    return torch.from_numpy(rows).to(device), torch.from_numpy(joined).to(device)


def comparable(values: NDArray[Any]) -> NDArray[Any]:
    """A copy in which NaN can be written: float32 and float64 stay what they are."""
    keeps = values.dtype in (np.float32, np.float64)
    return np.array(values, dtype=values.dtype if keeps else np.float64)
