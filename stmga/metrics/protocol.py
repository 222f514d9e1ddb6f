"""The rules of an evaluation as one checked object: printed with every result, stored with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from stmga.utils.settings import Settings

CHOICES = {
    "distance": ("cosine", "euclidean"),
    "same_camera": ("remove", "keep"),
    "unknown_camera": ("remove", "keep"),
    "ap": ("hits", "trapezoid"),
    "shots": ("all", "single"),
    "clips": ("all", "evenly"),
}


@dataclass(frozen=True, kw_only=True)
class Reranking(Settings):
    """k-reciprocal re-ranking of Zhong et al. 2017: neighbours k1, expansion k2, weight of the first distance."""

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def _faults(self) -> Iterable[str]:
        for name in ("k1", "k2"):
            if getattr(self, name) < 1:
                yield self.must(name, "be >= 1")
        if not 0 <= self.weight <= 1:
            yield self.must("weight", "be in 0..1")


@dataclass(frozen=True, kw_only=True)
class Protocol(Settings):
    """How an evaluation counts; two figures compare only where their protocols are equal.

    Attributes:
        data: data set and split, as text.
        queries_in_gallery: the other queries are in each query's gallery.
        junk: persons whose tracklets leave the gallery, as -1 in MARS.
        distractors: persons who are nobody's match and stay in the gallery, as 0 in MARS. Unknown persons stay too.
        same_camera: ``"remove"`` leaves out the query's own person in the query's own camera.
        unknown_camera: the same for its own person where either camera is not known: ``"remove"``, or ``"keep"`` them
            as matches. It has no effect where no camera is known at all: then nothing is removed.
        ap: ``"hits"``, the mean of the precision at each match; ``"trapezoid"``, as the MATLAB code of old.
        shots: ``"single"`` leaves one random tracklet of each person in a query's list, and takes the exact mean over
            all such galleries, as in CUHK03's classic protocol.
        clips: how a tracklet is cut: ``"all"`` frames, or one clip of frames spread ``"evenly"``.
        flip: each clip is averaged with its mirror image; None: some are. :func:`stmga.metrics.evaluate` takes it from
            the embeddings.
        two_sizes: each clip is averaged over two sizes, in the same way.
        distance: ``"cosine"`` or ``"euclidean"``.
        reranking: None for none.

    >>> print(Protocol(data="MARS test", junk=(-1,), distractors=(0,)).describe())
    MARS test; cosine distance; gallery with the other queries; junk -1 dropped; distractors 0 stay; own person in own \
or unknown camera removed; AP over hits; all frames; no re-ranking
    """

    CHOICES: ClassVar = CHOICES

    data: str = ""
    queries_in_gallery: bool = True
    junk: tuple[str | int, ...] = ()
    distractors: tuple[str | int, ...] = ()
    same_camera: str = "remove"
    unknown_camera: str = "remove"
    ap: str = "hits"
    shots: str = "all"
    clips: str = "all"
    flip: bool | None = False
    two_sizes: bool | None = False
    distance: str = "cosine"
    reranking: Reranking | None = None

    def __post_init__(self) -> None:
        if isinstance(self.reranking, Mapping):
            object.__setattr__(self, "reranking", Reranking.from_dict(self.reranking))
        super().__post_init__()

    def _faults(self) -> Iterable[str]:
        if both := set(self.junk) & set(self.distractors):
            yield f"persons {sorted(map(str, both))} cannot be both junk and distractors"
        if self.shots == "single" and self.reranking is not None:
            yield "shots='single' has many galleries and re-ranking takes one gallery: leave one of the two out"

    def describe(self) -> str:
        """All rules in one line."""
        removed = [w for w, rule in (("own", self.same_camera), ("unknown", self.unknown_camera)) if rule == "remove"]
        rules = [
            self.data or "data not named",
            f"{self.distance} distance",
            f"gallery {'with' if self.queries_in_gallery else 'without'} the other queries",
            f"junk {', '.join(map(str, self.junk))} dropped" if self.junk else "",
            f"distractors {', '.join(map(str, self.distractors))} stay" if self.distractors else "",
            f"own person in {' or '.join(removed)} camera removed" if removed else "own camera not removed",
            {"hits": "AP over hits", "trapezoid": "trapezoid AP"}[self.ap],
            "one gallery tracklet of each person (single-shot), mean over all draws" if self.shots == "single" else "",
            {"all": "all frames", "evenly": "one clip, frames spread evenly"}[self.clips],
            {True: "mirror images averaged in", None: "mirror images averaged into some", False: ""}[self.flip],
            {True: "two sizes averaged", None: "two sizes averaged in some", False: ""}[self.two_sizes],
            f"re-ranked (Zhong et al. 2017, k1 {r.k1}, k2 {r.k2}, weight {r.weight:g})"
            if (r := self.reranking)
            else "no re-ranking",
        ]
        return "; ".join(rule for rule in rules if rule)

    __str__ = describe

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; views and ``shots`` only if they are on, so that older runs and packs stay the same."""
        usual = {"flip": False, "two_sizes": False, "shots": "all"}
        return {key: value for key, value in super().to_dict().items() if key not in usual or value != usual[key]}
