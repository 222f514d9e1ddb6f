"""Crops of persons who can be told apart by colour, and a small network for them."""

from __future__ import annotations

import numpy as np

from stmga import STMGAConfig
from stmga.tracklets import Tracklet

CONFIG = STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=2)


def crops(persons: int = 10, frames: int = 4) -> list[Tracklet]:
    """Each person has a colour of their own, and is seen by two cameras."""
    draw = np.random.default_rng(0)
    looks = draw.integers(0, 256, (persons, 1, 8, 4, 3)).repeat(8, 2).repeat(8, 3)
    return [
        Tracklet(
            f"{who}c{camera}",
            (0.7 * looks[who] + draw.integers(0, 77, (frames, 64, 32, 3))).astype(np.uint8),
            person=who,
            camera=camera,
        )
        for who in range(persons)
        for camera in (1, 2)
    ]
