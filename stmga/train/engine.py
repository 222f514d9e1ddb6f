"""The engine: from a network, a benchmark and a configuration to a run folder that can be stopped at any moment."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from stmga.backbones import Trunk
from stmga.data.augment import ClipAugment
from stmga.data.benchmark import Benchmark
from stmga.data.sampling import PKSampler
from stmga.data.training_set import TrainingSet, collate
from stmga.model import STMGA
from stmga.tracklets import TrackletError
from stmga.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from stmga.train.config import TrainConfig
from stmga.train.distributed import World, joined, mean_of, objects_of_all
from stmga.train.errors import NotFiniteError, StoppedError, TrainingError
from stmga.train.folder import RunFolder
from stmga.train.objective import Objective
from stmga.train.result import Result, board, weight_record
from stmga.train.signals import StopWish, stop_wish
from stmga.train.validation import validate

logger = logging.getLogger(__name__)


def train(
    model: STMGA,
    benchmark: Benchmark,
    config: TrainConfig,
    folder: str | Path,
    *,
    device: str | torch.device | None = None,
    workers: int = 0,
    progress: bool = False,
    tensorboard: bool = False,
    started_from: str = "",
) -> Result:
    """Train ``model`` on ``benchmark.train``, validate on its test, and keep everything in ``folder``.

    A folder with a checkpoint of the same run goes on from it, and ends with the parameters it would have ended with.
    Under ``torchrun`` every process calls this. SIGINT and SIGTERM write a checkpoint and raise ``StoppedError``.

    Args:
        model: trained in place, in float32; its input size and clip length are those of its configuration.
        benchmark: tracklets and protocol. Without queries there is no validation, and no ``best/``.
        config: what decides the result.
        folder: new, empty, or that of the same run.
        device: where to compute; default: the GPU where there is one.
        workers: processes that read frames.
        progress: show bars.
        tensorboard: write ``folder/tensorboard`` too (needs the package tensorboard).
        started_from: where the model's weights come from, in words, for the record.

    Raises:
        TrainingError: the folder is another run's, a checkpoint is damaged, a worker was killed.
        NotFiniteError: NaN or infinity in a loss or a gradient; the message names the batch.
        ValueError: tracklets that cannot be trained on.
    """
    with joined(device) as world:
        trainer = Trainer(model, benchmark, config, folder, world, started_from=started_from)
        trainer.workers, trainer.progress, trainer.tensorboard = workers, progress and world.leads, tensorboard
        return trainer.run()


class Trainer:
    """One run in one process; :func:`train` is the way to it. ``step`` is one step of the optimiser."""

    workers, progress, tensorboard = 0, False, False

    def __init__(
        self,
        model: STMGA,
        benchmark: Benchmark,
        config: TrainConfig,
        folder: str | Path,
        world: World,
        *,
        started_from: str = "",
    ) -> None:
        self.model, self.benchmark, self.config, self.world = model.to(world.device), benchmark, config, world
        self.started_from = started_from
        if world.device.type == "cuda":
            model.backbone.to(memory_format=torch.channels_last)
        net = model.config
        self.data = TrainingSet(
            benchmark.train, length=net.clip_length, stride=config.stride, size=net.size, dense_step=config.dense_step
        )
        self.sampler = PKSampler(
            self.data.persons,
            p=config.persons,
            k=config.clips,
            seed=config.seed,
            rank=world.rank,
            world=world.size,
            steps=config.steps,
        )
        self.augment = ClipAugment(flip=config.flip, erase=config.erase, mean=net.mean, std=net.std)
        self.objective = build_objective(model, len(self.data.identities), config).to(world.device)
        self.module: nn.Module = self.objective
        if world.size > 1:
            devices = [world.device] if world.device.type == "cuda" else None
            self.module = DistributedDataParallel(self.objective, device_ids=devices, gradient_as_bucket_view=True)
        parameters = [p for p in self.objective.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=config.precision == "fp16")
        self.folder = self._folder(folder)
        self.state = Progress()

    # ---- the run

    def run(self) -> Result:
        """All epochs that are left."""
        if self.folder.begun:
            self._resume()
        if self.world.leads:
            self.folder.rewind(self.state.epoch)  # a run killed before its checkpoint has logged what comes again
        self.objective.train()
        with (
            board(self.folder.path, self.tensorboard and self.world.leads, self.state.epoch) as draw,
            stop_wish() as wish,
        ):
            for epoch in range(self.state.epoch, self.config.epochs):
                row = self._epoch(epoch, wish)
                if self.world.leads:
                    self.folder.append(row)
                    draw(row)
                self.state = replace(self.state, epoch=epoch + 1, step=0, sums={})
                self._save()
        return Result(self.folder.path, self.folder.lines(), dict(self.state.best))

    def _epoch(self, epoch: int, wish: StopWish) -> dict[str, Any]:
        start, first = time.perf_counter(), self.state.step
        for batch in self._batches(epoch):
            values = self.step(batch, epoch, wish)
            stop = values.pop("stop")
            for name, value in values.items():
                self.state.sums[name] = self.state.sums.get(name, 0.0) + value
            self.state.step += 1
            if stop:  # after the last step too: then validation is what is left of the epoch
                self._stop(epoch, wish)
        seconds = time.perf_counter() - start
        self.state.seconds += seconds
        steps = len(self.sampler)
        means = {name: value / steps for name, value in self.state.sums.items()}
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "steps": steps,
            "lr": self.config.lr_at(epoch + (steps - 1) / steps),
            "grad_norm": means.pop("grad_norm"),
            "loss": means,
            "seconds": round(seconds, 2),
            "clips_per_s": round((steps - first) * self.config.persons * self.config.clips / max(seconds, 1e-9), 2),
        }
        if self.world.device.type == "cuda":
            row["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
        if self._is_validated(epoch):
            row["validation"] = self._validate(epoch)
        if self.world.leads:
            self._save_weights("last", row.get("validation"))
        return row

    def step(self, batch: Mapping[str, Any], epoch: int, wish: StopWish | None = None) -> dict[str, float]:
        """One step of the optimiser; the value of each term, the norm of the gradient, and whether to stop.

        Raises:
            NotFiniteError: and the parameters are as they were.
        """
        self.optimizer.param_groups[0]["lr"] = self.config.lr_at(epoch + self.state.step / len(self.sampler))
        clips = self.augment(batch["clip"].to(self.world.device, non_blocking=True), batch["draw"])
        labels = batch["label"].to(self.world.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.module(clips, labels)
        self.scaler.scale(terms["total"]).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.objective.parameters() if p.grad is not None])
        names, own = [*terms, "grad_norm"], torch.stack([*(t.detach() for t in terms.values()), norm.float()])
        stop = own.new_tensor([float(wish is not None and wish.signum is not None)])
        values = dict(zip([*names, "stop"], mean_of(torch.cat([own, stop])).tolist(), strict=True))
        self._check_finite(values, dict(zip(names, own.tolist(), strict=True)), batch, epoch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return values

    def _check_finite(self, mean: Mapping[str, float], own: Mapping[str, float], batch: Any, epoch: int) -> None:
        watched = [name for name in own if name != "grad_norm" or self.config.precision != "fp16"]  # fp16 skips a step
        if all(abs(mean[name]) < float("inf") for name in watched):
            return
        wrong = [f"{name} {own[name]}" for name in watched if not abs(own[name]) < float("inf")]
        names = [self.data.tracklets[self.data.pieces[row][0]].id for row in batch["row"].tolist()]
        stories = objects_of_all(f"{', '.join(wrong)}; its tracklets are {', '.join(names)}" if wrong else "")
        hint = "bf16 or fp32 instead of fp16, or " if self.config.precision == "fp16" else ""
        raise NotFiniteError(
            f"not finite at epoch {epoch + 1}, step {self.state.step + 1}: {' | '.join(filter(None, stories))}. "
            f"The parameters were not touched by it; {self._kept()}. Look at these tracklets, then try {hint}"
            "a lower lr or a warm-up"
        )

    # ---- batches

    def _batches(self, epoch: int) -> Iterator[Mapping[str, Any]]:
        self.sampler.set_epoch(epoch, self.state.step)
        loader = DataLoader(
            self.data,
            batch_sampler=self.sampler,
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=self.world.device.type == "cuda",
        )
        batches = iter(loader)
        with self._bar(epoch) as bar:
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                except (RuntimeError, TrackletError) as error:
                    self._unreadable(error)
                    raise
                yield batch
                bar.update()

    def _unreadable(self, error: Exception) -> None:
        """A batch could not be read: keep what was trained, and say what happened without the worker's traceback."""
        killed = "DataLoader worker" in str(error) and not isinstance(error, TrackletError)
        if not killed and not isinstance(error, TrackletError):
            return
        self._save()
        reason = str(error).strip().splitlines()[-1 if not killed else 0]
        advice = "it may have run out of memory: take fewer workers; " if killed else "mend or remove it; "
        raise TrainingError(f"{reason}: {advice}{self._kept()}, and the same command goes on from it") from error

    def _bar(self, epoch: int) -> Any:
        from tqdm.auto import tqdm

        title = f"epoch {epoch + 1}/{self.config.epochs}"
        return tqdm(
            total=len(self.sampler), initial=self.state.step, desc=title, unit="step", disable=not self.progress
        )

    # ---- what is kept

    def _folder(self, path: str | Path) -> RunFolder:
        """The run folder; the leader makes it, and what it finds wrong is raised by all."""
        asked, error = self._asked(), ""
        if self.world.leads:
            try:
                RunFolder(path, asked)
            except TrainingError as found:
                error = str(found)
        if first := next(filter(None, objects_of_all(error)), ""):
            raise TrainingError(first)
        return RunFolder(path, asked, leads=False)

    def _asked(self) -> dict[str, Any]:
        """Everything that decides the result."""
        tracklets = [[t.id, t.person, t.camera, len(t)] for t in self.benchmark.train]
        digest = hashlib.sha256(json.dumps(tracklets).encode()).hexdigest()
        data = {"name": self.benchmark.name, "tracklets": len(tracklets), "persons": len(self.data.identities)}
        return {
            "processes": self.world.size,
            "started_from": self.started_from,
            "data": data | {"digest": digest[:16]},
            "network": self.model.config.to_dict(),
            "train": self.config.to_dict(),
        }

    def _resume(self) -> None:
        self.state = load_checkpoint(self.folder.checkpoint, self.objective, self.optimizer)
        if self.state.scaler:
            self.scaler.load_state_dict(self.state.scaler)
        logger.info("going on after %d epochs and %d steps", self.state.epoch, self.state.step)

    def _save(self) -> None:
        self.state.scaler = self.scaler.state_dict()
        if self.world.leads:
            save_checkpoint(self.folder.checkpoint, self.state, self.objective, self.optimizer)

    def _stop(self, epoch: int, wish: StopWish) -> None:
        self._save()
        place = f"epoch {epoch + 1}, step {self.state.step} of {len(self.sampler)}"
        raise StoppedError(f"stopped at {place}; {self._kept()}, and the same command goes on", wish.signum or 15)

    def _kept(self) -> str:
        return f"the last checkpoint is {self.folder.checkpoint}" if self.folder.begun else "there is no checkpoint yet"

    # ---- validation

    def _is_validated(self, epoch: int) -> bool:
        every = self.config.eval_every
        due = epoch + 1 == self.config.epochs or (every > 0 and (epoch + 1) % every == 0)
        return due and bool(self.benchmark.query)

    def _validate(self, epoch: int) -> dict[str, Any]:
        found = validate(self.model, self.benchmark, self.world, workers=self.workers, progress=self.progress)
        scores = {"mAP": found.scores.mAP, **{f"rank-{k}": found.scores.rank(k) for k in (1, 5, 10, 20)}}
        scores["mINP"] = found.scores.mINP
        if scores["mAP"] > self.state.best.get("mAP", -1.0):
            self.state.best = {"epoch": epoch + 1, **scores}
            if self.world.leads:
                self._save_weights("best", scores)
        return scores

    def _save_weights(self, name: str, scores: Mapping[str, float] | None) -> None:
        record = weight_record(self.model, self.benchmark, self.config, scores, self.started_from)
        self.model.save_pretrained(self.folder.path / name, record=record)


def build_objective(model: STMGA, identities: int, config: TrainConfig) -> Objective:
    """The network with its heads, as the configuration wants them: the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        objective = Objective(model, identities=identities, config=config)
    trunk = model.backbone
    assert isinstance(trunk, Trunk)
    stages = [name for name, _ in trunk.named_children()]
    if unknown := [name for name in config.recompute if name not in stages]:
        raise ValueError(f"recompute names {', '.join(unknown)}; the trunk's stages are {', '.join(stages)}")
    trunk.recompute = config.recompute
    if config.compile:
        objective.compile()
    return objective
