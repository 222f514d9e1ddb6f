"""The time of each block over one read of its input, a lower bound.

    python -m benchmarks.speed.blocks
    python -m benchmarks.speed.blocks --batch 8 --dim 1024 --json out.json
    python -m benchmarks.speed.blocks --device cuda --precision fp16

The floor of CPA, MA-PA and attended pooling is one reduction over the map, `x.amax((-2, -1))`, which reads every number
once; that of LS-TA and MGA is one read of the part features and of their own weights. Eager and compiled
(torch.compile) are measured in turns in one run.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.rows import Row, spread_of
from benchmarks.turns import DTYPES, in_turns, table, where
from stmga import CPA, LSTA, MAPA, MGA
from stmga.blocks.pooling import attended_max


def sides(args: argparse.Namespace, compiled: bool) -> dict[str, dict]:
    """For each floor, what is compared with it."""
    torch.manual_seed(0)
    b, t, c, (h, w) = args.batch, 8, args.dim, args.map
    place = {"device": args.device, "dtype": DTYPES[args.precision]}
    x = torch.rand(b, t, c, h, w, **place)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (b, t))
    attention = torch.rand(b, t, 4, h, w, **place)
    cpa = CPA(c, parts=4).to(**place).eval()
    mapa, lsta = MAPA(scales=(1, 2, 4)), LSTA(c, scales=(1, 3, 5), conv=args.conv).to(**place)
    mga = MGA(c, counts=(1, 2, 4), relation_dim=args.relation).to(**place)
    every = mapa.augment(attention)
    parts = torch.rand(b, 7, t, c, **place)
    sets = [torch.rand(b, n, c, **place) for n in (1, 2, 4)]
    pool = torch.compile(attended_max, dynamic=True) if compiled else attended_max
    wrap = (lambda f: torch.compile(f, dynamic=True)) if compiled else (lambda f: f)
    cpa_, mapa_, lsta_, mga_ = wrap(cpa), wrap(mapa), wrap(lsta), wrap(mga)
    return {
        "one read of the map": {
            "one read of the map": lambda: x.amax((-2, -1)),
            "attended pooling, 7 attentions": lambda: pool(x, every),
            "MAPA": lambda: mapa_(x, attention),
            "CPA": lambda: cpa_(x),
        },
        "one read of the map, channels last": {
            "one read of the map, channels last": lambda: last.amax((-2, -1)),
            "attended pooling, channels last": lambda: pool(last, every),
        },
        "one read of parts and weights": {
            "one read of parts and weights": lambda: [x.amax(-1) for x in (parts, *lsta.parameters())],
            "LSTA": lambda: lsta_(parts),
        },
        "one read of sets and weights": {
            "one read of sets and weights": lambda: [x.amax(-1) for x in (*sets, *mga.parameters())],
            "MGA": lambda: mga_(sets),
        },
    }


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    for key, sides in found["rows"].items():
        mode, floor = key.split(": ")
        for name, row in sides.items():
            if name != floor:
                bar = 2.5 if name == "attended pooling, 7 attentions" and mode == "compiled" else None
                yield Row(f"{name}, {mode}, over {floor}", row["ratio"], spread_of(row["ratio_quartiles"]), bar)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4, help="clips of 8 frames")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--map", type=int, nargs=2, default=(16, 8), metavar=("H", "W"))
    parser.add_argument("--conv", default="full", choices=("full", "depthwise"))
    parser.add_argument("--relation", type=int, help="relation_dim (default: as wide as the map)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict = {"where": where(args.device), "settings": {k: v for k, v in vars(args).items() if k != "json"}}
    print(
        f"{result['where']}\n{args.batch} clips of 8 maps {args.dim} x {args.map[0]} x {args.map[1]}, {args.precision}"
    )
    result["rows"] = {}
    for mode in ("eager",) if args.no_compile else ("eager", "compiled"):
        with torch.inference_mode():
            for floor, compared in sides(args, mode == "compiled").items():
                found = in_turns(compared, args.rounds, device=args.device, launched=True)
                result["rows"][f"{mode}: {floor}"] = found
                print(f"\n{mode}\n{table(found, 'the floor')}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
