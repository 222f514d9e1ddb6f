"""The command that solves a whitening layer from labelled tracklets."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from stmga.cli.options import (
    add_device,
    add_precision,
    add_training_data,
    add_workers,
    device_for,
    trained,
    training_data,
)
from stmga.cli.parser import add_start, command, folder_named, say


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga whiten --data labelled/ --layout "{person}/{camera}/{tracklet}" -o runs/white
  stmga whiten --data labelled.pack --holdout 0.2 --from runs/mine/last -o runs/mine/white
  stmga embed crops/ --model runs/white -o vectors.safetensors"""
    words = "solve a last layer that ignores what changes from camera to camera, from labels, without training"
    parser = command(commands, "whiten", words, example)
    add = parser.add_argument
    add_start(add)
    add("-o", "--out", metavar="FOLDER", required=True, help="the weights with this layer")
    add(
        "--shrinkage", type=float, default=3.0, metavar="X",
        help="how far the layer is moved towards one that changes nothing (default: 3)",
    )  # fmt: skip
    add_training_data(parser.add_argument_group("data").add_argument)
    add = parser.add_argument_group("computing").add_argument
    add_device(add)
    add_precision(add)
    add_workers(add)
    add("-q", "--quiet", action="store_true", help="no progress bar")


def whiten(args: argparse.Namespace) -> None:
    """Embed the training tracklets once, solve the layer, and write the weights."""
    from stmga.train import whiten as run

    folder = folder_named(args.out)
    model, name = trained(args.start)
    benchmark = training_data(args)
    say(f"weights   {name}")
    found = run(
        model.to(device_for(args, model)), benchmark, shrinkage=args.shrinkage, started_from=name,
        precision=args.precision, workers=args.workers, progress=not args.quiet,
    )  # fmt: skip
    found.save_pretrained(folder)
    say(f"wrote     {folder}: embed the gallery again with it, and calibrate again")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"whiten": whiten}
