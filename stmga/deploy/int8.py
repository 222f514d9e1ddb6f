"""Export of a network in int8, as ONNX or for OpenVINO, calibrated and compared on tracklets."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from stmga.deploy.calibration_frames import clips_of, frames_of, split
from stmga.deploy.export import export
from stmga.deploy.exported import ExportedModel
from stmga.deploy.header import METADATA
from stmga.deploy.onnx_file import OnnxFile
from stmga.deploy.quantization import TRUNK, Graph, OnnxQuantizer
from stmga.hub.records import WeightRecord
from stmga.model import STMGA
from stmga.tracklets import Tracklet, read_tracklets
from stmga.utils.files import write_all

ONNX = ("onnx", "onnxscript", "onnxruntime")
QUANTIZERS = {".onnx": ONNX, ".xml": (*ONNX, "openvino", "nncf")}  # what such a file is written with
LEAST_COSINE = 0.98  # of int8 and float32 embeddings, the mean over held out tracklets; below, nothing is written
MORE_LOSS = 1.1  # a head is in int8 if the loss of cosine stays below this many times that of the trunk in int8 alone
ROUNDING = 1e-4  # and a loss of so little more does not count


class Quantizer(Protocol):
    """Makes int8 of an exported graph, for one runtime. It is built of the float32 file and of clips to calibrate on.

    Attributes:
        graph: the float32 graph.
        methods: names of its ways to find the ranges of activations.
    """

    graph: Graph
    methods: Sequence[str]

    def quantized(self, method: str, modules: Sequence[str]) -> Any:
        """A model with these modules in int8; other weights are stored in half precision."""

    def digest(self, model: Any) -> str:
        """Of the numbers in it, 64 hexadecimal digits."""

    def files(self, model: Any, path: Path, header: str) -> dict[Path, bytes]:
        """The files at ``path`` and beside it; the first of them is at ``path``."""


@dataclass(frozen=True)
class Int8Export:
    """What was written, and how it compares with float32 on tracklets that it was not calibrated on.

    Attributes:
        path, size: the file and its bytes, with those of the ``.bin`` beside an ``.xml``.
        float_size: bytes of the same network in float32.
        ranges: how the ranges of activations were found, such as ``"min and max"`` or ``"percentile"``.
        float_heads: modules that stayed in floating point because int8 loses too much in them.
        calibrated: frames that ranges were measured on.
        cosines: per installed runtime, the cosine of the two embeddings of every held out tracklet (n).
        held_out: these tracklets; ``exact`` and ``found`` are their float32 and int8 embeddings (n c).
    """

    path: Path
    size: int
    float_size: int
    ranges: str
    float_heads: tuple[str, ...]
    calibrated: int
    cosines: dict[str, Tensor]
    held_out: tuple[Tracklet, ...] = field(repr=False)
    exact: Tensor = field(repr=False)
    found: Tensor = field(repr=False)

    def __str__(self) -> str:
        cosines = ", ".join(f"{name} {float(c.mean()):.4f}" for name, c in self.cosines.items())
        share = self.size / self.float_size
        return f"{self.path} ({self.size / 1e6:.1f} MB, {share:.2f} of float32): mean cosine to float32: {cosines}"


def export_int8(
    model: STMGA,
    path: str | os.PathLike[str],
    tracklets: Any,
    *,
    frames: Sequence[int] | None = None,
    opset: int | None = None,
) -> Int8Export:
    """Write a network to ``path`` with int8 convolutions and matrix products, for processors.

    An ``.onnx`` file has QuantizeLinear and DequantizeLinear nodes, which ONNX Runtime and OpenVINO turn into int8
    kernels. An ``.xml`` file is for OpenVINO alone: nncf quantises it, and its weights are in a ``.bin`` beside it.
    Input, outputs and use are those of :func:`stmga.export`. Some tracklets calibrate the ranges of activations; the
    others are held out and compared. Of two ways to find ranges for ``.onnx``, the better one is taken; heads that
    lose too much stay in floating point, with their weights stored in half precision.

    Embeddings of the file are close to those of the network, but not the same: the file has a digest of its own, so
    that both are not mixed in a gallery, and no thresholds, which belong to the network. Measure them again with
    ``stmga calibrate``.

    Args:
        model: in eval mode, on any device.
        path: where to write, ending in ``.onnx`` or ``.xml``.
        tracklets: what :func:`stmga.tracklets.read_tracklets` takes, such as a folder of crops; people like those whom
            the file will see. At least two tracklets and 32 frames, of which at most 8 of a tracklet count; more than
            768 frames are not used.
        frames, opset: as for :func:`stmga.export`.

    Raises:
        ValueError: another suffix, fewer frames, a network whose trunk int8 cannot compute, or what
            :func:`stmga.export` refuses.
        ImportError: without the packages of ``pip install stmga[int8]``.
        RuntimeError: the mean cosine to float32 is below 0.98; nothing is written.

    Example:
        >>> import stmga
        >>> model = stmga.create_model("stmga_resnet18_c4", pretrained=True)
        >>> print(export_int8(model, "person-int8.onnx", "crops/"))  # doctest: +SKIP
    """
    path = Path(path)
    _check_packages(path)
    calibration, held_out = split(read_tracklets(tracklets))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "float32.onnx")
        float_size = export(model, whole, frames=frames, opset=opset).size
        exported = ExportedModel(whole, runtime="onnxruntime")
        test = [clips_of(tracklet, exported) for tracklet in held_out]
        exact = _embed(exported, test)
        quantizer = _quantizer(path)(whole, [clips_of(tracklet, exported) for tracklet in calibration])
        about = json.loads(OnnxFile(whole, METADATA).header)
        trial = Path(folder, "trial").with_suffix(path.suffix)
        chosen = _choose(quantizer, lambda graph: _cosine(_written(quantizer, graph, trial, about), test, exact))
        written = _written(quantizer, chosen.graph, trial, _about(about, chosen))
        embeddings = {name: _embed(ExportedModel(trial, runtime=name), test) for name in ExportedModel.runtimes(trial)}
        cosines = {name: torch.cosine_similarity(exact, found) for name, found in embeddings.items()}
        _check_cosines(path, cosines)
        files = {path.with_suffix(file.suffix): file.read_bytes() for file in written}
    write_all(files)
    return Int8Export(
        path,
        sum(map(len, files.values())),
        float_size,
        chosen.ranges,
        chosen.float_heads,
        frames_of(calibration),
        cosines,
        tuple(held_out),
        exact,
        next(iter(embeddings.values())),
    )


def _check_cosines(path: Path, cosines: dict[str, Tensor]) -> None:
    for name, cosine in cosines.items():
        if not float(cosine.mean()) >= LEAST_COSINE:  # NaN too
            raise RuntimeError(
                f"{path} was not written: in {name} the mean cosine to float32 is {float(cosine.mean()):.4f}, and at "
                f"least {LEAST_COSINE} is wanted; calibrate on more tracklets, or export without int8"
            )


def _check_packages(path: Path) -> None:
    """The suffix, and that what writes such a file is installed."""
    if path.suffix not in QUANTIZERS:
        raise ValueError(f"an int8 file ends in {' or '.join(QUANTIZERS)}, got {path}")
    missing = [name for name in QUANTIZERS[path.suffix] if find_spec(name) is None]
    if missing:
        raise ImportError(f"writing {path} in int8 needs {', '.join(missing)}: pip install 'stmga[int8]'")


def _quantizer(path: Path) -> Callable[[Path, Sequence[Tensor]], Quantizer]:
    if path.suffix == ".onnx":
        return OnnxQuantizer
    from stmga.deploy.openvino_int8 import OpenvinoQuantizer

    return OpenvinoQuantizer


def _embed(exported: ExportedModel, tracklets: Iterable[Tensor]) -> Tensor:
    """Clips of each tracklet, (k t 3 h w) -> (n c), the mean over its clips, of unit length."""
    return exported.forward_head(torch.stack([exported.encode(clips).mean(0) for clips in tracklets]))


@dataclass
class _Chosen:
    """A quantised graph, and how it was chosen."""

    graph: Any
    ranges: str
    float_heads: tuple[str, ...]
    cosine: float


def _choose(quantizer: Quantizer, cosine_of: Callable[[Any], float]) -> _Chosen:
    """The better ranges for the trunk, then each head that int8 does not hurt."""
    made = {name: quantizer.quantized(name, [TRUNK]) for name in quantizer.methods}
    cosines = {name: cosine_of(model) for name, model in made.items()}
    best = max(cosines, key=cosines.__getitem__)
    wanted = 1 - MORE_LOSS * (1 - cosines[best]) - ROUNDING
    modules, model, cosine = [TRUNK], made[best], cosines[best]
    for head in quantizer.graph.heads:
        trial = quantizer.quantized(best, [*modules, head])
        if (found := cosine_of(trial)) >= wanted:
            modules, model, cosine = [*modules, head], trial, found
    return _Chosen(model, best, tuple(head for head in quantizer.graph.heads if head not in modules), cosine)


def _written(quantizer: Quantizer, graph: Any, path: Path, about: dict[str, Any]) -> list[Path]:
    """Write the files of a graph, with its own digest in the header."""
    files = quantizer.files(graph, path, json.dumps({**about, "digest": quantizer.digest(graph)}))
    for file, data in files.items():
        file.write_bytes(data)
    return list(files)


def _cosine(files: Sequence[Path], clips: Sequence[Tensor], exact: Tensor) -> float:
    """The mean cosine of a written graph's embeddings and the exact ones, in the first runtime of such a file."""
    found = _embed(ExportedModel(files[0]), clips)
    return float(torch.cosine_similarity(found, exact).mean())


def _about(about: dict[str, Any], chosen: _Chosen) -> dict[str, Any]:
    """The header of the int8 file: without figures and thresholds, which are the network's."""
    how = {
        "of": about["digest"],
        "ranges": chosen.ranges,
        "float_heads": list(chosen.float_heads),
        "cosine": round(chosen.cosine, 6),
    }
    if about["record"] is None:
        return {**about, "int8": how}
    record = WeightRecord.from_json(json.dumps(about["record"]))
    plain = replace(record, calibration=None, metrics=(), frames=(), camera_pairs=(), elsewhere=(), speed=())
    renamed = replace(plain, name=f"{record.name}-int8" if record.name else "")
    return {**about, "int8": how, "record": json.loads(renamed.to_json())}
