"""Networks on data sets, for the command eval: one result, or a table of all with what they cost."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.image_networks import OPTIONS, is_image_network
from stmga.cli.options import DEFAULT, benchmark_of, computing_model_of, describe, device_for, has_weights, is_place
from stmga.cli.parser import is_main_process
from stmga.cli.scores import protocol_of, report_evaluation

if TYPE_CHECKING:
    from stmga.data.benchmark import Benchmark
    from stmga.metrics import NetworkTable

COMPUTING = ("precision", "compile", "batch_size", "workers", "decode")  # options of an embedder


def score_networks(args: argparse.Namespace) -> None:
    """Every network of --model on every set of --data."""
    from stmga.metrics import evaluate_networks
    from stmga.utils.distributed import process_group
    from stmga.utils.drawing import check_picture

    if args.picture:
        check_picture(args.picture)
    benchmarks = _benchmarks(args)
    found = [computing_model_of(own) for own in _each(args)]
    networks = {weights: network for network, weights in found}
    if len(networks) < len(found):
        raise ValueError("a network is named twice; give each --model once")
    table = len(networks) * len(benchmarks) > 1 or bool(args.picture)
    if is_main_process():
        for benchmark in benchmarks:
            print(*describe(benchmark), sep="\n")
        print(*(f"weights   {weights}" for weights in networks), sep="\n")
    options: dict[str, Any] = {key: getattr(args, key) for key in COMPUTING} | {"progress": not args.quiet}
    with process_group(device_for(args, found[0][0])) as world:
        for network in networks.values():
            network.to(world.device if world.size > 1 else device_for(args, network))
        speed = args.speed and table
        result = evaluate_networks(networks, benchmarks, speed=speed, world=world, device=args.device, **options)
    if is_main_process() and table:
        report_table(result, out=args.out, picture=args.picture)
    elif is_main_process():
        report_evaluation(result.rows[0].evaluation, out=args.out)


def report_table(table: NetworkTable, *, out: str | None, picture: str | None) -> None:
    """Write the rows and the picture, if asked to. Then print the protocols and the table."""
    from stmga.utils.files import atomic_write

    files: dict[str, bytes] = {}
    if out:
        files[out] = (json.dumps(table.to_dict(), indent=1) + "\n").encode()
    if picture:
        files[picture] = table.picture().encode(Path(picture).suffix)
    for path, data in files.items():
        atomic_write(path, data)
    for name, rules in dict.fromkeys((row.data, row.evaluation.protocol.describe()) for row in table.rows):
        print(f"protocol  {name}: {rules}")
    print(f"\n{table}")
    for path in files:
        print(f"wrote     {path}")


def _benchmarks(args: argparse.Namespace) -> list[Benchmark]:
    """The data sets with the protocols that the options ask for; all faults before any network is loaded."""
    from dataclasses import replace

    from stmga.embedding.views import VIEWS
    from stmga.metrics.network_table import check_benchmarks

    if args.title and len(args.data) > 1:
        raise ValueError(f"--title names one data set, and there are {len(args.data)}; leave it out")
    every = [benchmark_of(args, source) for source in args.data]
    names = [one.name for one in every]
    every = [  # data sets with the same name, such as two of walkers, are listed by path
        replace(one, name=source) if names.count(one.name) > 1 else one
        for one, source in zip(every, args.data, strict=True)
    ]
    check_benchmarks(every)
    views = {view: getattr(args, view) for view in VIEWS}
    return [replace(one, protocol=replace(protocol_of(args, one.protocol), **views)) for one in every]


def _each(args: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The arguments of each network: of several, each has the options that it takes, and one must take each option."""
    names = args.model or [DEFAULT]
    takers = {
        "revision": [name for name in names if is_place(name)],
        "backbone_weights": [name for name in names if _takes_trunk(name)],
        "backbone_missing": [name for name in names if not is_image_network(name) and _takes_trunk(name)],
        **{option: [name for name in names if is_image_network(name)] for option in OPTIONS},
    }
    for option, able in takers.items():
        if getattr(args, option) and not able and (len(names) > 1 or option in OPTIONS):
            what = f"--{option.replace('_', '-')}"
            raise ValueError(f"no network of --model takes {what}: {', '.join(names)}; leave it out")
    for name in names:
        without: dict[str, Any] = {option: None for option, able in takers.items() if name not in able}
        if "backbone_missing" in without:
            without["backbone_missing"] = []
        without = without if len(names) > 1 else {}  # what a network alone cannot take is an error of its own
        yield argparse.Namespace(**vars(args) | without | {"model": name})


def _takes_trunk(name: str) -> bool:
    """Whether --backbone-weights is for it: it has no weights of its own."""
    return name.startswith("torchvision:") or not (is_image_network(name) or has_weights(name))
