"""The file of embeddings: vectors, what describes each, and which weights made them, as safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stmga._version import __version__
from stmga.calibration import Calibration
from stmga.embedding.vectors import Vectors, save

_FORMAT = "stmga-embeddings"
_FORMAT_VERSION = 2  # of files with smaller numbers; those with float32 are still of version 1


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
