"""Vectors as they are kept: float32, or float16 or int8 for large galleries, in memory or mapped from a file."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from stmga.utils.files import atomic_path

KINDS = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}
_CODES = {torch.float32: "F32", torch.float16: "F16", torch.int8: "I8", torch.uint8: "U8"}
_CHUNK = 1 << 16  # rows read or written at once, so that a mapped file is never in memory as a whole


class VectorRows(Protocol):
    """(n c) vectors, wherever they are."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int: ...

    def rows(self, which: slice | Tensor, device: str | torch.device = "cpu") -> Tensor:
        """Some rows as float32."""
        ...


@dataclass(frozen=True, eq=False)
class Vectors:
    """(n c) vectors in a smaller form; :meth:`rows` gives them back as float32.

    ``int8`` keeps each vector as whole numbers of 1/127 of its largest component, with that ``scale`` (n) beside it.

    >>> kept = Vectors.keep(torch.tensor([[0.6, -0.8]]), "int8")
    >>> kept.numbers, kept.rows(slice(None)).round(decimals=2)
    (tensor([[  95, -127]], dtype=torch.int8), tensor([[ 0.6000, -0.8000]]))
    """

    numbers: Tensor
    scale: Tensor | None = None

    @classmethod
    def keep(cls, vectors: Tensor, kind: str = "float32") -> Vectors:
        """Round to ``"float32"``, ``"float16"`` or ``"int8"``; ValueError for another."""
        check_kind(kind)
        if kind != "int8":
            return cls(vectors.to(KINDS[kind]))
        scale = vectors.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
        return cls((vectors / scale[:, None]).round().to(torch.int8), scale)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def dim(self) -> int:
        """Numbers c in a vector."""
        return int(self.numbers.shape[1])

    @property
    def kind(self) -> str:
        """``"float32"``, ``"float16"`` or ``"int8"``."""
        return next(name for name, dtype in KINDS.items() if dtype == self.numbers.dtype)

    def rows(self, which: slice | Tensor, device: str | torch.device = "cpu") -> Tensor:
        """Some rows as float32, decoded on ``device``."""
        numbers = self.numbers[which].to(device).float()
        return numbers if self.scale is None else numbers * self.scale[which].to(device)[:, None]

    def fault(self) -> str:
        """What is wrong with the form of vectors from a file; "" if nothing is. Their values are not looked at."""
        numbers, scale = self.numbers, self.scale
        if numbers.dtype not in KINDS.values() or numbers.ndim != 2 or numbers.shape[1] < 1:
            return f"vectors are {numbers.dtype} of shape {tuple(numbers.shape)}"
        if (scale is None) != (numbers.dtype != torch.int8):
            return "int8 vectors need a scale, and no others have one"
        if scale is not None and (scale.dtype != torch.float32 or scale.shape != (len(numbers),)):
            return f"the scale of {len(numbers)} vectors is {scale.dtype} of shape {tuple(scale.shape)}"
        return ""

    def unusable(self) -> list[int]:
        """Numbers of the rows whose length float32 cannot hold: NaN, infinite, or 0 without being a row of zeros."""
        broken = []
        for start in range(0, len(self), _CHUNK):
            rows = self.rows(slice(start, start + _CHUNK))
            length = rows.norm(dim=1)
            broken.append(~length.isfinite() | ((length == 0) & (rows != 0).any(1)))
        return torch.cat(broken).nonzero().flatten().tolist() if broken else []


def check_kind(kind: str) -> None:
    """Raise ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"vectors are kept as {', '.join(KINDS)}, got {kind!r}")


def save(path: Path, parts: Sequence[Vectors], rows: bytes, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file of ``vectors``, ``scale`` and ``rows``, part by part: it may be larger than the memory.

    Raises:
        OSError: the file cannot be written; an older one is untouched.
    """
    n, dim, dtype = sum(map(len, parts)), parts[0].dim, parts[0].numbers.dtype
    shapes: dict[str, tuple[torch.dtype, list[int]]] = {"vectors": (dtype, [n, dim])}
    if parts[0].scale is not None:
        shapes["scale"] = (torch.float32, [n])
    shapes["rows"] = (torch.uint8, [len(rows)])
    # Largest element size first, so that every tensor is aligned.
    order = sorted(shapes, key=lambda name: -shapes[name][0].itemsize)
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        dt, shape = shapes[name]
        start, end = end, end + dt.itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": _CODES[dt], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temp, open(temp, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            if name == "rows":
                file.write(rows)
                continue
            for part in parts:
                tensor = part.numbers if name == "vectors" else part.scale
                assert tensor is not None
                for chunk in tensor.split(_CHUNK):
                    file.write(chunk.contiguous().numpy().data)
        file.flush()
