"""The objective of identities that change from round to round: contrast with a memory of them, and triplets."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stmga.blocks.ops import no_autocast
from stmga.model import AUTOCAST, STMGA
from stmga.train.config import TrainConfig
from stmga.train.losses import memory_loss, triplet_loss
from stmga.utils.distributed import all_gather_grad

MOMENTUM = 0.8  # of an identity in the memory


class ContrastObjective(nn.Module):
    """(b t 3 h w), (b) -> the terms of the loss by name, and ``"total"``: contrast + triplet, of the final feature.

    From Ge et al., Self-paced Contrastive Learning, NeurIPS 2020, and Dai et al., Cluster Contrast, ACCV 2022. The
    memory has one unit vector per identity, no parameter: there is no classifier that has to be learnt first. After a
    step, the vector of an identity moves to the clip of the batch that is least similar to it.

    Args:
        model: the network that is trained.
        identities: how many there are; labels are 0..identities - 1.
        config: temperature of the contrast, the triplet loss, and the precision.

    Example:
        >>> from stmga.config import STMGAConfig
        >>> model = STMGA(STMGAConfig(backbone="resnet18", stage="c4"))
        >>> objective = ContrastObjective(model, identities=2, config=TrainConfig(contrast=0.1))
        >>> sorted(objective(torch.rand(4, 2, 3, 64, 32), torch.arange(4) // 2))
        ['contrast', 'total', 'triplet']
    """

    memory: Tensor

    def __init__(self, model: STMGA, *, identities: int, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.register_buffer(
            "memory", F.normalize(torch.randn(identities, model.dim, dtype=torch.float32, device="cpu"), dim=1)
        )

    def forward(
        self, clips: Tensor, labels: Tensor, regions: Tensor | None = None, taught: Tensor | None = None
    ) -> dict[str, Tensor]:
        if regions is not None or taught is not None:
            raise ValueError("contrast learns from identities alone: leave out the teacher, and weight_regions at 0")
        dtype = AUTOCAST[self.config.precision]
        with torch.autocast(clips.device.type, dtype=dtype) if dtype else nullcontext():
            feature = self.model.after_neck(self.model.encode(clips))
        with no_autocast(clips.device.type):  # losses in float32
            unit = F.normalize(feature.float(), dim=1)
            every, persons = all_gather_grad(unit), all_gather_grad(labels)
            terms = {
                "contrast": memory_loss(unit, labels, self.memory.clone(), temperature=self.config.contrast),
                "triplet": triplet_loss(
                    unit, labels, margin=self.config.margin, distance=self.config.distance, others=(every, persons)
                ),
            }
            if self.training:
                self.remember(every.detach(), persons)
        return terms | {"total": torch.stack(list(terms.values())).sum()}

    @torch.no_grad()
    def remember(self, features: Tensor, labels: Tensor) -> None:
        """Move the memory of the identities of a batch towards the clip of each that is least similar to it."""
        for label in labels.unique().tolist():
            own = features[labels == label]
            hardest = own[(own @ self.memory[label]).argmin()]
            self.memory[label] = F.normalize(MOMENTUM * self.memory[label] + (1 - MOMENTUM) * hardest, dim=0)
