"""The least time of a network on a processor: one matrix product of as many multiply-adds, over the eager trunk.

    python -m benchmarks.speed.floor
    python -m benchmarks.speed.floor --model stmga_resnet18_c4 --batch 4 --json out.json

An exact fp32 path that multiplies as often as the network (so no Winograd) can at best keep the rate of the machine's
best product. Two sides say what that rate is: one product of large matrices with exactly the multiply-adds of the
network, and the convolutions of the trunk alone, folded and channels last, each on its own input. The eager trunk and
ONNX Runtime take their turns in the same run. ``work`` is the multiply-adds of a side in 1e9, ``rate`` is those of a
second.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

import stmga
from benchmarks.rows import Row, spread_of
from benchmarks.speed.head_cost import gmac, trunk_alone
from benchmarks.turns import Side, in_turns, table, where
from stmga.deploy.exported import ExportedModel
from stmga.fuse import fused

SIDE = 2048  # rows and columns of the right matrix: large enough for the highest rate, and it stays in the L3 cache
BAR = 0.70  # of `runtimes.py`, for the fastest path over the eager trunk
PRODUCT, CONVOLUTIONS = "matrix product", "convolutions of the trunk"


def matrix_product(work: float) -> Side:
    """A product of ``work`` 1e9 multiply-adds."""
    left, right = torch.rand(round(work * 1e9 / SIDE**2), SIDE), torch.rand(SIDE, SIDE)
    return lambda: left @ right


def convolutions(model: stmga.STMGA, clips: Tensor) -> list[tuple[nn.Conv2d, Tensor]]:
    """The convolutions of the folded trunk, in order, and the input of each."""
    network = fused(model)
    found: list[tuple[nn.Conv2d, Tensor]] = []
    modules = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [m.register_forward_pre_hook(lambda m, given: found.append((m, given[0].clone()))) for m in modules]
    trunk_alone(network, clips)
    for hook in hooks:
        hook.remove()
    return found


def sides(model: stmga.STMGA, clips: Tensor, folder: Path) -> tuple[dict[str, Side], dict[str, float]]:
    """Each side, and its multiply-adds in 1e9."""
    file = folder / "model.onnx"
    stmga.export(model, file)
    exported = ExportedModel(file, runtime="onnxruntime")
    layers = convolutions(model, clips)
    whole, trunk = gmac(model, clips), gmac(trunk_alone, model, clips)
    calls: dict[str, Side] = {
        "trunk, eager": lambda: trunk_alone(model, clips),
        ".onnx, onnxruntime": lambda: exported(clips),
        PRODUCT: matrix_product(whole),
        CONVOLUTIONS: lambda: [convolution(x) for convolution, x in layers],
    }
    return calls, dict(zip(calls, (trunk, whole, whole, trunk), strict=True))


def floor(found: dict[str, dict]) -> dict[str, float | str]:
    """The network at the rate of the best side that only multiplies, over the eager trunk."""
    best = max((PRODUCT, CONVOLUTIONS), key=lambda name: found[name]["rate"])
    scale = found[PRODUCT]["work"] / found[best]["work"]
    return {"of": best, "ratio": found[best]["ratio"] * scale} | {
        f"{which} quartile": quartile * scale
        for which, quartile in zip(("lower", "upper"), found[best]["ratio_quartiles"], strict=True)
    }


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    settings, least = found["settings"], found["floor"]
    over = f"over the eager trunk of `{settings['model']}`, b = {settings['batch']}"
    spread = spread_of([least["lower quartile"], least["upper quartile"]])
    yield Row(f"least time of the network's multiply-adds (rate: {least['of']}), {over}", least["ratio"], spread)
    row = found["sides"][".onnx, onnxruntime"]
    yield Row(f".onnx, onnxruntime, in the same run, {over}", row["ratio"], spread_of(row["ratio_quartiles"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="stmga_resnet50", choices=stmga.list_models())
    parser.add_argument("--batch", type=int, default=1, help="clips (1)")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = stmga.create_model(args.model).eval()
    h, w = model.config.size
    print(f"{where()}\n{args.model}, {args.batch} clips of {model.config.clip_length} x {h} x {w}, fp32\n")
    clips = torch.rand(args.batch, model.config.clip_length, 3, h, w)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        calls, work = sides(model, clips, Path(folder))
        found = in_turns(calls, args.rounds)
    for name, row in found.items():
        row |= {"work": work[name], "rate": work[name] / row["seconds"]}
    print(table(found, "the trunk") + "\n")
    for name, row in found.items():
        print(f"  {name:<34} {row['work']:.1f} GMAC, {row['rate']:.0f} GMAC/s")
    least = floor(found)
    print(f"\nthe network at the rate of '{least['of']}': {least['ratio']:.2f} of the eager trunk's time (bar {BAR})")
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key != "json"}
        result = {"where": where(), "settings": settings, "sides": found, "floor": least}
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
