"""The command calibrate. Everything heavy is imported when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from stmga.cli.parser import command, count


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga calibrate labelled.safetensors
  stmga calibrate labelled.safetensors -o gallery-calibrated.safetensors --rates 0.01 0.001
  stmga calibrate halves.safetensors --unlabelled --for all.safetensors"""
    summary = "measure which similarity means the same person, and keep it with the embeddings"
    add = command(commands, "calibrate", summary, example).add_argument
    add("embeddings", metavar="EMBEDDINGS", help="of `stmga embed`, of known persons and, better, cameras")
    add("-o", "--out", metavar="FILE", help="write them here with their calibration (default: into the same file)")
    add(
        "--for",
        dest="target",
        metavar="FILE",
        help="write the thresholds into these embeddings instead; they must be of the same weights",
    )
    add(
        "--rates", type=float, nargs="+", metavar="RATE",
        help="shares of the pairs of different persons that may pass (default: those of 0.01 0.001 0.0001 for which "
        "there are enough pairs)",
    )  # fmt: skip
    add("--block", type=count, metavar="N", help="tracklets compared at once; fewer take less memory")
    add(
        "--unlabelled", action="store_true",
        help="EMBEDDINGS are of `stmga embed --halves`: halves of a tracklet are one person, tracklets that one camera "
        "saw at the same time are two",
    )  # fmt: skip


def calibrate_file(args: argparse.Namespace) -> None:
    """Thresholds of labelled embeddings, kept in a file."""
    from stmga.embedding.embeddings import Embeddings
    from stmga.metrics import calibrate
    from stmga.people.unlabelled import calibrate_unlabelled
    from stmga.utils.foreign import escaped
    from stmga.utils.text import text_table

    labelled = Embeddings.load(args.embeddings)
    target = Embeddings.load(args.target) if args.target else labelled
    labelled.require_same_weights(target, f"the vectors of {args.embeddings}", f"those of {args.target}")
    if args.unlabelled:
        found = calibrate_unlabelled(labelled, false_match_rates=args.rates)
    else:
        found = calibrate(labelled, false_match_rates=args.rates, block=args.block)
    target.calibration = found
    out = args.out or args.target or args.embeddings
    target.save(out)
    who = "tracklets that one camera saw at the same time as others" if args.unlabelled else "persons"
    print(
        f"{found.persons:,} {who}: {found.impostor_pairs:,} pairs of different persons, "
        f"{found.genuine_pairs:,} of one person; vectors by {escaped(labelled.model) or 'unnamed weights'}\n"
    )
    rows = [[f"{p.false_match_rate:g}", f"{p.similarity:.4f}", f"{p.true_match_rate:.2%}"] for p in found.thresholds]
    print(text_table(("false-match rate", "similarity", "true-match rate"), rows))
    print(f"\nverdicts of `stmga search`: {found.describe()}\nwrote {out}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"calibrate": calibrate_file}
