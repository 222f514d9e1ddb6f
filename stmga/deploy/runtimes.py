"""The runtimes of exported files: each loads a file and returns the two halves that compute with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stmga.deploy.header import ExportHeader
from stmga.deploy.onnx_file import OnnxFile, onnx_session
from stmga.deploy.onnx_halves import INPUT, OUTPUTS, SEAM, halves
from stmga.deploy.openvino_file import OpenvinoFile, openvino_halves, without_telemetry
from stmga.deploy.program import rebuilt

RUNTIMES = {".pt2": ("torch",), ".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",)}


class Halves(NamedTuple):
    """What computes. Where a file has no halves, the first returns its frames, and the second is the whole file."""

    frames: Callable[[Tensor], Tensor]  # (n 3 h w) -> (n ...)
    clips: Callable[[Tensor], tuple[Tensor, Tensor]]  # (b t ...) -> embedding, feature (b c)


def suffix_of(path: str | os.PathLike[str]) -> str:
    """``".pt2"``, ``".onnx"`` or ``".xml"``; a file that is being written ends in ``.tmp``."""
    suffix = next((s for s in RUNTIMES if s in Path(path).suffixes), "")
    if not suffix:
        raise ValueError(f"an exported file ends in {' or '.join(RUNTIMES)}, got {path}")
    return suffix


def _torch(path: Path, source: Any, header: ExportHeader, providers: Sequence[str] | None, trust: bool) -> Halves:
    if trust:  # a program is whole
        with open(path, "rb") as file:
            program: Any = torch.export.load(file).module()
        return Halves(lambda frames: frames, torch.inference_mode()(lambda clips: tuple(program(clips))))
    network = rebuilt(source, header.config, header.frames)
    return Halves(torch.inference_mode()(network.encode_frames), torch.inference_mode()(network.encode_clips))


def _onnxruntime(path: Path, source: Any, header: ExportHeader, providers: Sequence[str] | None, trust: bool) -> Halves:
    def load(graph: bytes) -> Compute:
        session = onnx_session(graph, providers=providers)
        return lambda given, wanted: session.run(list(wanted), given)

    return _both([load(graph) for graph in _graphs(source)])


def _openvino(path: Path, source: Any, header: ExportHeader, providers: Sequence[str] | None, trust: bool) -> Halves:
    core = without_telemetry("openvino").Core()
    config: dict[str, Any] = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}

    def load(model: Any) -> Compute:
        compiled = core.compile_model(model, "CPU", config)

        def compute(given: dict[str, np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
            found = compiled(given)
            return [found[name].copy() for name in wanted]

        return compute

    if isinstance(source, OpenvinoFile):
        source.check_weights(header.digest)
        return _both([load(model) for model in openvino_halves(core.read_model(source.data, source.weights))])
    return _both([load(core.read_model(graph)) for graph in _graphs(source)])


Compute = Callable[[dict[str, np.ndarray], Sequence[str]], list[np.ndarray]]  # inputs by name, which outputs -> these


def _graphs(source: OnnxFile) -> list[bytes]:
    """The halves of an ONNX file; of a file without a seam, the whole."""
    return [half.SerializeToString() for half in halves(source.model)] or [source.data]


def _both(loaded: Sequence[Compute]) -> Halves:
    """Two loaded halves, or a whole file alone."""
    *first, last = loaded

    def frames(x: Tensor) -> Tensor:
        (found,) = first[0]({INPUT: x[None].numpy()}, [SEAM])  # all frames as one clip
        return torch.from_numpy(found)[0]

    def clips(features: Tensor) -> tuple[Tensor, Tensor]:
        embedding, feature = last({SEAM if first else INPUT: features.numpy()}, OUTPUTS)
        return torch.from_numpy(embedding), torch.from_numpy(feature)

    return Halves(frames if first else lambda x: x, clips)


LOADERS: dict[str, Callable[[Path, Any, ExportHeader, Sequence[str] | None, bool], Halves]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}
