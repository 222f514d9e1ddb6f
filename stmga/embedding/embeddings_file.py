"""The file of embeddings: vectors, what describes each, and which weights made them, as safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stmga._version import __version__
from stmga.calibration import Calibration
from stmga.embedding.file_format import FileFormat
from stmga.embedding.vectors import Vectors, save

FORMAT = FileFormat(
    key="stmga-embeddings",
    version=2,  # of files with smaller numbers; those with float32 are still of version 1
    name="embeddings file",
    writer="Embeddings.save or `stmga embed`",
)


@dataclass(frozen=True, eq=False)
class EmbeddingsFile:
    """What a file holds; its vectors are mapped into memory, and read when they are looked at."""

    vectors: Vectors
    items: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    digest: str
    model: str
    calibration: Calibration | None


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
        "format": FORMAT.key,
        "format_version": "1" if parts[0].kind == "float32" else str(FORMAT.version),
        "digest": digest,
        "model": model.encode(errors="backslashreplace").decode(),
        "stmga": __version__,
    }
    if calibration is not None:
        metadata["calibration"] = json.dumps(calibration.to_dict())
    save(Path(path), parts, rows, metadata)


def read_file(path: str | os.PathLike[str]) -> EmbeddingsFile:
    """Read what :func:`write_file` wrote; errors as of :meth:`Embeddings.load`."""
    metadata, tensors = FORMAT.read(path)
    try:
        vectors = Vectors(tensors["vectors"], tensors.get("scale"))
        data = json.loads(tensors["rows"].numpy().tobytes())
        known = json.loads(metadata.get("calibration", "null"))  # files of older versions have none
        calibration = None if known is None else Calibration.from_dict(known)
        return EmbeddingsFile(
            vectors, data["items"], data["skipped"], metadata["digest"], metadata["model"], calibration
        )
    except (KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FORMAT.damaged(path, error) from error


def _plain(value: Any) -> Any:
    """What people put into a record's extra keys, as JSON values."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"an item holds {value!r} of type {type(value).__name__}, which JSON cannot keep; use plain values")
