"""The command that repeats the paper's ablations: Tables 4 to 8 and Figure 6."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stmga.cli.parser import command, count, is_main_process, say
from stmga.cli.train import add_shared, built, data_of, in_training_process, recipe_of, run_options, trunk_words

if TYPE_CHECKING:
    from stmga.data.benchmark import Benchmark
    from stmga.train import TrainConfig
    from stmga.train.paper_figures import Point

FIGURE = "figure6"


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga ablate table8 --data MARS/ --backbone-weights imagenet -o runs/table8
  stmga ablate table8 --data walkers/manifest.jsonl --rows baseline s-mga --backbone resnet18 --stage c4 \\
      --size 128 64 --recipe cpu --seeds 3 -o runs/table8
  stmga ablate figure6 --data walkers/manifest.jsonl --lambda 0.01 0.1 1 --tau 0.05 0.5 --backbone resnet18 \\
      --stage c4 --recipe cpu -o runs/figure6"""
    words = "repeat an ablation table or Figure 6 of the paper"
    parser = command(commands, "ablate", words, example)
    add = parser.add_argument
    add("table", metavar="TABLE", help="table4, table5, table6, table7 or table8; or figure6")
    add("--rows", nargs="+", default=[], metavar="ROW", help="only these rows of a table, as baseline s-mga")
    add(
        "--lambda", dest="lambdas", type=float, nargs="*", metavar="VALUE",
        help="figure6: weights of L_PCE (default: 0.01 0.05 0.1 0.5 1); none leaves this panel out",
    )  # fmt: skip
    add(
        "--tau", dest="taus", type=float, nargs="*", metavar="VALUE",
        help="figure6: temperatures of MGA (default: 0.01 0.02 0.05 0.1 0.5 1); none leaves this panel out",
    )  # fmt: skip
    add("--seeds", type=count, default=3, help="runs of each row or value (default: 3)")
    add("--backbone", default="resnet50", help="the trunk, as timm:convnext_tiny (default: resnet50, the paper's)")
    add("--stage", default="c5", help="c5: the whole trunk; c4: cut after layer3 (default: c5)")
    add_shared(parser)


def ablate(args: argparse.Namespace) -> None:
    """Train the rows of a table, or the values of the figure, and print the result beside the paper's."""
    from stmga.config import STMGAConfig
    from stmga.train import StoppedError
    from stmga.zoo import with_backbone

    config = recipe_of(args)
    _check(args, config)  # these errors come before the data is read
    net = with_backbone(STMGAConfig(stage=args.stage), args.backbone)
    trunk = {name: getattr(net, name) for name in ("backbone", "stage", "mean", "std")}
    benchmark = data_of(args)
    say(f"network   {args.backbone} {args.stage}, {trunk_words(args)}")
    say(f"recipe    {args.recipe}, {config.epochs} epochs, seeds {config.seed}..{config.seed + args.seeds - 1}\n")
    options = dict(build=lambda net: built(args, net), trunk=trunk, seeds=args.seeds, started_from=trunk_words(args))
    try:
        (_figure if args.table == FIGURE else _table)(args, benchmark, config, options | run_options(args))
    except StoppedError as stopped:
        say(f"stmga: {stopped}", file=sys.stderr)
        sys.exit(128 + stopped.signum)
    say(f"wrote {args.out}/{args.table}.json" + (f" and {FIGURE}.png" if args.table == FIGURE else ""))


def _check(args: argparse.Namespace, config: TrainConfig) -> None:
    from stmga.train.paper_figures import figure6_points
    from stmga.train.paper_tables import table_rows

    if args.table != FIGURE:
        table_rows(args.table, args.rows)
        if args.lambdas is not None or args.taus is not None:
            raise ValueError(f"--lambda and --tau are for figure6, and this is {args.table}")
        return
    if args.rows:
        raise ValueError("--rows is for tables; choose the values of figure6 by --lambda and --tau")
    fixed = [text for text in args.network if text.partition("=")[0] == "tau"]
    if fixed:
        raise ValueError(f"figure6 varies tau, so --net {fixed[0]} would undo it: give its values as --tau")
    figure6_points(*_values(args), lambda_pce=config.lambda_pce)


def _values(args: argparse.Namespace) -> tuple[list[float], list[float]]:
    from stmga.train.paper_figures import LAMBDAS, TAUS

    lambdas, taus = (list(default) if given is None else given for given, default in (
        (args.lambdas, LAMBDAS), (args.taus, TAUS)))  # fmt: skip
    return lambdas, taus


def _table(args: argparse.Namespace, benchmark: Benchmark, config: TrainConfig, options: dict[str, Any]) -> None:
    from stmga.train.paper_tables import run_table, show_table

    say(show_table(run_table(args.table, benchmark, config, args.out, rows=args.rows, **options)))
    say("\nmean (smallest-largest) over the seeds, last epoch, in %; paper: MARS, ResNet-50")


def _figure(args: argparse.Namespace, benchmark: Benchmark, config: TrainConfig, options: dict[str, Any]) -> None:
    from stmga.train.paper_figures import run_figure6, show_figure6

    lambdas, taus = _values(args)
    points = run_figure6(benchmark, config, args.out, lambdas=lambdas, taus=taus, **options)
    say(show_figure6(points))
    say("\nmean (smallest-largest) over the seeds, last epoch, in %; the paper chose lambda 0.1 and tau 0.05 on MARS")
    if is_main_process():
        _draw(args, benchmark, config, points)


def _draw(args: argparse.Namespace, benchmark: Benchmark, config: TrainConfig, points: list[Point]) -> None:
    """Both panels as ``figure6.png``."""
    from stmga.cli.report import write_picture
    from stmga.config import paper_config
    from stmga.train.paper_figures import FIGURES, NETWORK, runs_over
    from stmga.visualize import Curve, Panel, curves_picture

    tau, lambdas_taus = paper_config(NETWORK).tau, _values(args)
    panels = []
    for key, title, values, other, chosen in (
        ("lambda_pce", f"lambda (tau = {tau:g})", sorted(lambdas_taus[0]), tau, 0.1),
        ("tau", f"tau (lambda = {config.lambda_pce:g})", sorted(lambdas_taus[1]), config.lambda_pce, 0.05),
    ):
        curves = [Curve(name=name, runs=runs_over(points, values, other, key, name)) for name in FIGURES]
        if values:
            panels.append(Panel(title=title, values=values, curves=curves, marked=chosen))
    runs = f"{args.seeds} seeds, bars from the smallest to the largest" if args.seeds > 1 else "one seed"
    note = f"{benchmark.name}, {args.backbone} {args.stage}, in %: {runs}. Dashed: the paper's choice, on MARS."
    picture = curves_picture(panels, title="Sensitivity to lambda and tau", note=note)
    write_picture(f"{args.out}/{FIGURE}.png", picture)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"ablate": in_training_process(ablate)}
