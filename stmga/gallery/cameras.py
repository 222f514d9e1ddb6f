"""Which pairs of tracklets come from one camera."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from stmga.embedding.embeddings import Embeddings


def same_camera(queries: Embeddings, items: list[dict[str, Any]]) -> Callable[[slice, slice], Tensor]:
    """Whether a query and a gallery tracklet have the same camera; False if either is unknown."""
    mine, theirs = camera_codes(queries, items)
    return lambda q, g: (mine[q, None] == theirs[g]) & (mine[q, None] >= 0)


def camera_codes(queries: Embeddings, items: list[dict[str, Any]]) -> list[Tensor]:
    """The cameras of queries and of items as numbers; -1 where unknown."""
    # As text: a folder reader says camera "1" where a manifest says 1.
    columns = queries.cameras, [item.get("camera") for item in items]
    return _codes(*([None if camera is None else str(camera) for camera in column] for column in columns))


def _codes(*columns: Iterable[str | None]) -> list[Tensor]:
    """Columns of names -> columns of integers, equal where the names are equal; None is -1."""
    numbers: dict[str | None, int] = {None: -1}
    return [
        torch.tensor([numbers.setdefault(name, len(numbers)) for name in column], dtype=torch.int64, device="cpu")
        for column in columns
    ]
