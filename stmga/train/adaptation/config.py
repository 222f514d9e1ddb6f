"""AdaptConfig: everything that the result of an adaptation depends on, beside the network and the tracklets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from stmga.train.config import CHOICES, TrainConfig, recipe
from stmga.utils.settings import Settings

BATCH = 128  # frames in a batch, about
LEAST = {
    "rounds": 1, "patience": 1, "steps": 1, "persons": 2, "clip_length": 1, "frames": 2, "whitening": 0,
    "seed": 0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AdaptConfig(Settings):
    """An adaptation as data.

    Attributes:
        rounds: how often tracklets are linked and trained on.
        patience: rounds without a better score, after which it ends.
        steps: batches in a round.
        lr: learning rate at which each round begins; it falls to 0 in every round.
        temperature: of the contrast with the memory of the identities.
        frozen: first stages of the trunk that do not change.
        persons: different identities in a batch, where there are so many.
        clip_length: frames in a clip, while it trains and links. A batch has about 128 frames, so it has more clips if
            they are short. The kept weights take clips as the start does.
        frames: of each tracklet, spread evenly, that make its vector in every round.
        keep: share of the tracklets that a round trains on, those that fit their identity best.
        false_match_rate: whose threshold linking takes; default: 1e-3.
        singles: train on tracklets that stay alone, each an identity of its own: two clips of one tracklet are one
            person. Without it they are left out.
        times: keep tracklets apart that one camera saw at the same time, and calibrate on them.
        mix_cameras: draw the clips of an identity from as many cameras as possible.
        teacher: decay per step of an average of the weights, which is the result of a training; 0 takes the weights of
            the last step.
        start_share: share of the starting weights in the kept weights. Mixed weights lose less accuracy elsewhere, and
            are more accurate on people that they were not trained on. The rounds themselves use unmixed weights. See
            :func:`stmga.train.adaptation.blend.blended`.
        whitening: shrinkage of a whitening layer that the kept weights get, solved from the identities that they find;
            see :func:`stmga.train.whitening_of`. 0 leaves it out.
        only_norms: change nothing but the statistics of the batch norms, in one pass over the tracklets.
        precision: of training and of embedding: ``"fp32"``, or autocast to ``"bf16"`` or ``"fp16"``. The pass of
            ``only_norms`` is in float32.
        seed: of sampling and augmentation.

    Raises:
        ValueError: all faults together.
    """

    CHOICES: ClassVar = {"precision": CHOICES["precision"]}

    rounds: int = 5
    patience: int = 2
    steps: int = 120
    lr: float = 4e-4
    temperature: float = 0.1
    frozen: tuple[str, ...] = ("conv1", "bn1", "layer1")
    persons: int = 32
    clip_length: int = 2
    frames: int = 8
    keep: float = 0.9
    false_match_rate: float | None = None
    singles: bool = True
    times: bool = True
    mix_cameras: bool = True
    teacher: float = 0.98
    start_share: float = 0.3
    whitening: float = 3.0
    only_norms: bool = False
    precision: str = "fp32"
    seed: int = 0

    def _faults(self) -> Iterable[str]:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                yield self.must(name, f"be >= {least}")
        for name in ("lr", "temperature"):
            if getattr(self, name) <= 0:
                yield self.must(name, "be > 0")
        if not 0 < self.keep <= 1:
            yield self.must("keep", "be in 0..1, and more than 0")
        for name in ("teacher", "start_share"):
            if not 0 <= getattr(self, name) < 1:
                yield self.must(name, "be in 0..1, and less than 1")

    @property
    def kept_of_start(self) -> float:
        """The share of the starting weights in the kept weights: 0 if only the batch norms change."""
        return 0.0 if self.only_norms else self.start_share

    def training(self, number: int, identities: int) -> TrainConfig:
        """The settings of the training of one round.

        >>> config = AdaptConfig().training(1, identities=9)
        >>> config.persons, config.clips, config.steps
        (9, 7, 120)
        """
        persons = min(self.persons, identities)
        settings: dict[str, Any] = {
            "persons": persons, "clips": max(2, BATCH // persons // self.clip_length),
            "epochs": 1, "steps": self.steps, "warmup": 0.1, "eval_every": 0, "mix_cameras": self.mix_cameras,
            "lr": self.lr, "trunk_lr": 1.0, "frozen": self.frozen, "average": self.teacher,
            "contrast": self.temperature, "precision": self.precision, "seed": self.seed * 1000 + number,
        }  # fmt: skip
        return recipe("clips", **settings)
