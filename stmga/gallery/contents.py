"""What a gallery has at one moment, and which pairs of queries and tracklets do not count."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.embedding.embeddings import Embeddings
from stmga.embedding.vectors import VectorRows
from stmga.gallery.columns import Columns
from stmga.gallery.topk import rows_of
from stmga.gallery.where import Where

logger = logging.getLogger(__name__)

_SAME_TRACKLET = 0.99  # one tracklet embedded twice, even in other precisions, is above this


class Contents(Protocol):
    """What is searched. Rows are numbered over all parts; some may be no tracklets any more."""

    @property
    def parts(self) -> Sequence[VectorRows]: ...

    @property
    def columns(self) -> Columns: ...

    @property
    def has_gaps(self) -> bool:
        """Whether the tracklets of some rows were removed."""
        ...

    def items_at(self, rows: Sequence[int]) -> list[dict[str, Any]]: ...

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """The row of each id, -1 for none."""
        ...


def self_rows(queries: Embeddings, contents: Contents) -> Tensor:
    """(q), the row of each query's own id, or -1.

    If two different tracklets share an id, the search hides one from the other. A warning says so.
    """
    rows = torch.tensor(contents.rows_of(queries.ids), dtype=torch.int64, device="cpu")
    shared = (rows >= 0).nonzero().flatten()
    if len(shared):
        there = rows_of(contents.parts, rows[shared])
        unlike = F.cosine_similarity(queries.vectors[shared], there) < _SAME_TRACKLET
        if unlike.any():
            logger.warning(
                "%d queries have the id of a gallery tracklet that looks different, and will not match it (first: "
                "%s); give different tracklets different ids",
                int(unlike.sum()),
                queries.ids[int(shared[unlike][0])],
            )
    return rows


def pairs_excluded(
    queries: Embeddings, contents: Contents, other_camera: bool, where: Where | None
) -> Callable[[slice, slice], Tensor] | None:
    """(queries, rows) -> (q g), True where a pair does not count; None if all do."""
    if not (other_camera or where or contents.has_gaps):
        return None
    columns = contents.columns
    keep = None if where is None else where.rows(columns)
    if columns.present is not None:
        keep = columns.present if keep is None else keep & columns.present
    mine, theirs = columns.camera.numbers_for(queries.cameras), columns.camera.numbers

    def excluded(q: slice, g: slice) -> Tensor:
        out = torch.zeros(q.stop - q.start, g.stop - g.start, dtype=torch.bool, device="cpu")
        if keep is not None:
            out |= ~keep[g]
        if other_camera:
            out |= (mine[q, None] == theirs[g]) & (mine[q, None] >= 0)
        return out

    return excluded
