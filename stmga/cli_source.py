"""Which data a command trains on or scores: the arguments and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stmga.command import say

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


def add_training_data(add: Callable[..., Any]) -> None:
    """The arguments that say what is trained on, and tested on beside it."""
    add(
        "--data", metavar="SOURCE", required=True, nargs="+",
        help="a folder, a .jsonl manifest, or a pack of `stmga pack`; several train side by side",
    )  # fmt: skip
    add("--test", metavar="SOURCE", help="validate on the queries and gallery of this one instead")
    add_source(add)


def training_data(args: argparse.Namespace) -> Benchmark:
    """What to train on, and its test; it is described on the way."""
    from stmga.data import side_by_side

    if args.holdout and (args.test or len(args.data) > 1):
        raise ValueError("--holdout sets persons of one set aside; leave it out, and name what to test on as --test")
    every = [benchmark_of(args, source) for source in args.data]
    test = benchmark_of(args, args.test) if args.test else None
    found = side_by_side(every, test=test) if test or len(every) > 1 else every[0]
    for line in describe(found):
        say(line)
    return found


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
