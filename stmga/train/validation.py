"""Validation by the protocol of the data, with the tracklets distributed over the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from stmga.data.benchmark import Benchmark
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.network import TrackletNetwork
from stmga.embedding.unit import NonFiniteVectorError
from stmga.model import STMGA
from stmga.train.errors import TrainingError
from stmga.utils.distributed import World, all_gather_objects

if TYPE_CHECKING:
    from stmga.metrics import Evaluation


def embed_test(
    model: TrackletNetwork, benchmark: Benchmark, world: World, **options: Any
) -> tuple[Embeddings, Embeddings]:
    """Embed queries and gallery, each process its share; every process gets all embeddings.

    ``options`` are those of :class:`stmga.TrackletEmbedder`. The protocol determines clips and mirroring.
    """
    every = [*benchmark.query, *benchmark.gallery]
    protocol = benchmark.protocol
    flip = bool(protocol.flip)
    embedder = TrackletEmbedder(model, sampling=protocol.clips, flip=flip, **options)  # type: ignore[arg-type]
    share = embedder(every[world.rank :: world.size]) if every[world.rank :: world.size] else None
    vectors, rows = [None] * len(every), [None] * len(every)
    parts = all_gather_objects(share)
    for rank, part in enumerate(parts):
        if part is not None:
            for i, (vector, item) in enumerate(zip(part.vectors, part.items, strict=True)):
                vectors[rank + i * world.size], rows[rank + i * world.size] = vector, item
    # The main process has the first tracklet and so the digest, which takes a pass over all weights.
    found = Embeddings(torch.stack(vectors), rows, parts[0].digest, parts[0].model)  # type: ignore[arg-type]
    count = len(benchmark.query)
    return found.select(range(count)), found.select(range(count, len(every)))


def validate(model: STMGA, benchmark: Benchmark, world: World, **options: Any) -> Evaluation:
    """The score of the network on the benchmark's test, by its protocol; the same on every process.

    Raises:
        TrainingError: the network's embeddings are not finite.
        NoMatchError: no query has a match.
    """
    from stmga.metrics import evaluate

    try:
        query, gallery = embed_test(model, benchmark, world, **options)
    except NonFiniteVectorError as error:
        raise TrainingError(f"validation: {error}") from error
    return evaluate(query, gallery, benchmark.protocol)
