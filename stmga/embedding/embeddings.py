"""One vector per tracklet together with who it is and which weights made it, in memory and as one safetensors file."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stmga._version import __version__
from stmga.calibration import Calibration
from stmga.embedding.vectors import Vectors, save
from stmga.utils.text import preview

logger = logging.getLogger(__name__)

_FORMAT = "stmga-embeddings"
_FORMAT_VERSION = 2  # of files with smaller numbers; those with float32 are still of version 1


@dataclass(eq=False)
class Embeddings:
    """``vectors`` (n, c) float32 on the CPU, row i of unit length for the tracklet described by ``items[i]``.

    An item is a plain dictionary: ``tracklet`` (its id, unique), ``person``, ``camera``, and what else the reader kept.
    ``digest`` says which weights made the vectors (``STMGA.digest()``): vectors of unequal digests cannot be compared.
    ``model`` is their name for people. ``skipped`` lists what could not be read, as ``{"tracklet", "reason"}``.
    ``calibration`` says what their similarities mean (:func:`stmga.metrics.calibrate`), or is None; one that was
    measured with other weights is dropped with a warning.

    Raises:
        ValueError: counts that differ, a vector that is not finite, an item without id, an id that occurs twice.

    >>> embeddings = Embeddings(torch.eye(2), [{"tracklet": "a", "person": 7}, {"tracklet": "b"}], digest="1f0c")
    >>> embeddings.ids, embeddings.persons
    (['a', 'b'], [7, None])
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
        self.calibration = fitting(self.calibration, self.digest)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        n, c = self.vectors.shape
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"Embeddings({n} x {c}, model={self.model or 'unnamed'!r}, digest={self.digest[:12]!r}{skipped})"

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
        """Whether features of mirrored clips were averaged in (``TrackletEmbedder(flip=True)``); None: in some alone.

        >>> Embeddings(torch.eye(2), [{"tracklet": "a", "flip": True}, {"tracklet": "b"}], digest="1f0c").flip
        """
        found = {item.get("flip", False) is True for item in self.items}
        return found.pop() if len(found) == 1 else (None if found else False)

    def select(self, which: Tensor | np.ndarray | Sequence[bool] | Sequence[int]) -> Embeddings:
        """The rows of a boolean mask (n,), or of row numbers in their order; the skipped list is not carried over.

        >>> items = [{"tracklet": "a", "role": "query"}, {"tracklet": "b", "role": "gallery"}]
        >>> embeddings = Embeddings(torch.eye(2), items, digest="1f0c")
        >>> embeddings.select([item["role"] == "query" for item in embeddings.items]).ids
        ['a']
        """
        chosen = torch.as_tensor(which).cpu()
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
        return read_file(path).embeddings()


@dataclass(frozen=True, eq=False)
class EmbeddingsFile:
    """What a file holds; its vectors are mapped into memory, and read when they are looked at."""

    vectors: Vectors
    items: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    digest: str
    model: str
    calibration: Calibration | None

    def embeddings(self) -> Embeddings:
        """All of it in memory, the vectors as float32."""
        vectors = self.vectors.rows(slice(None))
        return Embeddings(vectors, self.items, self.digest, self.model, self.skipped, self.calibration)


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
    if broken := vectors.not_finite():
        raise ValueError(f"vectors that are not finite: {preview(ids[i] for i in broken)}")


def fitting(calibration: Calibration | None, digest: str) -> Calibration | None:
    """The calibration, if it was measured with these weights; otherwise none, with a warning."""
    if calibration is None or calibration.digest == digest:
        return calibration
    logger.warning(
        "the calibration was measured with weights %s and is dropped: these vectors are of %s",
        calibration.digest[:12] or "unnamed",
        digest[:12] or "unnamed weights",
    )
    return None


def write_file(
    path: str | os.PathLike[str],
    parts: Sequence[Vectors],
    items: Sequence[Mapping[str, Any]],
    skipped: Sequence[Mapping[str, Any]],
    digest: str,
    model: str,
    calibration: Calibration | None,
) -> None:
    """Write embeddings whose vectors come in parts, whole or not at all."""
    # JSON's \u escapes keep any file name; UTF-8 has no bytes for one that is not valid Unicode.
    rows = json.dumps({"items": items, "skipped": skipped}, default=_plain).encode("ascii")
    metadata = {
        "format": _FORMAT,
        "format_version": "1" if parts[0].kind == "float32" else str(_FORMAT_VERSION),
        "digest": digest,
        "model": model.encode(errors="backslashreplace").decode(),
        "stmga": __version__,
    }
    if calibration is not None:
        metadata["calibration"] = json.dumps(calibration.to_dict())
    save(Path(path), parts, rows, metadata)


def read_file(path: str | os.PathLike[str]) -> EmbeddingsFile:
    """Read what :func:`write_file` wrote; errors as of :meth:`Embeddings.load`."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no embeddings file {path}")
    wrong = f"{path} is not an embeddings file; expected one written by Embeddings.save or `stmga embed`"
    if path.is_dir():
        raise ValueError(f"{wrong}, got a folder")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"{wrong}, got a safetensors file with {', '.join(list(file.keys())[:4])}")
            if int(metadata["format_version"]) > _FORMAT_VERSION:
                raise ValueError(f"{path} comes from the newer stmga {metadata['stmga']}, this is {__version__}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        vectors = Vectors(tensors["vectors"], tensors.get("scale"))
        data = json.loads(tensors["rows"].numpy().tobytes())
        told = json.loads(metadata.get("calibration", "null"))  # files of older versions have none
        calibration = None if told is None else Calibration.from_dict(told)
        return EmbeddingsFile(
            vectors, data["items"], data["skipped"], metadata["digest"], metadata["model"], calibration
        )
    except (SafetensorError, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{wrong}, got a damaged or foreign file ({error})") from error


def _plain(value: Any) -> Any:
    """What people put into a record's extra keys, as JSON values."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"an item holds {value!r} of type {type(value).__name__}, which JSON cannot keep; use plain values")
