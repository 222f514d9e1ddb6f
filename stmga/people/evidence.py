"""What changes the score of a pair of tracklets beside its vectors: one camera, and travel times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.calibration import Calibration
from stmga.metrics.shared_neighbours import Pairs
from stmga.people.thresholds import LinkThresholds
from stmga.tracklets.times import Span, TravelTime


def camera_change(pairs: Pairs, cameras: Sequence[Any], margin: float) -> NDArray[np.float64]:
    """``-margin`` for the pairs of one known camera, else 0: within a camera the cut is higher."""
    numbers: dict[str, int] = {}
    codes = np.array([-1 if c is None else numbers.setdefault(str(c), len(numbers)) for c in cameras])
    mine, theirs = codes[pairs.rows], codes[pairs.columns]
    return np.where((mine == theirs) & (mine >= 0), -margin, 0.0)


def travel_change(
    pairs: Pairs,
    clock: Mapping[int, Span],
    travel: Sequence[TravelTime],
    calibration: Calibration | None,
    thresholds: LinkThresholds,
) -> NDArray[np.float64]:
    """What a travel time adds to a pair that it fits, else 0.

    It is :meth:`Calibration.gain` for the share of all pairs of tracklets of the two cameras that fit by chance.
    Without a calibration it is 0.
    """
    change = np.zeros(len(pairs))
    if calibration is None or thresholds.false_match_rate is None:
        return change
    for one in travel:
        a, b = (_tracklets(clock, camera) for camera in one.cameras)
        fitting = _fitting(a[1], b[2], one) + _fitting(b[1], a[2], one)
        if not fitting:
            continue
        share = fitting / (len(a[0]) * len(b[0]))
        change[_fits(pairs, a, b, one)] = calibration.gain(share, thresholds.false_match_rate)
    return change


Seen = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]  # rows, first and last seconds


def _tracklets(clock: Mapping[int, Span], camera: str) -> Seen:
    rows = [row for row, (name, _) in clock.items() if str(name) == camera]
    spans = np.array([clock[row][1] for row in rows], dtype=np.float64).reshape(-1, 2)
    return np.array(rows, dtype=np.int64), spans[:, 0], spans[:, 1]


def _fitting(starts: NDArray[np.float64], ends: NDArray[np.float64], one: TravelTime) -> int:
    """How many pairs of an end in one camera and a start in the other have the travel time between them."""
    starts = np.sort(starts)
    first, last = np.searchsorted(starts, ends + one.least, "left"), np.searchsorted(starts, ends + one.most, "right")
    return int((last - first).sum())


def _fits(pairs: Pairs, a: Seen, b: Seen, one: TravelTime) -> NDArray[np.bool_]:
    n = int(max(pairs.columns.max(initial=0), a[0].max(initial=0), b[0].max(initial=0))) + 1
    side, start, end = np.zeros(n, np.int64), np.zeros(n), np.zeros(n)
    for number, (rows, starts, ends) in ((1, a), (2, b)):
        side[rows], start[rows], end[rows] = number, starts, ends
    between = np.maximum(start[pairs.rows] - end[pairs.columns], start[pairs.columns] - end[pairs.rows])
    both = side[pairs.rows] + side[pairs.columns] == 3
    return both & (between >= one.least) & (between <= one.most)
