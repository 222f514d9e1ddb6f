"""The runtimes of exported files: each loads a file and returns the function that computes with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stmga.deploy.header import ExportHeader
from stmga.deploy.program import rebuilt

RUNTIMES = {".pt2": ("torch",), ".onnx": ("onnxruntime", "openvino")}

Run = Callable[[Tensor], tuple[Tensor, Tensor]]


def suffix_of(path: str | os.PathLike[str]) -> str:
    """``".pt2"`` or ``".onnx"``; a file that is being written ends in ``.tmp``."""
    suffix = next((s for s in RUNTIMES if s in Path(path).suffixes), "")
    if not suffix:
        raise ValueError(f"an exported file ends in {' or '.join(RUNTIMES)}, got {path}")
    return suffix


def _torch(path: Path, source: Any, header: ExportHeader, providers: Sequence[str] | None, trust: bool) -> Run:
    if trust:
        with open(path, "rb") as file:
            network: Any = torch.export.load(file).module()
    else:
        network = rebuilt(source, header.config, header.frames)

    def run(clips: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            embedding, feature = network(clips)
        return embedding, feature

    return run


def _onnxruntime(path: Path, source: Any, header: ExportHeader, providers: Sequence[str] | None, trust: bool) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(source.data, options, providers=list(providers or ["CPUExecutionProvider"]))

    def run(clips: Tensor) -> tuple[Tensor, Tensor]:
        embedding, feature = session.run(["embedding", "feature"], {"clips": clips.numpy()})
        return torch.from_numpy(embedding), torch.from_numpy(feature)

    return run


def _openvino(path: Path, source: Any, header: ExportHeader, providers: Sequence[str] | None, trust: bool) -> Run:
    import openvino

    config: dict[str, Any] = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(source.data), "CPU", config)

    def run(clips: Tensor) -> tuple[Tensor, Tensor]:
        found = compiled(clips.numpy())
        return torch.from_numpy(found["embedding"].copy()), torch.from_numpy(found["feature"].copy())

    return run


LOADERS: dict[str, Callable[[Path, Any, ExportHeader, Sequence[str] | None, bool], Run]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}
