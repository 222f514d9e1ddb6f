"""The command that exports. Everything heavy is imported when it runs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from stmga.cli.options import add_model, model_of
from stmga.cli.parser import command


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga export -o person.onnx
  stmga export --model runs/mine/best -o mine.pt2
  stmga export -o person.onnx --frames 256 128     # takes uint8 frames of this size
  stmga embed crops/ --model person.onnx -o crops.safetensors"""
    summary = "write a network as ONNX or as a torch.export program, and compare it with PyTorch"
    add = command(commands, "export", summary, example).add_argument
    add("-o", "--out", metavar="FILE", required=True, help="where to write, ending in .onnx or .pt2")
    add_model(add)
    add(
        "--frames", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"),
        help="put preprocessing into the file, for uint8 frames of this size (default: it takes prepared clips)",
    )  # fmt: skip
    add("--opset", type=int, metavar="N", help="of ONNX, from 18 (default: the exporter's own)")


def export(args: argparse.Namespace) -> None:
    """Write one file, after its output has been compared with the network's."""
    from stmga.deploy.export import AGREE, SHAPES
    from stmga.deploy.export import export as write

    model, weights = model_of(args)
    print(f"weights   {weights}")
    start = time.perf_counter()
    done = write(model, args.out, frames=args.frames, opset=args.opset)
    h, w = args.frames or model.config.size
    kind = "uint8 frames, preprocessing inside" if args.frames else "float32, as ClipTransform gives them"
    print(f"takes     clips (b, t, 3, {h}, {w}), {kind}; any b and t")
    print(f"gives     embedding (b, {model.dim}) of unit length, and feature (b, {model.dim}) before the norm")
    shapes = ", ".join(f"({b}, {t})" for b, t in SHAPES)
    print(f"compared  with PyTorch at (b, t) = {shapes}; at most {AGREE:g} is allowed")
    for runtime, worst in done.differences.items():
        print(f"          {runtime:<12}{worst:.1e}")
    print(f"wrote     {done.path}: {done.size / 1e6:.1f} MB in {time.perf_counter() - start:.0f} s")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"export": export}
