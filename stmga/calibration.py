"""What a similarity means: thresholds measured on labelled tracklets, kept with the vectors they are for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DEFAULT_RATE = 1e-3
EASIEST = 0.1  # the highest false-match rate that other evidence may lead to


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """At ``similarity`` and above, a share of at most ``false_match_rate`` of the pairs of different persons match.

    ``true_match_rate`` is the share of the pairs of one person that do.
    """

    false_match_rate: float
    similarity: float
    true_match_rate: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds for the similarities of one set of weights; made by :func:`stmga.metrics.calibrate`.

    Attributes:
        thresholds: one for each false-match rate asked for, the highest rate first.
        lower: the similarity that 95 % of the pairs of one person reach.
        roc: points (similarity, false-match rate, true-match rate), the highest similarity first.
        impostor_pairs, genuine_pairs: how many pairs of different persons, and of one person, were compared.
        persons: how many there were.
        digest: of the weights.
        data: what it was measured on, as text.

    >>> point = Threshold(false_match_rate=1e-3, similarity=0.6, true_match_rate=0.9)
    >>> calibration = Calibration(thresholds=(point,), lower=0.5, impostor_pairs=5000, genuine_pairs=90, persons=40)
    >>> [calibration.verdict(s) for s in (0.7, 0.6, 0.55, 0.4)]
    ['same', 'same', 'unsure', 'other']
    """

    thresholds: tuple[Threshold, ...]
    lower: float
    impostor_pairs: int
    genuine_pairs: int
    persons: int
    roc: tuple[tuple[float, float, float], ...] = ()
    digest: str = ""
    data: str = ""

    def threshold(self, false_match_rate: float | None = None) -> Threshold:
        """The threshold measured for this rate; by default for 1e-3 or the nearest rate to it.

        Raises:
            ValueError: a rate that was not measured.
        """
        rates = [point.false_match_rate for point in self.thresholds]
        if false_match_rate is None:
            return min(self.thresholds, key=lambda p: abs(math.log(p.false_match_rate / DEFAULT_RATE)))
        for point in self.thresholds:
            if math.isclose(point.false_match_rate, false_match_rate):
                return point
        raise ValueError(f"no threshold for the false-match rate {false_match_rate:g}; measured are {rates}")

    def similarity_at(self, false_match_rate: float) -> float:
        """The threshold of any rate, between those measured by the logarithm of the rate; at the ends, the nearest one.

        >>> points = [(1e-2, 0.4), (1e-4, 0.8)]
        >>> calibration = Calibration(
        ...     thresholds=tuple(Threshold(false_match_rate=r, similarity=s, true_match_rate=0.5) for r, s in points),
        ...     lower=0.2, impostor_pairs=10**5, genuine_pairs=90, persons=40,
        ... )
        >>> round(calibration.similarity_at(1e-3), 3)
        0.6
        """
        points = [(rate, similarity) for similarity, rate, _ in self.roc if rate > 0]
        points += [(point.false_match_rate, point.similarity) for point in self.thresholds]
        points.sort(key=lambda point: (point[0], -point[1]))
        above = next((i for i, (rate, _) in enumerate(points) if rate >= false_match_rate), len(points) - 1)
        (low, one), (high, other) = points[max(above - 1, 0)], points[above]
        if not low < false_match_rate < high:
            return other if false_match_rate >= high or low == high else one
        share = math.log(false_match_rate / low) / math.log(high / low)
        return one + share * (other - one)

    def gain(self, share: float, false_match_rate: float | None = None) -> float:
        """How much less similar a pair may be that has evidence beside its vectors, as a travel time that fits.

        If a share ``share`` of all pairs has this evidence by chance, the threshold of the rate ``r / share`` lets as
        many wrong pairs pass among those that have it as the threshold of the rate ``r`` does among all. The gain is
        the difference of these two thresholds, at least 0.

        >>> points = [(1e-2, 0.4), (1e-4, 0.8)]
        >>> calibration = Calibration(
        ...     thresholds=tuple(Threshold(false_match_rate=r, similarity=s, true_match_rate=0.5) for r, s in points),
        ...     lower=0.2, impostor_pairs=10**5, genuine_pairs=90, persons=40,
        ... )
        >>> round(calibration.gain(0.1, 1e-4), 3)
        0.2
        """
        point = self.threshold(false_match_rate)
        easier = self.similarity_at(min(EASIEST, point.false_match_rate / share))
        return max(0.0, point.similarity - easier)

    def verdict(self, similarity: float, *, false_match_rate: float | None = None) -> str:
        """``"same"`` at or above the threshold, ``"other"`` below ``lower``, else ``"unsure"``."""
        same = self.threshold(false_match_rate).similarity
        if similarity >= same:
            return "same"
        return "other" if similarity < self.lower else "unsure"

    def describe(self) -> str:
        """All of it in one readable line."""
        point = self.threshold()
        return (
            f'"same" from {point.similarity:.3f} (false-match rate {point.false_match_rate:g}, true-match rate '
            f'{point.true_match_rate:.1%}), "other" below {min(self.lower, point.similarity):.3f}'
            + (f"; measured on {self.data}" if self.data else "")
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """The inverse of :meth:`to_dict`, also after JSON.

        Raises:
            ValueError: something else.
        """
        try:
            thresholds = tuple(Threshold(**{k: _number(v) for k, v in point.items()}) for point in data["thresholds"])
            if not thresholds:
                raise ValueError("it has no thresholds")
            roc = tuple((float(s), float(f), float(t)) for s, f, t in data.get("roc", ()))
            found = cls(**{**data, "thresholds": thresholds, "roc": roc})
            _check(found)
            return found
        except (AttributeError, TypeError, KeyError, ValueError, OverflowError) as error:
            raise ValueError(f"no calibration that this stmga knows: {error}") from error


def _number(value: object) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"a threshold has numbers, got {str(value)[:40]!r}")
    return float(value)  # type: ignore[arg-type]


def _check(calibration: Calibration) -> None:
    """Raise ValueError for values that no measurement gives, with which verdicts would be wrong."""
    for point in calibration.thresholds:
        if not (0 < point.false_match_rate <= 1 and 0 <= point.true_match_rate <= 1 and abs(point.similarity) <= 1.01):
            raise ValueError(f"a threshold must have a rate in 0..1 and a similarity in -1..1, got {point}")
    counts = {key: getattr(calibration, key) for key in ("impostor_pairs", "genuine_pairs", "persons")}
    for key, value in counts.items():
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise ValueError(f"{key} must be a number of them, got {str(value)[:40]!r}")
    lower = calibration.lower
    if type(lower) not in (int, float) or not abs(lower) <= 1.01:
        raise ValueError(f"lower must be a similarity, got {str(lower)[:40]!r}")
    if not isinstance(calibration.digest, str) or not isinstance(calibration.data, str):
        raise ValueError("digest and data must be texts")
