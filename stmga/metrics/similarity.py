"""Similarities of queries to a gallery, block by block of queries, without copying the gallery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

ENTRIES = 4 << 20  # default number of values in a block: 16 MB in float32
TINY = 1e-12


def similarity_blocks(
    queries: Tensor,
    gallery: Sequence[Tensor],
    *,
    distance: str = "cosine",
    block: int | None = None,
    device: str | torch.device | None = None,
) -> Iterator[Tensor]:
    """``(q, c)`` and a gallery in parts ``(g1, c)``, ``(g2, c)``.. -> blocks ``(b, g1 + g2..)``, larger = more alike.

    Cosines, or for ``distance="euclidean"`` a value with the same ranking: ``x y - |y|^2 / 2``, which is
    ``(|x|^2 - d^2) / 2``. They have the precision of the vectors, and are computed and returned on ``device``.

    >>> next(similarity_blocks(torch.tensor([[3.0, 4.0]]), [torch.eye(2), torch.tensor([[6.0, 8.0]])]))
    tensor([[0.6000, 0.8000, 1.0000]])
    """
    check_block(block)
    device = torch.device(device or "cpu")
    parts = [part.to(device) for part in gallery]
    lengths = torch.cat([torch.linalg.vector_norm(part, dim=1) for part in parts])
    width = len(lengths)
    rows = block or max(1, ENTRIES // max(1, width))
    for some in queries.split(rows):
        x = some.to(device)
        if distance == "cosine":
            x = x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(TINY)
        out = x.new_empty(len(x), width)
        start = 0
        for part in parts:
            product(x, part, out=out[:, start : start + len(part)])
            start += len(part)
        yield out.div_(lengths.clamp_min(TINY)) if distance == "cosine" else out.sub_(lengths.square() / 2)


def check_block(block: int | None) -> None:
    """ValueError unless it is None or a whole number of at least 1."""
    if block is not None and (type(block) is not int or block < 1):
        raise ValueError(f"block must be a whole number of at least 1, got {block!r}")


def product(x: Tensor, y: Tensor, *, out: Tensor) -> None:
    """``(b, c)``, ``(g, c)`` -> dot products ``(b, g)`` into ``out``, whose rows may be parts of longer ones."""
    if x.device.type == "cpu":  # numpy's BLAS took a quarter less CPU time than torch's where measured
        np.matmul(x.numpy(), y.numpy().T, out=out.numpy())
    else:
        torch.mm(x, y.T, out=out)
