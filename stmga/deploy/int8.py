"""Export of a network as ONNX in int8, calibrated and compared on tracklets."""

from __future__ import annotations

import hashlib
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stmga.deploy.export import export
from stmga.deploy.exported import ExportedModel
from stmga.deploy.header import METADATA
from stmga.deploy.quantization import METHODS, TRUNK, Graph, activation_ranges, quantized
from stmga.hub.records import WeightRecord
from stmga.model import STMGA
from stmga.tracklets import Tracklet, read_tracklets
from stmga.tracklets.split import evenly_spaced
from stmga.utils.files import atomic_path

LEAST_FRAMES = 32  # of all tracklets together
CALIBRATE, HOLD_OUT = 256, 512  # frames at most, for ranges and for the comparison
PER_TRACKLET = 8  # frames of a tracklet, more only if a clip has more
LEAST_COSINE = 0.98  # of int8 and float32 embeddings, the mean over held out tracklets; below, nothing is written
MORE_LOSS = 1.1  # a head is in int8 if the loss of cosine stays below this many times that of the trunk in int8 alone
ROUNDING = 1e-4  # and a loss of so little more does not count
INPUT = "clips"


@dataclass(frozen=True)
class Int8Export:
    """What was written, and how it compares with float32 on tracklets that it was not calibrated on.

    Attributes:
        path, size: the file and its bytes.
        float_size: bytes of the same network in float32.
        ranges: how the ranges of activations were found, ``"min and max"`` or ``"percentile"``.
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
    """Write a network to ``path`` (``.onnx``) with int8 convolutions and matrix products, for processors.

    The file has QuantizeLinear and DequantizeLinear nodes, which ONNX Runtime and OpenVINO turn into int8 kernels.
    Input, outputs and use are those of :func:`stmga.export`. Some tracklets calibrate the ranges of activations; the
    others are held out and compared. Of two ways to find ranges, the better one is taken; heads that lose too much
    stay in floating point, with their weights stored in half precision.

    Embeddings of the file are close to those of the network, but not the same: the file has a digest of its own, so
    that both are not mixed in a gallery, and no thresholds, which belong to the network. Measure them again with
    ``stmga calibrate``.

    Args:
        model: in eval mode, on any device.
        path: where to write, ending in ``.onnx``.
        tracklets: what :func:`stmga.tracklets.read_tracklets` takes, such as a folder of crops; people like those whom
            the file will see. At least two tracklets and 32 frames, of which at most 8 of a tracklet count; more than
            768 frames are not used.
        frames, opset: as for :func:`stmga.export`.

    Raises:
        ValueError: fewer frames, a network whose trunk int8 cannot compute, or what :func:`stmga.export` refuses.
        ImportError: without the packages of ``pip install stmga[int8]``.
        RuntimeError: the mean cosine to float32 is below 0.98; nothing is written.

    Example:
        >>> import stmga
        >>> model = stmga.create_model("stmga_resnet18_c4", pretrained=True)
        >>> print(export_int8(model, "person-int8.onnx", "crops/"))  # doctest: +SKIP
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"an int8 file ends in .onnx, got {path}")
    _check_packages(path)
    calibration, held_out = _split(read_tracklets(tracklets))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "float32.onnx")
        float_size = export(model, whole, frames=frames, opset=opset).size
        exported = ExportedModel(whole, runtime="onnxruntime")
        clips = [_clips(tracklet, exported) for tracklet in calibration]
        test = [_clips(tracklet, exported) for tracklet in held_out]
        exact = _embed(exported, test)
        chosen = _choose(whole, clips, lambda graph: _cosine(graph, folder, test, exact))
    with atomic_path(path) as temp:
        temp.write_bytes(_with_header(chosen).SerializeToString())
        embeddings = {name: _embed(ExportedModel(temp, runtime=name), test) for name in ExportedModel.runtimes(path)}
        cosines = {name: torch.cosine_similarity(exact, found) for name, found in embeddings.items()}
        _check_cosines(path, cosines)
    return Int8Export(
        path,
        path.stat().st_size,
        float_size,
        chosen.ranges,
        chosen.float_heads,
        _used(calibration),
        cosines,
        tuple(held_out),
        exact,
        embeddings["onnxruntime"],
    )


def _check_cosines(path: Path, cosines: dict[str, Tensor]) -> None:
    for name, cosine in cosines.items():
        if not float(cosine.mean()) >= LEAST_COSINE:  # NaN too
            raise RuntimeError(
                f"{path} was not written: in {name} the mean cosine to float32 is {float(cosine.mean()):.4f}, and at "
                f"least {LEAST_COSINE} is wanted; calibrate on more tracklets, or export without int8"
            )


def _check_packages(path: Path) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime.quantization  # noqa: F401
    except ImportError as error:
        raise ImportError(f"writing {path} in int8 needs more packages: pip install 'stmga[int8]'") from error


def _split(tracklets: Sequence[Tracklet]) -> tuple[list[Tracklet], list[Tracklet]]:
    """Tracklets to calibrate on, and others of other persons for the comparison.

    Raises:
        ValueError: too few of them.
    """
    total = _used(tracklets)
    if total < LEAST_FRAMES:
        raise ValueError(
            f"int8 needs at least {LEAST_FRAMES} frames, of which at most {PER_TRACKLET} of a tracklet count, got "
            f"{total}; give more crops"
        )
    persons: dict[Any, list[Tracklet]] = {}
    for tracklet in tracklets:
        persons.setdefault(tracklet.id if tracklet.person is None else ("person", tracklet.person), []).append(tracklet)
    groups = list(persons.values())
    if len(groups) < 2:
        raise ValueError(
            f"int8 needs at least two {'persons' if len(tracklets) > 1 else 'tracklets'}, one to calibrate on and one "
            "to compare with, got one"
        )
    random.Random(0).shuffle(groups)
    calibration: list[Tracklet] = []
    while len(groups) > 1 and _used(calibration) < min(CALIBRATE, total // 2):
        calibration += groups.pop()
    return _up_to(CALIBRATE, calibration), _up_to(HOLD_OUT, [tracklet for group in groups for tracklet in group])


def _up_to(frames: int, tracklets: Iterable[Tracklet]) -> list[Tracklet]:
    kept: list[Tracklet] = []
    for tracklet in tracklets:
        if _used(kept) >= frames:
            break
        kept.append(tracklet)
    return kept


def _used(tracklets: Iterable[Tracklet]) -> int:
    """Frames that are used of them."""
    return sum(min(len(tracklet), PER_TRACKLET) for tracklet in tracklets)


def _indices(tracklet: Tracklet, length: int) -> list[int]:
    """Frames of whole clips: some spread over a long tracklet; a short one loops, as the embedder does it."""
    n = len(tracklet)
    wanted = length * max(1, min(n, PER_TRACKLET) // length)
    return evenly_spaced(n, wanted) if n > wanted else [i % n for i in range(wanted)]


def _clips(tracklet: Tracklet, exported: ExportedModel) -> Tensor:
    """(k t 3 h w), as the file takes them."""
    frames = tracklet.load(_indices(tracklet, exported.clip_length))
    try:
        return exported.transform(frames).unflatten(0, (-1, exported.clip_length))
    except (ValueError, TypeError) as error:
        raise ValueError(f'tracklet "{tracklet.id}": {error}') from error


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


def _choose(whole: Path, clips: Sequence[Tensor], cosine_of: Callable[[Any], float]) -> _Chosen:
    """The better ranges for the trunk, then each head that int8 does not hurt."""
    import onnx

    graph = Graph(onnx.load(whole))
    ranges = {name: activation_ranges(graph, name, [clip.numpy() for clip in clips], INPUT) for name in METHODS}
    made = {name: quantized(graph, found, [TRUNK]) for name, found in ranges.items()}
    cosines = {name: cosine_of(model) for name, model in made.items()}
    best = max(cosines, key=cosines.__getitem__)
    wanted = 1 - MORE_LOSS * (1 - cosines[best]) - ROUNDING
    modules, model, cosine = [TRUNK], made[best], cosines[best]
    for head in graph.heads:
        trial = quantized(graph, ranges[best], [*modules, head])
        if (found := cosine_of(trial)) >= wanted:
            modules, model, cosine = [*modules, head], trial, found
    return _Chosen(model, best, tuple(head for head in graph.heads if head not in modules), cosine)


def _cosine(graph: Any, folder: str, clips: Sequence[Tensor], exact: Tensor) -> float:
    """The mean cosine of a graph's embeddings and the exact ones, in ONNX Runtime."""
    path = Path(folder, "trial.onnx")
    path.write_bytes(graph.SerializeToString())
    found = _embed(ExportedModel(path, runtime="onnxruntime"), clips)
    return float(torch.cosine_similarity(found, exact).mean())


def _with_header(chosen: _Chosen) -> Any:
    """The graph with a header of its own: another digest, and no figures or thresholds, which are the network's."""
    entry = next(entry for entry in chosen.graph.metadata_props if entry.key == METADATA)
    about = json.loads(entry.value)
    about["int8"] = {
        "of": about["digest"],
        "ranges": chosen.ranges,
        "float_heads": list(chosen.float_heads),
        "cosine": round(chosen.cosine, 6),
    }
    about["digest"] = hashlib.sha256(chosen.graph.graph.SerializeToString(deterministic=True)).hexdigest()
    if about["record"] is not None:
        record = WeightRecord.from_json(json.dumps(about["record"]))
        plain = replace(record, calibration=None, metrics=(), frames=(), camera_pairs=(), elsewhere=(), speed=())
        about["record"] = json.loads(replace(plain, name=f"{record.name}-int8" if record.name else "").to_json())
    entry.value = json.dumps(about)
    return chosen.graph
