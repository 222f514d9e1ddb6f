"""LanceDB's index of a gallery: it finds candidates, which are ranked by their own vectors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stmga.embedding.embeddings import Embeddings
from stmga.embedding.vectors import Vectors
from stmga.gallery.contents import self_rows
from stmga.gallery.lance_contents import LanceContents, quoted
from stmga.gallery.lance_table import VECTOR
from stmga.gallery.matches import GalleryError
from stmga.gallery.topk import ranked

KINDS = ("ivf", "ivf-int8", "ivf-pq")
_LEAST = 256  # rows, from which product quantisation is learned
_TRAIN = 64  # vectors from which a list is learned; with fewer, LanceDB makes fewer lists than it is asked for
_NAME = "stmga-{kind}-{lists}"  # of the index: it says how to build it again


class IndexSettings(NamedTuple):
    """How an index was made."""

    kind: str
    lists: int


def find_index(table: Any) -> IndexSettings | None:
    """The settings of the index of a table; None without one."""
    for index in table.list_indices():
        prefix, *middle, lists = index.name.split("-")
        kind = "-".join(middle)
        if prefix == "stmga" and kind in KINDS and lists.isdecimal():
            return IndexSettings(kind, int(lists))
    return None


def drop_index(table: Any) -> None:
    """Drop whatever indexes there are."""
    for index in table.list_indices():
        table.drop_index(index.name)


def build_index(table: Any, kind: str, lists: int | None) -> None:
    """One index over all vectors, in place of any other."""
    from lancedb import index

    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    n, dim = table.count_rows(), int(table.schema.field(VECTOR).type.list_size)
    if n < _LEAST:
        raise GalleryError(f"an index needs at least {_LEAST} tracklets, the gallery has {n}; search without one")
    lists = lists or max(1, min(round(4 * math.sqrt(n)), n // _TRAIN))
    if type(lists) is not int or not 1 <= lists <= n // _TRAIN:
        raise ValueError(f"lists must be from 1 to {n // _TRAIN:,}, one for {_TRAIN} tracklets, got {lists!r}")
    settings: dict[str, Any] = {"distance_type": "cosine", "num_partitions": lists, "sample_rate": _TRAIN}
    if kind == "ivf-pq":
        settings["num_sub_vectors"] = dim // 4 if dim % 4 == 0 else dim
    config = {"ivf": index.IvfFlat, "ivf-int8": index.IvfSq, "ivf-pq": index.IvfPq}[kind](**settings)
    drop_index(table)
    table.create_index(VECTOR, config=config, name=_NAME.format(kind=kind, lists=lists))


def search_index(
    contents: LanceContents,
    queries: Embeddings,
    k: int,
    *,
    effort: int,
    threshold: float | None,
    other_camera: bool,
) -> tuple[Tensor, Tensor]:
    """Similarities (q k) and rows (q k) of ``contents`` that the index finds, by exact similarity."""
    wanted = min(len(contents), 2 * k + 32)  # its own tracklet is removed later
    values = torch.full((len(queries), k), -torch.inf, dtype=torch.float32, device="cpu")
    rows = torch.full((len(queries), k), -1, dtype=torch.int64, device="cpu")
    if not wanted:
        return values, rows
    own = self_rows(queries, contents)
    for sql, group in _groups(contents.sql, queries, other_camera):
        number, at, vectors = _nearest(contents, queries.vectors[group], wanted, effort, sql)
        kept, part = torch.unique(at, return_inverse=True)  # in the order of the gallery, as equal ones come
        found = torch.full((len(group), wanted), -1, dtype=torch.int64, device="cpu")
        found[number, _count_up(number)] = part
        there = torch.empty(len(kept), vectors.shape[1], dtype=torch.float32, device="cpu")
        there[part] = vectors
        if not len(kept):
            continue
        mine = torch.where(found >= 0, kept[found.clamp(min=0)], -1) == own[group][:, None]
        found.masked_fill_(mine, -1)
        best, place = ranked(queries.vectors[group], [Vectors(there)], found, min(k, wanted), threshold=threshold)
        values[group, : best.shape[1]] = best
        rows[group, : best.shape[1]] = torch.where(place >= 0, kept[place.clamp(min=0)], -1)
    return values, rows


def _groups(sql: str, queries: Embeddings, other_camera: bool) -> list[tuple[str, list[int]]]:
    """Queries that have one filter in common: all of them, or those of each camera."""
    if not other_camera:
        return [(sql, list(range(len(queries))))]
    of: dict[str | None, list[int]] = {}
    for i, camera in enumerate(queries.cameras):
        of.setdefault(None if camera is None else str(camera), []).append(i)
    both = {camera: "" if camera is None else f"(camera IS NULL OR camera <> {quoted(camera)})" for camera in of}
    return [
        (" AND ".join(filter(None, (f"({sql})" if sql else "", both[camera]))), group) for camera, group in of.items()
    ]


def _nearest(
    contents: LanceContents, queries: Tensor, wanted: int, effort: int, sql: str
) -> tuple[Tensor, Tensor, Tensor]:
    """What LanceDB finds: numbers of queries (m), rows of the contents (m), vectors (m c)."""
    query = contents.table.search(list(queries.numpy()), vector_column_name=VECTOR).distance_type("cosine")
    query = query.nprobes(effort).limit(wanted).select(["row", VECTOR, "_distance"])
    found = (query.where(sql, prefilter=True) if sql else query).to_arrow()
    number = torch.zeros(len(found), dtype=torch.int64, device="cpu")
    if "query_index" in found.column_names:  # not for a single query
        number = torch.from_numpy(found["query_index"].to_numpy().astype("int64"))
    rows = torch.from_numpy(found["row"].to_numpy().copy())
    flat = found[VECTOR].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    at = torch.searchsorted(contents.numbers, rows)
    return number, at, torch.from_numpy(flat.copy()).reshape(len(found), contents.dim)


def _count_up(number: Tensor) -> Tensor:
    """For each entry, how many earlier ones are equal to it."""
    order = number.argsort(stable=True)
    counts = torch.bincount(number)
    first = (counts.cumsum(0) - counts)[number[order]]
    out = torch.empty_like(number)
    out[order] = torch.arange(len(number), dtype=torch.int64, device="cpu") - first
    return out
