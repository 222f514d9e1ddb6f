"""The file of embeddings: vectors, what describes each, and which weights made them, as safetensors."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stmga._version import __version__
from stmga.calibration import Calibration
from stmga.embedding.vectors import Vectors, save
from stmga.utils.foreign import check_depth, escaped, fast_json, parse_json

_FORMAT = "stmga-embeddings"
_FORMAT_VERSION = 2  # of files with float16 or int8 vectors; files with float32 vectors still have version 1


@dataclass(frozen=True, eq=False)
class EmbeddingsFile:
    """The contents of a file; its vectors are mapped into memory and read when they are used."""

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
    """Write embeddings whose vectors come in parts, whole or not at all; ValueError for items that JSON cannot keep."""
    check_items([*items, *skipped])
    text = items_json({"items": items, "skipped": skipped})
    metadata = {
        "format": _FORMAT,
        "format_version": "1" if parts[0].kind == "float32" else str(_FORMAT_VERSION),
        "digest": digest,
        "model": model.encode(errors="backslashreplace").decode(),
        "stmga": __version__,
    }
    if calibration is not None:
        metadata["calibration"] = json.dumps(calibration.to_dict())
    save(Path(path), parts, text.encode("ascii"), metadata)


def check_items(items: Sequence[Mapping[str, Any]]) -> None:
    """ValueError for items that JSON cannot keep because they are nested too deeply."""
    try:
        _check_nested(items)
    except ValueError as error:
        raise ValueError(f"the items cannot be kept as JSON: {error}; use plain, finite values") from error


def items_json(value: Any) -> str:
    """Checked items, or something made of them, as JSON; ValueError for values that JSON cannot keep."""
    try:
        # JSON's \u escapes keep any file name; UTF-8 has no bytes for one that is not valid Unicode.
        return json.dumps(value, default=_plain, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"the items cannot be kept as JSON: {error}; use plain, finite values") from error


def find_file(path: str | os.PathLike[str]) -> Path:
    """The path of an embeddings file, which is not read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is a folder, a pipe or a device.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no embeddings file {path}")
    if not path.is_file():
        raise ValueError(f"{_wrong(path)}, got {f'a folder{_first(path)}' if path.is_dir() else 'a pipe or a device'}")
    return path


def read_file(path: str | os.PathLike[str]) -> EmbeddingsFile:
    """Read what :func:`write_file` wrote; errors as of :meth:`Embeddings.load`."""
    path = find_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"{_wrong(path)}, got a safetensors file with {', '.join(list(file.keys())[:4])}")
            if not re.fullmatch("[0-9]{1,9}", metadata["format_version"]):
                raise _DamageError(f"format_version {metadata['format_version'][:20]!r}")
            if int(metadata["format_version"]) > _FORMAT_VERSION:
                version = escaped(metadata["stmga"], 40)
                raise ValueError(f"{path} comes from the newer stmga {version}, this is {__version__}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
        vectors = Vectors(tensors["vectors"], tensors.get("scale"))
        if fault := vectors.fault():
            raise _DamageError(fault)
        items, skipped = _rows(tensors["rows"])
        calibration = _calibration(metadata.get("calibration", "null"))  # files of older versions have none
        return EmbeddingsFile(vectors, items, skipped, metadata["digest"], metadata["model"], calibration)
    except (SafetensorError, KeyError, TypeError, RuntimeError, OSError, _DamageError) as error:
        reason = escaped(str(error), 200) or type(error).__name__
        raise ValueError(f"{_wrong(path)}, got a damaged or foreign file ({reason}){_first(path)}") from error


class _DamageError(Exception):
    """What is wrong inside a file; the message does not include its name."""


def _wrong(path: Path) -> str:
    return f"{path} is not an embeddings file; expected one written by Embeddings.save or `stmga embed`"


def _first(path: Path) -> str:
    """What to type where a command was given what embeddings are made of."""
    from stmga.tracklets.folders import IMAGES
    from stmga.tracklets.readers import VIDEOS

    suffix = path.suffix.lower()
    if suffix in VIDEOS:
        return f"; embed the tracks in the video first: `stmga embed TRACKS --mot-frames {path} -o OUT.safetensors`"
    if path.is_dir() or suffix in {".jsonl", *IMAGES}:
        return f"; embed it first: `stmga embed {path} -o OUT.safetensors`"
    return ""


def _rows(tensor: Tensor) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What describes each vector, and what was skipped; both are lists of objects with an id."""
    if tensor.dtype != torch.uint8 or tensor.ndim != 1:
        raise _DamageError(f"rows are {tensor.dtype} of shape {tuple(tensor.shape)}, not bytes")
    try:
        data = fast_json(tensor.numpy().tobytes(), parse_constant=_not_json, parse_float=_finite)
    except ValueError as error:
        raise _DamageError(f"rows are not JSON: {error}") from error
    if not isinstance(data, dict):
        raise _DamageError("rows are not an object")
    for name in ("items", "skipped"):
        if not isinstance(data[name], list) or not all(isinstance(row, dict) for row in data[name]):
            raise _DamageError(f"{name} is not a list of objects")
        if not all(isinstance(row.get("tracklet", ""), (str, int)) for row in data[name]):
            raise _DamageError(f"{name} has an id that is not text")
        try:
            _check_nested(data[name])
        except ValueError as error:
            raise _DamageError(f"{name}: {error}") from error
    if not all("tracklet" in row and isinstance(row.get("reason"), str) for row in data["skipped"]):
        raise _DamageError("skipped has a row without tracklet or reason")
    return data["items"], data["skipped"]


def _check_nested(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError for values that are nested more deeply than can be written again."""
    check_depth([value for row in rows for value in row.values() if isinstance(value, (Mapping, list))])


def _calibration(text: str) -> Calibration | None:
    try:
        found = parse_json(text)
        return None if found is None else Calibration.from_dict(found)
    except ValueError as error:
        raise _DamageError(f"its calibration cannot be used: {error}") from error


def _not_json(name: str) -> NoReturn:
    raise _DamageError(f"rows hold {name}, which is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_json(text[:20])


def _plain(value: Any) -> Any:
    """The values of a record's extra keys, as JSON values."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"an item holds {value!r} of type {type(value).__name__}, which JSON cannot keep; use plain values")
