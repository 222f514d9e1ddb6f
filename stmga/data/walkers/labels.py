"""Rendered walkers with pixel labels, in a form that part attention can learn from."""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from stmga.data.walkers.canvas import Label
from stmga.data.walkers.render import render_labelled

# From top to bottom, so that the halves of MA-PA are the upper and the lower body; a bag counts as torso.
REGIONS: dict[int, tuple[tuple[Label, ...], ...]] = {
    1: ((Label.HEAD, Label.TORSO, Label.BAG, Label.LEGS, Label.SHOES),),
    2: ((Label.HEAD, Label.TORSO, Label.BAG), (Label.LEGS, Label.SHOES)),
    4: ((Label.HEAD,), (Label.TORSO, Label.BAG), (Label.LEGS,), (Label.SHOES,)),
}


class LabelledWalkers:
    """Clips of rendered walkers, and the share of each position of the map that each region of the body takes.

    In half of the clips something hides the person in part of the frames. The occluder belongs to no region.

    Args:
        parts: number n of regions, a key of :data:`REGIONS`: whole, halves, or head, torso, legs and shoes.
        length: frames t of a clip.
        size: height and width of a frame, in pixels.
        clips: how many are rendered once, to be drawn from.
        seed: of the people; must differ from that of a test set.

    Raises:
        ValueError: a number of parts without regions.

    >>> shown = LabelledWalkers(parts=4, length=2, size=(64, 32), clips=4)
    >>> frames, regions = shown.draw(3, rng=np.random.default_rng(0))
    >>> frames.shape, regions.shape
    (torch.Size([3, 2, 3, 64, 32]), torch.Size([3, 2, 4, 4, 2]))
    """

    def __init__(self, *, parts: int, length: int, size: tuple[int, int], clips: int = 128, seed: int = 1000) -> None:
        if parts not in REGIONS:
            raise ValueError(f"there are labelled regions for {', '.join(map(str, REGIONS))} parts, not for {parts}")
        shots = [
            render_labelled(i, i % 4, frames=length, size=size, seed=seed, occlusion=float(i % 2), shift=0.6)
            for i in range(clips)
        ]
        self.frames = rearrange(torch.from_numpy(np.stack([pixels for pixels, _ in shots])), "k t h w c -> k t c h w")
        self.regions = region_shares(torch.from_numpy(np.stack([labels for _, labels in shots])), parts)

    def draw(self, count: int, *, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """``count`` clips, each mirrored or not: uint8 (k t 3 h w), float (k t n h/16 w/16)."""
        chosen = rng.choice(len(self.frames), count, replace=count > len(self.frames))
        mirrored = torch.from_numpy(rng.random(count) < 0.5)[:, None, None, None, None]
        both = self.frames[chosen], self.regions[chosen]
        frames, regions = (torch.where(mirrored, x.flip(-1), x) for x in both)
        return frames, regions


def region_shares(labels: Tensor, parts: int, *, stride: int = 16) -> Tensor:
    """(... h w) labels -> (... n h/stride w/stride), the share of each position that each region takes, in 0..1."""
    regions = (torch.tensor(region, dtype=labels.dtype, device=labels.device) for region in REGIONS[parts])
    masks = torch.stack([torch.isin(labels, region) for region in regions], dim=-3).float()
    h, w = labels.shape[-2:]
    return F.adaptive_avg_pool2d(masks.flatten(0, -4), (ceil(h / stride), ceil(w / stride))).unflatten(
        0, masks.shape[:-3]
    )
