"""Validation by the protocol of the data, with the tracklets distributed over the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stmga.data.benchmark import Benchmark
from stmga.embedding.unit import NonFiniteVectorError
from stmga.model import STMGA
from stmga.train.errors import TrainingError
from stmga.utils.distributed import World

if TYPE_CHECKING:
    from stmga.metrics import Evaluation


def validate(model: STMGA, benchmark: Benchmark, world: World, **options: Any) -> Evaluation:
    """The score of the network on the benchmark's test, by its protocol; the same on every process.

    Raises:
        TrainingError: the network's embeddings are not finite.
        NoMatchError: no query has a match.
    """
    from stmga.metrics import evaluate
    from stmga.metrics.network_table import embed_test

    try:
        query, gallery = embed_test(model, benchmark, world, **options)
    except NonFiniteVectorError as error:
        raise TrainingError(f"validation: {error}") from error
    return evaluate(query, gallery, benchmark.protocol)
