"""The command eval: embeddings that exist, or networks on data sets. Everything heavy is imported when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.image_networks import add_image_network
from stmga.cli.options import add_computing, add_model, add_source, add_views
from stmga.cli.parser import command, is_main_process
from stmga.cli.scores import add_protocol, check_json, protocol_of, report_evaluation
from stmga.cli.table import score_networks

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga eval --data MARS/ --model runs/mars/best -o result.json
  stmga eval --data walkers/manifest.jsonl --model runs/walkers/best --rerank
  stmga eval --data labelled/ --layout "{person}/{camera}/{tracklet}" --holdout 0.2 \\
      --model runs/mine/best --model stmga_resnet18_c4
  stmga eval --data MARS/ --data walkers/manifest.jsonl --model stmga_resnet18_c4 --model other.onnx \\
      --model torchvision:resnet50 --backbone-weights imagenet --size 256 128 -o table.json --picture table.svg
  stmga eval all.safetensors --title "my cameras, 2026" -o result.json
  stmga eval queries.safetensors gallery.safetensors --no-queries-in-gallery"""
    words = "score networks on data sets, or embeddings, by a stated protocol: mAP, rank-k, mINP"
    parser = command(commands, "eval", words, example)
    add = parser.add_argument
    add(
        "embeddings", metavar="EMBEDDINGS", nargs="*",
        help="of `stmga embed`: one file with the roles query and gallery, or the queries and then the gallery",
    )  # fmt: skip
    add("-o", "--out", metavar="FILE", help="write scores, counts, protocol and weights, .json; the rows of a table")
    add("-q", "--quiet", action="store_true", help="no progress bar")
    add_protocol(parser.add_argument_group("protocol, where it is not the data set's own").add_argument)
    group = parser.add_argument_group("networks on data sets; several of either make a table, with what they cost")
    group.add_argument(
        "--data", metavar="SET", action="append", default=[],
        help="a data set, a folder, a manifest or a pack with a test; may repeat",
    )  # fmt: skip
    group.add_argument("--picture", metavar="FILE", help="draw mAP against GMAC, .png or .svg")
    group.add_argument(
        "--speed", action=argparse.BooleanOptionalAction, default=True,
        help="measure clips a second for the table, in turns (default: yes)",
    )  # fmt: skip
    add_source(group.add_argument)
    group = parser.add_argument_group("networks")
    add_model(group.add_argument, several=True)
    add_image_network(group.add_argument)
    add_computing(group.add_argument)
    add_views(group.add_argument)


def evaluate(args: argparse.Namespace) -> None:
    """Scores of existing embeddings, or of networks on data sets."""
    check_json(args.out)
    if args.data and args.embeddings:
        raise ValueError(
            f"{args.embeddings[0]} are embeddings and --data {args.data[0]} is a data set: evaluate one or the other"
        )
    (score_networks if args.data else _evaluate_embeddings)(args)


def _evaluate_embeddings(args: argparse.Namespace) -> None:
    from stmga.embedding.views import VIEWS
    from stmga.metrics import Protocol, evaluate

    if not args.embeddings:
        raise ValueError("there is nothing to score: name a data set as --data SET, or a file of embeddings")
    for path in map(Path, args.embeddings):
        if path.is_dir() or path.suffix == ".jsonl":
            raise ValueError(f"{path} is a data set, not a file of embeddings; give it as --data {path}")
    for option in (*VIEWS, "model", "picture"):
        if getattr(args, option):
            words = "is for a network on a data set; embeddings say themselves how they were made"
            raise ValueError(f"--{option.replace('_', '-')} {words}")
    found = evaluate(*_sides(args.embeddings), protocol_of(args, Protocol()), device=args.device)
    if is_main_process():
        report_evaluation(found, out=args.out)


def split_roles(embeddings: Embeddings, path: str) -> tuple[Embeddings, Embeddings]:
    """Queries and gallery by the items' ``role``; those of role ``train`` are left out.

    Raises:
        ValueError: another role, or none of either side.
    """
    from stmga.utils.text import preview

    roles = [item.get("role") for item in embeddings.items]
    if strange := sorted({str(role) for role in roles} - {"query", "gallery", "train"}):
        raise ValueError(
            f"{path} holds tracklets of role {preview(strange)}; every item needs the role query or gallery "
            "(or train), or name the gallery in files of its own: stmga eval QUERIES GALLERY"
        )
    queries, gallery = (embeddings.select([role == wanted for role in roles]) for wanted in ("query", "gallery"))
    if not len(queries) or not len(gallery):
        raise ValueError(f"{path} holds {len(queries)} queries and {len(gallery)} gallery tracklets; both are needed")
    return queries, gallery


def _sides(paths: Sequence[str]) -> tuple[Embeddings, Embeddings]:
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery.gallery import Gallery

    queries = Embeddings.load(paths[0])
    if len(paths) == 1:
        return split_roles(queries, paths[0])
    gallery = Gallery()
    for path in paths[1:]:
        gallery.add(Embeddings.load(path))
    return queries, gallery.embeddings


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"eval": evaluate}
