"""One vector per tracklet together with who it is and which weights made it, in memory and as one safetensors file."""

from __future__ import annotations

import logging
import operator
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, overload

import numpy as np
import torch
from torch import Tensor

from stmga.calibration import Calibration
from stmga.embedding.embeddings_file import read_file, write_file
from stmga.embedding.same_weights import require_same_weights
from stmga.embedding.vectors import Vectors
from stmga.embedding.views import made_with
from stmga.utils.text import counted, did_you_mean, preview

if TYPE_CHECKING:
    import pyarrow

logger = logging.getLogger(__name__)


class Embedding(NamedTuple):
    """One row of :class:`Embeddings`: ``item`` says whose ``vector`` (c) it is."""

    item: dict[str, Any]
    vector: Tensor


@dataclass(eq=False)
class Embeddings:
    """``vectors`` (n, c) float32 on the CPU, row i of unit length for the tracklet described by ``items[i]``.

    An item is a plain dictionary: ``tracklet`` (its id, unique), ``person``, ``camera``, and what else the reader kept.
    ``digest`` says which weights made the vectors (``STMGA.digest()``): vectors of unequal digests cannot be compared.
    ``model`` is their name for people. ``skipped`` lists what could not be read, as ``{"tracklet", "reason"}``.
    ``calibration`` says what their similarities mean (:func:`stmga.metrics.calibrate`), or is None; one that was
    measured with other weights is dropped with a warning.

    A row number or an id gives one row, a pair of ``item`` and ``vector``; a slice gives embeddings, as :meth:`select`
    does for masks and lists of row numbers. A loop gives all rows in order, and ``in`` looks for an id.

    Raises:
        ValueError: counts that differ, a vector that is not finite, an item without id, an id that occurs twice.
        IndexError, KeyError: no such row, no such id.

    >>> embeddings = Embeddings(torch.eye(2), [{"tracklet": "a", "person": 7}, {"tracklet": "b"}], digest="1f0c")
    >>> embeddings.ids, embeddings.persons
    (['a', 'b'], [7, None])
    >>> embeddings["a"].vector, embeddings[-1].item
    (tensor([1., 0.]), {'tracklet': 'b'})
    >>> [(item["tracklet"], vector.argmax().item()) for item, vector in embeddings]
    [('a', 0), ('b', 1)]
    >>> embeddings[:1], "c" in embeddings
    (Embeddings(1 x 2, unnamed weights, 1 person), False)
    """

    vectors: Tensor
    items: list[dict[str, Any]]
    digest: str
    model: str = ""
    skipped: list[dict[str, Any]] = field(default_factory=list)
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.vectors, Tensor) or self.vectors.ndim != 2 or not self.vectors.is_floating_point():
            got = tuple(self.vectors.shape) if isinstance(self.vectors, Tensor) else type(self.vectors).__name__
            raise ValueError(f"vectors must be a float tensor (n, c), got {got}")
        self.vectors = self.vectors.detach().to("cpu", torch.float32)
        check_rows(Vectors(self.vectors), self.items)
        self.calibration = matching_calibration(self.calibration, self.digest)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        n, c = self.vectors.shape
        skipped = [f"{len(self.skipped):,} skipped"] if self.skipped else []
        return f"Embeddings({', '.join([f'{n:,} x {c}', *contents(self.model, self.items), *skipped])})"

    @overload
    def __getitem__(self, which: SupportsIndex | str) -> Embedding: ...
    @overload
    def __getitem__(self, which: slice) -> Embeddings: ...
    def __getitem__(self, which: SupportsIndex | str | slice) -> Embedding | Embeddings:
        if isinstance(which, slice):
            return self.select(range(len(self))[which])
        row = self._row(which)
        return Embedding(self.items[row], self.vectors[row])

    def __iter__(self) -> Iterator[Embedding]:
        return map(Embedding, self.items, self.vectors)

    def __contains__(self, name: object) -> bool:
        return any(str(item["tracklet"]) == name for item in self.items)

    def _row(self, which: SupportsIndex | str) -> int:
        if isinstance(which, str):
            for row, item in enumerate(self.items):
                if str(item["tracklet"]) == which:
                    return row
            raise KeyError(f"no tracklet {which!r} in {self}; {did_you_mean(which, self.ids)}".rstrip("; "))
        try:
            row = operator.index(which)
        except TypeError:
            what = "a row number, an id or a slice; for a mask or a list of rows use select"
            raise TypeError(f"embeddings are indexed by {what}, got {type(which).__name__}") from None
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {self}")
        return row

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.vectors.shape[1]

    @property
    def ids(self) -> list[str]:
        return [str(item["tracklet"]) for item in self.items]

    @property
    def persons(self) -> list[Any]:
        return [item.get("person") for item in self.items]

    @property
    def cameras(self) -> list[Any]:
        return [item.get("camera") for item in self.items]

    @property
    def flip(self) -> bool | None:
        """Whether mirror images were averaged in (``TrackletEmbedder(flip=True)``); None if in some rows only."""
        return made_with("flip", self.items)

    @property
    def two_sizes(self) -> bool | None:
        """Whether two sizes were averaged (``TrackletEmbedder(two_sizes=True)``); None if in some rows only."""
        return made_with("two_sizes", self.items)

    def select(self, which: Tensor | np.ndarray | Sequence[bool] | Sequence[int]) -> Embeddings:
        """The rows of a boolean mask (n,), or of row numbers in their order; the skipped list is not carried over.

        >>> items = [{"tracklet": "a", "role": "query"}, {"tracklet": "b", "role": "gallery"}]
        >>> embeddings = Embeddings(torch.eye(2), items, digest="1f0c")
        >>> embeddings.select([item["role"] == "query" for item in embeddings.items]).ids
        ['a']
        """
        chosen = torch.as_tensor(which, device="cpu")
        if chosen.numel() == 0:
            chosen = chosen.long()
        if chosen.dtype == torch.bool:
            if chosen.shape != (len(self),):
                raise ValueError(f"mask of shape {tuple(chosen.shape)}, expected ({len(self)},)")
            chosen = chosen.nonzero().flatten()
        if chosen.ndim != 1 or chosen.is_floating_point():
            raise TypeError(f"select takes a boolean mask or a list of row numbers, got {which!r}")
        chosen = chosen.long()
        if len(chosen) and not -len(self) <= int(chosen.min()) <= int(chosen.max()) < len(self):
            raise IndexError(f"row numbers {int(chosen.min())}..{int(chosen.max())} for {len(self)} embeddings")
        items = [self.items[i] for i in chosen.tolist()]
        return Embeddings(self.vectors[chosen], items, self.digest, self.model, calibration=self.calibration)

    def require_same_weights(self, other: Embeddings, this: str = "these embeddings", that: str = "the others") -> None:
        """Raise ValueError unless the vectors of ``other`` can be compared with these.

        Args:
            this, that: what the message calls the two, in the plural.
        """
        require_same_weights(self, other, this, that)

    @classmethod
    def concatenate(cls, parts: Iterable[Embeddings]) -> Embeddings:
        """The rows of several embeddings of the same weights, in order; their skipped lists too.

        A calibration is kept if all parts that have one agree; otherwise the result has none, with a warning.

        Raises:
            ValueError: nothing to concatenate, vectors of different weights, or an id that occurs twice.

        >>> a = Embeddings(torch.eye(2), [{"tracklet": "a1"}, {"tracklet": "a2"}], digest="1f0c")
        >>> b = Embeddings(torch.eye(2), [{"tracklet": "b1"}, {"tracklet": "b2"}], digest="1f0c")
        >>> Embeddings.concatenate([a, b]).ids
        ['a1', 'a2', 'b1', 'b2']
        """
        parts = list(parts)
        if not parts:
            raise ValueError("nothing to concatenate: give at least one Embeddings")
        for i, part in enumerate(parts[1:], 2):
            parts[0].require_same_weights(part, "embeddings 1", f"embeddings {i}")
        calibrations: list[Calibration] = []
        for part in parts:
            if part.calibration is not None and part.calibration not in calibrations:
                calibrations.append(part.calibration)
        if len(calibrations) > 1:
            logger.warning(
                "the embeddings have %d different calibrations, so the result keeps none; calibrate it again",
                len(calibrations),
            )
        return cls(
            torch.cat([part.vectors for part in parts]),
            [item for part in parts for item in part.items],
            parts[0].digest,
            next((part.model for part in parts if part.model), ""),
            [skip for part in parts for skip in part.skipped],
            calibrations[0] if len(calibrations) == 1 else None,
        )

    def save(self, path: str | os.PathLike[str], *, storage: str = "float32") -> Path:
        """Write one safetensors file; a failure (full disk, say) leaves an older file of that name as it was.

        Tensors: ``vectors`` and ``rows``, the bytes of the JSON ``{"items": [...], "skipped": [...]}``. A calibration
        is JSON in the metadata. ``storage`` "float16" or "int8" (with a tensor ``scale``) makes a smaller file, of
        rounded vectors (:class:`stmga.embedding.vectors.Vectors`).
        """
        kept = Vectors.keep(self.vectors, storage)
        write_file(path, [kept], self.items, self.skipped, self.digest, self.model, self.calibration)
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Embeddings:
        """Read what :meth:`save` wrote, or :meth:`Gallery.save`; vectors that were rounded come as float32.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is truncated, is something else, or comes from a newer stmga.
        """
        file = read_file(path)
        vectors = file.vectors.rows(slice(None))
        try:
            return cls(vectors, file.items, file.digest, file.model, file.skipped, file.calibration)
        except ValueError as error:
            raise ValueError(f"{path} cannot be used: {error}") from error

    def to_arrow(self) -> pyarrow.Table:
        """A ``pyarrow.Table`` for Parquet files and databases; needs ``pip install stmga[arrow]``.

        One row per tracklet, in order: a column per key of the items, then ``vector``, lists of c float32. A column
        whose values are all text, all whole numbers of 64 bits, all floats or all booleans has that type. Any other
        holds the JSON of each value as text, and its field has the metadata ``{"stmga": "json"}``. A key that an item
        lacks is null, and so is None. The metadata of the schema has digest, model, calibration and skipped.
        An item with the key "vector", or with a value that JSON cannot keep, is a ValueError.
        """
        from stmga.embedding.arrow import to_table

        return to_table(self)

    @classmethod
    def from_arrow(cls, table: pyarrow.Table) -> Embeddings:
        """The inverse of :meth:`to_arrow`; items lack the keys that are null. ValueError for any other table.

        >>> embeddings = Embeddings(torch.eye(2), [{"tracklet": "a", "person": 7}, {"tracklet": "b"}], digest="1f0c")
        >>> Embeddings.from_arrow(embeddings.to_arrow()).items
        [{'tracklet': 'a', 'person': 7}, {'tracklet': 'b'}]
        """
        from stmga.embedding.arrow import from_table

        return from_table(table, cls)


def check_rows(vectors: Vectors, items: Sequence[Mapping[str, Any]]) -> None:
    """ValueError for counts that differ, an item without id, an id that occurs twice, a vector that is not finite."""
    if len(vectors) != len(items):
        raise ValueError(f"{len(vectors)} vectors but {len(items)} items")
    nameless = [i for i, item in enumerate(items) if "tracklet" not in item]
    if nameless:
        raise ValueError(f"items without the key 'tracklet' (their id): rows {preview(nameless)}")
    ids = [str(item["tracklet"]) for item in items]
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f"{len(twice)} tracklet ids occur more than once: {preview(twice)}")
    if broken := vectors.unusable():
        raise ValueError(f"vectors whose length in float32 is 0 or not finite: {preview(ids[i] for i in broken)}")


def matching_calibration(calibration: Calibration | None, digest: str) -> Calibration | None:
    """The calibration, if it was measured with these weights; otherwise none, with a warning."""
    if calibration is None or calibration.digest == digest:
        return calibration
    logger.warning(
        "the calibration was measured with weights %s and is dropped: these vectors are of %s",
        calibration.digest[:12] or "unnamed",
        digest[:12] or "unnamed weights",
    )
    return None


def contents(model: str, items: Sequence[Mapping[str, Any]]) -> list[str]:
    """For a repr: the weights that made some vectors, and how many persons and cameras are known of their items."""
    text = [model or "unnamed weights"]
    for key in ("person", "camera"):
        known = {str(item[key]) for item in items if item.get(key) is not None}
        text += [counted(len(known), key)] if known else []
    return text
