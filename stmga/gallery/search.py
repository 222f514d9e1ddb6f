"""Search by vectors, and by what else is known of tracklets: cameras, times, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.embedding.embeddings import Embeddings
from stmga.gallery.cameras import same_camera
from stmga.gallery.reranked import reranked_topk
from stmga.gallery.topk import numbers, similarities, topk
from stmga.gallery.travel import TravelPrior
from stmga.tracklets.times import TravelTime

if TYPE_CHECKING:
    from stmga.gallery.gallery import Gallery


def search_rows(
    gallery: Gallery, queries: Embeddings, k: int, *, threshold: float | None, other_camera: bool,
    travel: Sequence[TravelTime], rerank: bool, block: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """:meth:`Gallery.search` as tensors (q, k): cosines, gallery rows, and what travel times add to the cosines.

    Where no match is left, the cosine is -inf and the row -1.
    """
    parts, items = gallery.parts, gallery.items
    prior = TravelPrior.of_items(queries.items, items, travel, gallery.calibration) if travel else None
    values, rows = (reranked_topk if rerank else topk)(
        queries.vectors,
        parts,
        k,
        self_rows=gallery.self_rows(queries, parts, items),
        exclude=same_camera(queries, items) if other_camera else None,
        threshold=threshold,
        block=block,
        device=gallery.device,
        prior=prior,
    )
    if prior is None:
        return values, rows, torch.zeros_like(values)
    cosines = similarities(F.normalize(queries.vectors.double(), dim=1), parts, rows, torch.device("cpu"))
    added = prior(numbers(slice(0, len(rows))), rows.clamp(min=0))
    return cosines.masked_fill(rows < 0, -torch.inf), rows, added.masked_fill(rows < 0, 0)
