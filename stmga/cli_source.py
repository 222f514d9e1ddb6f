"""Which data a command trains on or scores: the arguments and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stmga.data.benchmark import Benchmark


def add_source(add: Callable[..., Any]) -> None:
    """The arguments that say what a SOURCE is."""
    add("--dataset", default="auto", help="mars, duke, lsvid, ilids, prid, folders or manifest (default: by its look)")
    add(
        "--layout", default="{person}/{tracklet}",
        help='what folders mean, as "{role}/{person}/{camera}/{tracklet}" (default: "{person}/{tracklet}")',
    )  # fmt: skip
    add("--split", type=int, default=0, metavar="N", help="of iLIDS-VID and PRID-2011, 0 to 9 (default: 0)")
    add(
        "--holdout", type=float, default=0.0, metavar="SHARE",
        help="set aside this share of the persons as a test, where the data has none (default: 0)",
    )  # fmt: skip
    add("--holdout-seed", type=int, default=0, metavar="N", help="chooses who is set aside (default: 0)")


def benchmark_of(args: argparse.Namespace, source: str) -> Benchmark:
    """The data, by role."""
    from stmga.data import load_benchmark

    return load_benchmark(
        source,
        dataset=args.dataset,
        layout=args.layout,
        split=args.split,
        holdout=args.holdout,
        seed=args.holdout_seed,
    )


def describe(benchmark: Benchmark) -> list[str]:
    """What there is, line by line."""
    persons = len({t.person for t in benchmark.train})
    lines = [f"data      {benchmark.name}: {len(benchmark.train):,} tracklets of {persons:,} persons to train on"]
    if benchmark.query:
        lines.append(f"test      {len(benchmark.query):,} queries, {len(benchmark.gallery):,} gallery tracklets")
    if benchmark.terms:
        lines.append(f"terms     {benchmark.terms}")
    return lines
