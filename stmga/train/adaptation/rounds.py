"""One round of training: a run of the trainer on pseudo-labels, which takes over what the round before learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.optim import Optimizer

from stmga.data.benchmark import Benchmark
from stmga.metrics.protocol import Protocol
from stmga.model import STMGA
from stmga.tracklets.tracklet import Tracklet
from stmga.train.checkpoint import CheckpointContents, laid_out, read_checkpoint
from stmga.train.config import TrainConfig
from stmga.train.objective import Objective
from stmga.train.run_folder import CHECKPOINT
from stmga.train.trainer import RunOptions, Trainer
from stmga.utils.distributed import World

NECKS = "heads.necks."
CLASSIFIERS = "heads.classifiers."


@dataclass(frozen=True)
class AfterRound:
    """The state of the round before: its BN necks, part classifier and moments of Adam.

    The classifiers of identities start again, since the identities of every round are others. For the first round
    ``contents`` is None, and everything but the network starts again.
    """

    contents: CheckpointContents | None
    terms: str = ""

    @classmethod
    def of(cls, run: Path | None) -> AfterRound:
        """Of the folder of a round; None before the first."""
        return cls(read_checkpoint(run / CHECKPOINT) if run is not None else None)

    def start_network(self, model: STMGA) -> None:
        """The network has the weights of the round before already."""

    def start_heads(self, objective: Objective, identities: str) -> None:
        """Load everything that does not depend on the identities."""
        if self.contents is None:
            return
        own = {name: t for name, t in objective.state_dict().items() if name.startswith("heads.") or "part_c" in name}
        kept = {name: t for name, t in self.contents.objective.items() if name in own and _lasts(name)}
        objective.load_state_dict(own | kept, strict=False)

    def start_optimizer(self, objective: Objective, optimizer: Optimizer) -> None:
        """Load the moments of what was trained before, so that the first steps are not larger than the last."""
        for name, parameter in objective.named_parameters():
            found = self.contents.moments.get(name) if self.contents is not None and _lasts(name) else None
            if found and parameter.requires_grad:
                optimizer.state[parameter] = {key: laid_out(value, parameter) for key, value in found.items()}


def _lasts(name: str) -> bool:
    """Whether a parameter of the objective means the same in the next round."""
    return not name.startswith(CLASSIFIERS)


def train_round(
    model: STMGA,
    tracklets: Sequence[Tracklet],
    config: TrainConfig,
    folder: Path,
    world: World,
    *,
    name: str,
    started_from: str,
    after: Path | None,
    options: RunOptions,
) -> STMGA:
    """The network after one round.

    Args:
        model: of the round before; it is trained in place.
        tracklets: each with its identity as its person.
        config: of this training.
        folder: of its run; one that was interrupted is resumed.
        name: of the site. started_from: what the weights are called.
        after: the folder of the round before.

    Raises:
        StoppedError: a signal came; the folder has a checkpoint.
        NotFiniteError: NaN or infinity in a loss.
        TrainingError: as :func:`stmga.train.train`.
    """
    data = Benchmark(name=name, train=list(tracklets), query=[], gallery=[], protocol=Protocol(data=name))
    trainer = Trainer(
        model, data, config, folder, world, options=options, started_from=started_from, after=AfterRound.of(after)
    )
    result = trainer.run()
    return STMGA.from_pretrained(result.folder / "last", device=world.device)
