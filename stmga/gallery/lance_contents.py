"""What a gallery in LanceDB has at one moment: its vectors read in order, and filters as SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stmga.embedding.embeddings import Embeddings
from stmga.embedding.embeddings_file import items_json
from stmga.gallery.columns import UNKNOWN, Codes, Columns, times_of
from stmga.gallery.lance_table import VECTOR
from stmga.gallery.matches import GalleryError
from stmga.gallery.where import Where
from stmga.utils.foreign import parse_json

_ONCE = 4096  # names or rows in one query
_BATCH = 8192  # rows


def text(label: object) -> str | None:
    """A label as the table has it: UTF-8, which cannot hold half a surrogate pair."""
    return None if label is None else str(label).encode(errors="backslashreplace").decode()


def quoted(name: object) -> str:
    """A text in SQL."""
    return "'" + str(text(name)).replace("'", "''") + "'"


def where_sql(where: Where) -> str:
    """The filter as SQL. A comparison with null is not true, so tracklets without times or labels are left out."""
    terms = [
        f"{column} IN ({', '.join(map(quoted, names))})"
        for column, names in (("camera", where.cameras), ("person", where.persons))
        if names
    ]
    terms += [] if where.after is None else [f"end_time >= {float(where.after)!r}"]
    terms += [] if where.before is None else [f"time <= {float(where.before)!r}"]
    return " AND ".join(terms)


def rows_table(embeddings: Embeddings, first: int, schema: Any) -> Any:
    """Embeddings as rows of the table, numbered from ``first``."""
    import pyarrow as pa

    items = embeddings.items
    times = [times_of(item) for item in items]
    vectors = pa.array(embeddings.vectors.contiguous().numpy().ravel())
    columns = [
        pa.array(range(first, first + len(items)), pa.int64()),
        *(pa.array([text(item.get(key)) for item in items], pa.string()) for key in ("tracklet", "person", "camera")),
        *(pa.array([None if pair[i] != pair[i] else pair[i] for pair in times], pa.float64()) for i in (0, 1)),
        pa.array([items_json(item) for item in items], pa.string()),
        pa.FixedSizeListArray.from_arrays(vectors, embeddings.dim),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def scan(table: Any, columns: Sequence[str], sql: str = "") -> Iterator[Any]:
    """Record batches of some columns, in the order of the rows."""
    query = table.search().select(list(columns)).limit(None)
    return iter((query.where(sql) if sql else query).to_batches(batch_size=_BATCH))


class LanceVectors:
    """The vectors of all rows, or of some, ``numbers``; read as a stream if they are asked for in order."""

    def __init__(self, table: Any, dim: int, numbers: Tensor, sql: str) -> None:
        self.table, self.dim, self.numbers, self.sql = table, dim, numbers, sql
        self._stream: Iterator[tuple[Tensor, Tensor]] = iter(())
        self._next = -1  # where the stream is
        self._rest: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, which: slice | Tensor, device: str | torch.device = "cpu") -> Tensor:
        """Some rows as float32."""
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            if step == 1:
                return self._read(start, max(start, stop)).to(device)
            which = torch.arange(start, stop, step, dtype=torch.int64, device="cpu")
        return self._take(self.numbers[which]).to(device)

    def _read(self, start: int, stop: int) -> Tensor:
        if start == stop:
            return torch.empty(0, self.dim, dtype=torch.float32, device="cpu")
        if start != self._next:
            first = f"row >= {int(self.numbers[start])}"
            found = scan(self.table, ["row", VECTOR], f"({self.sql}) AND {first}" if self.sql else first)
            self._stream, self._rest = map(_rows_and_vectors, found), []
        while sum(len(rows) for rows, _ in self._rest) < stop - start:
            try:
                self._rest.append(next(self._stream))
            except StopIteration:
                raise GalleryError("the gallery is damaged: rows are missing") from None
        rows, vectors = (torch.cat(parts) for parts in zip(*self._rest, strict=True))
        count = stop - start
        if not torch.equal(rows[:count], self.numbers[start:stop]):
            raise GalleryError("the gallery is damaged: its rows are not in order")
        self._rest, self._next = [(rows[count:], vectors[count:])], stop
        return vectors[:count]

    def _take(self, rows: Tensor) -> Tensor:
        wanted, back = torch.unique(rows, return_inverse=True)
        out = torch.empty(len(wanted), self.dim, dtype=torch.float32, device="cpu")
        for some in wanted.split(_ONCE):
            for batch in scan(self.table, ["row", VECTOR], _among_rows(some.tolist())):
                numbers, vectors = _rows_and_vectors(batch)
                out[torch.searchsorted(wanted, numbers)] = vectors
        return out[back]


class LanceContents:
    """One version of the table, or a part of it; rows are numbered within that part."""

    has_gaps = False

    def __init__(self, table: Any, count: int, dim: int, where: Where | None = None) -> None:
        self.table, self.count, self.dim = table, count, dim
        self.sql = where_sql(where) if where else ""
        self.numbers = torch.arange(count, dtype=torch.int64, device="cpu")
        self._whole = _columns(table, count) if where and table is not None else None
        if where and self._whole is not None:
            self.numbers = where.rows(self._whole).nonzero().flatten()  # also refuses unknown names
        self.parts = [LanceVectors(table, dim, self.numbers, self.sql)]

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def columns(self) -> Columns:
        whole = _columns(self.table, self.count) if self._whole is None else self._whole
        person, camera = (Codes(c.numbers[self.numbers], c.names) for c in (whole.person, whole.camera))
        return Columns(person, camera, whole.start[self.numbers], whole.end[self.numbers])

    def items_at(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        wanted = self.numbers[torch.tensor(rows, dtype=torch.int64, device="cpu")].tolist()
        found: dict[int, str] = {}
        for start in range(0, len(wanted), _ONCE):
            for batch in scan(self.table, ["row", "item"], _among_rows(wanted[start : start + _ONCE])):
                found |= zip(batch["row"].to_pylist(), batch["item"].to_pylist(), strict=True)
        return [_item(found.get(row)) for row in wanted]

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        found = rows_named(self.table, "tracklet", ids)
        rows = torch.tensor([found.get(str(text(name)), -1) for name in ids], dtype=torch.int64, device="cpu")
        at = torch.searchsorted(self.numbers, rows).clamp(max=max(len(self) - 1, 0))
        there = (self.numbers[at] == rows) if len(self) else torch.zeros_like(rows, dtype=torch.bool)
        return torch.where(there, at, -1).tolist()


def rows_named(table: Any, column: str, names: Sequence[str]) -> dict[str, int]:
    """Rows by a name in a column; of a name that several rows have, the last."""
    found: dict[str, int] = {}
    for start in range(0, len(names) if table is not None else 0, _ONCE):
        sql = f"{column} IN ({', '.join(map(quoted, names[start : start + _ONCE]))})"
        for batch in scan(table, ["row", column], sql):
            found |= zip(batch[column].to_pylist(), batch["row"].to_pylist(), strict=True)
    return found


def _among_rows(rows: Sequence[int]) -> str:
    return f"row IN ({', '.join(map(str, rows))})" if rows else "false"


def _rows_and_vectors(batch: Any) -> tuple[Tensor, Tensor]:
    rows, vectors = batch["row"].to_numpy(), batch[VECTOR].flatten().to_numpy(zero_copy_only=False)
    dim = batch.schema.field(VECTOR).type.list_size
    if vectors.size != len(rows) * dim:
        raise GalleryError("the gallery is damaged: a row has no vector")
    return torch.from_numpy(rows.copy()), torch.from_numpy(vectors.copy()).reshape(len(rows), dim)


def _item(found: str | None) -> dict[str, Any]:
    try:
        item = parse_json(found or "")
    except ValueError as error:
        raise GalleryError(f"the gallery is damaged: an item cannot be read ({error})") from error
    if not isinstance(item, dict) or "tracklet" not in item:
        raise GalleryError("the gallery is damaged: an item has no id")
    return item


def _columns(table: Any, count: int) -> Columns:
    """Labels and times of all rows."""
    import pyarrow as pa

    if table is None:
        return Columns.of([])
    names = ["row", "person", "camera", "time", "end_time"]
    found = pa.Table.from_batches(
        list(scan(table, names)), schema=pa.schema([table.schema.field(name) for name in names])
    )
    if not np.array_equal(found["row"].to_numpy(), np.arange(count)):
        raise GalleryError("the gallery is damaged: its rows are not numbered in order")
    person, camera = (_codes(found[name]) for name in ("person", "camera"))
    start, end = (
        torch.from_numpy(found[name].fill_null(float("nan")).to_numpy().copy()) for name in ("time", "end_time")
    )
    return Columns(person, camera, start, end)


def _codes(column: Any) -> Codes:
    coded = column.combine_chunks().dictionary_encode()
    numbers = coded.indices.fill_null(UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int64)
    return Codes(torch.from_numpy(numbers), coded.dictionary.to_pylist())


def changed_rows(table: Any, gone: np.ndarray, rows: Sequence[int], new: Any, more: Any) -> Iterator[Any]:
    """All rows in order, with new numbers: without those ``gone``, ``new`` ones for ``rows``, ``more`` at the end."""
    import pyarrow as pa

    place, start = {row: i for i, row in enumerate(rows)}, 0
    names = table.schema.names

    def numbered(batch: Any) -> Any:
        return batch.set_column(0, "row", pa.array(range(start, start + len(batch)), pa.int64()))

    for batch in scan(table, names):
        found = batch["row"].to_numpy()
        if new is not None and (here := [i for i, row in enumerate(found.tolist()) if row in place]):
            order = np.arange(len(batch))
            order[here] = len(batch) + np.array([place[row] for row in found[here].tolist()])
            both = pa.concat_tables([pa.Table.from_batches([batch]).cast(new.schema), new])
            batch = both.take(order).combine_chunks().to_batches()[0]
        batch = batch.filter(pa.array(~np.isin(found, gone)))
        yield numbered(batch)
        start += len(batch)
    for batch in more.to_batches() if more is not None else ():
        yield numbered(batch)
        start += len(batch)
