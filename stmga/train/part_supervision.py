"""Rendered walkers beside a batch, whose labelled pixels show the parts where head, torso, legs and shoes are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stmga.config import STMGAConfig
from stmga.data.augment import ClipAugment
from stmga.data.walkers.labels import LabelledWalkers


class PartSupervision:
    """(b t 3 h w) -> (b + k t 3 h w), (k t n h/16 w/16): k labelled clips after a batch, one for eight of its own.

    Args:
        net: of the network that learns: its parts, clip length and size.
        augment: of the batch. Walkers are lit and blurred as it is, and nothing moves them away from their labels.
        seed: of what is drawn; the people are always the same ones.
    """

    def __init__(self, net: STMGAConfig, augment: ClipAugment, *, seed: int) -> None:
        self.seed = seed
        self.walkers = LabelledWalkers(parts=max(net.part_scales), length=net.clip_length, size=net.size)
        still = replace(augment.imitation, drift=0.0, passing=0.0)
        self.augment = replace(augment, flip=0.0, erase=0.0, imitation=still)

    def after(self, clips: Tensor, *position: int) -> tuple[Tensor, Tensor]:
        """The batch followed by labelled clips, and their regions; ``position`` (epoch, step, rank) decides which."""
        rng = np.random.default_rng([self.seed, *position])
        frames, regions = self.walkers.draw(max(1, len(clips) // 8), rng=rng)
        draws = rng.integers(2**62, size=len(frames)).tolist()
        shown = self.augment(frames.to(clips.device), draws)
        return torch.cat([clips, shown]), regions.to(clips.device)
