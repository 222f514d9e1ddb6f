"""One round of training: a run of the trainer on pseudo-labels, with a memory that begins with their mean vectors."""

from __future__ import annotations

from collections.abc import Sequence
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
from stmga.train.config import TrainConfig
from stmga.train.contrast import ContrastObjective
from stmga.train.objective import Objective
from stmga.train.trainer import RunOptions, Trainer
from stmga.utils.distributed import World


@dataclass(frozen=True, eq=False)
class Memory:
    """What a training starts from beside its network: the memory of the identities.

    Attributes:
        vectors: one unit vector per identity, in the order of their labels.
        terms: none; those of the network carry over with its record.
    """

    vectors: Tensor
    terms: str = ""

    @classmethod
    def of(cls, vectors: Tensor, persons: Sequence[object]) -> Memory:
        """The mean vector of each identity.

        >>> Memory.of(torch.eye(3), [7, 9, 9]).vectors.round(decimals=1)
        tensor([[1.0000, 0.0000, 0.0000],
                [0.0000, 0.7000, 0.7000]])
        """
        names = sorted({str(person) for person in persons})  # the order of TrainingSet.identities
        number = {name: label for label, name in enumerate(names)}
        labels = torch.tensor([number[str(person)] for person in persons], dtype=torch.int64, device="cpu")
        sums = torch.zeros(len(names), vectors.shape[1], dtype=torch.float32, device="cpu").index_add_(
            0, labels, vectors
        )
        return cls(F.normalize(sums, dim=1))

    def start_network(self, model: STMGA) -> None:
        """The network has its weights already."""

    def start_heads(self, objective: Objective | ContrastObjective, identities: str) -> None:
        """Fill the memory."""
        assert isinstance(objective, ContrastObjective)
        objective.memory.copy_(self.vectors)

    def start_optimizer(self, objective: Objective | ContrastObjective, optimizer: Optimizer) -> None:
        """Adam starts anew, as the weights do."""


def train_round(
    model: STMGA,
    tracklets: Sequence[Tracklet],
    config: TrainConfig,
    folder: Path,
    world: World,
    *,
    name: str,
    started_from: str,
    memory: Memory,
    options: RunOptions,
) -> None:
    """Train for one round, and write the network into ``folder / "last"``.

    Args:
        model: what it starts from; it is trained in place.
        tracklets: each with its identity as its person.
        config: of this training.
        folder: of its run; one that was interrupted is resumed.
        name: of the site. started_from: what the weights are called.
        memory: of the identities.

    Raises:
        StoppedError: a signal came; the folder has a checkpoint.
        NotFiniteError: NaN or infinity in a loss.
        TrainingError: as :func:`stmga.train.train`.
    """
    data = Benchmark(name=name, train=list(tracklets), query=[], gallery=[], protocol=Protocol(data=name))
    trainer = Trainer(model, data, config, folder, world, options=options, started_from=started_from, after=memory)
    trainer.run()
