"""A score of a round without labels: how much the weights agree with themselves about who is who."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from stmga.calibration import Calibration
from stmga.metrics.sparse_rows import products
from stmga.people.identities import Identities
from stmga.people.unlabelled import Rows
from stmga.train.adaptation.labels import linked
from stmga.train.adaptation.site import View


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is measured of a round; all of it rises with better weights.

    Attributes:
        agreement: the first halves of all tracklets are linked, and the second halves. F1 of the pairs of tracklets
            that both put together; of pairs of two cameras where there are any. 0 if neither puts any together.
        silhouette: mean of that of all tracklets, ``2 confidence - 1``: how much better their identity fits than the
            next one that constraints allow.
        margin: mean over tracklets of the cosine of their halves less the highest to a tracklet that the camera saw at
            the same time; None without such pairs.
    """

    agreement: float
    silhouette: float
    margin: float | None = None

    @property
    def total(self) -> float:
        """The mean of what is known.

        >>> round(Score(agreement=0.8, silhouette=0.3, margin=0.4).total, 2)
        0.5
        """
        known = [value for value in asdict(self).values() if value is not None]
        return sum(known) / len(known)


def score_of(
    view: View, people: Identities, calibration: Calibration, together: tuple[Rows, Rows], rate: float | None = None
) -> Score:
    """The score of what ``people`` is the linking of.

    Args:
        view: of the weights.
        people: the identities, linked from ``view.whole``.
        calibration, rate: what they were linked with.
        together: pairs of tracklets that one camera saw at the same time.
    """
    silhouettes = [2 * row.confidence - 1 for row in people]
    return Score(
        agreement=agreement(view, calibration, rate) if len(view.of) else 0.0,
        silhouette=float(np.mean(silhouettes)),
        margin=margin(view, together),
    )


def agreement(view: View, calibration: Calibration, rate: float | None) -> float:
    """F1 of the pairs that linking the first halves, and linking the second halves, put together."""
    cameras = [item.get("camera") for item in view.whole.items]
    found = []
    for number in (0, 1):
        rows, half = view.half(number)
        found.append([row.identity for row in linked(half, calibration, rate)])
    return pair_f1(found[0], found[1], [cameras[row] for row in rows])


def pair_f1(one: Sequence[Hashable], other: Sequence[Hashable], cameras: Sequence[Hashable]) -> float:
    """F1 of the pairs that two groupings of the same rows put together.

    Pairs of two known cameras count; where neither grouping has any, all pairs do.

    >>> pair_f1("aabb", "aacc", [1, 2, 1, 2]), pair_f1("aabb", "abcd", [1, 2, 1, 2])
    (1.0, 0.0)
    >>> pair_f1("aaab", "aabb", [None] * 4)
    0.4
    """
    both = list(zip(one, other, strict=True))
    for among in (cameras, None):
        shared, first, second = (_pairs(keys, among) for keys in (both, one, other))
        if first + second:
            return 2 * shared / (first + second)
    return 0.0


def _pairs(keys: Sequence[Hashable], cameras: Sequence[Hashable] | None) -> int:
    """How many pairs have one key; with cameras, only pairs of two known ones."""
    every = Counter(keys if cameras is None else [k for k, c in zip(keys, cameras, strict=True) if c is not None])
    total = sum(n * (n - 1) // 2 for n in every.values())
    if cameras is None:
        return total
    own = Counter(pair for pair in zip(keys, cameras, strict=True) if pair[1] is not None)
    return total - sum(n * (n - 1) // 2 for n in own.values())


def margin(view: View, together: tuple[Rows, Rows]) -> float | None:
    """Mean cosine of two halves, less the highest cosine to a tracklet that was seen at the same time."""
    if not len(together[0]) or not len(view.of):
        return None
    (rows, first), (_, second) = view.half(0), view.half(1)
    of_one = np.einsum("nc,nc->n", first.vectors.numpy(), second.vectors.numpy())
    vectors = view.whole.vectors.numpy()
    nearest: NDArray[np.float64] = np.full(len(vectors), -np.inf)
    cosines = products(vectors, together[0], vectors, together[1])
    for ends in together:
        np.maximum.at(nearest, ends, cosines)
    seen = np.isfinite(nearest[rows])
    return float((of_one[seen] - nearest[rows][seen]).mean()) if seen.any() else None
