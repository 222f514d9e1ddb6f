"""Export for edge pipelines: one crop in, one vector out, with fixed shapes and plain operators."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stmga._version import __version__
from stmga.blocks.ops import at_least_float32
from stmga.checks import wrong_network
from stmga.deploy.edge_files import write_edge_files
from stmga.deploy.onnx_file import onnx_session
from stmga.deploy.tensorrt import check_operators
from stmga.model import STMGA
from stmga.transforms import ClipTransform
from stmga.utils.files import atomic_path

FORMAT = "stmga-single-crop"
INPUT, OUTPUT = "crops", "embedding"
OPSET = 18  # the first that the exporter knows; TensorRT 10.0 reads 9 to 20
AGREE = 1e-5  # largest difference between values of embeddings that counts as rounding


class SingleCrop(nn.Module):
    """(n 3 h w) float32, RGB in 0..255 -> embedding (n c) of unit length.

    The vector is that of a tracklet of one frame, which loops to a clip: the trunk and the parts see the crop once, and
    time sees its features ``clip_length`` times. Mean and standard deviation are inside, because pipelines such as
    DeepStream have one scale for all three channels.
    """

    scale: Tensor  # (3 1 1): (x - mean) * scale is the input of the network
    mean: Tensor

    def __init__(self, model: STMGA) -> None:
        super().__init__()
        self.model = model.fuse().cpu()  # refuses a network in training mode
        transform = ClipTransform.from_config(model.config)
        mean, std = (torch.tensor(x, dtype=torch.float32, device="cpu") for x in (transform.mean, transform.std))
        self.register_buffer("mean", 255 * mean.view(3, 1, 1))
        self.register_buffer("scale", 1 / (255 * std.view(3, 1, 1)))
        self.eval()

    def forward(self, crops: Tensor) -> Tensor:
        model = self.model
        features = model.encode_frames((crops - self.mean) * self.scale)
        z = model.encode_clips(features[:, None].expand(-1, model.clip_length, -1, -1))  # every frame of the clip
        return F.normalize(at_least_float32(model.after_neck(z)), dim=-1)


@dataclass(frozen=True)
class SingleCropExport:
    """What was written.

    Attributes:
        path, size: the ONNX file and its bytes.
        difference: the largest difference of a value from PyTorch, in ONNX Runtime without optimisations.
        beside: the configuration files for DeepStream, TensorRT and Hailo.
    """

    path: Path
    size: int
    difference: float
    beside: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.path} ({self.size / 1e6:.1f} MB) differs from PyTorch by {self.difference:.1e}"


def export_single_crop(model: STMGA, path: str | os.PathLike[str], *, batch: int | None = None) -> SingleCropExport:
    """Write a network to ``path`` (``.onnx``) for TensorRT, DeepStream, Hailo and the like.

    ``crops`` (n 3 h w), float32 RGB in 0..255, gives ``embedding`` (n c), of unit length. It is the vector that
    :class:`stmga.TrackletEmbedder` gives a tracklet of this one frame, and may be averaged over frames. Crops are
    resized to h x w by the pipeline, without keeping the aspect ratio. The opset is 18.

    The file must pass ONNX's checker, hold no operator that TensorRT 10 does not read, and give PyTorch's vectors in
    ONNX Runtime with graph optimisations turned off. Configuration files are written beside it.

    Args:
        model: in eval mode, on any device.
        path: where to write, ending in ``.onnx``.
        batch: a fixed n; None leaves n open.

    Raises:
        TypeError: no STMGA.
        ValueError: a network in training mode, another suffix, a batch below 1, or a trunk with operators that TensorRT
            does not read (:class:`stmga.deploy.tensorrt.TensorRTError`).
        ImportError: without the packages of ``pip install stmga[onnx]``.
        OSError: the file cannot be written; an older one is untouched.
        RuntimeError: the written file gives other embeddings than the network.

    Example:
        >>> import stmga
        >>> model = stmga.create_model("stmga_resnet18_c4_baseline").eval()
        >>> export_single_crop(model, "crop.onnx", batch=1).difference < 1e-5
        True
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile was given
    if not isinstance(model, STMGA):
        raise TypeError(f"export_single_crop takes a stmga.STMGA, {wrong_network(model)}")
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"a file for single crops ends in .onnx, got {path}")
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be at least 1, or None for any number, got {batch}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {path.absolute().parent} does not exist; create it first")
    network = SingleCrop(model)
    graph = _graph(network, batch)
    check_operators(graph)
    _describe(graph, model)
    with atomic_path(path) as temp:
        temp.write_bytes(graph.SerializeToString())
        difference = _checked(temp, network, batch)
        if not difference <= AGREE:  # NaN too
            raise RuntimeError(f"{path} was not written: its embeddings differ by {difference:.1e}")
    h, w = model.config.size
    beside = write_edge_files(path, size=(h, w), dim=model.dim, batch=batch, names=(INPUT, OUTPUT))
    return SingleCropExport(path, path.stat().st_size, difference, beside)


def _example(network: SingleCrop, n: int) -> Tensor:
    draw = torch.Generator().manual_seed(n)
    shape = (n, 3, *network.model.config.size)
    return torch.randint(256, shape, generator=draw, dtype=torch.uint8, device="cpu").float()


def _graph(network: SingleCrop, batch: int | None) -> Any:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise ImportError("writing ONNX needs more packages: pip install 'stmga[onnx]'") from error
    with torch.no_grad():
        program = torch.onnx.export(
            network,
            (_example(network, batch or 2),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},) if batch is None else None,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _describe(graph: Any, model: STMGA) -> None:
    """The header, so that it is known where a file comes from."""
    about = {
        "format": FORMAT,
        "stmga": __version__,
        "digest": model.digest(),
        "config": model.config.to_dict(),
        "record": json.loads(model.record.to_json()) if model.record is not None else None,
    }
    graph.metadata_props.add(key="stmga", value=json.dumps(about))


def _checked(path: Path, network: SingleCrop, batch: int | None) -> float:
    """The largest difference from PyTorch, of a file that ONNX's own checker accepts."""
    import onnx

    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnx_session(path.read_bytes(), optimised=False)
    worst = 0.0
    for n in (1, 3) if batch is None else (batch,):
        crops = _example(network, n)
        with torch.inference_mode():
            wanted = network(crops)
        found = torch.from_numpy(session.run([OUTPUT], {INPUT: crops.numpy()})[0])
        if found.shape != wanted.shape or not bool(found.isfinite().all()):
            return float("inf")
        worst = max(worst, float((found - wanted).abs().max()))
    return worst
