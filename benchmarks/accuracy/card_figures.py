"""The figures of a model card: the whole test, by frames per tracklet and by pair of cameras, with thresholds."""

import dataclasses
import sys
import time
from collections.abc import Iterable, Sequence

import torch

from stmga import STMGA, Embeddings, Gallery, Tracklet
from stmga.calibration import Calibration
from stmga.data.benchmark import Benchmark
from stmga.embedding.clip_dataset import clip_indices
from stmga.metrics import Evaluation, NoMatchError, Protocol, calibrate, evaluate
from stmga.metrics.network_table import embed_test
from stmga.train.result import SCORES
from stmga.utils.distributed import World

MARS8 = "mars8-dev (half-resolution subset of the MARS test set; not MARS)"
RATES = (1e-2, 1e-3, 1e-4)
FRAMES = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Measured:
    """A test: the scores, the thresholds, the vectors of both sides, and the seconds that these took."""

    found: Evaluation
    calibration: Calibration
    query: Embeddings
    gallery: Embeddings
    seconds: float

    @property
    def every(self) -> Embeddings:
        """Queries, then gallery."""
        return together(self.query, self.gallery)


def measure(
    model: STMGA, benchmark: Benchmark, *, rates: Sequence[float] = RATES, device: str = "cpu", workers: int = 0
) -> Measured:
    """Embed the test, score it, and measure the thresholds of these false-match rates."""
    start = time.perf_counter()
    world = World(device=torch.device(device))
    query, gallery = embed_test(model.to(device), benchmark, world, workers=workers, progress=sys.stderr.isatty())
    took = time.perf_counter() - start
    found = calibrate(together(query, gallery), false_match_rates=rates)
    calibration = dataclasses.replace(found, roc=(), data=benchmark.protocol.data)
    return Measured(evaluate(query, gallery, benchmark.protocol), calibration, query, gallery, took)


def together(*sides: Embeddings) -> Embeddings:
    """All rows, in order."""
    gallery = Gallery()
    for side in sides:
        gallery.add(side)
    return gallery.embeddings


def figures(found: Evaluation, spread: str = "") -> dict[str, object]:
    """A row of the record: the scores in percent, and the rules they were counted by."""
    counted = f"{found.scores.queries:,} queries, {found.gallery:,} tracklets in the gallery"
    return {
        "data": found.protocol.data,
        **percent(found, SCORES),
        "protocol": f"{found.protocol.describe()}; {counted}; scores in %",
        **({"spread": spread} if spread else {}),
    }


def percent(found: Evaluation, names: Iterable[str]) -> dict[str, float]:
    """These scores, in percent."""
    scores = found.to_dict()
    return {name: round(100 * scores[name], 2) for name in names}


def by_frames(
    model: STMGA, benchmark: Benchmark, whole: Measured, counts: Sequence[int] = FRAMES, **options
) -> tuple[dict, ...]:
    """A row for each number of frames a tracklet, of queries and gallery; ``whole`` is the test with all frames.

    Counts above the longest tracklet are that tracklet's length, and need no other vectors than those of ``whole``.
    """
    longest = max(map(len, [*benchmark.query, *benchmark.gallery]))
    rows = []
    for count in dict.fromkeys(min(count, longest) for count in counts):
        sides = {side: [thinned(t, count) for t in getattr(benchmark, side)] for side in ("query", "gallery")}
        few = dataclasses.replace(benchmark, **sides)
        got = whole if count == longest else measure(model, few, **options)
        points = [dataclasses.asdict(point) for point in got.calibration.thresholds]
        rows.append({"frames": count, **percent(got.found, ("mAP", "rank-1")), "thresholds": points})
    return tuple(rows)


def thinned(tracklet: Tracklet, count: int) -> Tracklet:
    """The tracklet with ``count`` of its frames, evenly spaced, or with all it has."""
    if len(tracklet) <= count:
        return tracklet
    (indices,) = clip_indices(len(tracklet), count, "evenly")
    frames = tracklet.frames
    chosen = tuple(frames[i] for i in indices) if isinstance(frames, tuple) else frames[indices]
    return dataclasses.replace(tracklet, frames=chosen)


def by_camera_pair(query: Embeddings, gallery: Embeddings, protocol: Protocol) -> tuple[dict, ...]:
    """A row for each camera of queries and other camera of gallery tracklets between which a query counts.

    Tracklets whose camera is undecided (None) take no part; every row says how many.
    """
    members = together(gallery, query) if protocol.queries_in_gallery else gallery
    undecided = sum(camera is None for camera in gallery.cameras + query.cameras)
    left = f"{undecided:,} of {len(gallery) + len(query):,} tracklets are left out, their camera is undecided"
    rules = f"{protocol.describe()}; the gallery of one camera at a time; {left}; scores in %"
    rows = []
    for mine in cameras_of(query):
        asked = query.select([str(camera) == mine for camera in query.cameras])
        for theirs in cameras_of(members):
            if mine == theirs:
                continue
            answers = members.select([str(camera) == theirs for camera in members.cameras])
            try:
                found = evaluate(asked, answers, dataclasses.replace(protocol, queries_in_gallery=False))
            except NoMatchError:
                continue
            pair = {"query camera": mine, "gallery camera": theirs, "queries": found.scores.queries}
            rows.append({**pair, **percent(found, ("mAP", "rank-1")), "protocol": rules})
    return tuple(rows)


def cameras_of(embeddings: Embeddings) -> list[str]:
    """The known cameras, as text; camera 10 comes after 9."""
    known = {str(camera) for camera in embeddings.cameras if camera is not None}
    return sorted(known, key=lambda name: (len(name), name))
