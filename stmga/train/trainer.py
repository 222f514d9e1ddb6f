"""A run in one process: epochs, steps, checkpoints and validation; it can be stopped at any moment."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from stmga.data.benchmark import Benchmark
from stmga.model import STMGA
from stmga.tracklets.tracklet import TrackletError
from stmga.train.averaging import weight_average
from stmga.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from stmga.train.config import TrainConfig
from stmga.train.continuation import Start
from stmga.train.errors import NotFiniteError, StoppedError, TrainingError
from stmga.train.inputs import TrainInputs
from stmga.train.objective import build_objective
from stmga.train.optimizer import build_optimizer
from stmga.train.processes import StopRequest, batches_of, catch_signals, reading_fault
from stmga.train.result import Result, tensorboard_writer, weight_record
from stmga.train.run_folder import open_run, run_spec
from stmga.train.validation import validate
from stmga.utils.distributed import (
    World,
    all_gather_objects,
    all_reduce_any,
    distributed,
    mean_of,
    shared_buffers,
)
from stmga.utils.progress import progress_bar

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options that do not change the result of a run; see :func:`train`."""

    workers: int = 0
    keep_frames: bool = False
    progress: bool = False
    tensorboard: bool = False
    trust_content: bool = False


class Trainer:
    """One run in one process; use :func:`train`. ``step`` is one step of the optimiser."""

    def __init__(
        self,
        model: STMGA,
        benchmark: Benchmark,
        config: TrainConfig,
        folder: str | Path,
        world: World,
        *,
        options: RunOptions | None = None,
        started_from: str = "",
        after: Start | None = None,
        teacher: str | Path | None = None,
    ) -> None:
        self.options = options or RunOptions()
        self.model, self.benchmark, self.config, self.world = model.to(world.device), benchmark, config, world
        self.started_from, self.terms = started_from, after.terms if after is not None else ""
        if after is not None:
            after.start_network(model)
        model.backbone.to(memory_format=model.backbone.memory_format)
        self.inputs = TrainInputs(
            benchmark, model.config, config, world, workers=self.options.workers,
            keep_frames=self.options.keep_frames, teacher=teacher, trust_content=self.options.trust_content,
        )  # fmt: skip
        self.teacher = self.inputs.teacher
        persons = len(self.inputs.data.identities)
        taught_by = self.teacher.about() if self.teacher else None
        spec = run_spec(model, benchmark, config, persons, world.size, started_from, taught_by)
        directions = self.teacher.directions(model.dim) if self.teacher else None
        self.objective = build_objective(model, persons, config, directions)
        if after is not None:
            after.start_heads(self.objective, spec["data"]["identities"])
        self.module = distributed(self.objective.to(world.device), world)
        self.optimizer = build_optimizer(self.objective, config)
        if after is not None:
            after.start_optimizer(self.objective, self.optimizer)
        self.average = weight_average(model, config.average) if config.average else None
        self.scored = cast(STMGA, self.average.module) if self.average is not None else model
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=config.precision == "fp16")
        self.folder = open_run(folder, spec, benchmark, world, trust_content=self.options.trust_content)
        self.state = Progress()

    def __repr__(self) -> str:
        persons, epochs = len(self.inputs.data.identities), f"epoch {self.state.epoch} of {self.config.epochs}"
        return f"Trainer({str(self.folder.path)!r}, {persons:,} persons, {epochs}, {self.world.device})"

    # ---- the run

    def run(self) -> Result:
        """Run all remaining epochs."""
        curves = self.options.tensorboard and self.world.is_main
        with self.folder, catch_signals() as request, tensorboard_writer(self.folder.path, wanted=curves) as write:
            self._resume()
            self.objective.train()
            for epoch in range(self.state.epoch, self.config.epochs):
                row = self._epoch(epoch, request)
                if self.world.is_main:
                    self.folder.append(row)
                    write(row)
                self.state = replace(self.state, epoch=epoch + 1, step=0, sums={})
                self._save()
        all_gather_objects(None)  # the main process has written its last line before any process reads it
        return Result(self.folder.path, self.folder.lines(), dict(self.state.best))

    def _epoch(self, epoch: int, request: StopRequest) -> dict[str, Any]:
        start, first = time.perf_counter(), self.state.step
        with closing(self._batches(epoch)) as batches:  # an exception here ends the workers too
            for batch in batches:
                self._advance(batch, epoch, request)
        seconds = time.perf_counter() - start
        self.state.seconds += seconds
        steps = len(self.inputs.sampler)
        sums = dict(self.state.sums)
        skipped = sums.pop("skipped", 0.0)
        grad_norm = sums.pop("grad_norm") / max(steps - skipped, 1)
        means = {name: value / steps for name, value in sums.items()}
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "steps": steps,
            "lr": self.config.lr_at(epoch + (steps - 1) / steps),
            "grad_norm": grad_norm,
            "loss": means,
            "seconds": round(seconds, 2),
            "clips_per_s": round((steps - first) * self.config.persons * self.config.clips / max(seconds, 1e-9), 2),
        }
        if self.config.precision == "fp16":
            row["skipped"] = int(skipped)  # steps whose gradient overflowed
        if self.world.device.type == "cuda":
            row["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
        shared_buffers(self.scored)  # score with the running statistics that are saved, the main process's
        if self._is_validated(epoch):
            self._save()  # validation may take minutes, and fail
            row["validation"] = self._validate(epoch)
        if self.world.is_main:
            self._save_weights("last", epoch + 1, row.get("validation"))
        return row

    def _advance(self, batch: Mapping[str, Any], epoch: int, request: StopRequest) -> None:
        """Take one step, and stop after it if requested."""
        try:
            values = self.step(batch, epoch, request)
        except RuntimeError as error:
            if fault := reading_fault(error):  # torch may report a lost worker in any step
                raise TrainingError(f"{fault}; {self._kept()}; run the same command to resume") from error
            raise
        stop = values.pop("stop")
        for name, value in values.items():
            self.state.sums[name] = self.state.sums.get(name, 0.0) + value
        self.state.step += 1
        if stop:  # also after the last step: then only the validation of the epoch is left
            self._stop(epoch, request)

    def step(self, batch: Mapping[str, Any], epoch: int, request: StopRequest | None = None) -> dict[str, float]:
        """One step of the optimiser; the value of each term, the norm of the gradient, and whether to stop.

        Raises:
            NotFiniteError: a value is not finite; the parameters have not changed.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["share"] * self.config.lr_at(epoch + self.state.step / len(self.inputs.sampler))
        inputs = self.inputs.prepare(batch, epoch, self.state.step)
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.module(*inputs)
        self.scaler.scale(terms["total"]).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.objective.parameters() if p.grad is not None])
        names, own = [*terms, "grad_norm"], torch.stack([*(t.detach() for t in terms.values()), norm.float()])
        stop = own.new_tensor([float(request is not None and request.signum is not None)])
        values = dict(zip([*names, "stop"], mean_of(torch.cat([own, stop])).tolist(), strict=True))
        self._check_finite(values, dict(zip(names, own.tolist(), strict=True)), batch, epoch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
        if not math.isfinite(values["grad_norm"]):  # fp16: the step was skipped
            values |= {"grad_norm": 0.0, "skipped": 1.0}
        return values

    def _check_finite(self, mean: Mapping[str, float], own: Mapping[str, float], batch: Any, epoch: int) -> None:
        # In fp16, a step whose gradient overflows is skipped, unless the scale cannot be reduced further.
        may_overflow = self.config.precision == "fp16" and self.scaler.get_scale() >= 1
        watched = [name for name in own if not (may_overflow and name == "grad_norm")]
        if all(math.isfinite(mean[name]) for name in watched):
            return
        wrong = [f"{name} {own[name]}" for name in watched if not math.isfinite(own[name])]
        ids = ", ".join(self.inputs.ids(batch))
        stories = all_gather_objects(f"{', '.join(wrong)}; its tracklets are {ids}" if wrong else "")
        hint = "bf16 or fp32 instead of fp16, or " if self.config.precision == "fp16" else ""
        raise NotFiniteError(
            f"not finite at epoch {epoch + 1}, step {self.state.step + 1}: {' | '.join(filter(None, stories))}. "
            f"The parameters were not touched by it; {self._kept()}. Look at these tracklets, then try {hint}"
            "a lower lr or a warm-up"
        )

    # ---- batches

    def _batches(self, epoch: int) -> Generator[Mapping[str, Any], None, None]:
        data, sampler = self.inputs.data, self.inputs.sampler
        sampler.set_epoch(epoch, self.state.step)
        reading = batches_of(data, sampler, self.options.workers, self.world.device)
        with reading as batches, self._bar(epoch) as bar:
            while True:
                batch, fault = None, ""
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                except (RuntimeError, TrackletError, OSError, EOFError) as error:
                    fault = reading_fault(error)
                    if not fault:
                        raise
                if all_reduce_any(torch.tensor([bool(fault)], dtype=torch.bool, device=self.world.device)).item():
                    break
                assert batch is not None
                yield batch
                bar.update()
        # While workers exist, torch may report a lost one at any moment, even while a checkpoint is written.
        self._save()  # the training so far
        faults = " | ".join(filter(None, all_gather_objects(fault)))
        raise TrainingError(f"{faults}; {self._kept()}; run the same command to resume from it")

    def _bar(self, epoch: int) -> Any:
        title, total = f"epoch {epoch + 1}/{self.config.epochs}", len(self.inputs.sampler)
        return progress_bar(total=total, initial=self.state.step, desc=title, unit="step", shown=self.options.progress)

    # ---- what is kept

    def _resume(self) -> None:
        """Load the checkpoint, if there is one, and cut the log to it."""
        if self.folder.begun:
            self.state = load_checkpoint(self.folder.checkpoint, self.objective, self.optimizer, self.average)
            if self.state.scaler:
                self.scaler.load_state_dict(self.state.scaler)
            logger.info("resuming after %d epochs and %d steps", self.state.epoch, self.state.step)
        if len(set(all_gather_objects((self.state.epoch, self.state.step)))) > 1:
            raise TrainingError(f"the processes do not see the same {self.folder.path}; put it where all of them do")
        if self.world.is_main:
            self.folder.rewind(self.state.epoch)  # without the logged steps that are computed again

    def _save(self) -> None:
        self.state.scaler = self.scaler.state_dict()
        if self.world.is_main:
            save_checkpoint(self.folder.checkpoint, self.state, self.objective, self.optimizer, self.average)

    def _stop(self, epoch: int, request: StopRequest) -> None:
        self._save()
        position = f"epoch {epoch + 1}, step {self.state.step} of {len(self.inputs.sampler)}"
        raise StoppedError(
            f"stopped at {position}; {self._kept()}; run the same command to resume", request.signum or 15
        )

    def _kept(self) -> str:
        return f"the last checkpoint is {self.folder.checkpoint}" if self.folder.begun else "there is no checkpoint yet"

    # ---- validation

    def _is_validated(self, epoch: int) -> bool:
        every = self.config.eval_every
        due = epoch + 1 == self.config.epochs or (every > 0 and (epoch + 1) % every == 0)
        return due and bool(self.benchmark.query)

    def _validate(self, epoch: int) -> dict[str, Any]:
        found = validate(
            self.scored, self.benchmark, self.world, workers=self.options.workers, progress=self.options.progress
        )
        scores = {"mAP": found.scores.mAP, **{f"rank-{k}": found.scores.rank(k) for k in (1, 5, 10, 20)}}
        scores["mINP"] = found.scores.mINP
        if scores["mAP"] > self.state.best.get("mAP", -1.0):
            self.state.best = {"epoch": epoch + 1, **scores}
            if self.world.is_main:
                self._save_weights("best", epoch + 1, scores)
        return scores

    def _save_weights(self, name: str, epochs: int, scores: Mapping[str, float] | None) -> None:
        taught_by, terms = (self.teacher.weights, self.teacher.terms) if self.teacher else ("", "")
        words = self.started_from, "; ".join(filter(None, (self.terms, terms))), taught_by
        record = weight_record(self.scored, self.benchmark, self.config, epochs, scores, *words)
        self.scored.save_pretrained(self.folder.path / name, record=record)
