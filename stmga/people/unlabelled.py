"""Thresholds for a site from its own tracklets, without labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings
from stmga.metrics.calibrate import RATES, calibration_of, histogram, measurable
from stmga.metrics.sparse_rows import products
from stmga.tracklets.split import HALF_OF
from stmga.tracklets.times import clock_spans, frame_spans
from stmga.utils.text import counted

logger = logging.getLogger(__name__)

Rows = NDArray[np.int64]


def calibrate_unlabelled(halves: Embeddings, *, false_match_rates: Sequence[float] | None = None) -> Calibration:
    """Thresholds from halves of tracklets: what is known of them without labels.

    The two halves of a tracklet are one person. Halves of two tracklets that are seen by one camera at the same time
    are two people. The threshold of a rate is the lowest similarity that at most this share of the second kind reaches.

    What it can tell: how alike different people are at this site, in one camera, in the same light. Across cameras
    different people are less alike, so the thresholds are rather too high than too low. What it cannot tell: how alike
    one person is in two cameras. The true-match rates are of halves of one stay, which are far easier. ``lower``, below
    which a verdict is "other", is therefore that of the calibration of the weights; without one, the lowest threshold.
    A tracker that puts two tracks on one person makes wrong pairs; the log names the most similar pair of two people.

    Args:
        halves: embeddings of :func:`stmga.tracklets.split.halves`, or of ``stmga embed --halves``, with times.
        false_match_rates: each needs at least 1 / rate pairs of two people. Default: those of 0.01, 0.001 and 0.0001
            that can be measured; the log names the others.

    Raises:
        ValueError: embeddings that are not of halves, or too few pairs that are seen at the same time.

    >>> import torch
    >>> v = torch.nn.functional.normalize(torch.randn(200, 64, generator=torch.Generator().manual_seed(0)))
    >>> seen = {"camera": 1, "video": "a", "start": 0, "end": 9}
    >>> items = [{"tracklet": f"{i}/{half}", "half_of": i, **seen} for i in range(200) for half in (1, 2)]
    >>> found = calibrate_unlabelled(Embeddings(v.repeat_interleave(2, 0), items, digest="1f0c"))
    >>> found.impostor_pairs, found.genuine_pairs, found.persons
    (79600, 200, 200)
    """
    whole = [item.get(HALF_OF) for item in halves.items]
    if not any(name is not None for name in whole):
        raise ValueError("these embeddings are not of halves of tracklets; make them with: stmga embed --halves")
    _, number = np.unique([str(name) for name in whole], return_inverse=True)
    rows, columns = seen_together(halves)
    apart = number[rows] != number[columns]
    rows, columns = rows[apart], columns[apart]
    first, second = _halves_of(number)
    vectors = halves.vectors.numpy()
    impostors, genuine = products(vectors, rows, vectors, columns), products(vectors, first, vectors, second)
    compared = len(np.unique(number[np.concatenate([rows, columns])]))
    source = f"{counted(compared, 'tracklet')} that one camera saw at the same time as others"
    rates = measurable(RATES if false_match_rates is None else false_match_rates, len(rows), source,
                       strict=false_match_rates is not None)  # fmt: skip
    if not len(first):
        raise ValueError("no tracklet has both of its halves here: nothing to compare as the same")
    worst = int(impostors.argmax())
    logger.info("the most similar two people that one camera saw at the same time: %s and %s, %.3f",
                halves.ids[rows[worst]], halves.ids[columns[worst]], impostors[worst])  # fmt: skip
    found = calibration_of(histogram(impostors), histogram(genuine), rates, persons=compared, digest=halves.digest)
    own = halves.calibration
    lower = own.lower if own is not None else min(point.similarity for point in found.thresholds)
    data = f"this site, without labels: {counted(len(rows), 'pair')} seen at the same time by one camera"
    return replace(found, lower=lower, data=data)


def _halves_of(number: Rows) -> tuple[Rows, Rows]:
    """The rows of the two halves of each tracklet that has both."""
    order = np.argsort(number, kind="stable")
    both = np.flatnonzero(number[order][1:] == number[order][:-1])
    return order[both], order[both + 1]


def seen_together(embeddings: Embeddings) -> tuple[Rows, Rows]:
    """Pairs of rows that overlap in time in one camera, each once."""
    parts = []
    for spans in (clock_spans(embeddings.items), frame_spans(embeddings.items)):
        by_clock: dict[object, list[tuple[float, float, int]]] = {}
        for row, (clock, (start, end)) in spans.items():
            by_clock.setdefault(clock, []).append((start, end, row))
        for seen in by_clock.values():
            starts, ends, rows = map(np.array, zip(*sorted(seen), strict=True))
            last = np.searchsorted(starts, ends, side="right")  # the first that starts after this one ends
            later = np.maximum(last - np.arange(len(rows)) - 1, 0)
            first = np.repeat(np.arange(len(rows)), later)
            second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
            parts.append(np.stack([rows[first], rows[second]]))
    pairs = np.concatenate(parts, axis=1) if parts else np.zeros((2, 0), dtype=np.int64)
    pairs = np.unique(np.sort(pairs.astype(np.int64), axis=0), axis=1)  # a pair may overlap by both clocks
    return pairs[0], pairs[1]
