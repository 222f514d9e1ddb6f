"""Parts of tracklets: halves, and frames spread evenly."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from stmga.tracklets.tracklet import Tracklet
from stmga.utils.text import counted

logger = logging.getLogger(__name__)

HALF_OF = "half_of"  # the key of `extra` with the id of the whole tracklet


def halves(tracklets: Iterable[Tracklet]) -> list[Tracklet]:
    """Every tracklet as two, its first and its second half: ids ``a/1`` and ``a/2``, ``extra["half_of"]`` is ``a``.

    Tracklets of one frame have no halves: they are left out and counted in the log. Times of the whole tracklet do not
    hold for a half, so ``time`` and ``end_time`` are kept as they are: they say when the halves can be seen at all.

    >>> import numpy as np
    >>> [(t.id, len(t)) for t in halves([Tracklet("a", np.zeros((5, 8, 4, 3), np.uint8))])]
    [('a/1', 2), ('a/2', 3)]
    """
    found, short = [], 0
    for whole in tracklets:
        middle = len(whole) // 2
        short += middle == 0
        for number, frames in ((1, whole.frames[:middle]), (2, whole.frames[middle:])) if middle else ():
            extra = {**whole.extra, HALF_OF: whole.id}
            found.append(replace(whole, id=f"{whole.id}/{number}", frames=frames, extra=extra))
    if short:
        logger.warning("%s of one frame left out: they have no halves", counted(short, "tracklet"))
    return found


def evenly_spaced(n: int, most: int) -> list[int]:
    """At most ``most`` of ``n`` frames, spread evenly: the middles of equal pieces.

    >>> evenly_spaced(12, 4), evenly_spaced(2, 4)
    ([1, 4, 7, 10], [0, 1])
    """
    few = min(most, n)
    return [(2 * i + 1) * n // (2 * few) for i in range(few)]


def evenly(tracklet: Tracklet, most: int) -> Tracklet:
    """At most ``most`` frames of a tracklet, spread evenly over it; itself if it has no more.

    When it is seen stays: ``video``, ``start`` and ``end`` are those of the whole tracklet.

    >>> import numpy as np
    >>> frames = np.zeros((8, 8, 4, 3), np.uint8)
    >>> frames[:, 0, 0, 0] = range(8)
    >>> evenly(Tracklet("a", frames), 2).frames[:, 0, 0, 0]
    array([2, 6], dtype=uint8)
    """
    if len(tracklet) <= most:
        return tracklet
    chosen = evenly_spaced(len(tracklet), most)
    frames, row = tracklet.frames, tracklet.row()
    when: dict[str, Any] = {key: row[key] for key in ("video", "start", "end") if key in row}
    some = [frames[i] for i in chosen] if isinstance(frames, (list, tuple)) else frames[chosen]
    return replace(tracklet, frames=some, extra={**tracklet.extra, **when})
