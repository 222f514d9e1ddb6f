"""The arguments of the `stmga` command, with their help; what they do is in `stmga.cli`."""

from __future__ import annotations

import argparse
from typing import Any

from stmga import cli_data, cli_eval, cli_export, cli_teacher, cli_train, cli_weights
from stmga._version import __version__
from stmga.cli_model import add_computing, add_flip, add_model
from stmga.command import EXIT_CODES, command, count


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; ``args.command`` is the name of the command."""
    parser = argparse.ArgumentParser(
        prog="stmga",
        description="Person re-identification in video: tracklets in, ranked matches out.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"stmga {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_embed(commands)
    _add_search(commands)
    for module in (cli_weights, cli_data, cli_eval, cli_teacher, cli_train, cli_export):
        module.add_arguments(commands)
    return parser


def _add_demo(commands: Any) -> None:
    example = "  stmga demo --out stmga-demo"
    add = command(
        commands, "demo", "render walking figures, embed and rank them, draw one picture", example
    ).add_argument
    add("--out", metavar="FOLDER", default="stmga-demo", help="where demo.png goes (default: stmga-demo)")
    add("--persons", type=count, default=16, help="how many figures (default: 16)")
    add("--seed", type=int, default=0, help="another number, other figures (default: 0)")
    add("-q", "--quiet", action="store_true", help="no progress bar")


def _add_embed(commands: Any) -> None:
    example = """  stmga embed crops/ -o crops.safetensors --layout "{person}/{camera}/{tracklet}"
  stmga embed tracklets.jsonl -o all.safetensors --workers 2
  stmga embed cam1.txt -o cam1.safetensors --mot-frames cam1.mp4 --camera 1
  torchrun --nproc-per-node 2 -m stmga embed tracklets.jsonl -o all.safetensors"""
    add = command(commands, "embed", "write one vector for each tracklet", example).add_argument
    add("source", metavar="SOURCE", help="a folder of folders of crops, a .jsonl manifest, or a MOT track file")
    add("-o", "--out", metavar="FILE", required=True, help="the embeddings, a .safetensors file")
    add_model(add)
    add("--layout", default="{tracklet}", help='what the folders mean, as "{person}/{camera}/{tracklet}"')
    add("--mot-frames", metavar="PATH", help="SOURCE is a MOT track file over this folder of frames or video")
    add("--camera", help="the camera of a MOT track file")
    add(
        "--first-index",
        type=int,
        metavar="N",
        help="the number of the first frame in a MOT track file (default: 1)",
    )
    add("--min-frames", type=count, metavar="N", help="leave out shorter tracks of a MOT track file (default: 1)")
    add_computing(add)
    add(
        "--sampling", choices=("all", "evenly"), default="all",
        help="all frames, or one clip of frames spread evenly over a tracklet (default: all)",
    )  # fmt: skip
    add_flip(add)
    add(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="what an unreadable tracklet does (default: raise)",
    )
    add("-q", "--quiet", action="store_true", help="no progress bar")


def _add_search(commands: Any) -> None:
    example = """  stmga search queries.safetensors gallery.safetensors --other-camera --picture ranked.png
  stmga search all.safetensors all.safetensors --where role=query -o matches.jsonl"""
    add = command(commands, "search", "find the most similar gallery tracklets of each query", example).add_argument
    add("queries", metavar="QUERIES", help="embeddings of `stmga embed`")
    add("gallery", metavar="GALLERY", nargs="+", help="one or more files of embeddings to search in")
    add("--top", type=count, default=10, metavar="K", help="matches of each query (default: 10)")
    add("--threshold", type=float, help="only matches with at least this cosine, -1 to 1")
    add("--other-camera", action="store_true", help="only matches from other cameras than the query's")
    add("--where", action="append", default=[], metavar="KEY=VALUE", help="only these queries, as role=query")
    add("--gallery-where", action="append", default=[], metavar="KEY=VALUE", help="only this part of the gallery")
    add("-o", "--out", metavar="FILE", help="write all matches, .jsonl or .csv")
    add("--picture", metavar="FILE", help="draw the first queries with their first five matches, .png")
