"""Are these two the same person: one similarity, its verdict, and the threshold it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stmga.calibration import Calibration, Threshold
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.network import TrackletNetwork
from stmga.embedding.same_weights import require_same_weights
from stmga.tracklets.folders import list_folder
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Tracklet
from stmga.utils.text import counted


@dataclass(frozen=True)
class Comparison:
    """The answer of :func:`compare`.

    Attributes:
        similarity: the cosine, in -1..1.
        verdict: ``"same"`` from the threshold on, ``"other"`` below ``calibration.lower``, else ``"unsure"``; None
            without a calibration.
        threshold: where "same" begins, and the false-match rate it was measured for; None without a calibration.
        calibration: where the threshold came from, or None.
        frames: how many frames of each side made its vector; None where that is unknown.
        measured_frames: how many frames the tracklets had that the threshold was measured on, where that is known.
    """

    similarity: float
    verdict: str | None
    threshold: Threshold | None
    calibration: Calibration | None
    frames: tuple[int | None, int | None]
    measured_frames: int | None = None


def compare(
    a: Any, b: Any, *, model: TrackletEmbedder | TrackletNetwork | None = None, false_match_rate: float | None = None
) -> Comparison:
    """Whether two tracklets show the same person.

    Each side is one tracklet: an image (file, array, PIL), a list of images, which is one clip, a folder of images,
    also one clip, a :class:`stmga.Tracklet`, or embeddings of one row. If both are embeddings, no model is needed.

    Fewer frames are less alike: if the record of the weights has thresholds for several numbers of frames, those are
    taken that were measured with as many frames as the shorter side has, or the next fewer.

    Args:
        model: makes the vectors of what is not yet embedded.
        false_match_rate: of the threshold; by default 1e-3, or the nearest rate that was measured.

    Raises:
        ValueError: a side that is not one tracklet or cannot be read, no model where one is needed, embeddings of other
            weights, or a rate that was not measured.

    >>> import torch
    >>> a, b = (Embeddings(torch.tensor([v]), [{"tracklet": "t"}], digest="1f0c") for v in ([0.6, 0.8], [0.0, 1.0]))
    >>> found = compare(a, b)
    >>> round(found.similarity, 3), found.verdict
    (0.8, None)
    """
    embedder = model if model is None or isinstance(model, TrackletEmbedder) else TrackletEmbedder(model)
    (one, n), (two, m) = (_embedded(side, name, embedder) for side, name in ((a, "the first"), (b, "the second")))
    require_same_weights(one, two, "the first vector", "the second vector")
    similarity = float(one.vectors[0].double() @ two.vectors[0].double())
    frames = n, m
    known = [count for count in frames if count is not None]
    calibration, measured = one.calibration or two.calibration, None
    if calibration is not None and known and embedder is not None and embedder.model.record is not None:
        calibration, measured = with_frames(calibration, embedder.model.record.frames, min(known))
    if calibration is None:
        return Comparison(similarity, None, None, None, frames)
    threshold = calibration.threshold(false_match_rate)
    verdict = calibration.verdict(similarity, false_match_rate=false_match_rate)
    return Comparison(similarity, verdict, threshold, calibration, frames, measured)


def with_frames(
    calibration: Calibration, rows: tuple[Mapping[str, Any], ...], frames: int
) -> tuple[Calibration, int | None]:
    """The calibration with thresholds for tracklets of so many frames, and how many frames these were measured with.

    ``rows`` are :attr:`stmga.WeightRecord.frames`. The row of as many frames or the next fewer counts; more frames than
    any row has are like the most. Without rows, the calibration stays as it is.

    >>> point = Threshold(false_match_rate=1e-3, similarity=0.6, true_match_rate=0.9)
    >>> calibration = Calibration(thresholds=(point,), lower=0.5, impostor_pairs=5000, genuine_pairs=90, persons=40)
    >>> row = {"false_match_rate": 1e-3, "similarity": 0.5, "true_match_rate": 0.8}
    >>> fewer, measured = with_frames(calibration, ({"frames": 1, "thresholds": [row]},), 3)
    >>> fewer.threshold().similarity, measured
    (0.5, 1)
    """
    counts = {row["frames"]: row["thresholds"] for row in rows if row.get("thresholds") and row.get("frames")}
    fitting = [n for n in counts if n <= frames]
    if not fitting:
        return calibration, None
    points = tuple(Threshold(**point) for point in counts[max(fitting)])
    return replace(calibration, thresholds=points, roc=()), max(fitting)


def _embedded(side: Any, name: str, embedder: TrackletEmbedder | None) -> tuple[Embeddings, int | None]:
    """The vector of one side, and how many frames made it, if that is known."""
    if isinstance(side, Embeddings):
        if len(side) != 1:
            what = counted(len(side), "tracklet")
            raise ValueError(f"{name} has {what}; compare one with one, such as embeddings.select([0])")
        return side, None
    tracklet = one_tracklet(side)
    if embedder is None:
        raise ValueError(f"{name} is not embedded yet: pass model=, such as create_model(NAME, pretrained=True)")
    return embedder([tracklet]), len(tracklet)


def one_tracklet(source: Any) -> Tracklet:
    """An image, a list of images or a folder of images as one tracklet.

    Raises:
        ValueError: it is something else, or has several tracklets.
    """
    if isinstance(source, (str, Path)) and Path(source).is_dir():
        folder = Path(source)
        listing = list_folder(folder)
        if listing.images and not listing.folders:
            source = Tracklet(folder.name, [folder / image for image in listing.images])
    if isinstance(source, (list, tuple)):
        source = [Tracklet("0", source)]
    tracklets = read_tracklets(source)
    if len(tracklets) != 1:
        names = f"{tracklets[0].id}, {tracklets[1].id}"
        raise ValueError(f"{source} has {len(tracklets)} tracklets ({names}, ...); name one of them")
    return tracklets[0]
