"""A test with one, two, four and eight frames a tracklet, for each weight: mAP, rank-1 and frames a second.

    python -m benchmarks.accuracy.frames mars8-dev/index.jsonl
    python -m benchmarks.accuracy.frames labelled/ --model stmga_resnet18_c4.market_cuhk03 --frames 1 8 --json out.json

Queries and gallery both have that many frames, evenly spaced, or all that they have. Frames a second are those of the
whole pass from files to vectors, by the clock; each frame counts once. Tracklets a second say what fewer frames gain.
Measure times while nothing else computes; `benchmarks.speed.short_tracklets` compares them in turns.
Without --model: every weight that is shipped.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

import stmga
from benchmarks.accuracy.card_figures import FRAMES, MARS8, percent, thinned
from benchmarks.turns import keep_or_refuse, where
from stmga import STMGA
from stmga.data import load_benchmark
from stmga.data.benchmark import Benchmark
from stmga.metrics import evaluate
from stmga.metrics.network_table import embed_test
from stmga.utils.distributed import World
from stmga.utils.files import atomic_write
from stmga.zoo import create_model, is_name

OUT = Path(__file__).parents[1] / "results" / "frames.json"


def measure(model: STMGA, benchmark: Benchmark, counts: Sequence[int], **options) -> list[dict]:
    """A row for each number of frames; the numbers above the longest tracklet are one row."""
    longest = max(map(len, [*benchmark.query, *benchmark.gallery]))
    rows = []
    for count in dict.fromkeys(min(count, longest) for count in counts):
        sides = {side: [thinned(t, count) for t in getattr(benchmark, side)] for side in ("query", "gallery")}
        few = dataclasses.replace(benchmark, **sides)
        tracklets = [*few.query, *few.gallery]
        start = time.perf_counter()
        query, gallery = embed_test(model, few, World(device=model.device), **options)
        took = time.perf_counter() - start
        rows.append(
            {
                "frames": count,
                **percent(evaluate(query, gallery, few.protocol), ("mAP", "rank-1")),
                "seconds": took,
                "frames_per_s": sum(map(len, tracklets)) / took,
                "tracklets_per_s": len(tracklets) / took,
            }
        )
    return rows


def table(results: dict[str, list[dict]]) -> str:
    lines = [f"{'weight':<44}{'frames':>7}{'mAP':>8}{'rank-1':>8}{'frames/s':>10}{'tracklets/s':>13}"]
    for model, rows in results.items():
        for row in rows:
            scores = f"{row['frames']:>7}{row['mAP']:>8.2f}{row['rank-1']:>8.2f}"
            lines.append(f"{model:<44}{scores}{row['frames_per_s']:>10.1f}{row['tracklets_per_s']:>13.1f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", help="what is tested on, as for `stmga eval`")
    add("--model", nargs="+", default=stmga.list_weights(), help="names of weights, or folders of saved networks")
    add("--frames", type=int, nargs="+", default=list(FRAMES), help="frames of a tracklet")
    add("--title", default=MARS8, help="name of the data, for the table")
    add("--workers", type=int, default=0, help="processes that read")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="that the network computes in (default: fp32)")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--kept", action="store_true", help="keep freed memory, as the command `stmga` does")
    add("--json", type=Path, default=OUT)
    args = parser.parse_args()
    if min(args.frames) < 1:
        parser.error(f"--frames takes numbers of at least 1, got {min(args.frames)}")
    keep_or_refuse(parser, args.kept)
    torch.set_num_threads(args.threads)
    benchmark = load_benchmark(args.data)
    protocol = dataclasses.replace(benchmark.protocol, data=args.title).describe()
    place = f"{args.precision}{', freed memory kept' if args.kept else ''}, {where()}"
    results: dict[str, list[dict]] = {}
    for name in args.model:
        model = create_model(name, pretrained=True) if is_name(name) else STMGA.from_pretrained(name)
        results[name] = measure(
            model, benchmark, args.frames,
            precision=args.precision, workers=args.workers, progress=sys.stderr.isatty(),
        )  # fmt: skip
        print(table({name: results[name]}), flush=True)
        result = {"where": place, "protocol": protocol, "weights": results}
        atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())  # what is measured is kept
    print(f"\n{table(results)}\n\n{protocol}\n{place}")


if __name__ == "__main__":
    main()
