"""The tracklets of an int8 export: some to calibrate on, others held out for the comparison."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from stmga.deploy.exported import ExportedModel
from stmga.tracklets import Tracklet
from stmga.tracklets.split import evenly_spaced

LEAST_FRAMES = 32  # of all tracklets together
CALIBRATE, HOLD_OUT = 256, 512  # frames at most, for ranges and for the comparison
PER_TRACKLET = 8  # frames of a tracklet, more only if a clip has more


def split(tracklets: Sequence[Tracklet]) -> tuple[list[Tracklet], list[Tracklet]]:
    """Tracklets to calibrate on, and others of other persons for the comparison.

    Raises:
        ValueError: too few of them.
    """
    total = frames_of(tracklets)
    if total < LEAST_FRAMES:
        raise ValueError(
            f"int8 needs at least {LEAST_FRAMES} frames, of which at most {PER_TRACKLET} of a tracklet count, got "
            f"{total}; give more crops"
        )
    persons: dict[Any, list[Tracklet]] = {}
    for tracklet in tracklets:
        persons.setdefault(tracklet.id if tracklet.person is None else ("person", tracklet.person), []).append(tracklet)
    groups = list(persons.values())
    if len(groups) < 2:
        raise ValueError(
            f"int8 needs at least two {'persons' if len(tracklets) > 1 else 'tracklets'}, one to calibrate on and one "
            "to compare with, got one"
        )
    random.Random(0).shuffle(groups)
    calibration: list[Tracklet] = []
    while len(groups) > 1 and frames_of(calibration) < min(CALIBRATE, total // 2):
        calibration += groups.pop()
    return _up_to(CALIBRATE, calibration), _up_to(HOLD_OUT, [tracklet for group in groups for tracklet in group])


def _up_to(frames: int, tracklets: Iterable[Tracklet]) -> list[Tracklet]:
    kept: list[Tracklet] = []
    for tracklet in tracklets:
        if frames_of(kept) >= frames:
            break
        kept.append(tracklet)
    return kept


def frames_of(tracklets: Iterable[Tracklet]) -> int:
    """Frames that are used of them."""
    return sum(min(len(tracklet), PER_TRACKLET) for tracklet in tracklets)


def _indices(tracklet: Tracklet, length: int) -> list[int]:
    """Frames of whole clips: some spread over a long tracklet; a short one loops, as the embedder does it."""
    n = len(tracklet)
    wanted = length * max(1, min(n, PER_TRACKLET) // length)
    return evenly_spaced(n, wanted) if n > wanted else [i % n for i in range(wanted)]


def clips_of(tracklet: Tracklet, exported: ExportedModel) -> Tensor:
    """(k t 3 h w), as the file takes them."""
    frames = tracklet.load(_indices(tracklet, exported.clip_length))
    try:
        return exported.transform(frames).unflatten(0, (-1, exported.clip_length))
    except (ValueError, TypeError) as error:
        raise ValueError(f'tracklet "{tracklet.id}": {error}') from error
