"""The optimiser of a run: Adam, with separate learning rates for the trunk and for the attention of CPA."""

from __future__ import annotations

from torch import nn
from torch.optim import Adam

from stmga.train.config import TrainConfig
from stmga.train.contrast import ContrastObjective
from stmga.train.objective import Objective


def build_optimizer(objective: Objective | ContrastObjective, config: TrainConfig) -> Adam:
    """Adam on every trainable parameter, in one group (D2) or with separate groups for trunk and attention.

    Each group's ``share`` is its learning rate as a share of :meth:`TrainConfig.lr_at`.
    """
    model = objective.model
    shares = {model.backbone: config.trunk_lr, model.cpa: config.attention_lr}
    own = {id(p): share for module, share in shares.items() if module for p in module.parameters()}
    groups: dict[float, list[nn.Parameter]] = {1.0: []}
    for parameter in objective.parameters():
        if parameter.requires_grad:
            groups.setdefault(own.get(id(parameter), 1.0), []).append(parameter)
    given = [{"params": params, "share": share} for share, params in groups.items() if params]
    # fused: one pass over parameters, gradients and moments, where the plain form takes a dozen
    return Adam(given, lr=config.lr, weight_decay=config.weight_decay, fused=True)
