"""Adds rendered walkers to a batch, whose pixel labels teach the parts head, torso, legs and shoes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stmga.config import STMGAConfig
from stmga.data.augment import ClipAugment
from stmga.data.walkers.labels import LabelledWalkers


class PartSupervision:
    """(b t 3 h w) -> (b + k t 3 h w), (k t n h/16 w/16): appends k labelled clips, one per eight clips of the batch.

    Args:
        net: of the trained network: its parts, clip length and size.
        augment: of the batch. Walkers get the same changes of light and blur, but none that would move them away from
            their labels.
        seed: of the choice of clips; the rendered people are always the same.
    """

    def __init__(self, net: STMGAConfig, augment: ClipAugment, *, seed: int) -> None:
        self.seed = seed
        self.walkers = LabelledWalkers(parts=max(net.part_scales), length=net.clip_length, size=net.size)
        still = replace(augment.imitation, drift=0.0, passing=0.0)
        self.augment = replace(augment, flip=0.0, erase=0.0, imitation=still)

    def after(self, clips: Tensor, *position: int) -> tuple[Tensor, Tensor]:
        """The batch followed by labelled clips, and their regions; ``position`` (epoch, step, rank) is the seed."""
        rng = np.random.default_rng([self.seed, *position])
        frames, regions = self.walkers.draw(max(1, len(clips) // 8), rng=rng)
        draws = rng.integers(2**62, size=len(frames)).tolist()
        shown = self.augment(frames.to(clips.device), draws)
        return torch.cat([clips, shown]), regions.to(clips.device)
