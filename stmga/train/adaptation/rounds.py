"""One round of training: a run of the trainer on pseudo-labels, which takes over what the round before learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from stmga.data.benchmark import Benchmark
from stmga.metrics.protocol import Protocol
from stmga.model import STMGA
from stmga.tracklets.tracklet import Tracklet
from stmga.train.checkpoint import laid_out, read_checkpoint
from stmga.train.config import TrainConfig
from stmga.train.contrast import ContrastObjective
from stmga.train.objective import Objective
from stmga.train.run_folder import CHECKPOINT
from stmga.train.trainer import RunOptions, Trainer
from stmga.utils.distributed import World


@dataclass(frozen=True, eq=False)
class AfterRound:
    """What a training starts from beside its network: the memory of the identities, and the moments of the last one.

    Attributes:
        memory: one unit vector per identity, in the order of their labels.
        moments: of Adam, by parameter; empty before the first training.
        terms: none; those of the network carry over with its record.
    """

    memory: Tensor
    moments: Mapping[str, Mapping[str, Tensor]]
    terms: str = ""

    @classmethod
    def of(cls, vectors: Tensor, persons: Sequence[object], run: Path | None) -> AfterRound:
        """The mean vector of each identity, and the moments in the folder of the round before, if there was one.

        >>> AfterRound.of(torch.eye(3), [7, 9, 9], None).memory.round(decimals=1)
        tensor([[1.0000, 0.0000, 0.0000],
                [0.0000, 0.7000, 0.7000]])
        """
        names = sorted({str(person) for person in persons})  # the order of TrainingSet.identities
        number = {name: label for label, name in enumerate(names)}
        labels = torch.tensor([number[str(person)] for person in persons], dtype=torch.int64, device="cpu")
        sums = torch.zeros(len(names), vectors.shape[1], dtype=torch.float32, device="cpu").index_add_(
            0, labels, vectors
        )
        return cls(F.normalize(sums, dim=1), read_checkpoint(run / CHECKPOINT).moments if run is not None else {})

    def start_network(self, model: STMGA) -> None:
        """The network has the weights of the round before already."""

    def start_heads(self, objective: Objective | ContrastObjective, identities: str) -> None:
        """Fill the memory."""
        assert isinstance(objective, ContrastObjective)
        objective.memory.copy_(self.memory)

    def start_optimizer(self, objective: Objective | ContrastObjective, optimizer: Optimizer) -> None:
        """Load the moments, so that the first steps are not larger than the last ones."""
        for name, parameter in objective.named_parameters():
            if (found := self.moments.get(name)) and parameter.requires_grad:
                optimizer.state[parameter] = {key: laid_out(value, parameter) for key, value in found.items()}


def train_round(
    model: STMGA,
    tracklets: Sequence[Tracklet],
    config: TrainConfig,
    folder: Path,
    world: World,
    *,
    name: str,
    started_from: str,
    after: AfterRound,
    options: RunOptions,
) -> STMGA:
    """The network after one round.

    Args:
        model: of the round before; it is trained in place.
        tracklets: each with its identity as its person.
        config: of this training.
        folder: of its run; one that was interrupted is resumed.
        name: of the site. started_from: what the weights are called.
        after: the round before.

    Raises:
        StoppedError: a signal came; the folder has a checkpoint.
        NotFiniteError: NaN or infinity in a loss.
        TrainingError: as :func:`stmga.train.train`.
    """
    data = Benchmark(name=name, train=list(tracklets), query=[], gallery=[], protocol=Protocol(data=name))
    trainer = Trainer(model, data, config, folder, world, options=options, started_from=started_from, after=after)
    result = trainer.run()
    return STMGA.from_pretrained(result.folder / "last", device=world.device)
