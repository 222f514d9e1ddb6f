"""Search for persons instead of tracklets: one score for each person, from the similarities of their tracklets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.embedding.vectors import VectorRows
from stmga.gallery.topk import blocks, from_keys, pieces, to_keys

HOW = ("best", "mean", "robust")
_AT_ONCE = 2**23  # similarities in memory at once: 32 MB
_ROWS = 512  # of the gallery, in float64; larger products take memory that the allocator does not give back


class PersonScores(NamedTuple):
    """Of some queries and every person: the score (-inf: nothing to compare), the most similar row, how many rows."""

    scores: Tensor  # (q p) float32
    best: Tensor  # (q p) int64
    counts: Tensor  # (q p) int64


def person_scores(
    queries: Tensor,
    parts: Sequence[VectorRows],
    persons: Tensor,
    count: int,
    how: str,
    excluded: Callable[[slice], Tensor],
    block: int,
) -> Iterator[tuple[slice, PersonScores]]:
    """Queries (q c) of unit length against the persons of all rows of ``parts``, some queries at a time.

    Args:
        persons: (n), the person of each row, 0..count - 1, or less than 0 for rows that do not count.
        how: "best", "mean" or "robust".
        excluded: (queries) -> (q n), True where a pair does not count.
        block: rows of the gallery compared at once.
    """
    n, known = len(persons), persons >= 0
    person = persons.clamp(min=0)
    for q in blocks(len(queries), max(1, _AT_ONCE // max(n, 1))):
        vectors = (part.rows(g) for _, part, g in pieces(parts, min(block, _ROWS)))
        similarity = torch.cat([_cosines(queries[q], some) for some in vectors], dim=1)
        out = excluded(q) | ~known
        similarity.masked_fill_(out, -torch.inf)
        where = person.expand(len(similarity), n)
        counts = torch.zeros(len(similarity), count, dtype=torch.int64, device="cpu").scatter_add_(
            1, where, (~out).long()
        )
        best, rows = _best(similarity, where, count, out)
        if how == "best":
            scores = best
        elif how == "mean":
            scores = _means(queries[q], parts, person, count, ~out, block)
        else:
            scores = _upper_half(similarity, where, counts)
        yield q, PersonScores(scores.masked_fill(counts == 0, -torch.inf), rows.masked_fill(counts == 0, -1), counts)


def _cosines(unit: Tensor, vectors: Tensor) -> Tensor:
    """(q c) and (m c) -> (q m), in float64 rounded to float32, so that they are those of the search."""
    length = vectors.norm(dim=1, dtype=torch.float64).clamp(min=1e-12)
    return ((unit.double() @ vectors.double().T) / length).float()


def _best(similarity: Tensor, person: Tensor, count: int, out: Tensor) -> tuple[Tensor, Tensor]:
    """Greatest similarity of each person and its row; the earlier row of equal ones."""
    nothing = torch.iinfo(torch.int64).min
    keys = to_keys(similarity, torch.arange(similarity.shape[1], dtype=torch.int64, device="cpu")).masked_fill_(
        out, nothing
    )
    best = torch.full((len(similarity), count), nothing, dtype=torch.int64, device="cpu")
    return from_keys(best.scatter_reduce_(1, person, keys, "amax"))


def _upper_half(similarity: Tensor, person: Tensor, counts: Tensor) -> Tensor:
    """Mean of the upper half of each person's similarities, at least one."""
    half = (counts + 1) // 2
    order = similarity.argsort(dim=1, descending=True, stable=True)
    grouped, again = person.gather(1, order).sort(dim=1, stable=True)  # by person, the most similar first
    values = similarity.gather(1, order.gather(1, again))
    everyone = torch.zeros_like(counts).scatter_add_(1, person, torch.ones_like(person))
    first = everyone.cumsum(1) - everyone
    rank = torch.arange(similarity.shape[1], dtype=torch.int64, device="cpu") - first.gather(1, grouped)
    kept = values.masked_fill(rank >= half.gather(1, grouped), 0).double()
    return (torch.zeros_like(counts, dtype=torch.float64).scatter_add_(1, grouped, kept) / half.clamp(min=1)).float()


def _means(
    queries: Tensor, parts: Sequence[VectorRows], person: Tensor, count: int, counted: Tensor, block: int
) -> Tensor:
    """Cosine of each query with the mean vector of each person, over the rows (q n) that count for it."""
    scores = torch.empty(len(queries), count, dtype=torch.float32, device="cpu")
    alike, group = torch.unique(counted, dim=0, return_inverse=True)
    for number, rows in enumerate(alike):
        mean = torch.zeros(count, queries.shape[1], dtype=torch.float64, device="cpu")
        for start, part, g in pieces(parts, min(block, _ROWS)):
            here = slice(start, start + g.stop - g.start)
            chosen = rows[here].nonzero().flatten()
            mean.index_add_(
                0, person[here][chosen], torch.nn.functional.normalize(part.rows(g)[chosen].double(), dim=1)
            )
        of = group == number
        scores[of] = (queries[of].double() @ F.normalize(mean, dim=1).T).float()
    return scores
