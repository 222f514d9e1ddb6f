"""The tracklets of a site, and what a network sees in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stmga.calibration import Calibration
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.people.unlabelled import Rows, calibrate_unlabelled, seen_together
from stmga.tracklets.preload import preload
from stmga.tracklets.split import evenly, halves
from stmga.tracklets.times import clock_spans, frame_spans
from stmga.tracklets.tracklet import Tracklet
from stmga.train.whitening import through
from stmga.utils.text import counted, preview

LEAST = 50  # tracklets
PAIRS = 1000  # of two people seen at the same time, from which a rate of 1e-3 can be measured
TIMES = ("time", "end_time", "start", "end")  # keys of items that say when a tracklet was seen


@dataclass(frozen=True, eq=False)
class View:
    """What one set of weights sees of a site.

    Attributes:
        whole: one vector per tracklet.
        halves: of the first and the second half of each tracklet; a tracklet of one frame has none.
        of: the tracklet of each row of ``halves``.
    """

    whole: Embeddings
    halves: Embeddings
    of: Rows

    def half(self, number: int) -> tuple[Rows, Embeddings]:
        """The first (0) or the second (1) halves: the rows of their tracklets, and their vectors."""
        rows = np.arange(number, len(self.of), 2)
        return self.of[rows], self.halves.select(rows)

    def through(self, layer: Tensor, digest: str) -> View:
        """What the weights of this digest see, which are those of this view with a whitening layer (c c)."""
        return View(through(self.whole, layer, digest), through(self.halves, layer, digest), self.of)


class Site:
    """The tracklets that a network is adapted to, without their persons.

    Args:
        tracklets: of all cameras. Their persons, if they have any, are dropped.
        frames: of each tracklet, spread evenly over it, that make its vector.
        times: use when tracklets were seen.

    Raises:
        ValueError: fewer than 50 tracklets, or tracklets without frames.
    """

    def __init__(self, tracklets: Sequence[Tracklet], *, frames: int = 8, times: bool = True) -> None:
        if len(tracklets) < LEAST:
            raise ValueError(
                f"adaptation needs at least {LEAST} tracklets, got {len(tracklets):,}: with fewer there is nobody to "
                "tell apart. Film for longer, or use the weights as they are"
            )
        if empty := [tracklet.id for tracklet in tracklets if not len(tracklet)]:
            raise ValueError(f"{counted(len(empty), 'tracklet')} without frames: {preview(empty)}; leave them out")
        self.tracklets = [replace(tracklet, person=None) for tracklet in tracklets]
        self.trained = self.tracklets
        self.times, self._most = times, frames
        self._cut([evenly(tracklet, frames) for tracklet in self.tracklets])
        items = [self._without_times(tracklet.row()) for tracklet in self.tracklets]
        self.items = [{key: value for key, value in item.items() if key != "person"} for item in items]
        self.cameras = {str(item["camera"]) for item in self.items if item.get("camera") is not None}
        unit = torch.ones(len(self.items), 1, dtype=torch.float32, device="cpu")  # only the items count
        self.together = seen_together(Embeddings(unit, self.items, digest=""))

    def _cut(self, chosen: Sequence[Tracklet]) -> None:
        """Set what a view embeds: the chosen frames of every tracklet, and their halves."""
        self._chosen = chosen
        self._long = np.array([row for row, tracklet in enumerate(chosen) if len(tracklet) > 1], dtype=np.int64)
        self._parts = halves([chosen[row] for row in self._long])
        self._short = [(row, tracklet) for row, tracklet in enumerate(chosen) if len(tracklet) == 1]

    def read_videos(self) -> None:
        """Decode the chosen frames of tracklets in videos, in one pass over each video, and keep them in memory.

        Training then has only these frames of them: random access to a video decodes it again and again.

        Raises:
            ValueError: a video cannot be decoded, or lacks a frame.
        """
        chosen = [evenly(tracklet, self._most) for tracklet in self.tracklets]
        loaded = preload(chosen)
        for row, (before, after) in enumerate(zip(chosen, loaded, strict=True)):
            if after is not before:  # frames in memory do not say when they were seen
                seen = {key: value for key, value in before.row().items() if key in ("video", "start", "end")}
                loaded[row] = replace(after, extra={**after.extra, **seen})
        changed = [after is not before for before, after in zip(chosen, loaded, strict=True)]
        self.trained = [new if own else old for old, new, own in zip(self.tracklets, loaded, changed, strict=True)]
        if any(changed):
            self._cut(loaded)

    def _without_times(self, item: dict[str, Any]) -> dict[str, Any]:
        return item if self.times else {key: value for key, value in item.items() if key not in TIMES}

    def __len__(self) -> int:
        return len(self.tracklets)

    @property
    def frames(self) -> int:
        """How many frames are embedded in a round."""
        return sum(map(len, self._parts)) + len(self._short)

    def describe(self) -> list[str]:
        """What is known of the tracklets, and what that means, one line each."""
        timed = len(clock_spans(self.items).keys() | frame_spans(self.items).keys())
        lines = [f"{counted(len(self), 'tracklet')} of {counted(len(self.cameras), 'known camera')}"]
        if not self.times:
            lines.append("times are not used")
        elif not timed:
            lines.append("no tracklet has times: nothing is known of who was seen at the same time")
        else:
            pairs = counted(len(self.together[0]), "pair")
            lines.append(f"{counted(timed, 'tracklet')} with times: {pairs} seen by one camera at the same time")
        if len(self.cameras) == 1:
            lines.append(f"one camera only ({next(iter(self.cameras))}): nothing can be learnt about people in two")
        elif not self.cameras:
            lines.append("no tracklet has a camera: they are treated as of one")
        return lines

    def view(self, embedder: TrackletEmbedder) -> View:
        """Embed all tracklets once, as halves; the vector of a tracklet is the mean of those of its halves.

        Raises:
            NonFiniteVectorError: the network is broken.
            TrackletError: frames that cannot be read.
        """
        found = embedder.embed([*self._parts, *(tracklet for _, tracklet in self._short)])
        count = len(self._parts)
        parts, rest = self._halves(found.select(range(count))), found.select(range(count, len(found)))
        of = np.repeat(self._long, 2)
        vectors = torch.zeros(len(self), found.dim, dtype=torch.float32, device="cpu")
        vectors.index_add_(0, torch.from_numpy(of), parts.vectors)
        for (row, _), vector in zip(self._short, rest.vectors, strict=True):
            vectors[row] = vector
        whole = Embeddings(F.normalize(vectors, dim=1), self.items, found.digest, found.model)
        return View(whole, parts, of)

    def view_of_whole(self, embedder: TrackletEmbedder) -> View:
        """Embed all tracklets whole, as others will embed them: in clips of more frames than a half has, it differs.

        Their halves are embedded too where thresholds are measured on them; elsewhere the view has none.

        Raises:
            NonFiniteVectorError, TrackletError: as in :meth:`view`.
        """
        found = embedder.embed([*self._chosen, *(self._parts if self.can_calibrate else ())])
        parts = self._halves(found.select(range(len(self), len(found))))
        whole = Embeddings(found.vectors[: len(self)], self.items, found.digest, found.model)
        return View(whole, parts, np.repeat(self._long, 2)[: len(parts)])

    def _halves(self, parts: Embeddings) -> Embeddings:
        return replace(parts, items=[self._without_times(item) for item in parts.items])

    @property
    def can_calibrate(self) -> bool:
        """Whether enough pairs were seen at the same time to measure thresholds on them."""
        return len(self.together[0]) >= PAIRS and len(self._long) > 0

    def calibration(self, view: View) -> Calibration | None:
        """Thresholds from pairs seen at the same time, or None if there are too few of them."""
        return calibrate_unlabelled(view.halves) if self.can_calibrate else None
