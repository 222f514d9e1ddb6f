"""The commands about trained weights: weights and push. Everything heavy is imported when a command runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from stmga.cli.parser import command

if TYPE_CHECKING:
    from stmga.hub.records import WeightRecord


def add_arguments(commands: Any) -> None:
    """Add these commands to the parser."""
    summary = "list the architectures and their trained weights"
    add = command(commands, "weights", summary, '  stmga weights "*resnet18*"').add_argument
    add("pattern", metavar="PATTERN", nargs="?", default="*", help="only names like this, as *resnet18*")
    example = "  stmga push my-weights/ my-name/my-weights --private"
    add = command(commands, "push", "send a folder made by save_pretrained to a Hub repository", example).add_argument
    add("folder", metavar="FOLDER", help="holds model.safetensors, config.json and README.md")
    add("repo_id", metavar="REPO_ID", help="owner/name; created if it does not exist")
    add("--private", action="store_true", help="create it private")


def weights(args: argparse.Namespace) -> None:
    """What can be loaded by name."""
    import torch

    from stmga.config import ARCHITECTURES
    from stmga.model import STMGA
    from stmga.utils.text import text_table
    from stmga.zoo import get_weights, list_models

    rows = []
    for name in list_models(args.pattern):
        with torch.device("meta"):
            model = STMGA(ARCHITECTURES[name])
        rows.append([name, f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M", model.dim])
    print(text_table(("architecture", "parameters", "vector"), rows) if rows else f"no architecture {args.pattern!r}")
    names = list_models(args.pattern, pretrained=True)
    if not names:
        print(f"\nno trained weights {args.pattern!r}" if list_models(pretrained=True) else "\nno trained weights yet")
    for name in names:
        print(f"\n{name}")
        for key, value in _facts(get_weights(name)):
            print(f"  {key:<11}{value or 'unknown'}")


def _facts(record: WeightRecord) -> list[tuple[str, str]]:
    return [
        ("file", ", ".join(filter(None, [record.megabytes, *_locations(record)]))),
        *(("measured", _figures(row)) for row in record.metrics),
        ("thresholds", record.calibration.describe() if record.calibration else "none"),
        ("trained on", record.training_data),
        ("licence", record.licence),
        ("terms", record.terms),
    ]


def _locations(record: WeightRecord) -> list[str]:
    """Where the weights are: on this machine, on the Hub, or nowhere."""
    from stmga.hub.records import is_checkout

    here = record.folder is not None and (record.folder / record.file).is_file()
    local = ("in this checkout" if is_checkout() else "bundled with the package") if here else "not in this package"
    hub = f"on the Hub as {record.repo_id}@{(record.revision or '')[:12]}" if record.published else ""
    return [local, hub or "not published on the Hub yet"]


def _figures(row: Mapping[str, Any]) -> str:
    """``"mAP 57.1, rank-1 75.2 on DATA"``; the rules of the measurement are in the card."""
    figures = {key: value for key, value in row.items() if isinstance(value, int | float)}
    return ", ".join(f"{key} {value}" for key, value in figures.items()) + f" on {row.get('data', 'data not named')}"


def push(args: argparse.Namespace) -> None:
    """Send a folder to the Hub."""
    from stmga.hub import push
    from stmga.model import STMGA

    commit = push(args.folder, args.repo_id, build=STMGA, private=args.private)
    print(f"pushed {args.folder} to {args.repo_id}")
    print(f'load it with STMGA.from_pretrained("{args.repo_id}", revision="{commit}")')


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"weights": weights, "push": push}
