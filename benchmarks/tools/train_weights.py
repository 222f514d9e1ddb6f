"""Train a weight again: all stages of a plan, one after another, on a CPU or a GPU.

    python -m benchmarks.tools.train_weights small_192 --data FOLDER -o runs
    python -m benchmarks.tools.train_weights flagship_256 --data FOLDER -o runs --device cuda --rehearse 10
    python -m benchmarks.tools.train_weights flagship_256 --data FOLDER -o runs --device cuda --no-test --pieces P
    python -m benchmarks.tools.train_weights flagship_256 --data FOLDER -o runs --begin larger runs/joined

A plan is a name in benchmarks/tools/plans/ or a JSON file (benchmarks/tools/training_plan.py describes it). FOLDER is
what benchmarks.tools.research_data wrote. Each stage is the `stmga train` command that is printed, with its run in
RUNS/PLAN/STAGE. The same command again skips the stages that are finished and resumes the one that was stopped.

--pieces writes the last weights of the current stage as half-precision pieces to P/PLAN/STAGE, every --pieces-every
minutes (if an epoch has ended since) and at its end; benchmarks.tools.pieces joins them. --begin resumes from such
weights alone: it begins with that stage, which starts from them. --rehearse N runs N batches of every stage, without
validation, and prints what the whole plan would take.
"""

import argparse
import json
import logging
import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmarks.tools.pieces import split
from benchmarks.tools.training_plan import Plan, Stage, read_plan
from stmga.cli import train as train_command
from stmga.cli.main import build_parser
from stmga.cli.options import peak_memory
from stmga.cli.parser import is_main_process
from stmga.hub.records import CONFIG_FILE, read_record
from stmga.train.checkpoint import read_checkpoint
from stmga.utils.cpu import keep_freed_memory
from stmga.utils.files import atomic_write

RECENT = 5  # epochs whose mean time is taken for those to come
POLL = 1.0  # seconds between two looks at a run's log


# ---- what a run folder says


def finished(run: Path, stage: Stage) -> bool:
    """Whether the run has a checkpoint after its last epoch."""
    file = run / "checkpoint.safetensors"
    return file.is_file() and read_checkpoint(file).progress.epoch >= stage.config().epochs


def rows_of(run: Path) -> list[dict]:
    """The whole lines of the log so far."""
    file = run / "log.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def claim(run: Path, plan: Plan, stage: Stage) -> None:
    """Note what the stage is, beside its run; ValueError where the run was begun as something else."""
    note = run.with_name(f"{run.name}.json")
    now = {"data": list(plan.data), "test": plan.test, **json.loads(json.dumps(stage.words))}
    if note.is_file() and run.exists():
        before = json.loads(note.read_bytes())
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if keys:
            changed = "; ".join(f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in keys)
            raise ValueError(f"{run} was begun with other settings: {changed}. Undo the change, or give another --out")
        return
    run.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(note, (json.dumps(now, indent=1) + "\n").encode())


def remaining(rows: Sequence[dict], stage: Stage, later: Sequence[Stage]) -> str:
    """About how long the stage and those after it take, from the last epochs and the number of pixels to come."""
    recent = rows[-RECENT:]
    epoch = sum(row["seconds"] for row in recent) / len(recent)
    epochs = stage.config().epochs
    left = (epochs - rows[-1]["epoch"]) * epoch
    words = f"{stage.name}: epoch {rows[-1]['epoch']} of {epochs}, about {minutes(left)} left"
    own, others = stage.pixels(), [other.pixels() for other in later]
    if not later or not own or None in others:
        return words
    return f"{words}, {minutes(left + epoch * epochs * sum(filter(None, others)) / own)} with the later stages"


def minutes(seconds: float) -> str:
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


# ---- while a stage trains


class Watch:
    """Follows a run from a thread beside it: prints the remaining time, and writes its last weights as pieces.

    Args:
        run: folder of the run.
        stage, later: the one at work, and those after it.
        pieces: folder for the pieces, or None.
        every: minutes between two sets of pieces.
    """

    def __init__(self, run: Path, stage: Stage, later: Sequence[Stage], pieces: Path | None, every: float) -> None:
        self.run, self.stage, self.later, self.pieces, self.every = run, stage, later, pieces, every
        self.epoch = len(rows_of(run))
        self.written, self.when = "", time.monotonic()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *failed: object) -> None:
        """However the stage ended, its last weights are written; a disk that is full is an error here."""
        self.over.set()
        self.thread.join()
        self._tell()
        self._write()

    def _follow(self) -> None:
        while not self.over.wait(POLL):
            self._tell()
            if time.monotonic() - self.when >= 60 * self.every:
                try:
                    self._write()
                except (OSError, ValueError) as error:  # also weights that are being replaced at this moment
                    print(f"{self.stage.name}: no pieces this time: {error}", file=sys.stderr, flush=True)

    def _tell(self) -> None:
        rows = rows_of(self.run)
        if len(rows) > self.epoch:
            self.epoch = len(rows)
            print(remaining(rows, self.stage, self.later), flush=True)

    def _write(self) -> None:
        """Pieces of the weights after the last epoch, if there are none of these yet."""
        last = self.run / "last"
        if self.pieces is None or not (last / CONFIG_FILE).is_file():
            return
        digest = read_record(last).sha256
        if digest != self.written:
            split(last, self.pieces)
            self.written, self.when = digest, time.monotonic()
            print(f"{self.stage.name}: pieces after epoch {self.epoch} in {self.pieces}", flush=True)


# ---- a plan


def train_plan(plan: Plan, args: argparse.Namespace, folder: Path, pieces: Path | None) -> None:
    """All stages from the first that is not finished, each in ``folder``; SystemExit where one is stopped."""
    for number, stage in enumerate(plan.stages):
        run = folder / stage.name
        claim(run, plan, stage)
        if finished(run, stage):
            print(f"{stage.name}: finished, {run}", flush=True)
            continue
        words = plan.command(stage, args.data, args.out, folder)
        words += [*(["--device", args.device] if args.device else []), "--workers", str(args.workers)]
        print(f"\n$ stmga {shlex.join(words)}", flush=True)
        with ExitStack() as stack:
            if is_main_process():
                own = pieces and pieces / stage.name
                stack.enter_context(Watch(run, stage, plan.stages[number + 1 :], own, args.pieces_every))
            train_command.COMMANDS["train"](build_parser().parse_args([*words, "--quiet"]))


def beginning(plan: Plan, name: str, weights: str) -> Plan:
    """The plan from the stage ``name`` on, which starts from these weights alone."""
    names = [stage.name for stage in plan.stages]
    if name not in names:
        raise ValueError(f"plan {plan.name} has no stage {name!r} to begin with; it has {', '.join(names)}")
    first, *others = plan.stages[names.index(name) :]
    return Plan(plan.name, plan.data, plan.test, [first.begun_from(weights), *others])


def rehearse(plan: Plan, args: argparse.Namespace) -> None:
    """A few batches of every stage in a folder of their own, and what all of the plan would take."""
    folder = args.out / "rehearsal" / plan.name
    shutil.rmtree(folder, ignore_errors=True)  # the rehearsal before this one
    stages = [stage.rehearsal(args.rehearse) for stage in plan.stages]
    train_plan(
        Plan(plan.name, plan.data, None, stages), args, folder, args.pieces and args.pieces / "rehearsal" / plan.name
    )
    whole = 0.0
    print(f"\n{plan.name}, {args.rehearse} batches of every stage:")
    for stage, asked in zip(stages, plan.stages, strict=True):
        row = rows_of(folder / stage.name)[-1]
        batch, config = row["seconds"] / row["steps"], asked.config()
        whole += batch * (config.steps or 0) * config.epochs
        length = (
            f"{config.steps * config.epochs:,} batches" if config.steps else "passes over all tracklets, not counted"
        )
        print(f"{stage.name:<12} {batch:.3f} s per batch, loss {row['loss']['total']:.3f}; the stage: {length}")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    print(f"all stages: about {minutes(whole)} on this machine; peak memory {peak_memory(device)}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("plans", nargs="+", metavar="PLAN", help="a name in benchmarks/tools/plans/, or a JSON file")
    add("--data", type=Path, required=True, metavar="FOLDER", help="that benchmarks/tools/research_data.py wrote")
    add("-o", "--out", type=Path, required=True, metavar="RUNS", help="the folder of the runs")
    add("--device", help="such as cpu or cuda (default: the GPU, if there is one)")
    add("--workers", type=int, default=0, metavar="N", help="processes that read images (default: 0)")
    add("--no-test", action="store_true", help="do not validate, for instance without the test set")
    add("--pieces", type=Path, metavar="P", help="write the last weights in pieces to this folder")
    add("--pieces-every", type=float, default=10, metavar="MIN", help="minutes between two sets (default: 10)")
    add("--begin", nargs=2, metavar=("STAGE", "WEIGHTS"), help="begin with this stage, from these weights alone")
    add("--rehearse", type=int, metavar="N", help="N batches of every stage, without validation, in RUNS/rehearsal")
    args = parser.parse_args()
    if args.begin and len(args.plans) > 1:
        parser.error("--begin is for one plan")
    if args.rehearse is not None and args.rehearse < 1:
        parser.error(f"--rehearse takes a number of batches of at least 1, got {args.rehearse}")
    return args


def main() -> None:
    args = arguments()
    on_cpu = args.device == "cpu" or (args.device is None and not torch.cuda.is_available())
    if on_cpu and os.environ.get("STMGA_KEEP_MEMORY") != "0":
        keep_freed_memory()
    logging.basicConfig(format="stmga: %(message)s", level=logging.WARNING)
    logging.getLogger("stmga").setLevel(logging.INFO)
    try:
        plans = [read_plan(source) for source in args.plans]  # all are checked before the first is trained
        for plan in plans:
            if args.no_test:
                plan = Plan(plan.name, plan.data, None, plan.stages)
            if args.begin:
                plan = beginning(plan, *args.begin)
            if args.rehearse:
                rehearse(plan, args)
            else:
                train_plan(plan, args, args.out / plan.name, args.pieces and args.pieces / plan.name)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("STMGA_DEBUG"):
            raise
        raise SystemExit(f"train_weights: error: {error}") from error


if __name__ == "__main__":
    main()
