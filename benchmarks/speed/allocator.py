"""The gain on a CPU from keeping freed memory in the process, as the command `stmga` does.

    python -m benchmarks.speed.allocator
    python -m benchmarks.speed.allocator --model stmga_resnet50 --size 256 128 --json out.json

Embedding (the folded network and the batch of `TrackletEmbedder`) and a training step (`train_step.py`), each with and
without `stmga.utils.cpu.keep_freed_memory`, each in a process of its own; the two processes take turns.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

import stmga
from benchmarks.rows import Row, spread_of
from benchmarks.speed import train_step
from benchmarks.turns import Side, in_turns_apart, keep_or_refuse, table_apart, where
from stmga.utils.cpu import keep_freed_memory


@contextmanager
def side(work: str, kept: bool, args: argparse.Namespace) -> Iterator[Side]:
    """A batch of embedding, or a step of training."""
    if work == "training":
        with train_step.side("whole", (), kept, args) as step:
            yield step
        return
    if kept:
        keep_freed_memory()
    config = replace(stmga.config.ARCHITECTURES[args.model], size=tuple(args.size))
    model = stmga.STMGA(config).eval().fuse()
    clips = torch.rand(args.batch, config.clip_length, 3, *config.size)

    def embed() -> None:
        with torch.inference_mode():
            model(clips)

    yield embed


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    model = found["settings"]["model"]
    for name, row in found["sides"].items():
        if name.endswith("memory kept"):
            what = f"`{model}`, {name}, over given back"
            yield Row(f"{what}: time", row["time_ratio"], spread_of(row["time_ratio_quartiles"]))
            yield Row(f"{what}: peak memory", row["memory_ratio"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="stmga_resnet18_c4", choices=stmga.list_models())
    parser.add_argument("--size", type=int, nargs=2, default=(192, 96), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=4, help="clips of 8 frames (4, as the embedder takes)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    keep_or_refuse(parser)
    args.precision, args.device, args.threads = "fp32", "cpu", torch.get_num_threads()
    print(f"{where()}\n{args.model}, {args.batch} clips of 8 x {args.size[0]} x {args.size[1]}, {args.rounds} rounds\n")
    found = {}
    for work in ("embedding", "training"):
        names = {False: work, True: f"{work}, memory kept"}
        rows = in_turns_apart({name: partial(side, work, kept, args) for kept, name in names.items()}, args.rounds)
        print(table_apart(rows), flush=True)
        found |= rows
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key != "json"}
        args.json.write_text(json.dumps({"where": where(), "settings": settings, "sides": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
