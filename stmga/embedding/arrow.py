"""Embeddings as an Arrow table, which Parquet files and vector databases take; needs pyarrow."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stmga._version import __version__
from stmga.calibration import Calibration
from stmga.embedding.embeddings_file import check_items, items_json
from stmga.utils.foreign import check_depth, escaped, parse_json

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings

VECTOR = "vector"
_FORMAT, _FORMAT_VERSION = "stmga-embeddings", 1
_JSON = {b"stmga": b"json"}  # the metadata of a column whose cells are JSON texts


def to_table(embeddings: Embeddings) -> Any:
    """See :meth:`stmga.Embeddings.to_arrow`."""
    pa = _pyarrow()
    items = _plain_items(embeddings.items)
    names = list(dict.fromkeys(name for item in items for name in item))
    for name in names:
        if name == VECTOR or not _is_unicode(name):
            why = "the column of the vectors has that name" if name == VECTOR else "Arrow takes Unicode names only"
            raise ValueError(f"an item has the key {name!r}, but {why}; rename the key")
    columns = [_column(pa, name, [item.get(name) for item in items]) for name in names]
    vectors = pa.FixedSizeListArray.from_arrays(
        pa.array(embeddings.vectors.contiguous().numpy().ravel()), embeddings.dim
    )
    fields = [field for field, _ in columns] + [pa.field(VECTOR, vectors.type, nullable=False)]
    schema = pa.schema(fields, metadata=_metadata(embeddings))
    return pa.Table.from_arrays([*(array for _, array in columns), vectors], schema=schema)


def from_table(table: Any, make: Callable[..., Embeddings]) -> Embeddings:
    """See :meth:`stmga.Embeddings.from_arrow`; ``make`` is the class."""
    pa = _pyarrow()
    if not isinstance(table, pa.Table):
        raise TypeError(f"from_arrow takes a pyarrow.Table, got {type(table).__name__}; try pyarrow.table(it)")
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ValueError(f"the table is damaged: {escaped(str(error), 200)}") from error
    about = {key.decode(errors="replace"): value for key, value in (table.schema.metadata or {}).items()}
    if about.get("format") != _FORMAT.encode():
        raise ValueError(
            "the table does not say which weights made its vectors: its schema has none of the metadata that "
            "Embeddings.to_arrow writes; keep the metadata, or use Embeddings(vectors, items, digest=...)"
        )
    digest, model, skipped, calibration = _about(about)
    if len(set(table.column_names)) < table.num_columns:
        raise ValueError(f"the table has two columns of one name: {escaped(', '.join(table.column_names), 200)}")
    vectors = _vectors(pa, table)
    cells = {field.name: _cells(field, table.column(field.name)) for field in table.schema if field.name != VECTOR}
    items = [{name: column[i] for name, column in cells.items() if column[i] is not None} for i in range(len(vectors))]
    return make(vectors, items, digest, model, skipped, calibration)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError as error:
        raise ImportError("Arrow tables need pyarrow: pip install 'stmga[arrow]'") from error
    return pyarrow


def _plain_items(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The items as an embeddings file would give them back: JSON values only."""
    check_items(items)
    return json.loads(items_json(items))


def _column(pa: Any, name: str, values: list[Any]) -> tuple[Any, Any]:
    """A field and its cells: the type of all values if they have one, else the JSON of each as text."""
    kinds = {type(value) for value in values if value is not None}
    kind = kinds.pop() if len(kinds) == 1 else None  # what is left are kinds that are mixed
    if kind in (bool, float):
        found = pa.array(values, pa.bool_() if kind is bool else pa.float64())
    elif kind is int and all(value is None or -(1 << 63) <= value < 1 << 63 for value in values):
        found = pa.array(values, pa.int64())
    elif kind in (str, None) and not kinds and all(value is None or _is_unicode(value) for value in values):
        found = pa.array(values, pa.string())  # also if all are None
    else:
        found = pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
        return pa.field(name, found.type, metadata=_JSON), found
    return pa.field(name, found.type), found


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold the text: file names may have half a surrogate pair."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _metadata(embeddings: Embeddings) -> dict[str, str]:
    about = {
        "format": _FORMAT,
        "format_version": str(_FORMAT_VERSION),
        "digest": embeddings.digest,
        "model": embeddings.model.encode(errors="backslashreplace").decode(),
        "stmga": __version__,
    }
    if embeddings.calibration is not None:
        about["calibration"] = json.dumps(embeddings.calibration.to_dict())
    if embeddings.skipped:
        about["skipped"] = json.dumps(_plain_items(embeddings.skipped))
    return about


def _about(about: Mapping[str, bytes]) -> tuple[str, str, list[dict[str, Any]], Calibration | None]:
    """Digest, model, what was skipped, and calibration from the metadata of a table."""
    try:
        version = int(about["format_version"])
        if version > _FORMAT_VERSION:
            raise ValueError(f"it comes from the newer stmga {escaped(about['stmga'].decode(), 40)}")
        known = parse_json(about.get("calibration", b"null"))
        skipped = parse_json(about.get("skipped", b"[]"))
        check_depth(skipped)
        if not isinstance(skipped, list) or not all(
            isinstance(row, dict) and "tracklet" in row and isinstance(row.get("reason"), str) for row in skipped
        ):
            raise ValueError("its list of skipped tracklets has a row without tracklet or reason")
        calibration = None if known is None else Calibration.from_dict(known)
        return about["digest"].decode(), about["model"].decode(), skipped, calibration
    except (KeyError, ValueError) as error:  # a UnicodeDecodeError is a ValueError
        raise ValueError(f"the metadata of the table cannot be used: {escaped(str(error), 200)}") from error


def _vectors(pa: Any, table: Any) -> Tensor:
    """(n c) float32 of the column of vectors; some databases give back lists of any length, or doubles."""
    if VECTOR not in table.column_names:
        raise ValueError(f"the table has no column {VECTOR!r}, but {escaped(', '.join(table.column_names), 200)}")
    column = table.column(VECTOR)
    lists = pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type)
    if not (lists and pa.types.is_floating(column.type.value_type)):
        raise ValueError(f"the column {VECTOR!r} must have lists of floats, got {escaped(str(column.type), 80)}")
    lengths = set(pa.compute.list_value_length(column).unique().to_pylist())
    numbers = pa.compute.list_flatten(column)
    if len(lengths) > 1 or None in lengths or numbers.null_count:
        raise ValueError(f"the column {VECTOR!r} must have vectors of one length, without nulls")
    if not lengths:
        dim = column.type.list_size if pa.types.is_fixed_size_list(column.type) else 0
        return torch.zeros(0, dim, dtype=torch.float32, device="cpu")
    array = numbers.cast(pa.float32()).combine_chunks().to_numpy(zero_copy_only=False)
    return torch.from_numpy(array.copy()).reshape(table.num_rows, lengths.pop())


def _cells(field: Any, column: Any) -> list[Any]:
    """The values of one column of the items."""
    values = column.to_pylist()
    if (field.metadata or {}).get(b"stmga") == _JSON[b"stmga"]:
        try:
            values = [None if value is None else parse_json(value) for value in values]
            check_depth(values)
            return values
        except (TypeError, ValueError) as error:
            raise ValueError(f"the column {field.name!r} must have JSON texts: {escaped(str(error), 200)}") from error
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds <= {bool, int, float, str}:
        raise ValueError(
            f"the column {field.name!r} has the type {escaped(str(field.type), 80)}; "
            "expected texts, numbers or booleans; drop or cast it"
        )
    if any(value != value or value in (math.inf, -math.inf) for value in values if isinstance(value, float)):
        raise ValueError(f"the column {field.name!r} has a number that is not finite")
    return values
