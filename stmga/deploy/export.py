"""Export of networks as a torch.export program or as ONNX; every file is run and compared before it is kept."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stmga._version import __version__
from stmga.checks import wrong_network
from stmga.config import CUSTOM
from stmga.deploy.deployed import ClipHalf, Deployed, FrameHalf
from stmga.deploy.exported import ExportedModel
from stmga.deploy.header import FORMAT, FORMAT_VERSION, LARGEST_FRAME, METADATA
from stmga.deploy.onnx_halves import INPUT, OUTPUTS, SEAM, joined
from stmga.deploy.runtimes import suffix_of
from stmga.model import STMGA
from stmga.utils.files import atomic_path

SHAPES = ((1, 1), (3, 2), (2, 8))  # clips and frames with which an export is compared
AGREE = 1e-4  # largest difference between values of embeddings that counts as rounding
OPSETS = range(18, 24)  # of ONNX: 18 is the first that the exporter knows


@dataclass(frozen=True)
class Export:
    """What was written: the file, and for each installed runtime the largest difference from PyTorch."""

    path: Path
    size: int  # bytes
    differences: dict[str, float]

    def __str__(self) -> str:
        differences = ", ".join(f"{name} differs by {worst:.1e}" for name, worst in self.differences.items())
        return f"{self.path} ({self.size / 1e6:.1f} MB): {differences}"


def export(
    model: STMGA, path: str | os.PathLike[str], *, frames: Sequence[int] | None = None, opset: int | None = None
) -> Export:
    """Write a network to ``path``: a torch.export program for ``.pt2``, ONNX for ``.onnx``.

    The file takes any number b of clips and t of frames. It gives ``embedding`` (b c), of unit length, and ``feature``
    (b c), the same before the norm; a long tracklet is the mean of its clips' features. The file contains the record
    and digest of the weights. :class:`stmga.deploy.ExportedModel` and :class:`stmga.TrackletEmbedder` run it.

    The file is compared with PyTorch for several numbers of clips and frames, in every installed runtime. It replaces
    an older file only if all agree.

    Args:
        model: in eval mode, on any device; batch norms are folded into the convolutions.
        path: where to write, ending in ``.pt2`` or ``.onnx``.
        frames: None: the file takes what :class:`stmga.ClipTransform` gives, (b t 3 h w) float32. (height, width):
            preprocessing goes into the file, which takes uint8 frames of this size, (b t 3 height width).
        opset: of ONNX, 18 or later; None is the exporter's default.

    Raises:
        TypeError: no STMGA; one in DataParallel is ``model.module``.
        ValueError: a network in training mode, another suffix, an unknown opset, a frame size out of range.
        ImportError: ``.onnx`` without the packages of ``pip install stmga[onnx]``.
        OSError: the file cannot be written, or another process writes it; an older one is untouched.
        RuntimeError: the written file gives other embeddings than the network.

    Example:
        >>> import stmga
        >>> model = stmga.create_model("stmga_resnet18_c4").eval()
        >>> export(model, "model.pt2").differences["torch"] < 1e-4
        True
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile was given
    if not isinstance(model, STMGA):
        raise TypeError(f"export takes a stmga.STMGA, {wrong_network(model)}")
    path = Path(path)
    write = _writer(path, opset)
    if frames is not None and (len(frames) != 2 or min(frames) < 1 or max(frames) > LARGEST_FRAME):
        raise ValueError(f"frames is a (height, width) of 1 to {LARGEST_FRAME:,} pixels, got {frames!r}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {path.absolute().parent} does not exist; create it first")
    deployed = Deployed(model, frames)
    about = _about(model, frames)
    with atomic_path(path) as temp:
        write(deployed, deployed.example(3, 2), about, temp)
        differences = {runtime: _difference(deployed, temp, runtime) for runtime in ExportedModel.runtimes(path)}
        for runtime, worst in differences.items():
            if not worst <= AGREE:  # NaN too
                raise RuntimeError(f"{path} was not written: in {runtime} its embeddings differ by {worst:.1e}")
    return Export(path, path.stat().st_size, differences)


def _difference(deployed: Deployed, path: Path, runtime: str) -> float:
    """The largest difference in a runtime; for PyTorch, of the program itself and of the network built from it."""
    ways = (True, False) if runtime == "torch" else (False,)
    if runtime == "torch" and deployed.model.config.backbone == CUSTOM:  # nobody can build it but its author
        ways = (True,)
    return max(compare(deployed, ExportedModel(path, runtime=runtime, trust=trust)) for trust in ways)


def compare(deployed: Deployed, exported: ExportedModel) -> float:
    """The largest difference between embeddings of PyTorch and of a file, over :data:`SHAPES`."""
    worst = 0.0
    for b, t in SHAPES:
        clips = deployed.example(b, t)
        with torch.inference_mode():
            wanted, _ = deployed(clips)
        found = exported(clips)
        if found.shape != wanted.shape:
            return float("inf")
        worst = max(worst, float((found - wanted).abs().max())) if bool(found.isfinite().all()) else float("inf")
    return worst


def _about(model: STMGA, frames: Sequence[int] | None) -> str:
    record = model.record
    return json.dumps(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "stmga": __version__,
            "digest": model.digest(),
            "frames": list(frames) if frames is not None else None,
            "config": model.config.to_dict(),
            "record": json.loads(record.to_json()) if record is not None else None,
        }
    )


Writer = Callable[[Deployed, Tensor, str, Path], None]


def _writer(path: Path, opset: int | None) -> Writer:
    if suffix_of(path) == ".pt2":
        if opset is not None:
            raise ValueError(f"opset {opset} is of ONNX; a .pt2 file has none")
        return _write_program
    if suffix_of(path) == ".xml":
        raise ValueError(
            f"{path}: an .xml file of OpenVINO is written in int8 only, by `stmga export --int8` or export_int8; "
            "OpenVINO runs a float32 .onnx file"
        )
    if opset is not None and opset not in OPSETS:
        raise ValueError(f"opset {opset} is not known here; expected {OPSETS[0]} to {OPSETS[-1]}")
    try:
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise ImportError("writing ONNX needs more packages: pip install 'stmga[onnx]'") from error
    return lambda *args: _write_onnx(*args, opset=opset)


def _dynamic() -> tuple[dict[int, Any]]:
    return ({0: torch.export.Dim("b", min=1), 1: torch.export.Dim("t", min=1)},)


def _write_program(deployed: Deployed, example: Tensor, about: str, path: Path) -> None:
    with torch.no_grad():
        program = torch.export.export(deployed, (example,), dynamic_shapes=_dynamic())
    buffer = io.BytesIO()  # torch's own writer aborts the process when a disk is full
    with warnings.catch_warnings():
        # It takes channels-last weights for slices and warns, but stores them correctly, with their strides.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(program, buffer, extra_files={METADATA: about})
    path.write_bytes(buffer.getbuffer())


def _write_onnx(deployed: Deployed, example: Tensor, about: str, path: Path, *, opset: int | None) -> None:
    import onnx

    def graph(half: nn.Module, given: Tensor, takes: str, gives: Sequence[str]) -> Any:
        program = torch.onnx.export(
            half.eval(),
            (given,),
            dynamo=True,
            dynamic_shapes=_dynamic(),
            input_names=[takes],
            output_names=gives,
            opset_version=opset,
            verbose=False,
        )
        assert program is not None
        return program.model_proto

    with torch.no_grad():
        frames = FrameHalf(deployed)
        first = graph(frames, example, INPUT, [SEAM])
        whole = joined(first, graph(ClipHalf(deployed), frames(example), SEAM, OUTPUTS))
    whole.metadata_props.add(key=METADATA, value=about)
    onnx.save(whole, path)
