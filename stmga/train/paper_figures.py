"""The paper's Figure 6: how sensitive the network is to lambda, the weight of L_PCE, and to tau, MGA's temperature."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stmga.config import STMGAConfig, paper_config
from stmga.data.benchmark import Benchmark
from stmga.model import STMGA
from stmga.train.ablation import Variant, mean_and_range, run_variants
from stmga.train.config import TrainConfig
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

# The paper's text names only its choice, lambda 0.1 and tau 0.05; the other values of its figure are not printed.
LAMBDAS = (0.01, 0.05, 0.1, 0.5, 1.0)
TAUS = (0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
FIGURES = ("mAP", "rank-1")
NETWORK = "table8/t-mga,s-mga"  # the whole network


@dataclass(frozen=True)
class Point:
    """A pair of values, and the scores of each seed, in percent."""

    lambda_pce: float
    tau: float
    scores: list[dict[str, float]]


def figure6_points(
    lambdas: Sequence[float], taus: Sequence[float], *, lambda_pce: float = 0.1, tau: float = 0.05
) -> list[tuple[float, float]]:
    """The pairs (lambda, tau) to be trained: one is varied while the other stays; no pair is trained twice.

    >>> figure6_points([0.05, 0.1], [0.05, 0.5])
    [(0.05, 0.05), (0.1, 0.05), (0.1, 0.5)]

    Raises:
        ValueError: values that are not finite, that are too small, or that are given twice; nothing to vary.
    """
    for name, values, least in (
        ("lambda", lambdas, min(lambdas, default=0) >= 0),
        ("tau", taus, min(taus, default=1) > 0),
    ):
        if not all(map(math.isfinite, values)) or not least:
            raise ValueError(f"{name} takes finite numbers {'>= 0' if name == 'lambda' else '> 0'}, got {list(values)}")
        if len(set(values)) < len(values):
            raise ValueError(f"{name} takes each value once, got {list(values)}")
    pairs = [*((value, tau) for value in lambdas), *((lambda_pce, value) for value in taus)]
    if not pairs:
        raise ValueError("figure6 needs values of lambda or tau to vary")
    return list(dict.fromkeys(pairs))


def run_figure6(
    benchmark: Benchmark,
    config: TrainConfig,
    folder: str | Path,
    *,
    build: Callable[[STMGAConfig], STMGA],
    trunk: Mapping[str, Any],
    lambdas: Sequence[float] = LAMBDAS,
    taus: Sequence[float] = TAUS,
    seeds: int = 3,
    **options: Any,
) -> list[Point]:
    """Train and evaluate the whole network over lambda and over tau, each with ``seeds`` seeds.

    While tau is varied, lambda is ``config.lambda_pce``; while lambda is varied, tau is that of the paper. Results so
    far are in ``folder/figure6.json``. See :func:`stmga.train.ablation.run_variants` for folders and resuming.

    Args:
        build, trunk, options: as for :func:`stmga.train.paper_tables.run_table`.
        lambdas, taus: the values; either may be empty.

    Raises:
        ValueError: wrong values, or a benchmark without a test.
    """
    network = replace(paper_config(NETWORK), **trunk)
    pairs = figure6_points(lambdas, taus, lambda_pce=config.lambda_pce, tau=network.tau)
    variants = [
        Variant(f"lambda_{weight:g},tau_{tau:g}", replace(network, tau=tau), {"lambda_pce": weight})
        for weight, tau in pairs
    ]
    points = [Point(*pair, variant.scores) for pair, variant in zip(pairs, variants, strict=True)]
    run_variants(
        variants, benchmark, config, folder, build=build, seeds=seeds,
        write=lambda: _write(folder, benchmark, points), **options,
    )  # fmt: skip
    return points


def runs_over(
    points: Sequence[Point], values: Sequence[float], other: float, name: str, figure: str
) -> list[list[float]]:
    """The figures of all seeds at each of the values of ``"lambda_pce"`` or ``"tau"``, where the other one stays."""
    still = "tau" if name == "lambda_pce" else "lambda_pce"
    found = {getattr(point, name): point.scores for point in points if getattr(point, still) == other}
    return [[scores[figure] for scores in found.get(value, [])] for value in values]


def show_figure6(points: Sequence[Point]) -> str:
    """Mean, minimum and maximum over the seeds."""
    rows = [
        [
            f"{p.lambda_pce:g}",
            f"{p.tau:g}",
            len(p.scores),
            *(mean_and_range([s[key] for s in p.scores]) for key in FIGURES),
        ]
        for p in points
    ]
    return text_table(["lambda", "tau", "seeds", *FIGURES], rows)


def _write(folder: str | Path, benchmark: Benchmark, points: Sequence[Point]) -> None:
    text = {
        "figure": "figure6",
        "data": benchmark.name,
        "protocol": benchmark.protocol.to_dict(),
        "paper": {"lambda_pce": 0.1, "tau": 0.05},
        "points": [vars(point) for point in points],
    }
    atomic_write(Path(folder) / "figure6.json", (json.dumps(text, indent=1) + "\n").encode())
