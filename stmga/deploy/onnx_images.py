"""An ``.onnx`` file that stmga did not write, and that takes images: checked, then run frame by frame."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stmga.deploy.onnx_file import OnnxFile, onnx_session
from stmga.utils.foreign import escaped, reason_of
from stmga.utils.text import preview

FLOATS = {"float": torch.float32, "float16": torch.float16}


class OnnxImages:
    """(n 3 h w) float32 -> (n ...): a network of single images in an ``.onnx`` file, run by ONNX Runtime on the CPU.

    The file needs one input of float32 or float16, laid out as NCHW. If it takes a fixed number n of images, more are
    computed in several runs; the last image fills up a run that has fewer, and what it gives is dropped.

    Args:
        path: the file. It may not read other files, hold loops, or use operators of a runtime's own.
        output: which output to take; "" is the only one.

    Attributes:
        size: (height, width) as the file states them; None for an axis of any length.
        batch: how many images it takes at once; None for any number.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file; the message says what its inputs and outputs are.
        ImportError: onnx or onnxruntime is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, output: str = "") -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(f"no ONNX file {self.path}")
        try:
            file = OnnxFile(self.path, "stmga")
            if file.header:
                raise ValueError("`stmga export` wrote it; use stmga.deploy.ExportedModel(path)")
            file.check(foreign=True)
            self.input = _image_input(file.model.graph)
            self.output = _chosen(file.model.graph, output)
            self._session = onnx_session(file.data)
        except ImportError as error:
            raise ImportError(f"{self.path} needs onnx and onnxruntime: pip install 'stmga[onnx]'") from error
        except Exception as error:  # each library has errors of its own
            raise ValueError(f"{self.path} cannot be used as a network of images: {reason_of(error, 400)}") from error
        assert self.input.dims is not None  # it is an image
        batch, _, height, width = self.input.dims
        self.batch = batch if isinstance(batch, int) else None
        self.size = tuple(n if isinstance(n, int) else None for n in (height, width))
        self.sha256 = hashlib.sha256(file.data).hexdigest()

    def check_size(self, size: Sequence[int]) -> None:
        """Raise ValueError unless the file takes images of this (height, width)."""
        if any(stated not in (None, asked) for stated, asked in zip(self.size, size, strict=True)):
            height, width = (n or "any" for n in self.size)
            raise ValueError(f"{self.path} takes images of {height} x {width} (height x width), got size={tuple(size)}")

    def __call__(self, frames: Tensor) -> Tensor:
        return torch.cat([self._run(part) for part in frames.split(self.batch or len(frames))])

    def _run(self, frames: Tensor) -> Tensor:
        n = len(frames)
        if self.batch is not None and n < self.batch:
            frames = torch.cat([frames, frames[-1:].expand(self.batch - n, -1, -1, -1)])
        given = {self.input.name: frames.to(FLOATS[self.input.kind]).contiguous().numpy()}
        found = torch.from_numpy(self._session.run([self.output], given)[0])
        if found.ndim == 0 or len(found) != len(frames):
            raise ValueError(f"it gives {tuple(found.shape)} for {len(frames)} images; expected a row for each")
        return found[:n]


class Value(NamedTuple):
    """An input or output of a graph, as it is stated."""

    name: str
    kind: str  # such as "float"
    dims: tuple[int | str, ...] | None  # a text is an axis of any length

    def __str__(self) -> str:
        shape = "of no stated shape" if self.dims is None else f"({', '.join(map(str, self.dims))})"
        return escaped(f"{self.name!r}: {self.kind} {shape}", 120)


def _values(stated: Any) -> Iterator[Value]:
    import onnx

    for value in stated:
        if value.type.WhichOneof("value") != "tensor_type":
            yield Value(value.name, "no tensor", None)
            continue
        tensor = value.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        dims = [d.dim_value if d.HasField("dim_value") else d.dim_param or "any" for d in tensor.shape.dim]
        yield Value(value.name, kind, tuple(dims) if tensor.HasField("shape") else None)


def _image_input(graph: Any) -> Value:
    """The only input, which must be images as NCHW."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = list(_values(value for value in graph.input if value.name not in weights))
    if len(inputs) != 1:
        raise ValueError(f"expected one input, images (n, 3, h, w), got {len(inputs)}: {preview(inputs) or 'none'}")
    (found,) = inputs
    if found.dims is None or len(found.dims) != 4:
        raise ValueError(f"its input is not an image: expected float (n, 3, h, w), got {found}")
    if found.dims[3] == 3 and found.dims[1] != 3:
        raise ValueError(
            f"its input has its channels last: expected (n, 3, h, w), got {found}; export it with the layout NCHW"
        )
    if isinstance(found.dims[1], int) and found.dims[1] != 3:
        raise ValueError(f"its input is no RGB image: expected (n, 3, h, w), got {found}")
    if found.kind not in FLOATS:
        raise ValueError(f"its input must be {' or '.join(FLOATS)}, got {found}; export it without its preprocessing")
    return found


def _chosen(graph: Any, name: str) -> str:
    outputs = list(_values(graph.output))
    names = [value.name for value in outputs]
    if name in names or (not name and len(names) == 1):
        return name or names[0]
    what = f"it has no output {name!r}" if name else "choose one of its outputs by output=NAME"
    raise ValueError(f"{what}; it has {preview(outputs, 8)}")
