"""The scores from which two groups of tracklets are one person, from a calibration."""

from __future__ import annotations

from dataclasses import dataclass

from stmga.calibration import Calibration


@dataclass(frozen=True)
class LinkThresholds:
    """What linking takes from a calibration.

    Attributes:
        cut: score from which two groups are one person.
        floor: cosine from which a tracklet is a neighbour, at most ``cut``.
        camera_margin: how much higher the cut is for two tracklets of one camera.
        false_match_rate: of ``cut``; None if the threshold was given.
    """

    cut: float
    floor: float
    camera_margin: float = 0.0
    false_match_rate: float | None = None


def link_thresholds(
    calibration: Calibration | None, threshold: float | None = None, false_match_rate: float | None = None
) -> LinkThresholds:
    """The thresholds of a false-match rate (default: 1e-3), or one that is given.

    A neighbour is less than a match: ``floor`` is half way to the threshold of the next higher rate. Within one camera
    people look more alike, since light and background are the same, and one person varies less: there the cut is that
    of a tenth of the rate, or of the lowest rate that was measured.

    Raises:
        ValueError: neither a threshold nor a calibration, both a threshold and a rate, a rate that was not measured,
            or a threshold outside -1..2.
    """
    if threshold is not None and false_match_rate is not None:
        raise ValueError("give a threshold or a false-match rate, not both")
    if threshold is not None:
        if not -1 <= threshold <= 2:
            raise ValueError(f"threshold must be a score in -1..2, got {threshold}")
        return LinkThresholds(threshold, min(threshold, 1.0))
    if calibration is None:
        raise ValueError(
            "these embeddings have no calibration, so no score says that two tracklets are one person: "
            "pass threshold=SCORE, or calibrate their weights (stmga calibrate)"
        )
    point = calibration.threshold(false_match_rate)
    rate = point.false_match_rate
    by_rate = sorted(calibration.thresholds, key=lambda p: p.false_match_rate)
    looser = next((p for p in by_rate if p.false_match_rate > rate), point)
    stricter = next((p for p in by_rate if p.false_match_rate >= rate / 10 * (1 - 1e-9)), point)
    return LinkThresholds(
        point.similarity,
        (point.similarity + looser.similarity) / 2,
        max(0.0, stricter.similarity - point.similarity),
        rate,
    )
