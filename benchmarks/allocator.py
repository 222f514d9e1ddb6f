"""What it gains on a CPU that the process keeps the memory it frees, as the command `stmga` has it.

    python benchmarks/allocator.py
    python benchmarks/allocator.py --model stmga_resnet50 --size 256 128 --batch 4 --json out.json

Embedding (the folded network, as `TrackletEmbedder` runs it) and a training step (`train_step.py`), each with and
without `stmga.allocator.keep_freed_memory`, each in a process of its own; the processes take turns.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import train_step
from turns import Side, in_turns_apart, quartiles, where

import stmga
from stmga.allocator import keep_freed_memory


@contextmanager
def side(work: str, kept: bool, args: argparse.Namespace) -> Iterator[Side]:
    """A batch of embedding, or a step of training."""
    if work == "training":
        with train_step.side("whole", (), argparse.Namespace(**vars(args), kept=kept)) as step:
            yield step
        return
    if kept and not keep_freed_memory():
        raise SystemExit("there is nothing to compare: no glibc, or a setting of malloc in the environment")
    config = replace(stmga.config.ARCHITECTURES[args.model], size=tuple(args.size))
    model = stmga.STMGA(config).eval().fuse()
    clips = torch.rand(args.batch, config.clip_length, 3, *config.size)

    def embed() -> None:
        with torch.inference_mode():
            model(clips)

    yield embed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="stmga_resnet18_c4", choices=stmga.list_models())
    parser.add_argument("--size", type=int, nargs=2, default=(192, 96), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=8, help="clips of 8 frames (8)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.precision, args.device, args.threads = "fp32", "cpu", torch.get_num_threads()
    print(f"{where()}\n{args.model}, {args.batch} clips of 8 x {args.size[0]} x {args.size[1]}, {args.rounds} rounds\n")
    print(f"{'':<24}{'s (median)':>11}{'peak GB':>9}{'over without':>14}{'quartiles':>14}")
    found = {}
    for work in ("embedding", "training"):
        names = {False: work, True: f"{work}, memory kept"}
        rows = in_turns_apart({name: partial(side, work, kept, args) for kept, name in names.items()}, args.rounds)
        for name, row in rows.items():
            ratios = [a / b for a, b in zip(row["seconds"], rows[work]["seconds"], strict=True)]
            row |= {"ratio": statistics.median(ratios), "ratio_quartiles": quartiles(ratios)}
            spread = "-".join(f"{q:.2f}" for q in row["ratio_quartiles"])
            print(f"{name:<24}{statistics.median(row['seconds']):>11.3f}{row['peak_gb']:>9.2f}", end="")
            print(f"{row['ratio']:>14.3f}{spread:>14}", flush=True)
        found |= rows
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key != "json"}
        args.json.write_text(json.dumps({"where": where(), "settings": settings, "sides": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
