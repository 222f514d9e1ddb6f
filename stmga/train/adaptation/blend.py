"""Weights between two networks: they keep more of what the first could, and most of what the second has learnt."""

from __future__ import annotations

import copy

import torch

from stmga.model import STMGA


def blended(start: STMGA, trained: STMGA, share: float) -> STMGA:
    """A copy of ``trained``, each weight and statistic of which is moved towards that of ``start`` by this share.

    It works because the second was trained from the first. Source: Wortsman et al., Robust fine-tuning of zero-shot
    models, CVPR 2022.

    >>> from stmga import STMGAConfig
    >>> start, trained = (STMGA(STMGAConfig(backbone="resnet18", stage="c4")) for _ in range(2))
    >>> middle = blended(start, trained, 0.5).backbone.conv1.weight
    >>> torch.allclose(middle, (start.backbone.conv1.weight + trained.backbone.conv1.weight) / 2, atol=1e-6)
    True
    """
    found, before = copy.deepcopy(trained), start.state_dict()
    with torch.no_grad():
        for name, value in found.state_dict().items():
            if value.is_floating_point():
                value.lerp_(before[name].to(value), share)
    return found
