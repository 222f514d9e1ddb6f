"""Search for persons instead of tracklets: one score for each person, from the similarities of their tracklets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.embedding.vectors import VectorRows
from stmga.gallery.topk import blocks, from_keys, pieces, to_keys

_AT_ONCE = 2**23  # similarities in memory at once: 32 MB
_NOTHING = torch.iinfo(torch.int64).min  # the key of a pair that does not count
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
    excluded: Callable[[slice, slice], Tensor],
    block: int,
) -> Iterator[tuple[slice, PersonScores]]:
    """Queries (q c) of unit length against the persons of all rows of ``parts``, some queries at a time.

    Args:
        persons: (n), the person of each row, 0..count - 1, or less than 0 for rows that do not count.
        how: "best", "mean" or "robust". "best" keeps no similarities, so that it takes more queries at a time.
        excluded: (queries, rows) -> (q g), True where a pair does not count.
        block: rows of the gallery compared at once.
    """
    person, numbers = persons.clamp(min=0), 8 * count + _ROWS if how == "best" else len(persons)
    for q in blocks(len(queries), max(1, _AT_ONCE // max(numbers, 1))):
        keys, counts = (torch.full((q.stop - q.start, count), value, dtype=torch.int64, device="cpu")
                        for value in (_NOTHING, 0))  # fmt: skip
        kept = []
        for start, part, g in pieces(parts, min(block, _ROWS)):
            here = slice(start, start + g.stop - g.start)
            similarity = _cosines(queries[q], part.rows(g))
            out = excluded(q, here) | (persons[here] < 0)
            whose = person[here].expand_as(similarity)
            counts.scatter_add_(1, whose, (~out).long())
            rows = torch.arange(here.start, here.stop, dtype=torch.int64, device="cpu")
            keys.scatter_reduce_(1, whose, to_keys(similarity, rows).masked_fill_(out, _NOTHING), "amax")
            if how != "best":
                kept.append(similarity.masked_fill_(out, -torch.inf))
        scores, best = from_keys(keys)  # of equal similarities, the earlier row
        if how == "mean":
            scores = _means(queries[q], parts, person, count, torch.cat(kept, dim=1) > -torch.inf, block)
        elif how == "robust":
            scores = _upper_half(torch.cat(kept, dim=1), person.expand(len(keys), -1), counts)
        yield q, PersonScores(scores.masked_fill(counts == 0, -torch.inf), best, counts)


def _cosines(unit: Tensor, vectors: Tensor) -> Tensor:
    """(q c) and (m c) -> (q m), in float64 rounded to float32, so that they are those of the search."""
    length = vectors.norm(dim=1, dtype=torch.float64).clamp(min=1e-12)
    return ((unit.double() @ vectors.double().T) / length).float()


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
            mean.index_add_(0, person[here][chosen], F.normalize(part.rows(g)[chosen].double(), dim=1))
        of = group == number
        scores[of] = (queries[of].double() @ F.normalize(mean, dim=1).T).float()
    return scores
