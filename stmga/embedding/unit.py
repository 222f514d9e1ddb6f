"""Vectors have the length 1, or their tracklet is a fault: no vector of length 0 and no NaN leaves an embedder."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from torch import Tensor

from stmga.tracklets.tracklet import Tracklet, TrackletError

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of the length, for float16


class NonFiniteVectorError(TrackletError):
    """A vector is NaN, infinite or of length 0: the weights, the precision or the pixels are at fault."""


def unit_only(
    vectors: Tensor, kept: list[int], tracklets: Sequence[Tracklet], faults: dict[int, str], skip: bool
) -> tuple[Tensor, list[int]]:
    """The vectors (n c) of length 1 and the numbers of their tracklets; the others are added to `faults`.

    A length of 0 or NaN comes from features that are too large for float32, from bad weights or pixels.

    Raises:
        NonFiniteVectorError: a vector has another length, unless they are to be skipped.
    """
    lengths = vectors.norm(dim=1)
    good = (lengths - 1).abs() < TOLERANCE  # false for NaN
    if bool(good.all()):
        return vectors, kept
    found = {}
    for k in (~good).nonzero().flatten().tolist():
        what = f"its vector has the length {lengths[k]:.4g}, not 1: its features are not finite, 0 or too large"
        found[kept[k]] = f'tracklet "{tracklets[kept[k]].id}": {what}'
    faults |= found
    if not skip:
        raise NonFiniteVectorError(list(found.values()))
    logger.warning("%d more tracklets skipped; the first: %s", len(found), next(iter(found.values())))
    return vectors[good], [number for number in kept if number not in found]
