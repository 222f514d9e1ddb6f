"""The command that shows the whole library on rendered figures."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from stmga.cli.parser import command, count


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = "  stmga demo --out stmga-demo"
    add = command(
        commands, "demo", "render walking figures, embed and rank them, draw one picture", example
    ).add_argument
    add("--out", metavar="FOLDER", default="stmga-demo", help="where demo.png goes (default: stmga-demo)")
    add("--persons", type=count, default=16, help="how many figures (default: 16)")
    add("--seed", type=int, default=0, help="another number, other figures (default: 0)")
    add("-q", "--quiet", action="store_true", help="no progress bar")


def demo(args: argparse.Namespace) -> None:
    """Run the whole library on rendered figures."""
    from stmga.cli.demo_run import run_demo

    result = run_demo(args.out, persons=args.persons, seed=args.seed, progress=not args.quiet)
    print(f"{result.text}\n\npicture: {result.picture}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"demo": demo}
