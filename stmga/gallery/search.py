"""Search by vectors, and by what else is known of tracklets: cameras, persons, times, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings
from stmga.gallery.columns import Columns
from stmga.gallery.contents import Contents, pairs_excluded, self_rows
from stmga.gallery.reranked import reranked_topk
from stmga.gallery.topk import numbers, similarities, topk
from stmga.gallery.travel import TravelPrior
from stmga.gallery.where import Where
from stmga.tracklets.times import TravelTime


@dataclass(frozen=True, kw_only=True)
class SearchRules:
    """How a gallery is searched: the arguments of :meth:`stmga.Gallery.search`."""

    threshold: float | None = None
    other_camera: bool = False
    where: Where | None = None
    travel: Sequence[TravelTime] = ()
    rerank: bool = False
    block: int = 4096


def search_rows(
    contents: Contents, queries: Embeddings, k: int, rules: SearchRules, *, calibration: Calibration | None,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Cosines, rows, and what travel times add to the cosines, all (q k) and best first.

    Where no match is left, the cosine is -inf and the row -1.
    """
    prior = None
    if rules.travel:
        prior = TravelPrior.of(Columns.of(queries.items), contents.columns, rules.travel, calibration)
    present = contents.columns.present if rules.rerank and contents.has_gaps else None
    how = {"present": present} if rules.rerank else {}
    values, rows = (reranked_topk if rules.rerank else topk)(
        queries.vectors,
        contents.parts,
        k,
        self_rows=self_rows(queries, contents),
        exclude=pairs_excluded(queries, contents, rules.other_camera, rules.where),
        threshold=rules.threshold,
        block=rules.block,
        device=device,
        prior=prior,
        **how,
    )
    if prior is None:
        return values, rows, torch.zeros_like(values)
    cosines = similarities(F.normalize(queries.vectors.double(), dim=1), contents.parts, rows, torch.device("cpu"))
    added = prior(numbers(slice(0, len(rows))), rows.clamp(min=0))
    return cosines.masked_fill(rows < 0, -torch.inf), rows, added.masked_fill(rows < 0, 0)
