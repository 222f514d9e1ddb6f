"""What scoring embeddings and scoring networks share: the options of the protocol, and one result as text and file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stmga.metrics import Evaluation, Protocol


def add_protocol(add: Callable[..., Any]) -> None:
    """The arguments that change a protocol."""
    add("--title", default="", metavar="TEXT", help="data set and split, as text, to be kept with the result")
    add("--distance", choices=("cosine", "euclidean"), help="default: cosine")
    add("--rerank", action="store_true", help="k-reciprocal re-ranking (Zhong et al. 2017)")
    add("--ap", choices=("hits", "trapezoid"), help="average precision (default: hits)")
    add("--keep-same-camera", action="store_true", help="keep the query's own person from the query's own camera")
    add("--keep-unknown-camera", action="store_true", help="count its own person from an unknown camera as a match")
    add(
        "--queries-in-gallery", action=argparse.BooleanOptionalAction,
        help="the other queries are in each query's gallery (default: yes)",
    )  # fmt: skip
    add("--junk", nargs="+", default=[], metavar="PERSON", help="persons to drop, as -1 in MARS")
    add("--distractors", nargs="+", default=[], metavar="PERSON", help="persons who match nobody, as 0 in MARS")
    add("--clips", choices=("all", "evenly"), help="how tracklets are, or were, cut into clips (default: all)")


def protocol_of(args: argparse.Namespace, base: Protocol) -> Protocol:
    """``base`` with the changes that the options of ``stmga eval`` ask for."""
    from dataclasses import replace

    from stmga.metrics import Reranking

    changes = {
        "data": args.title or None,
        "queries_in_gallery": args.queries_in_gallery,
        "junk": tuple(args.junk) or None,
        "distractors": tuple(args.distractors) or None,
        "same_camera": "keep" if args.keep_same_camera else None,
        "unknown_camera": "keep" if args.keep_unknown_camera else None,
        "ap": args.ap,
        "distance": args.distance,
        "clips": args.clips,
        "reranking": Reranking() if args.rerank else None,
    }
    return replace(base, **{name: value for name, value in changes.items() if value is not None})


def check_json(out: str | None) -> None:
    """Check the output path before the work, not after it."""
    if out and (Path(out).suffix != ".json" or Path(out).is_dir()):
        raise ValueError(f"the result can be written as .json, got {out!r}")
    if out and not Path(out).absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {Path(out).absolute().parent} does not exist; create it first")


def report_evaluation(evaluation: Evaluation, *, out: str | None = None) -> None:
    """Write the result with all that it depends on, if asked to. Then print it."""
    from stmga.utils.files import atomic_write
    from stmga.utils.foreign import escaped

    if out:
        atomic_write(out, (json.dumps(evaluation.to_dict(), indent=1) + "\n").encode())
    print(evaluation)
    model, digest = escaped(evaluation.model) or "unnamed", escaped(evaluation.digest[:12]) or "none"
    print(f"weights   {model}, digest {digest}")
    if out:
        print(f"wrote     {out}")
