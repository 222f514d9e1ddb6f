"""The time of a `stmga train` step on single crops, over the minimum for any trainer.

    python -m benchmarks.speed.train_floor
    python -m benchmarks.speed.train_floor --model stmga_resnet50_c4 --frozen conv1 bn1 layer1 --json out.json

The floor is forward pass, backward pass and Adam of the trunk with the baseline's head (average pooling, BN neck,
classifier, cross-entropy), in the same precision with the same frozen stages, on one batch that is ready in memory,
channels last. The other sides are the batches and the steps of `stmga.train` as `stmga train --keep-frames` runs them:
sampling, frames from memory, augmentation, forward pass, all losses, backward pass, the gradient's norm, Adam. Each
side is a process of its own, and they take their steps in turns in one run. Freed memory is kept, as `stmga train`
does.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import repeat

import torch
from torch.nn import functional as F

import stmga
from benchmarks.turns import Side, keep_or_refuse, report_apart, where
from stmga.data.benchmark import Benchmark
from stmga.metrics.protocol import Protocol
from stmga.train import RunOptions, Trainer, recipe
from stmga.utils.cpu import flushed_denormals, keep_freed_memory
from stmga.utils.distributed import World

PERSONS, CROPS = 2234, 64  # identities of the classifiers, of whom the first ones are seen here, 4 crops each


@contextmanager
def side(name: str, args: argparse.Namespace) -> Iterator[Side]:
    """A step of one side, in a process of its own."""
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    network = stmga.config.ARCHITECTURES[args.model if name == "whole" else f"{args.model}_baseline"]
    config = replace(network, size=tuple(args.size), clip_length=1)
    asked = recipe("clips", clips=4, precision=args.precision, frozen=args.frozen, soften=0.2)
    with tempfile.TemporaryDirectory() as folder, flushed_denormals():
        world = World(device=torch.device(args.device))
        options = RunOptions(keep_frames=True)
        trainer = Trainer(stmga.STMGA(config), crops(), asked, f"{folder}/run", world, options=options)
        trainer.objective.train()
        batches = (trainer.inputs.data.batch(places) for _ in repeat(None) for places in trainer.inputs.sampler)
        yield floor(trainer, args) if name == "floor" else lambda: trainer.step(next(batches), epoch=0)


def crops() -> Benchmark:
    """Random crops of 128 x 64, 4 of each of 64 persons, and one each of the others that a classifier has."""
    pixels = torch.randint(256, (CROPS, 4, 1, 3, 128, 64), dtype=torch.uint8)
    seen = [stmga.Tracklet(f"{i}-{j}", pixels[i, j], person=i) for i in range(CROPS) for j in range(4)]
    others = [stmga.Tracklet(f"{i}", pixels[0, 0], person=i) for i in range(CROPS, PERSONS)]
    return Benchmark(name="random", train=seen + others, query=[], gallery=[], protocol=Protocol())


def floor(trainer: Trainer, args: argparse.Namespace) -> Callable[[], None]:
    """Trunk and baseline head of the trainer's own modules, without anything around them."""
    model, config = trainer.model, trainer.config
    device = trainer.world.device
    head = trainer.objective.heads.classifiers["z_f"]
    batch = config.persons * config.clips
    frames = torch.rand(batch, 3, *args.size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) // config.clips
    parameters = [p for p in trainer.objective.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-4, weight_decay=5e-4, fused=True)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(args.precision, torch.float32)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits = head(model.neck(model.backbone(frames).mean((2, 3))))
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name in stmga.list_models() if f"{name}_baseline" in stmga.list_models()]
    parser.add_argument("--model", default="stmga_resnet18_c4", choices=names)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 128), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frozen", nargs="+", default=[], metavar="STAGE", help="such as conv1 bn1 layer1")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json")
    args = parser.parse_args()
    keep_or_refuse(parser)
    print(f"{where(args.device)}, {args.device}, {args.precision}, memory kept")
    print(f"{args.model}, 64 crops of {args.size[0]} x {args.size[1]}, {args.rounds} rounds\n")
    sides = {name: partial(side, name, args) for name in ("floor", "baseline", "whole")}
    report_apart(sides, args)


if __name__ == "__main__":
    main()
