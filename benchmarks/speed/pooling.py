"""Every implementation of attended max-pooling: plain, in pieces, compiled, and on a GPU the kernel.

    python -m benchmarks.speed.pooling
    python -m benchmarks.speed.pooling --device cuda --batch 32 --precision bf16 --json out.json
    python -m benchmarks.speed.pooling --device cuda --batch 32 --precision bf16 --tune

Seven attentions on a map; the floor is one read of it (`x.amax((-2, -1))`), and with the backward pass one read and the
writing of its gradient. Both layouts; all sides in turns in one run. On a GPU it also prints the memory that a call
takes besides its arguments, as a multiple of the map. --tune times the kernel alone with tiles and warps of several
sizes: the maxima, the maxima with their positions, and the backward pass.
"""

import argparse
import json
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.rows import Row, spread_of
from benchmarks.turns import DTYPES, Side, in_turns, table, where
from stmga import MAPA
from stmga.blocks import pooling


def implementations(device: str) -> dict:
    """The implementations of pooling by name."""
    found = {"pieces": pooling.pooled_in_pieces, "compiled": torch.compile(pooling.pooled_plainly, dynamic=True)}
    if device.startswith("cuda"):
        from stmga.blocks.fused_max import fused_max

        found["kernel"] = fused_max
    return found


def sides(x: Tensor, weight: Tensor, device: str, backward: bool) -> dict[str, Side]:
    """The floor, then each implementation; with ``backward`` to the gradients of both arguments."""
    if not backward:
        calls = {"floor": lambda: x.amax((-2, -1)), "plain": lambda: pooling.pooled_plainly(x, weight)}
        return calls | {name: lambda pool=pool: pool(x, weight) for name, pool in implementations(device).items()}
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    shape = (x.shape[0], weight.shape[2], *x.shape[1:3])
    grad = torch.rand(shape, device=x.device, dtype=x.dtype)

    def both(pool):
        return lambda: torch.autograd.grad(pool(x, weight), (x, weight), grad)

    def floor() -> Tensor:
        x.detach().amax((-2, -1))
        return torch.zeros_like(x)

    return {"floor": floor, "plain": both(pooling.pooled_plainly)} | {
        name: both(pool) for name, pool in implementations(device).items()
    }


def memory(run: Side, x: Tensor) -> float:
    """The peak memory of a call on the GPU besides its arguments, as a multiple of the map."""
    run()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / (x.numel() * x.element_size())


def tune(maps: dict[str, Tensor], weight: Tensor, rounds: int) -> list[dict]:
    """Microseconds of the three kernels, by layout, numbers in a tile, and warps."""
    from stmga.blocks import fused_max as kernel

    rows = []
    flat = kernel._flat(weight).contiguous()
    for layout, x in maps.items():
        frames = kernel._flat(x)
        for tile, warps in product((2048, 4096, 8192, 16384), (2, 4, 8)):
            kernel.TILE, kernel.WARPS = tile, warps
            pooled, positions = kernel._forward(frames, flat, positions=True)
            grad = torch.rand_like(pooled)
            calls: dict[str, Side] = {
                "maxima": partial(kernel._forward, frames, flat, positions=False),
                "with positions": partial(kernel._forward, frames, flat, positions=True),
                "backward": partial(kernel._backward, frames, flat, positions, grad),
            }
            found = in_turns(calls, rounds, device="cuda", launched=True)
            microseconds = {name: 1e6 * row["seconds"] for name, row in found.items()}
            rows.append({"layout": layout, "tile": tile, "warps": warps} | microseconds)
            print(f"{layout}, tile {tile}, {warps} warps:", end=" ")
            print(", ".join(f"{name} {took:.0f} us" for name, took in microseconds.items()), flush=True)
    return rows


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    for title, sides in found["rows"].items():
        for name in (n for n in sides if n not in ("floor", "plain")):
            what = f"attended pooling, {title}, {name}, over its floor"
            yield Row(what, sides[name]["ratio"], spread_of(sides[name]["ratio_quartiles"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4, help="clips of 8 frames")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--map", type=int, nargs=2, default=(16, 8), metavar=("H", "W"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--tune", action="store_true", help="only the kernel, with several tiles")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict = {"where": where(args.device), "settings": {k: v for k, v in vars(args).items() if k != "json"}}
    print(
        f"{result['where']}\n{args.batch} clips of 8 maps {args.dim} x {args.map[0]} x {args.map[1]}, {args.precision}"
    )
    torch.manual_seed(0)
    b, t, c, (h, w) = args.batch, 8, args.dim, args.map
    x = torch.rand(b, t, c, h, w, device=args.device, dtype=DTYPES[args.precision])
    weight = 1 + MAPA(scales=(1, 2, 4)).augment(torch.rand(b, t, 4, h, w, device=args.device, dtype=x.dtype))
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (b, t))
    maps = {"channels first": x, "channels last": last}
    if args.tune:
        result["tuning"] = tune(maps, weight, args.rounds)
        maps = {}
    result["rows"] = {}
    for layout, frames in maps.items():
        for backward in (False, True):
            calls = sides(frames, weight, args.device, backward)
            found = in_turns(calls, args.rounds, device=args.device, launched=True)
            if args.device.startswith("cuda"):
                for name, run in calls.items():
                    found[name]["maps_of_memory"] = memory(run, x)
            title = f"{layout}, {'forward and backward' if backward else 'forward'}"
            result["rows"][title] = found
            print(f"\n{title}\n{table(found, 'the floor')}", flush=True)
            if args.device.startswith("cuda"):
                print("  memory in maps: " + ", ".join(f"{n} {r['maps_of_memory']:.2f}" for n, r in found.items()))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
