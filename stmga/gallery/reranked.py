"""Exact search in the order of k-reciprocal re-ranking, with the whole gallery as neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.embedding.vectors import VectorRows
from stmga.gallery.topk import Exclude, Prior, blocks, from_keys, numbers, rows_of, similarities, to_keys
from stmga.utils.isolation import isolated

_ENTRIES = 4 << 20  # pairs of a query and a row at once: 32 MB of keys


@isolated
def reranked_topk(
    queries: Tensor, parts: Sequence[VectorRows], k: int, *, self_rows: Tensor, exclude: Exclude | None,
    threshold: float | None, block: int, device: torch.device, prior: Prior | None = None,
    present: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As :func:`stmga.gallery.topk.topk`, in the order of :func:`stmga.metrics.rerank` with cosine distance.

    All queries and all rows are neighbours of each other, also rows that are excluded or below the threshold. So what
    is excluded does not change the order of the rest. Equal distances come in the order of the rows. Rows where
    ``present`` (n) is False have no tracklet and are not neighbours.
    """
    from stmga.metrics.reranking import rerank  # here, so that `import stmga` stays fast

    everything = numbers(slice(0, sum(map(len, parts))))
    there = everything if present is None else everything[present]
    vectors = rows_of(parts, there)
    rows = torch.empty(len(queries), min(k, len(there)), dtype=torch.int64, device="cpu")
    size, start = max(1, _ENTRIES // len(there)), 0
    found = rerank(queries, vectors, distance="cosine", block=size, device=device) if len(queries) else iter(())
    for distances in found:
        q = slice(start, start + len(distances))
        out = there == self_rows[q, None]
        if exclude is not None:
            out |= exclude(q, slice(0, len(everything)))[:, there]
        added = distances.new_zeros(()) if prior is None else prior(numbers(q), there)
        out |= added == -torch.inf
        if threshold is not None:
            out |= _cosines(queries[q], vectors, block, device) + added < threshold
        keys = to_keys(-distances.masked_fill_(out, torch.inf), there)
        best, at = from_keys(keys.topk(rows.shape[1], dim=1).values)
        rows[q] = at.masked_fill(best == -torch.inf, -1)
        start = q.stop
    unit = F.normalize(queries.double(), dim=1)
    return similarities(unit, parts, rows, torch.device("cpu")).masked_fill(rows < 0, -torch.inf), rows


def _cosines(queries: Tensor, vectors: Tensor, block: int, device: torch.device) -> Tensor:
    """Queries (q c), all vectors (n c) -> (q n) cosines in float64, rounded to float32."""
    unit = F.normalize(queries.to(device, torch.float64), dim=1)
    found = torch.empty(len(queries), len(vectors), dtype=torch.float32, device="cpu")
    for g in blocks(len(vectors), block):
        found[:, g] = (unit @ F.normalize(vectors[g].to(device, torch.float64), dim=1).T).float().cpu()
    return found
