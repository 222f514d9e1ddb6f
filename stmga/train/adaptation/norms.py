"""The cheapest adaptation: the statistics of the batch norms, measured on the frames of a site."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from stmga.data.augment import ClipAugment
from stmga.data.training_set import TrainingSet
from stmga.model import STMGA
from stmga.tracklets.tracklet import Tracklet

CLIPS = 32  # in a batch


def with_norms_of(model: STMGA, tracklets: Sequence[Tracklet], *, stride: int = 1, seed: int = 0) -> STMGA:
    """A copy of the network whose batch norms have the statistics of these tracklets; its weights do not change.

    From Li et al., Revisiting Batch Normalization For Practical Domain Adaptation, ICLR Workshop 2017. All cameras have
    one set of statistics: with one for each, the vectors of two cameras would be of two networks, and could not be
    compared. One clip of every tracklet is read.

    Args:
        model: left as it is.
        tracklets: in any order; they are shuffled.
        stride: between the frames of a clip.
        seed: of the order, the clips and the mirroring.

    >>> from stmga.config import STMGAConfig
    >>> model = STMGA(STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=2)).eval()
    >>> other = with_norms_of(model, [Tracklet(str(i), np.full((2, 64, 32, 3), 25 * i, np.uint8)) for i in range(9)])
    >>> other.digest() == model.digest(), torch.equal(other.neck.weight, model.neck.weight)
    (False, True)
    """
    net = model.config
    adapted = copy.deepcopy(model).eval()
    norms = [module for module in adapted.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    data = TrainingSet(
        [replace(tracklet, person=tracklet.id) for tracklet in tracklets],
        length=net.clip_length, stride=stride, size=net.size,
    )  # fmt: skip
    augment = ClipAugment(erase=0.0, mean=net.mean, std=net.std)
    order = np.random.default_rng(seed).permutation(len(data)).tolist()
    batches = [order[start : start + CLIPS] for start in range(0, len(order), CLIPS)]
    if len(batches) > 1 and len(batches[-1]) < CLIPS:  # too few clips have a statistic of their own
        batches[-2:] = [batches[-2] + batches[-1]]
    for batch in batches:
        found = data.batch([(row, seed * len(data) + row) for row in batch])
        clips = augment(found["clip"].to(model.device), found["draw"])
        with torch.no_grad():
            adapted.neck(adapted.encode(clips))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return adapted.eval()
