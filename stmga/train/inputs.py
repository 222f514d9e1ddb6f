"""The inputs of training steps: sampled batches, augmented, with part labels and a teacher's vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from stmga.config import STMGAConfig
from stmga.data.augment import ClipAugment
from stmga.data.benchmark import Benchmark
from stmga.data.sampling import PKSampler
from stmga.data.training_set import TrainingSet
from stmga.train.config import TrainConfig
from stmga.train.distillation import Teacher
from stmga.train.part_supervision import PartSupervision
from stmga.utils.distributed import World


class TrainInputs:
    """The data of a run: ``data`` holds its tracklets, ``sampler`` chooses batches, :meth:`prepare` completes one.

    Args:
        benchmark, net, config, world: of the run.
        workers, keep_frames: as in :func:`stmga.train.train`.
        teacher: a file of :func:`stmga.train.teacher_vectors`, or None.
        trust_content: as in :func:`stmga.train.train`.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        net: STMGAConfig,
        config: TrainConfig,
        world: World,
        *,
        workers: int = 0,
        keep_frames: bool = False,
        teacher: str | Path | None = None,
        trust_content: bool = False,
    ) -> None:
        self.world = world
        self.data = TrainingSet(
            benchmark.train, length=net.clip_length, stride=config.stride, size=net.size, dense_step=config.dense_step,
            keep=keep_frames, device=world.device, threads=workers,
        )  # fmt: skip
        self.sampler = PKSampler(
            self.data.persons, p=config.persons, k=config.clips, seed=config.seed, rank=world.rank, world=world.size,
            steps=config.steps, cameras=self.data.cameras if config.mix_cameras else None,
        )  # fmt: skip
        self.augment = ClipAugment(
            flip=config.flip, erase=config.erase, imitation=config.imitation, mean=net.mean, std=net.std
        )
        labels_parts = config.weight_regions > 0 and net.parts == "cpa"
        self.supervision = PartSupervision(net, self.augment, seed=config.seed) if labels_parts else None
        self.teacher = Teacher(teacher, benchmark.train, trust_content=trust_content) if teacher is not None else None

    def prepare(
        self, batch: Mapping[str, Any], epoch: int, step: int
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """A batch as the objective takes it, on the device: clips, labels, part regions, the teacher's vectors."""
        device = self.world.device
        clips = self.augment(batch["clip"].to(device, non_blocking=True), batch["draw"])
        labels = batch["label"].to(device, non_blocking=True)
        regions = None
        if self.supervision is not None:
            clips, regions = self.supervision.after(clips, epoch, step, self.world.rank)
        return clips, labels, regions, self.teacher_vectors(batch)

    def teacher_vectors(self, batch: Mapping[str, Any]) -> Tensor | None:
        """(b d), the teacher's vectors for the clips of a batch: the same frames, mirrored in the same way."""
        if self.teacher is None:
            return None
        rows, draws = batch["row"].tolist(), batch["draw"].tolist()
        chosen = [self.data.chosen(row, draw) for row, draw in zip(rows, draws, strict=True)]
        return self.teacher(chosen, self.augment.mirrored(batch["draw"])).to(self.world.device)

    def ids(self, batch: Mapping[str, Any]) -> list[str]:
        """The tracklets of a batch, for messages."""
        return [self.data.tracklets[self.data.pieces[row][0]].id for row in batch["row"].tolist()]
