"""Every way to run a network, over the eager trunk alone: eager, folded, compiled, ONNX Runtime, OpenVINO.

    python -m benchmarks.speed.runtimes
    python -m benchmarks.speed.runtimes --model stmga_resnet18_c4 --batch 1 4 --json out.json
    python -m benchmarks.speed.runtimes --kept
    python -m benchmarks.speed.runtimes --precision bf16
    python -m benchmarks.speed.runtimes --device cuda --precision bf16 --batch 1 32

The trunk with average pooling, eager, is the first side; all see the same clips, in turns in one run, and the
embeddings of each are compared with the eager network's in fp32. On a CPU the exported files are written to a temporary
folder. With --kept the process keeps the memory it frees, as the command `stmga` does (`allocator.py`). On a GPU the
trunk is compiled too, and a large matrix product in the same precision says what the chip can do.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

import stmga
from benchmarks.rows import Row, spread_of
from benchmarks.speed.head_cost import trunk_alone
from benchmarks.turns import DTYPES, in_turns, keep_or_refuse, table, where
from stmga.deploy.exported import ExportedModel
from stmga.fuse import fused
from stmga.utils.cost import gmac

MATRIX = 8192  # rows and columns of the product that says what a chip can do


def ways(model: stmga.STMGA, clips: torch.Tensor, args: argparse.Namespace, folder: Path) -> dict:
    """Each way's name and what it computes from the clips."""
    last = fused(model, half=None if args.precision == "fp32" else DTYPES[args.precision])  # as the embedder does
    compiled = torch.compile(last, dynamic=True)
    sides = {
        "trunk, eager": lambda: trunk_alone(model, clips),
        "eager": lambda: model(clips),
        "folded, channels last": lambda: last(clips),
        "folded, channels last, compiled": lambda: compiled(clips),
    }
    if args.precision != "fp32":
        exact = fused(model)

        def in_fp32() -> torch.Tensor:
            with torch.autocast(args.device.split(":")[0], enabled=False):
                return exact(clips)

        sides["folded, channels last, fp32"] = in_fp32
    if args.device.startswith("cuda"):
        trunk = torch.compile(trunk_alone, dynamic=True)
        sides["trunk, folded, channels last"] = lambda: trunk_alone(last, clips)
        sides["trunk, folded, channels last, compiled"] = lambda: trunk(last, clips)
        a, b = torch.randn(2, MATRIX, MATRIX, device=args.device, dtype=DTYPES[args.precision])
        sides["matrix product"] = lambda: a @ b
    if args.device == "cpu" and args.precision == "fp32" and not args.no_export:
        for file in ("model.onnx", "model.pt2"):
            if not (folder / file).exists():
                stmga.export(model, folder / file)
            for runtime in ExportedModel.runtimes(file):
                exported = ExportedModel(folder / file, runtime=runtime)
                sides[f"{file.removeprefix('model')}, {runtime}"] = lambda exported=exported: exported(clips)
    return sides


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    model = found["settings"]["model"]
    kept = "freed memory kept, " if found["settings"].get("kept") else ""
    for batch, sides in found["rows"].items():
        over = f"over its eager trunk, {kept}" + batch.replace("=", " = ")
        ways = {name: row for name, row in sides.items() if row.get("difference", 1) <= 1e-4}
        fastest = min(ways, key=lambda name: ways[name]["ratio"])
        for name, row in ways.items():
            what = f"`{model}`, {name}, {over} (differs by {row['difference']:.0e})"
            yield Row(what, row["ratio"], spread_of(row["ratio_quartiles"]), 0.70 if name == fastest else None)
        for name in (n for n in ways if n.startswith(".")):
            yield Row(f"{name} over PyTorch eager, {kept}{batch}", ways[name]["seconds"] / ways["eager"]["seconds"])


def half_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    model, precision = (found["settings"][key] for key in ("model", "precision"))
    for batch, sides in found["rows"].items():
        exact = sides["folded, channels last, fp32"]
        for name in ("folded, channels last", "folded, channels last, compiled"):
            what = f"`{model}` in {precision}, {name}, over folded, channels last, fp32, {batch.replace('=', ' = ')}"
            yield Row(f"{what} (differs by {sides[name]['difference']:.0e})", sides[name]["seconds"] / exact["seconds"])
            what = f"`{model}` in {precision}, {name}, {batch.replace('=', ' = ')}"
            yield Row(f"{what}: clips per second", sides[name]["clips_per_s"])
            if "share_of_matrix_rate" in sides[name]:  # on a GPU
                yield Row(f"{what}: share of a large matrix product's rate", sides[name]["share_of_matrix_rate"])
                yield Row(f"{what}: the trunk's share of the time", sides[name]["share_of_trunk"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="stmga_resnet50", choices=stmga.list_models())
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--no-export", action="store_true")
    parser.add_argument("--kept", action="store_true", help="keep freed memory, as `stmga` does")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    keep_or_refuse(parser, args.kept)
    result: dict = {"where": where(args.device), "settings": {k: v for k, v in vars(args).items() if k != "json"}}
    torch.manual_seed(0)
    model = stmga.create_model(args.model).eval().to(args.device)
    h, w = model.config.size
    print(f"{result['where']}\n{args.model}, clips of {model.config.clip_length} x {h} x {w}, {args.precision}")
    result["rows"] = {}
    half = torch.autocast(args.device.split(":")[0], DTYPES[args.precision], enabled=args.precision != "fp32")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for batch in args.batch:
            clips = torch.rand(batch, model.config.clip_length, 3, h, w, device=args.device)
            sides = ways(model, clips, args, Path(folder))
            wanted, work = model(clips), gmac(model, clips) * 2e9  # operations of the batch
            with half:
                found = in_turns(sides, args.rounds, device=args.device)
                for name, run in sides.items():
                    if not name.startswith(("trunk", "matrix")):
                        found[name]["difference"] = float((run() - wanted).abs().max())
                        found[name]["clips_per_s"] = batch / found[name]["seconds"]
            if "matrix product" in found:
                against_the_chip(found, work)
            result["rows"][f"b={batch}"] = found
            print(f"\nb = {batch}\n{table(found, 'the trunk')}")
            for name, row in found.items():
                if parts := words(row):
                    print(f"  {name:<38} {', '.join(parts)}", flush=True)
            if args.json:  # after each batch: what is measured is kept if the next takes too long
                args.json.write_text(json.dumps(result, indent=1) + "\n")


def against_the_chip(found: dict[str, dict], work: float) -> None:
    """Adds operations a second, their share of a large matrix product's, and the trunk's share of the time."""
    chip = 2 * MATRIX**3 / found["matrix product"]["seconds"]
    found["matrix product"]["tflops"] = chip / 1e12
    for name, row in found.items():
        if "difference" in row:
            row |= {"tflops": work / row["seconds"] / 1e12, "share_of_matrix_rate": work / row["seconds"] / chip}
            if trunk := found.get(f"trunk, {name}"):
                row["share_of_trunk"] = trunk["seconds"] / row["seconds"]


def words(row: dict) -> list[str]:
    """What a row of the result says beside its times."""
    parts = []
    if "difference" in row:
        parts += [f"differs by {row['difference']:.1e}", f"{row['clips_per_s']:.2f} clips/s"]
    if "tflops" in row:
        parts.append(f"{row['tflops']:.0f} TFLOP/s")
    if "share_of_matrix_rate" in row:
        parts.append(f"{row['share_of_matrix_rate']:.1%} of the matrix product's")
    if "share_of_trunk" in row:
        parts.append(f"{row['share_of_trunk']:.1%} of the time is the trunk's")
    return parts


if __name__ == "__main__":
    main()
