"""Exact cosine search in blocks: a fast product finds the candidates, an exact one ranks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.embedding.vectors import VectorRows
from stmga.utils.isolation import isolated

_NOTHING = torch.iinfo(torch.int64).min  # the key of an excluded pair: below every real key
_SPARE = 16  # candidates beyond k, at least
_AT_ONCE = 2**20  # float64 values of candidates at once: 8 MB

Exclude = Callable[[slice, slice], Tensor]  # (queries, gallery) -> bool, True where a pair is excluded


@isolated
def topk(
    queries: Tensor,
    parts: Sequence[VectorRows],
    k: int,
    *,
    self_rows: Tensor,
    exclude: Exclude | None,
    threshold: float | None,
    block: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Queries (q c) against all rows of ``parts``: similarities (q k) float32 and rows (q k) int64, best first.

    Similarities are cosines in float64 rounded to float32; equal ones come in the order of the rows, for any block.
    Products in float32 are several times as fast, but inexact in the last digits. So they choose more than k
    candidates, which are ranked exactly. If the rounding could have cost a query a better match, it is searched again
    in float64 throughout.

    Args:
        self_rows: (q) the one row that is excluded for a query, or -1.
        exclude: further excluded pairs.
        threshold: the least similarity.
        block: queries and rows compared at once.
    """
    n = sum(map(len, parts))
    k = min(k, n)
    m = min(n, k + max(_SPARE, k))
    values = torch.full((len(queries), k), -torch.inf, dtype=torch.float32, device="cpu")
    rows = torch.full((len(queries), k), -1, dtype=torch.int64, device="cpu")
    slack = 1.2e-7 * queries.shape[1] + 1e-6  # rounding of a float32 product of unit vectors, and of the vectors
    for q in blocks(len(queries), block):
        unit = _unit(queries[q], device)
        found, candidates = _candidates(
            unit.float(), parts, m, self_rows=self_rows[q], exclude=exclude, q=q, block=block, device=device
        )
        exact = _similarities(unit, parts, candidates, device).masked_fill(found == -torch.inf, -torch.inf)
        keys = to_keys(exact, candidates)
        keys = keys.masked_fill(exact == -torch.inf, _NOTHING).topk(k, dim=1).values
        best, at = from_keys(keys)
        unsure = (found[:, -1] > -torch.inf) & (found[:, -1] + slack >= best[:, -1]) if m < n else None
        if threshold is not None:
            at = at.masked_fill(best < threshold, -1)
            best = best.masked_fill(best < threshold, -torch.inf)
        values[q], rows[q] = best.cpu(), at.cpu()
        if unsure is not None and unsure.any():
            again = unsure.nonzero().flatten().cpu()
            values[q.start + again], rows[q.start + again] = _literal(
                unit[unsure], parts, k, self_rows=self_rows[q][again], exclude=exclude, q=q.start + again,
                threshold=threshold, block=block, device=device,
            )  # fmt: skip
    return values, rows


def ranked(
    queries: Tensor, parts: Sequence[VectorRows], rows: Tensor, k: int, *, threshold: float | None
) -> tuple[Tensor, Tensor]:
    """The k best of each query's candidates, ``rows`` (q m) with -1 for none, by exact similarity; as :func:`topk`."""
    exact = _similarities(_unit(queries, torch.device("cpu")), parts, rows, torch.device("cpu"))
    excluded = rows < 0 if threshold is None else (rows < 0) | (exact < threshold)
    return from_keys(to_keys(exact, rows).masked_fill(excluded, _NOTHING).topk(k, dim=1).values)


def _candidates(
    unit: Tensor, parts: Sequence[VectorRows], m: int, *, self_rows: Tensor, exclude: Exclude | None, q: slice,
    block: int, device: torch.device,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The m greatest float32 similarities of each query, best first, and their rows."""
    best = torch.full((len(unit), m), -torch.inf, dtype=torch.float32, device=device)
    rows = torch.full((len(unit), m), -1, dtype=torch.int64, device=device)
    for start, part, g in pieces(parts, block):
        vectors = part.rows(g, device)
        length = vectors.norm(dim=1)
        similarity = unit @ vectors.T
        if ((length - 1).abs() > 1e-6).any():  # usually they have unit length
            similarity /= length.clamp(min=1e-12)
        _leave_out(similarity, self_rows, start)
        if exclude is not None:
            similarity.masked_fill_(exclude(q, slice(start, start + len(vectors))).to(device), -torch.inf)
        hot = (similarity.amax(1) > best[:, -1]).nonzero().flatten()
        if len(hot):
            new, column = similarity[hot].topk(min(m, len(vectors)), dim=1)
            merged, order = torch.cat([best[hot], new], dim=1).topk(m, dim=1)
            best[hot] = merged
            rows[hot] = torch.cat([rows[hot], column + start], dim=1).gather(1, order)
    return best, rows


def _literal(
    unit: Tensor, parts: Sequence[VectorRows], k: int, *, self_rows: Tensor, exclude: Exclude | None, q: Tensor,
    threshold: float | None, block: int, device: torch.device,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The same in float64 throughout, for the queries numbered ``q``."""
    keys = torch.full((len(unit), k), _NOTHING, dtype=torch.int64, device=device)
    for start, part, g in pieces(parts, block):
        vectors = _unit(part.rows(g, device), device)
        similarity = (unit @ vectors.T).float()
        at = torch.arange(start, start + len(vectors), dtype=torch.int64, device=device)
        new = to_keys(similarity, at)
        _leave_out(similarity, self_rows, start)
        if exclude is not None:
            here = slice(start, start + len(vectors))
            excluded = torch.cat([exclude(slice(i, i + 1), here) for i in q.tolist()])
            similarity.masked_fill_(excluded.to(device), -torch.inf)
        if threshold is not None:
            similarity.masked_fill_(similarity < threshold, -torch.inf)
        new.masked_fill_(similarity == -torch.inf, _NOTHING)
        keys = torch.cat([keys, new], dim=1).topk(k, dim=1).values
    values, rows = from_keys(keys)
    return values.cpu(), rows.cpu()


def _similarities(unit: Tensor, parts: Sequence[VectorRows], rows: Tensor, device: torch.device) -> Tensor:
    """(q c) float64, (q m) rows -> (q m), their cosines in float64 rounded to float32; undefined for row -1."""
    out = torch.empty(rows.shape, dtype=torch.float32, device=device)
    for q in blocks(len(rows), max(1, _AT_ONCE // (rows.shape[1] * unit.shape[1]))):
        wanted = rows[q].clamp(min=0).cpu()
        candidates = _unit(rows_of(parts, wanted.flatten()), device).unflatten(0, wanted.shape)
        out[q] = (candidates * unit[q, None]).sum(-1).float()  # the same sum for a row at any position
    return out


def rows_of(parts: Sequence[VectorRows], rows: Tensor) -> Tensor:
    """(m) row numbers over all parts -> (m c) float32."""
    found, start = torch.empty(len(rows), parts[0].dim, dtype=torch.float32, device="cpu"), 0
    for part in parts:
        here = ((rows >= start) & (rows < start + len(part))).nonzero().flatten()
        if len(here):
            found[here] = part.rows(rows[here] - start)
        start += len(part)
    return found


def _leave_out(similarity: Tensor, self_rows: Tensor, start: int) -> None:
    """Exclude each query's own row."""
    here = ((self_rows >= start) & (self_rows < start + similarity.shape[1])).nonzero().flatten()
    if len(here):
        similarity[here.to(similarity.device), (self_rows[here] - start).to(similarity.device)] = -torch.inf


def pieces(parts: Sequence[VectorRows], block: int) -> Iterator[tuple[int, VectorRows, slice]]:
    """Every block of every part: the number of its first row over all parts, the part, and its slice of the part."""
    start = 0
    for part in parts:
        for g in blocks(len(part), block):
            yield start + g.start, part, g
        start += len(part)


def _unit(vectors: Tensor, device: torch.device) -> Tensor:
    # float64, so that equal vectors get equal similarities at any position in a block. float32 kernels round
    # differently at the edge of a matrix, and ties would then depend on the block size.
    return F.normalize(vectors.to(device, torch.float64), dim=1)


def blocks(length: int, block: int) -> Iterator[slice]:
    """``length`` rows, ``block`` at a time."""
    return (slice(start, min(start + block, length)) for start in range(0, length, block))


# A match as one integer: the similarity in the high bits, the row in the low bits. Greater key = greater similarity,
# then earlier row. No two keys are equal, so the order of ties, which `torch.topk` does not define, does not matter.


def to_keys(similarity: Tensor, rows: Tensor) -> Tensor:
    """(q g) float32, (g) or (q g) rows -> (q g) int64."""
    bits = (similarity + 0.0).view(torch.int32)  # + 0.0 makes -0.0 and 0.0 the same
    ordered = torch.where(bits >= 0, bits, bits ^ 0x7FFFFFFF).to(torch.int64)
    return (ordered << 32) | (0xFFFFFFFF - rows)


def from_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """(q k) int64 -> similarities (q k) float32 and rows (q k) int64."""
    nothing = keys == _NOTHING
    ordered = (keys >> 32).to(torch.int32)
    similarity = torch.where(ordered >= 0, ordered, ordered ^ 0x7FFFFFFF).view(torch.float32)
    return similarity.masked_fill(nothing, -torch.inf), (0xFFFFFFFF - (keys & 0xFFFFFFFF)).masked_fill(nothing, -1)
