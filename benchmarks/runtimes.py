"""Every way to run a network, over the eager trunk alone: eager, folded, compiled, ONNX Runtime, OpenVINO.

    python benchmarks/runtimes.py
    python benchmarks/runtimes.py --model stmga_resnet18_c4 --batch 1 4 --json out.json
    python benchmarks/runtimes.py --device cuda --precision bf16

The trunk with average pooling, eager and fp32, is the first side; all see the same clips, in turns in one run, and the
embeddings of each are compared with the eager network's. On a CPU the exported files are written to a temporary folder.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from turns import in_turns, table, where

import stmga
from stmga.exported import ExportedModel


def ways(model: stmga.STMGA, clips: torch.Tensor, args: argparse.Namespace, folder: Path) -> dict:
    """Each way's name and what it computes from the clips."""
    fused = model.fuse()
    last = model.fuse()
    last.backbone.to(memory_format=torch.channels_last)
    compiled = torch.compile(last, dynamic=True)
    sides = {
        "trunk, eager": lambda: model.forward_map(clips).mean((1, 3, 4)),
        "eager": lambda: model(clips),
        "folded": lambda: fused(clips),
        "folded, channels last": lambda: last(clips),
        "folded, channels last, compiled": lambda: compiled(clips),
    }
    if args.device == "cpu" and args.precision == "fp32" and not args.no_export:
        for file in ("model.onnx", "model.pt2"):
            if not (folder / file).exists():
                stmga.export(model, folder / file)
            for runtime in ExportedModel.runtimes(file):
                exported = ExportedModel(folder / file, runtime=runtime)
                sides[f"{file.removeprefix('model')}, {runtime}"] = lambda exported=exported: exported(clips)
    return sides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="stmga_resnet50", choices=stmga.list_models())
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--no-export", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict = {"where": where(args.device), "settings": {k: v for k, v in vars(args).items() if k != "json"}}
    torch.manual_seed(0)
    model = stmga.create_model(args.model).eval().to(args.device)
    h, w = model.config.size
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[args.precision]
    print(f"{result['where']}\n{args.model}, clips of {model.config.clip_length} x {h} x {w}, {args.precision}")
    result["rows"] = {}
    with tempfile.TemporaryDirectory() as folder:
        for batch in args.batch:
            clips = torch.rand(batch, model.config.clip_length, 3, h, w, device=args.device)
            sides = ways(model, clips, args, Path(folder))
            with (
                torch.inference_mode(),
                torch.autocast(args.device.split(":")[0], dtype=dtype, enabled=dtype is not None),
            ):
                found = in_turns(sides, args.rounds, device=args.device)
                wanted = model(clips)
                for name, run in sides.items():
                    if name != "trunk, eager":
                        found[name]["difference"] = float((run() - wanted).abs().max())
                        found[name]["clips_per_s"] = batch / found[name]["seconds"]
            result["rows"][f"b={batch}"] = found
            print(f"\nb = {batch}\n{table(found, 'the trunk')}")
            for name, row in found.items():
                if "difference" in row:
                    print(
                        f"  {name:<32} differs by {row['difference']:.1e}, {row['clips_per_s']:.2f} clips/s", flush=True
                    )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
