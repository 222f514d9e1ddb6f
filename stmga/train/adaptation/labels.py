"""Pseudo-labels: who the tracklets are, as linking with the current weights has it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stmga.calibration import Calibration, Threshold
from stmga.embedding.embeddings import Embeddings
from stmga.metrics.calibrate import BINS, pair_histograms
from stmga.model import STMGA
from stmga.people.identities import Identities
from stmga.people.linking import link
from stmga.tracklets.tracklet import Tracklet
from stmga.train.whitening import several
from stmga.utils.files import atomic_write
from stmga.utils.foreign import fast_json, read_regular

LABELS_LIMIT = 1 << 30  # bytes of a file of labels
FEWEST = 4  # identities with two tracklets or more, below which there is nothing to learn


@dataclass(frozen=True, eq=False)
class Labels:
    """What linking made of a view, one entry per tracklet.

    Attributes:
        identity: number of the identity.
        confidence: 0..1, of the membership; see :class:`stmga.people.Membership`.
        calibration: from which scores it linked.
    """

    identity: list[int]
    confidence: list[float]
    calibration: Calibration

    @classmethod
    def of(cls, people: Identities, calibration: Calibration) -> Labels:
        return cls([row.identity for row in people], [row.confidence for row in people], calibration)

    @property
    def sizes(self) -> Counter[int]:
        """How many tracklets each identity has."""
        return Counter(self.identity)

    @property
    def several(self) -> int:
        """How many identities have two tracklets or more."""
        return several(self.identity)

    def trained(self, keep: float, *, singles: bool) -> list[int]:
        """The tracklets to train on: this share of all, the most confident; of them those alone only if ``singles``.

        A share, and not a confidence, since training makes all members more confident, the wrong ones too.

        >>> labels = Labels([1, 1, 2, 1, 3], [0.9, 0.8, 0.7, 0.5, 0.4], None)
        >>> labels.trained(0.6, singles=True), labels.trained(0.6, singles=False)
        ([0, 1, 2], [0, 1])
        """
        order = np.argsort([-value for value in self.confidence], kind="stable")
        sure = sorted(order[: round(keep * len(order))].tolist())
        left = Counter(self.identity[row] for row in sure)
        return [row for row in sure if singles or left[self.identity[row]] > 1]

    def fault(self, rows: Sequence[int]) -> str:
        """Why these rows cannot be trained on, as text; "" if they can."""
        n = len(self.identity)
        repeated = several(self.identity[row] for row in rows)
        largest = max(self.sizes.values())
        if largest > n / 2:
            return (
                f"one identity has {largest:,} of {n:,} tracklets: the network does not tell these people apart, as if "
                "all wore one uniform, or the threshold is too low for this site (--false-match-rate 1e-4)"
            )
        if repeated < FEWEST:
            alone = sum(count == 1 for count in self.sizes.values())
            return (
                f"{alone:,} of {n:,} tracklets stay alone, and {repeated} identities have two confident ones (at least "
                f"{FEWEST} are needed): nobody comes by twice, or the threshold is too high for this site "
                "(--false-match-rate 1e-2)"
            )
        return ""

    def relabelled(self, tracklets: Sequence[Tracklet], rows: Sequence[int]) -> list[Tracklet]:
        """Some of the tracklets, each with its identity as its person."""
        return [replace(tracklets[row], person=self.identity[row]) for row in rows]

    def save(self, path: Path) -> None:
        """Write a JSON file, whole or not at all."""
        data: dict[str, Any] = {"identity": self.identity, "confidence": self.confidence}
        atomic_write(path, json.dumps(data | {"calibration": self.calibration.to_dict()}).encode())

    @classmethod
    def load(cls, path: Path, tracklets: int) -> Labels:
        """What :meth:`save` wrote.

        Raises:
            ValueError: another file, or one of another number of tracklets.
            OSError: it cannot be read.
        """
        try:
            data: Mapping[str, Any] = fast_json(read_regular(path, LABELS_LIMIT).decode())
            found = cls(list(data["identity"]), list(data["confidence"]), Calibration.from_dict(data["calibration"]))
            sound = all(type(one) is int for one in found.identity) and all(0 <= c <= 1 for c in found.confidence)
        except (KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if not sound or len(found.identity) != tracklets or len(found.confidence) != tracklets:
            raise ValueError(f"{path} is damaged: it is not one identity and confidence for each tracklet")
        return found


@contextmanager
def quiet_linking() -> Iterator[None]:
    """Inside, linking and calibration log nothing; every round would repeat it. The kept weights are not quiet."""
    repeated = ("stmga.people.linking", "stmga.people.unlabelled", "stmga.metrics.calibrate")
    before = {logger: logger.level for logger in map(logging.getLogger, repeated)}
    for logger in before:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def linked(view: Embeddings, calibration: Calibration, false_match_rate: float | None = None) -> Identities:
    """:func:`stmga.link` at the threshold of a calibration."""
    fitting = replace(calibration, digest=view.digest)
    return link(replace(view, calibration=fitting), false_match_rate=false_match_rate)


def own_calibration(model: STMGA, rate: float | None) -> Calibration:
    """The calibration of the weights, for clips of any length.

    Raises:
        ValueError: the weights have no calibration, or it has no threshold for this rate.
    """
    if model.record is None or model.record.calibration is None:
        raise ValueError(
            "these weights have no calibration, and too few pairs of tracklets are known to be seen at the same time, "
            "so no score says who is one person: start from weights with a calibration (`stmga weights` lists them)"
        )
    model.record.calibration.threshold(rate)
    return model.record.calibration


def carried(labels: Labels, before: Embeddings, after: Embeddings) -> Calibration:
    """The calibration of ``labels`` for other weights: its thresholds, moved so that they mean the same again.

    Training changes all similarities. A threshold becomes the similarity that as many pairs of two identities reach
    ``after`` as reached the old one ``before``. The identities are those of ``labels`` both times.

    >>> import torch
    >>> vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]))
    >>> items = [{"tracklet": i} for i in range(3)]
    >>> before = Embeddings(vectors, items, digest="1f0c")
    >>> after = Embeddings(torch.nn.functional.normalize(vectors + 1), items, digest="2f0c")
    >>> point = Threshold(false_match_rate=1e-3, similarity=0.7, true_match_rate=0.5)
    >>> old = Calibration(thresholds=(point,), lower=0.1, impostor_pairs=9, genuine_pairs=9, persons=9)
    >>> carried(Labels([1, 2, 3], [1.0] * 3, old), before, after).thresholds[0].similarity > 0.7
    True
    """
    old, new = (_shares(replace(view, calibration=None), labels.identity) for view in (before, after))

    def moved(similarity: float) -> float:
        share = old[min(max(round((similarity + 1) * BINS / 2), 0), BINS)]
        return round(int(np.flatnonzero(new <= share)[0]) * 2 / BINS - 1, 9)

    calibration = labels.calibration
    points = tuple(
        Threshold(
            false_match_rate=point.false_match_rate,
            similarity=min(moved(point.similarity), 1.0),
            true_match_rate=point.true_match_rate,
        )
        for point in calibration.thresholds
    )
    return replace(calibration, thresholds=points, lower=moved(calibration.lower), roc=(), digest=after.digest)


def _shares(view: Embeddings, identity: Sequence[int]) -> np.ndarray:
    """For every bin of similarity, the share of the pairs of two identities in it or above; then 0."""
    known = Embeddings(view.vectors, [{"tracklet": i, "person": p} for i, p in enumerate(identity)], digest=view.digest)
    impostors, _ = pair_histograms(known)
    return np.append(impostors[::-1].cumsum()[::-1] / max(impostors.sum(), 1), 0.0)
