"""Thresholds from labelled embeddings: the similarities of different persons, and of one person."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stmga.calibration import Calibration, Threshold
from stmga.embedding.embeddings import Embeddings
from stmga.metrics.matching import NOBODY, camera_codes, labels, to_codes
from stmga.metrics.similarity import similarity_blocks
from stmga.utils.isolation import isolated
from stmga.utils.text import counted

logger = logging.getLogger(__name__)

RATES = (1e-2, 1e-3, 1e-4)  # by default, as far as they can be measured
BINS = 200_000  # of -1..1: a resolution of 1e-5
ROC_POINTS = 200
TRUE_PAIRS_ABOVE = 0.95
Counts = NDArray[np.int64]


@isolated
def calibrate(
    labelled: Embeddings,
    *,
    false_match_rates: Sequence[float] | None = None,
    device: str | torch.device | None = None,
    block: int | None = None,
) -> Calibration:
    """Compare every pair of labelled tracklets once and read off the similarity at each false-match rate.

    Pairs of different persons are impostors, whatever their cameras. Pairs of one person are genuine where they come
    from different cameras; where no camera is known at all, all of them are. Tracklets without a person do not take
    part. The threshold of a rate is the lowest similarity (to 1e-5) that at most this share of the impostors reaches.

    Args:
        labelled: embeddings of known persons.
        false_match_rates: each needs at least 1 / rate impostor pairs. Default: those of 0.01, 0.001 and 0.0001 that
            can be measured; the log names the others.
        device: where similarities are computed.
        block: tracklets compared at once.

    Raises:
        ValueError: fewer impostor pairs than 1 / rate (by default, than 100), no genuine pair, a rate outside 0..1.

    >>> torch.manual_seed(0)
    <...>
    >>> persons = torch.arange(20).repeat(3)
    >>> vectors = torch.randn(20, 32)[persons] + 0.3 * torch.randn(60, 32)
    >>> items = [{"tracklet": i, "person": int(p), "camera": i // 20} for i, p in enumerate(persons)]
    >>> calibration = calibrate(Embeddings(vectors, items, digest="1f0c"), false_match_rates=[1e-2, 1e-3])
    >>> calibration.impostor_pairs, calibration.genuine_pairs, calibration.verdict(0.9), calibration.verdict(0.2)
    (1710, 60, 'same', 'other')
    """
    known = labelled.select([person is not None for person in labelled.persons])
    persons = int(to_codes("persons", labels(known.items, "person"))[0].max(initial=0))
    impostors, genuine = pair_histograms(known, device, block)
    source = f"{counted(len(known), 'labelled tracklet')} of {counted(persons, 'person')}"
    strict = false_match_rates is not None
    rates = measurable(
        RATES if false_match_rates is None else false_match_rates, int(impostors.sum()), source, strict=strict
    )
    if not genuine.sum():
        raise ValueError(_why_no_genuine_pair(known))
    return calibration_of(impostors, genuine, rates, persons=persons, digest=labelled.digest)


def calibration_of(
    impostors: Counts, genuine: Counts, rates: Sequence[float], *, persons: int, digest: str
) -> Calibration:
    """Thresholds, the highest rate first, from how many pairs of two persons, and of one, have each similarity."""
    false, true = (_share_from(counts) for counts in (impostors, genuine))
    return Calibration(
        thresholds=tuple(_threshold(rate, false, true) for rate in rates),
        lower=_edge(int(np.flatnonzero(true >= TRUE_PAIRS_ABOVE)[-1])),
        roc=_roc(false, true),
        impostor_pairs=int(impostors.sum()),
        genuine_pairs=int(genuine.sum()),
        persons=persons,
        digest=digest,
    )


def histogram(similarities: NDArray[np.floating]) -> Counts:
    """How many of the similarities ``(n,)`` are in each bin of -1..1."""
    bins = ((similarities + 1) * (BINS / 2)).clip(0, BINS).astype(np.int64)
    return np.bincount(bins, minlength=BINS + 1)


def measurable(asked: Sequence[float], pairs: int, source: str, *, strict: bool) -> list[float]:
    """The rates that ``pairs`` pairs can measure, at least one false match each, the highest first.

    ``strict`` demands all of them. ``source`` says where the pairs are from, for the error.
    """
    rates = sorted({float(rate) for rate in asked}, reverse=True)
    if not rates or not all(0 < rate < 1 for rate in rates):
        raise ValueError(f"false-match rates must be between 0 and 1, such as 0.001; got {list(asked)}")
    found = [rate for rate in rates if pairs * rate >= 1 - 1e-9]
    lost = [rate for rate in rates if rate not in found]
    if not lost:
        return found
    rate = lost[-1] if strict else lost[0]  # the one that needs the most pairs, or the fewest
    words = f"a false-match rate of {rate:g} needs at least {math.ceil(1 / rate - 1e-6):,} pairs of different persons"
    words = f"{words}, got {pairs:,} from {source}"
    if strict:
        highest = f" up from {1 / pairs:.2g}" if pairs > 1 else ""
        raise ValueError(f"{words}; label more, or ask for higher rates{highest}: --rates, or false_match_rates=")
    if not found:
        raise ValueError(f"{words}; label more, or name higher rates yourself: --rates, or false_match_rates=")
    logger.warning("not measured: %s; %s", ", ".join(f"{rate:g}" for rate in lost), words)
    return found


def _why_no_genuine_pair(known: Embeddings) -> str:
    """The reason, and what to do if one camera saw everybody."""
    cameras = sorted({str(camera) for camera in known.cameras if camera is not None})
    if len(cameras) == 1:
        return (
            f"the tracklets are of one camera only ({cameras[0]}), and pairs of one person count across cameras; to "
            'calibrate within it, embed them without a camera: a layout such as "{person}/{place}/{tracklet}"'
        )
    if not cameras:
        return "no person has two tracklets: nothing to compare as the same"
    return "no two tracklets of one person from different known cameras: nothing to compare as the same"


def pair_histograms(
    known: Embeddings, device: str | torch.device | None = None, block: int | None = None
) -> tuple[Counts, Counts]:
    """How many pairs of different persons, and of one, have each similarity."""
    person = to_codes("persons", labels(known.items, "person"))[0]
    camera = camera_codes(known.items)[0].codes
    impostors, genuine = np.zeros(BINS + 1, np.int64), np.zeros(BINS + 1, np.int64)
    start = 0
    for rows in similarity_blocks(known.vectors, [known.vectors], block=block, device=device) if len(known) else ():
        part, later = slice(start, start + len(rows)), slice(start + 1, None)  # each pair once: the later columns
        bins = rows[:, start + 1 :].add_(1).mul_(BINS / 2).clamp_(0, BINS).to(torch.int32).cpu().numpy()
        once = np.arange(start + 1, len(person))[None] > np.arange(start, part.stop)[:, None]
        same = person[part, None] == person[None, later]
        other = once & ~same
        same &= once
        if (camera != NOBODY).any():
            mine, theirs = camera[part, None], camera[None, later]
            same &= (mine != theirs) & (mine != NOBODY) & (theirs != NOBODY)
        impostors += np.bincount(bins[other], minlength=BINS + 1)
        genuine += np.bincount(bins[same], minlength=BINS + 1)
        start += len(rows)
    return impostors, genuine


def _share_from(counts: Counts) -> NDArray[np.float64]:
    """For every bin, the share of the pairs in it or above; then 0, for above the last bin."""
    return np.append(counts[::-1].cumsum()[::-1] / counts.sum(), 0.0)


def _edge(index: int) -> float:
    return round(index * 2 / BINS - 1, 9)


def _threshold(rate: float, false: NDArray[np.float64], true: NDArray[np.float64]) -> Threshold:
    index = int(np.flatnonzero(false <= rate)[0])
    return Threshold(false_match_rate=rate, similarity=_edge(index), true_match_rate=float(true[index]))


def _roc(false: NDArray[np.float64], true: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    """Points where a rate changes, strictest first, thinned evenly; both ends are kept."""
    change = np.flatnonzero((np.diff(false, prepend=2) != 0) | (np.diff(true, prepend=2) != 0))[::-1]
    scale = np.log10(np.maximum(false[change], false[false > 0].min() / 10)) + true[change]
    wanted = np.linspace(scale[0], scale[-1], ROC_POINTS)
    chosen = np.unique(np.searchsorted(scale, wanted).clip(max=len(change) - 1))
    return tuple((_edge(int(i)), float(false[i]), float(true[i])) for i in change[chosen])


__all__ = ["Calibration", "Threshold", "calibrate"]
