"""A second stage: another network on the trunk of a finished run, with that run's necks and classifiers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stmga.blocks.mga import Partwise
from stmga.config import STMGAConfig
from stmga.hub.records import WeightRecord, read_record
from stmga.model import STMGA
from stmga.train.checkpoint import laid_out, read_checkpoint
from stmga.train.contrast import ContrastObjective
from stmga.train.errors import TrainingError
from stmga.train.objective import Objective, final
from stmga.train.result import stage_of_run, trained_on
from stmga.train.run_folder import CHECKPOINT, CONFIG
from stmga.utils.foreign import MB, escaped, parse_json, read_regular, shown, unprintable

CONFIG_LIMIT = 4 * MB  # of run.json


class Start(Protocol):
    """What a run starts from beside the weights of its network. ``terms`` also hold for the new weights."""

    @property
    def terms(self) -> str: ...

    def start_network(self, model: STMGA) -> None:
        """Change the network before anything is built around it."""

    def start_heads(self, objective: Objective | ContrastObjective, identities: str) -> None:
        """Change necks and classifiers, or the memory; ``identities`` is the digest of the persons."""

    def start_optimizer(self, objective: Objective | ContrastObjective, optimizer: Optimizer) -> None:
        """Change the state of the optimiser."""


@dataclass(frozen=True)
class Stage:
    """The final state of a run, from which the next run starts.

    :meth:`start_network` gives a network the run's trunk and BN neck; new blocks start as plain pooling.
    :meth:`start_heads` gives every feature the neck and classifier of the run's final feature. Differently pooled
    features are similar after this neck, channel by channel, so most is already learnt.
    :meth:`start_optimizer` gives these parameters Adam's moments of the run.

    The run's own network, even with another size of frame or length of clip, keeps everything: blocks, necks,
    classifiers and all moments.
    """

    words: str
    config: STMGAConfig
    identities: str  # digest of the persons that its classifier knows
    tensors: dict[str, Tensor]  # of network and heads, by their names in the objective
    moments: dict[str, dict[str, Tensor]]  # of each parameter of the run
    record: WeightRecord | None = None  # of the run's weights: their data, stages, terms and licence carry over

    @classmethod
    def of(cls, run: str | Path) -> Stage:
        """Read the folder of a run.

        Raises:
            TrainingError: not a run, a run without a finished epoch, or a damaged checkpoint.
            WeightsError: the run's ``last/`` cannot be read.
        """
        run = Path(run)
        try:
            asked = parse_json(read_regular(run / CONFIG, CONFIG_LIMIT))
            config = STMGAConfig.from_dict(asked["network"], written_by=escaped(str(asked["stmga"]), 40))
            identities, epochs, start = asked["data"]["identities"], asked["train"]["epochs"], asked["started_from"]
            if not isinstance(start, str) or unprintable(start) or type(epochs) is not int:
                raise ValueError(f"it started from {shown(start)} and has {shown(epochs)} epochs")
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = escaped(str(error), 200)
            raise TrainingError(f"{run} is not a run folder: {CONFIG} cannot be used ({reason})") from error
        if not (run / CHECKPOINT).exists():
            raise TrainingError(f"{run} has no {CHECKPOINT}: a second stage starts from a run with one")
        progress, tensors, moments = read_checkpoint(run / CHECKPOINT)
        if progress.epoch == 0:
            raise TrainingError(f"{run} has ended no epoch yet: let it train first")
        words = f"{run.resolve().name} after {progress.epoch} of {epochs} epochs" + (f" ({start})" if start else "")
        return cls(words, config, identities, tensors, moments, _record_of(run, asked, progress.epoch))

    @property
    def terms(self) -> str:
        """The terms of the run's weights, which also hold for weights trained from them."""
        return self.record.terms if self.record is not None else ""

    def start_network(self, model: STMGA) -> None:
        """Load trunk and neck of the run, and start the aggregators as plain averages; load all for the same network.

        The model gets the record of the run's weights, from which the record of the second stage is made.

        Raises:
            TrainingError: a network with another trunk.
        """
        own = model.config
        if (own.backbone, own.stage) != (self.config.backbone, self.config.stage):
            raise TrainingError(
                f"the run has the trunk {self.config.backbone} {self.config.stage}, this network {own.backbone} "
                f"{own.stage}: a second stage keeps its trunk"
            )
        model.record = self.record
        if self.is_same_network(own):
            self._fill(model, "model")
            return
        self._fill(model.backbone, "model.backbone")
        self._fill(model.neck, "model.neck")
        for module in model.modules():
            if isinstance(module, Partwise):  # without psi it is an average
                nn.init.zeros_(module.psi.weight)
                nn.init.zeros_(module.psi.bias)

    def start_heads(self, objective: Objective | ContrastObjective, identities: str) -> None:
        """Load every neck and classifier from the run's final feature.

        Raises:
            TrainingError: the run was trained on other persons, or there are no classifiers.
        """
        if not isinstance(objective, Objective):
            raise TrainingError("a second stage continues with classifiers, and contrast trains none: leave it at 0")
        if identities != self.identities:
            raise TrainingError(
                "the run was trained on other persons, whom its classifiers know: train on the same, or fine-tune its "
                "weights with --from RUN/last, which brings no classifiers"
            )
        if self.is_same_network(objective.model.config):
            self._fill(objective.heads, "heads")
            if objective.part_classifier is not None and self._of("part_classifier"):
                self._fill(objective.part_classifier, "part_classifier")
            return
        for neck in objective.heads.necks.values():
            self._fill(neck, "model.neck")
        for classifier in objective.heads.classifiers.values():
            self._fill(classifier, f"heads.classifiers.{final(self.config)}")

    def start_optimizer(self, objective: Objective | ContrastObjective, optimizer: Optimizer) -> None:
        """Load Adam's moments of the parameters that are kept.

        For persons outside a batch, weight decay is nearly the whole gradient of their classifier rows. Without
        moments, Adam would treat it like any other gradient and drive these rows to zero at the full learning rate.
        """
        same = self.is_same_network(objective.model.config)
        for name, parameter in objective.named_parameters():
            found = self.moments.get(name if same else self._source(name))
            if found and any(value.shape not in (parameter.shape, torch.Size([])) for value in found.values()):
                raise TrainingError(f"the run's checkpoint is damaged: the moments of {name} have other shapes than it")
            if found and parameter.requires_grad:
                optimizer.state[parameter] = {key: laid_out(value, parameter) for key, value in found.items()}

    def is_same_network(self, config: STMGAConfig) -> bool:
        """Whether this is the run's own network, up to its input size and clip length."""
        return replace(config, size=self.config.size, clip_length=self.config.clip_length) == self.config

    def _fill(self, module: nn.Module, part: str) -> None:
        """Load a part of the network or of its heads from the run."""
        try:
            module.load_state_dict(self._of(part))
        except RuntimeError as error:
            reason = escaped(str(error).split("\n")[-1].strip(), 200)
            if "pos_embed" in reason:  # of a network of timm, made for the run's frames
                height, width = self.config.size
                raise TrainingError(
                    f"the run's position embeddings are for frames of {height} x {width}: give --size {height} {width}"
                ) from error
            raise TrainingError(
                f"the run's checkpoint is damaged: {part} does not fit its network ({reason})"
            ) from error

    def _of(self, part: str) -> dict[str, Tensor]:
        """The tensors of a part of the run's objective."""
        return {name.removeprefix(f"{part}."): t for name, t in self.tensors.items() if name.startswith(f"{part}.")}

    def _source(self, name: str) -> str:
        """The run's parameter from which this parameter of the new objective started."""
        head, _, rest = name.partition(".")
        if head == "heads":
            kind, _, key = rest.split(".")
            return f"model.neck.{key}" if kind == "necks" else f"heads.classifiers.{final(self.config)}.{key}"
        return name if name.startswith(("model.backbone.", "model.neck.")) else ""


def _record_of(run: Path, asked: dict[str, Any], epoch: int) -> WeightRecord:
    """The record of the run's weights. Old records without stages get the run's stage, without names of folders."""
    record = read_record(run / "last")
    if record.stages:
        return record
    start = asked["started_from"]
    try:
        return _with_stage(record, asked, epoch, start)
    except (KeyError, TypeError, ValueError) as error:
        reason = escaped(repr(error), 200)
        raise TrainingError(
            f"{CONFIG} of the run cannot be used: what it says of its data is not whole ({reason})"
        ) from error


def _with_stage(record: WeightRecord, asked: dict[str, Any], epoch: int, start: str) -> WeightRecord:
    stage = stage_of_run(asked, epoch, "weights without a name" if ", after " in start else start)
    return replace(record, stages=(stage,), training_data=trained_on(asked["data"]))
