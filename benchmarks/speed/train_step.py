"""The cost of a training step of the whole model over one of its trunk with the baseline head.

    python -m benchmarks.speed.train_step
    python -m benchmarks.speed.train_step --recompute layer1 --kept
    python -m benchmarks.speed.train_step --model stmga_resnet18_c4 --size 128 64 --json out.json

A step is `stmga.train.Trainer.step` itself: augmentation of a uint8 batch, forward, all losses, backward, the norm of
the gradient, Adam. The baseline is the paper's: the same trunk, average pooling, BN neck, classifier, cross-entropy and
triplet. Each side is a process of its own, to measure its peak memory. They take their steps in turns in one run, so a
slow minute of the machine affects both. With --recompute the whole does not keep the activations of these stages of the
trunk (`stmga train --set recompute=...`). With --kept both processes keep the memory they free, as that of `stmga
train` does.

Without --recompute and --kept it also prints how many more parameters the whole trains, and the least memory ratio that
they allow: a weight and both of Adam's moments take 12 bytes during the whole step, however soon gradients are freed.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

import stmga
from benchmarks.rows import Row, spread_of
from benchmarks.turns import Side, keep_or_refuse, report_apart, where
from stmga.utils.cpu import keep_freed_memory

PERSONS = 751  # identities of the classifiers; MARS has 625
KEPT_BYTES = 12  # of each parameter from step to step: its weight and both moments of Adam, in fp32


@contextmanager
def side(network: str, recompute: tuple[str, ...], kept: bool, args: argparse.Namespace) -> Iterator[Side]:
    """A step of one side, in a process of its own."""
    from stmga.data.benchmark import Benchmark
    from stmga.metrics.protocol import Protocol
    from stmga.train import TrainConfig, Trainer
    from stmga.utils.distributed import World

    if kept:
        keep_freed_memory()
    torch.set_num_threads(args.threads)
    config = network_config(network, args)
    h, w = config.size
    clip = torch.randint(256, (args.batch, config.clip_length, 3, h, w), dtype=torch.uint8)
    tracklets = [stmga.Tracklet(f"{i}", clip[0], person=i) for i in range(PERSONS)]
    data = Benchmark(name="random", train=tracklets, query=[], gallery=[], protocol=Protocol())
    train = TrainConfig(persons=args.batch // 2, clips=2, recompute=recompute, precision=args.precision)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(stmga.STMGA(config), data, train, f"{folder}/run", World(device=torch.device(args.device)))
        trainer.objective.train()
        rows = torch.arange(args.batch)
        batch = {"clip": clip, "label": rows // 2, "draw": rows, "row": rows}
        yield lambda: trainer.step(batch, epoch=0)


def network_config(network: str, args: argparse.Namespace) -> stmga.STMGAConfig:
    """The configuration of a side."""
    config = stmga.config.ARCHITECTURES[args.model]
    if network == "baseline":
        base = stmga.paper_config("table8/baseline")
        config = replace(base, backbone=config.backbone, stage=config.stage)
    return replace(config, size=tuple(args.size))


def trained(network: str, args: argparse.Namespace) -> int:
    """How many parameters a side trains, classifiers included."""
    from stmga.train import Objective, TrainConfig

    with torch.device("meta"):
        model = stmga.STMGA(network_config(network, args))
        objective = Objective(model, identities=PERSONS, config=TrainConfig())
    return sum(parameter.numel() for parameter in objective.parameters() if parameter.requires_grad)


def least(args: argparse.Namespace, found: dict) -> dict:
    """How many more parameters the whole trains, and the ratio of peaks if these cost only weights and moments."""
    more = trained("whole", args) - trained("baseline", args)
    return {"more_parameters": more, "least_memory_ratio": 1 + KEPT_BYTES * more / (1e9 * found["baseline"]["peak_gb"])}


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    model = found["settings"]["model"]
    kept = ", freed memory kept" if found["settings"]["kept"] else ""
    for name, row in found["sides"].items():
        if name.startswith("whole"):
            what = f"training step of `{model}`{name.removeprefix('whole')}{kept}, over that of the baseline"
            yield Row(f"{what}: time", row["time_ratio"], spread_of(row["time_ratio_quartiles"]), bar=1.3)
            yield Row(f"{what}: peak memory", row["memory_ratio"], bar=1.15)
    if "least_memory_ratio" in found:
        yield Row(f"the same, if its further parameters took only {KEPT_BYTES} bytes each", found["least_memory_ratio"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="stmga_resnet50", choices=stmga.list_models())
    parser.add_argument("--batch", type=int, default=8, help="clips (8)")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 128), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--recompute", nargs="+", default=[], metavar="STAGE", help="such as layer1")
    parser.add_argument("--kept", action="store_true", help="keep freed memory, as `stmga train` does")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json")
    args = parser.parse_args()
    keep_or_refuse(parser, args.kept)
    kept = ", memory kept" if args.kept else ""
    print(f"{where(args.device)}, {args.device}, {args.precision}{kept}")
    print(f"{args.model}, {args.batch} clips of 8 x {args.size[0]} x {args.size[1]}, {args.rounds} rounds\n")
    whole = "whole" + (f", recompute={','.join(args.recompute)}" if args.recompute else "")
    sides = {
        "baseline": partial(side, "baseline", (), args.kept, args),
        whole: partial(side, "whole", tuple(args.recompute), args.kept, args),
    }
    # With less kept from the forward pass, or with freed memory in the peak, the parameters are not a lower bound.
    comparable = not args.recompute and not args.kept
    report_apart(sides, args, partial(least, args) if comparable else None)


if __name__ == "__main__":
    main()
