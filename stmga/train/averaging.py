"""A moving average of the weights, which scores better than the weights of any one step (Polyak and Juditsky, 1992)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = list[Tensor] | tuple[Tensor, ...]


def weight_average(model: nn.Module, decay: float) -> AveragedModel:
    """The moving average of ``model``, updated by ``update_parameters(model)``, running statistics included.

    At step n the decay is ``min(decay, (1 + n) / (10 + n))``, so that the average leaves the initial weights quickly.

    >>> model = nn.Linear(1, 1)
    >>> average = weight_average(model, 0.999)
    >>> average.update_parameters(model)
    >>> bool(average.module.weight == model.weight)
    True
    """

    @torch.no_grad()
    def follow(average: Tensors, current: Tensors, steps: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
        if average[0].is_floating_point():
            torch._foreach_lerp_(average, current, share)
        else:  # the batches that a batch norm has counted
            torch._foreach_copy_(average, current)

    copy = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
    return copy.requires_grad_(False).eval()
