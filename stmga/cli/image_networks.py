"""Networks of single images by name: an .onnx file of somebody else, or torchvision:NAME."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stmga.embedding.frame_encoder import FrameEncoder

PREFIX = "torchvision:"
OPTIONS = ("size", "mean", "std")


def add_image_network(add: Callable[..., Any]) -> None:
    """The arguments of networks of single images."""
    where = "of frames, for an .onnx file of another origin or torchvision:NAME[:NODE]"
    add("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help=f"{where} (default: as the file states it)")
    add("--mean", type=float, nargs=3, metavar="RGB", help=f"{where}, of pixels in 0..1 (default: ImageNet's)")
    add("--std", type=float, nargs=3, metavar="RGB", help=f"{where}, of pixels in 0..1 (default: ImageNet's)")


def is_image_network(name: str) -> bool:
    """Whether --model names a network of images: torchvision's, or an .onnx file that `stmga export` did not write."""
    if name.startswith(PREFIX):
        return True
    if Path(name).suffix != ".onnx" or not Path(name).exists():
        return False
    try:
        from stmga.deploy.onnx_file import OnnxFile

        return not OnnxFile(Path(name), "stmga").header
    except (ImportError, ValueError):
        return False  # whoever loads it says what is wrong


def image_network(args: argparse.Namespace) -> tuple[FrameEncoder, str]:
    """The network that ``args.model`` names, and what its weights are, as text."""
    from stmga.embedding.frame_encoder import FrameEncoder

    name, trunk = args.model, args.backbone_weights
    settings = {key: value for key in OPTIONS if (value := getattr(args, key, None)) is not None}
    if not name.startswith(PREFIX):
        if trunk:
            raise ValueError(f"{name} has weights already; leave --backbone-weights out")
        return FrameEncoder(name, **settings), name
    if "size" not in settings:
        raise ValueError(f"{name} takes frames of many sizes; say which, such as --size 256 128")
    from stmga.cli.torchvision_networks import torchvision_network

    network = torchvision_network(name.removeprefix(PREFIX), trunk)
    origin = Path(trunk).name if trunk else "NOT TRAINED (random, seed 0)"
    return FrameEncoder(network, **settings), f"{name}, {origin}"
