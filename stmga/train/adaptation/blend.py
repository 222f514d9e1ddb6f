"""Weights between networks that were trained from one start: their mean, and a mean with the start itself."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch

from stmga.model import STMGA


def blended(one: STMGA, other: STMGA, share: float) -> STMGA:
    """A copy of ``one``, whose weights and statistics are this share of its own, and the rest those of ``other``.

    It works because one was trained from the other. Configuration and record are those of ``one``. Source: Wortsman et
    al., Robust fine-tuning of zero-shot models, CVPR 2022.

    >>> from stmga import STMGAConfig
    >>> start, trained = (STMGA(STMGAConfig(backbone="resnet18", stage="c4")) for _ in range(2))
    >>> middle = blended(start, trained, 0.5).backbone.conv1.weight
    >>> torch.allclose(middle, (start.backbone.conv1.weight + trained.backbone.conv1.weight) / 2, atol=1e-6)
    True
    """
    found, rest = copy.deepcopy(one), other.state_dict()
    with torch.no_grad():
        for name, value in found.state_dict().items():
            if value.is_floating_point():  # not a counter of batches, which nothing reads
                value.lerp_(rest[name].to(value), 1 - share)
    return found


def averaged(start: STMGA, trained: Iterable[STMGA]) -> STMGA:
    """A copy of ``start`` with the mean of the weights and statistics of these networks; its own if there is none.

    Each was trained from ``start``, so their mean is better than one of them on data that none has seen. Source:
    Wortsman et al., Model soups, ICML 2022.

    >>> from stmga import STMGAConfig
    >>> one, two, three = (STMGA(STMGAConfig(backbone="resnet18", stage="c4")) for _ in range(3))
    >>> found = averaged(one, [two, three]).backbone.conv1.weight
    >>> torch.allclose(found, (two.backbone.conv1.weight + three.backbone.conv1.weight) / 2, atol=1e-6)
    True
    """
    found = copy.deepcopy(start)
    for count, network in enumerate(trained, 1):
        found = blended(found, network, 1 - 1 / count)
    return found
