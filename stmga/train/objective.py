"""The joint objective: the network, its heads and all losses as one module whose forward gives the terms (eq. 12)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from stmga.blocks import CPASupervision
from stmga.blocks.mga import Partwise
from stmga.blocks.ops import no_autocast
from stmga.config import STMGAConfig
from stmga.features import Features
from stmga.model import STMGA
from stmga.train.config import TrainConfig
from stmga.train.contrast import ContrastObjective
from stmga.train.heads import IdentityHeads
from stmga.train.losses import (
    identity_loss,
    part_attention_loss,
    part_class_loss,
    region_loss,
    triplet_loss,
)
from stmga.train.teaching import TeacherLoss
from stmga.utils.distributed import all_gather_grad

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Objective(nn.Module):
    """(b t 3 h w), (b) -> every term of the loss by name, and ``"total"`` (eq. 5 and 12, D36):

        total = sum over P_g, Z^F, Z^T, Z^C of (cross-entropy + triplet)  +  weight_pa L_PA  +  lambda_pce L_PCE

    With ``taught`` (b d), the teacher's vectors of the same clips, the final feature learns to point where they do
    (:class:`stmga.train.TeacherLoss`, times weight_teacher).

    With ``regions`` (k t n h w), the last k clips are rendered, without identities. They only take part in the region
    loss (:func:`stmga.train.losses.region_loss`, times weight_regions).

    Terms of features that the network does not have are left out: the baseline has only those of Z^F. With several
    processes, triplets and the teacher's rotation are taken over the batches of all processes.

    Args:
        model: the network that is trained.
        identities: number of persons; labels are 0..identities - 1.
        config: weights and kinds of the losses, and the precision.
        directions: of the teacher, (d k); None without one.

    Example:
        >>> model = STMGA(STMGAConfig(backbone="resnet18", stage="c4"))
        >>> objective = Objective(model, identities=2, config=TrainConfig())
        >>> terms = objective(torch.rand(4, 2, 3, 64, 32), torch.arange(4) // 2)
        >>> sorted(terms)[:3], len(terms)
        (['ce/p_g', 'ce/z_c', 'ce/z_f'], 11)
    """

    def __init__(self, model: STMGA, *, identities: int, config: TrainConfig, directions: Tensor | None = None) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.heads = IdentityHeads(
            model.dim, identities=identities, features=supervised(model.config), final=final(model.config)
        )
        parts = max(model.config.part_scales)
        # C_p: one classifier for all parts, which predicts the number of the part (eq. 3)
        classify = model.cpa is not None and config.lambda_pce > 0
        self.part_classifier = nn.Linear(model.dim, parts) if classify else None
        self.teacher_loss = None
        if directions is not None and config.weight_teacher > 0:
            self.teacher_loss = TeacherLoss(directions, model.dim)

    def forward(
        self, clips: Tensor, labels: Tensor, regions: Tensor | None = None, taught: Tensor | None = None
    ) -> dict[str, Tensor]:
        b = len(labels)
        dtype = AUTOCAST.get(self.config.precision)
        with torch.autocast(clips.device.type, dtype=dtype) if dtype else nullcontext():
            found = self.model.forward_features(clips)
            features = {name: feature[:b] for name, feature in features_of(found).items()}
            outputs = self.heads(features, self.model.after_neck)
            cpa = CPASupervision(*(x[:b] for x in found.cpa)) if found.cpa is not None else None
            part_logits = None
            if self.part_classifier is not None and cpa is not None:
                part_logits = self.part_classifier(cpa.pooled_parts)
        with no_autocast(clips.device.type):  # losses in float32
            terms: dict[str, Tensor] = {}
            for name, (feature, logits) in outputs.items():
                terms[f"ce/{name}"] = identity_loss(logits, labels, smoothing=self.config.smoothing)
                raw = feature if self.config.triplet_on == "post_bn" else features[name]
                terms[f"triplet/{name}"] = self._triplet(raw, labels)
            total = torch.stack(list(terms.values())).sum()
            if taught is not None and self.teacher_loss is not None:
                feature = outputs[self.heads.final].feature
                terms["teacher"] = self.teacher_loss(all_gather_grad(feature.float()), all_gather_grad(taught))
                total = total + self.config.weight_teacher * terms["teacher"]
            if cpa is not None and self.config.weight_pa > 0:
                terms["pa"] = part_attention_loss(*attention_target(cpa, self.config.residual))
                total = total + self.config.weight_pa * terms["pa"]
            if part_logits is not None:
                terms["pce"] = part_class_loss(part_logits)
                total = total + self.config.lambda_pce * terms["pce"]
            if regions is not None and found.cpa is not None:
                terms["regions"] = region_loss(found.cpa.part_attention[b:], found.cpa.global_attention[b:], regions)
                total = total + self.config.weight_regions * terms["regions"]
        return terms | {"total": total}

    def _triplet(self, feature: Tensor, labels: Tensor) -> Tensor:
        others = (all_gather_grad(feature.float()), all_gather_grad(labels))
        return triplet_loss(feature, labels, margin=self.config.margin, distance=self.config.distance, others=others)


def build_objective(
    model: STMGA, identities: int, config: TrainConfig, directions: Tensor | None = None
) -> Objective | ContrastObjective:
    """The network with the heads, or the memory, of the configuration; the same weights for the same seed.

    ``directions`` are those of a teacher, if there is one.

    Raises:
        ValueError: ``recompute`` names a stage that the trunk does not have, or ``frozen`` others than its first ones.
    """
    model.backbone.set_recompute(config.recompute)
    model.backbone.freeze(config.frozen)
    start_parts(model, config)
    spare_relations(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.contrast > 0:
            objective: Objective | ContrastObjective = ContrastObjective(model, identities=identities, config=config)
        else:
            objective = Objective(model, identities=identities, config=config, directions=directions)
    if config.compile:
        objective.compile()
    return objective


def spare_relations(model: STMGA) -> None:
    """Freeze phi and omega of T-MGA for clips of one frame, where there is nothing to relate.

    They would get no gradient, and weight decay would drive them to zero. A later stage on longer clips could then not
    learn relations.
    """
    if model.t_mga is None or model.config.clip_length > 1:
        return
    for aggregator in model.t_mga.aggregators:
        if isinstance(aggregator, Partwise) and aggregator.phi is not None and aggregator.omega is not None:
            aggregator.phi.requires_grad_(False)
            aggregator.omega.requires_grad_(False)


def supervised(config: STMGAConfig) -> list[str]:
    """Names of the network's features that have losses."""
    has = {"p_g": config.parts == "cpa", "z_f": True, "z_t": config.t_mga, "z_c": config.s_mga}
    return [name for name, there in has.items() if there]


def final(config: STMGAConfig) -> str:
    """The name of the feature used in tests."""
    return supervised(config)[-1]


def features_of(found: Features) -> dict[str, Tensor]:
    """The features by the names used here; those that the network does not have are left out."""
    pooled = found.cpa.pooled_global if found.cpa else None
    every = {"p_g": pooled, "z_f": found.z_f, "z_t": found.z_t, "z_c": found.z_c}
    return {name: feature for name, feature in every.items() if feature is not None}


def attention_target(cpa: CPASupervision, residual: str) -> tuple[Tensor, Tensor]:
    """The part attentions (b t n h w) and the target of their sum (b t 1 h w) that L_PA compares (D7-D9).

    ``"direct"``: the parts as they are against the global attention less its minimum in each frame. ``"none"``: against
    the global attention itself. ``"own_min"``: each part less its own minimum, and ``"shared_min"``: each part less its
    share of the global attention's minimum, against the global attention less its minimum. The modes differ only in the
    loss: the pooled parts are the network's own in each mode.
    """
    parts, whole = cpa.part_attention, cpa.global_attention
    if residual == "none":
        return parts, whole
    if residual == "own_min":
        parts = parts - parts.amin((-2, -1), keepdim=True)
    elif residual == "shared_min":
        parts = parts - whole.detach().amin((-2, -1), keepdim=True) / parts.shape[2]
    return parts, cpa.residual


def start_parts(model: STMGA, config: TrainConfig) -> None:
    """Initialise the parts of an untrained CPA to the mean of their target (D6).

    Their sum starts near 0.4, the mean of the residual global attention, or near 0.5 if the target is the global
    attention itself. Without a loss on the sum, each part starts at 0.5. A trained CPA, whose biases are no longer
    those of the constructor, is not changed.
    """
    if model.cpa is None:
        return
    n = max(model.config.part_scales)
    start = 0.5
    if config.weight_pa > 0 and config.residual in ("direct", "none"):
        start = {"direct": 0.4, "none": 0.5}[config.residual] / n
    norm, built = model.cpa.part_heads[-1], model.cpa.start
    assert isinstance(norm, nn.BatchNorm2d)
    if torch.equal(norm.bias, torch.full_like(norm.bias, math.log(built / (1 - built)))):
        nn.init.constant_(norm.bias, math.log(start / (1 - start)))


def term_names(names: Sequence[str]) -> list[str]:
    """The order in which terms are shown: the total first, the others in their order."""
    return ["total", *(name for name in names if name != "total")]
