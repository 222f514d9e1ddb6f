"""Runs of an ablation: every variant of network and recipe trained and evaluated with several seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from stmga.config import STMGAConfig
from stmga.data.benchmark import Benchmark
from stmga.model import STMGA
from stmga.train.config import TrainConfig
from stmga.train.engine import train, training_process

SHOWN = ("mAP", "rank-1", "rank-5", "rank-10")


@dataclass
class Variant:
    """A network, what its recipe changes, and the scores of each seed so far, in percent."""

    name: str
    network: STMGAConfig
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: list[dict[str, float]] = field(default_factory=list)


def run_variants(
    variants: Sequence[Variant],
    benchmark: Benchmark,
    config: TrainConfig,
    folder: str | Path,
    *,
    build: Callable[[STMGAConfig], STMGA],
    seeds: int,
    write: Callable[[], None],
    **options: Any,
) -> None:
    """Train and evaluate the variants, each with ``seeds`` seeds from ``config.seed`` on; scores go into them.

    Every variant and seed has its own run folder, ``folder/<name>/seed-<n>``. Finished runs are not repeated, stopped
    runs are resumed, and folders with other settings are refused. Seeds are the outer loop, so that an unfinished
    ablation has every variant. The scores are those of the last epoch, since choosing the best epoch on the test would
    be biased.

    Args:
        build: builds the network of a configuration with its trunk loaded; called with the seed set.
        write: writes the results so far; called after each run, by the main process.
        options: those of :func:`stmga.train.train`: device, workers, progress, started_from.

    Raises:
        ValueError: a benchmark without a test.
    """
    if not benchmark.query:
        raise ValueError("an ablation needs a test: queries and a gallery (roles in the manifest, or --holdout)")
    with training_process(options.get("device")) as world:  # once for all runs
        for seed in range(config.seed, config.seed + seeds):
            for variant in variants:
                torch.manual_seed(seed)
                model = build(variant.network)
                run = Path(folder) / variant.name.replace("/", "_") / f"seed-{seed}"
                asked = replace(config, seed=seed, **variant.training)
                done = train(model, benchmark, asked, run, **options).log[-1]["validation"]
                variant.scores.append({key: 100 * done[key] for key in SHOWN})
                if world.is_main:
                    write()


def mean_and_range(values: Sequence[float]) -> str | None:
    """``"66.1 (65.2-67.0)"``; None without values.

    >>> mean_and_range([65.2, 67.0]), mean_and_range([66.0])
    ('66.1 (65.2-67.0)', '66.0')
    """
    if not values:
        return None
    spread = f" ({min(values):.1f}-{max(values):.1f})" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.1f}{spread}"
