"""TrainConfig: everything that the result of a run depends on, as plain data, and the named recipes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from math import cos, pi
from typing import Any, ClassVar

from stmga.data.imitation import Imitation
from stmga.train.losses import DISTANCES
from stmga.utils.settings import Settings
from stmga.utils.text import did_you_mean

CHOICES = {
    "distance": DISTANCES,
    "triplet_on": ("post_bn", "pre_bn"),
    "residual": ("direct", "none", "own_min", "shared_min"),
    "schedule": ("step", "cosine"),
    "precision": ("fp32", "bf16", "fp16"),
}
# Smallest valid values.
LEAST = {
    "persons": 2, "clips": 1, "stride": 1, "epochs": 1, "steps": 1, "dense_step": 0, "eval_every": 0, "seed": 0,
    "trunk_lr": 0, "attention_lr": 0, "warmup": 0, "weight_regions": 0, "weight_teacher": 0, "weight_pa": 0,
    "contrast": 0, "lambda_pce": 0, "weight_decay": 0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """A training run as data; the defaults are the paper's recipe (D31-D42 in docs/method/decisions.md).

    Attributes:
        persons, clips: P identities and K clips of each in a batch, over all processes.
        mix_cameras: draw the K clips of an identity from as many cameras as possible (not in the paper).
        stride: step between the frames of a training clip (D38). dense_step: cut longer training tracklets into pieces
            of this many frames (D41); 0 does not cut.
        flip, erase: probability, per clip, of mirroring it and of erasing a rectangle in it (D39).
        drift, passing, blur, light, hue, saturation, soften: make still crops look like video of other cameras; see
            :class:`stmga.data.Imitation`.
        margin, distance, triplet_on: of the triplet loss; a margin of None is the soft margin. ``"post_bn"`` takes the
            features after the BN neck.
        smoothing: label smoothing of the identity loss.
        contrast: temperature of the contrast with a memory of the persons, such as 0.1 (not in the paper). It takes the
            place of all losses but the triplet loss of the final feature: for persons who are not known for sure, as in
            :func:`stmga.train.adapt`. 0 trains classifiers.
        weight_pa, lambda_pce: weights of L_PA and L_PCE; 0 leaves the loss out.
        weight_regions: weight of a loss that the paper does not have: on rendered walkers with pixel labels, the parts
            learn head, torso, legs and shoes, and the global attention the person. 0 leaves it out.
        weight_teacher: weight of the loss of a teacher, if one is given (not in the paper). 0 leaves it out.
        residual: what L_PA compares (D8); see :func:`stmga.train.objective.attention_target`.
        epochs, steps: an epoch is one pass over the tracklets (D40), or ``steps`` batches.
        lr, weight_decay: of Adam; the decay is L2. trunk_lr: the trunk's lr as a share of lr; 0 keeps its weights,
            while its running statistics are still updated. attention_lr: the same for part and global attention.
        schedule: ``"step"`` multiplies lr by ``decay`` at each of ``milestones`` (epochs), ``"cosine"`` decreases it
            to 0. warmup: epochs in which lr rises to its value.
        average: validate and save an exponential moving average of the weights (Polyak averaging) with this decay per
            step, such as 0.999; 0 takes the weights of the last step.
        seed: of weights, sampling and augmentation.
        precision: ``"fp32"``, or autocast to ``"bf16"`` or ``"fp16"`` (with loss scaling). Softmaxes, norms of vectors
            and losses stay in float32 (D42).
        frozen: first stages of the trunk that do not change, running statistics included, such as ``("conv1", "bn1",
            "layer1")``. They learn little on people after ImageNet, and take a third of the time of a step.
        recompute: stages of the trunk whose activations are computed again in the backward pass, to save memory.
        compile: torch.compile the network and its losses.
        eval_every: validate every this many epochs and after the last; 0 only after the last.

    Raises:
        ValueError: all faults together: types, choices, ranges, and settings that exclude each other.
    """

    CHOICES: ClassVar = CHOICES

    persons: int = 16
    clips: int = 4
    mix_cameras: bool = False
    stride: int = 4
    dense_step: int = 0
    flip: float = 0.5
    erase: float = 0.5
    drift: float = 0.0
    passing: float = 0.0
    blur: float = 0.0
    light: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    soften: float = 0.0
    margin: float | None = 0.3
    distance: str = "cosine"
    triplet_on: str = "post_bn"
    smoothing: float = 0.0
    contrast: float = 0.0
    weight_pa: float = 1.0
    lambda_pce: float = 0.1
    weight_regions: float = 0.0
    weight_teacher: float = 10.0
    residual: str = "direct"
    epochs: int = 150
    steps: int | None = None
    lr: float = 3.5e-4
    trunk_lr: float = 1.0
    attention_lr: float = 1.0
    weight_decay: float = 5e-4
    schedule: str = "step"
    milestones: tuple[int, ...] = (40, 80, 120)
    decay: float = 0.1
    warmup: float = 0.0
    average: float = 0.0
    seed: int = 0
    precision: str = "fp32"
    frozen: tuple[str, ...] = ()
    recompute: tuple[str, ...] = ()
    compile: bool = False
    eval_every: int = 10

    def _faults(self) -> Iterable[str]:
        for name, least in LEAST.items():
            if (value := getattr(self, name)) is not None and value < least:
                yield self.must(name, f"be >= {least}")
        for name in ("lr", "decay"):
            if getattr(self, name) <= 0:
                yield self.must(name, "be > 0")
        for name in ("flip", "erase", "smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                yield self.must(name, "be in 0..1")
        if not 0 <= self.average < 1:
            yield self.must("average", "be in 0..1, and less than 1")
        try:
            _ = self.imitation
        except ValueError as error:
            yield str(error).removeprefix("invalid Imitation: ")
        if self.contrast and self.weight_regions:
            yield "contrast and weight_regions exclude each other: contrast learns from identities alone"
        if self.compile and self.recompute:
            yield "compile and recompute exclude each other: the compiler chooses itself what to compute again"

    @property
    def imitation(self) -> Imitation:
        """The changes that make clips look like video."""
        return Imitation(**{field.name: getattr(self, field.name) for field in fields(Imitation)})

    def lr_at(self, epoch: float) -> float:
        """The learning rate after ``epoch`` epochs (a fraction within one).

        >>> [round(TrainConfig().lr_at(epoch), 8) for epoch in (0, 39.9, 40, 149)]
        [0.00035, 0.00035, 3.5e-05, 3.5e-07]
        """
        if epoch < self.warmup:
            return self.lr * max(epoch, 1e-3) / self.warmup  # never 0: the first step counts too
        if self.schedule == "cosine":
            return self.lr * (1 + cos(pi * (epoch - self.warmup) / max(self.epochs - self.warmup, 1e-9))) / 2
        return self.lr * self.decay ** sum(epoch >= m for m in self.milestones)


# For training with groups of still crops, which become clips that look like video.
_CROPS: dict[str, Any] = {
    "persons": 16, "stride": 1, "drift": 0.08, "light": 0.2, "blur": 1.0, "smoothing": 0.1, "schedule": "cosine",
    "steps": 100, "eval_every": 10,
}  # fmt: skip
# For a trunk with average pooling from ImageNet: with features before the neck it learns faster at the start. Not for
# the whole network, whose later features are several times as large, so that their triplet losses dominate:
# docs/train/trials.md.
_RAW: dict[str, Any] = {"distance": "euclidean", "triplet_on": "pre_bn"}

# "paper" is the paper's. The others are for: a hundred to some thousand tracklets, from a trained trunk or network;
# minutes on a CPU, from scratch; groups of still crops, first each crop alone, then as clips from the resulting trunk.
RECIPES: dict[str, TrainConfig] = {
    "paper": TrainConfig(),
    "small": TrainConfig(persons=8, epochs=40, schedule="cosine", warmup=2, smoothing=0.1, eval_every=5),
    "cpu": TrainConfig(
        persons=8, clips=2, stride=1, erase=0.0, epochs=14, lr=1e-3, schedule="cosine", warmup=1, eval_every=7
    ),
    "crops": TrainConfig(**_CROPS, **_RAW, clips=4, epochs=40, warmup=2),
    "clips": TrainConfig(**_CROPS, clips=2, epochs=8, warmup=1, trunk_lr=0.3, passing=0.3),
}

# The input that a recipe gives to an untrained network, if it differs from the architecture's.
INPUTS: dict[str, dict[str, Any]] = {
    "cpu": {"size": (128, 64), "clip_length": 4},
    "crops": {"size": (128, 64), "clip_length": 1},
    "clips": {"size": (128, 64), "clip_length": 4},
}


def recipe(name: str, **changes: Any) -> TrainConfig:
    """A recipe by name, with changes.

    >>> recipe("paper", epochs=2).epochs
    2

    Raises:
        ValueError: no such recipe, no such setting.
    """
    if name not in RECIPES:
        raise ValueError(
            f"there is no recipe {name!r}; {did_you_mean(name, RECIPES) or 'there are ' + ', '.join(RECIPES)}"
        )
    return TrainConfig.from_dict(RECIPES[name].to_dict() | changes) if changes else replace(RECIPES[name])
