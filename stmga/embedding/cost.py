"""What a network of tracklets costs: parameters, multiply-accumulates of a clip, megabytes, clips a second."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stmga.config import CUSTOM
from stmga.deploy.exported import ExportedModel
from stmga.deploy.onnx_cost import graph_gmac, graph_parameters
from stmga.deploy.onnx_file import OnnxFile
from stmga.deploy.onnx_images import OnnxImages
from stmga.embedding.frame_encoder import FrameEncoder
from stmga.embedding.network import InferenceNetwork, TrackletNetwork, clips_at_once
from stmga.model import AUTOCAST, STMGA
from stmga.utils.cost import gmac, megabytes, parameters
from stmga.utils.modes import evaluating


@dataclass(frozen=True)
class Cost:
    """What a network is made of; None is unknown.

    Attributes:
        parameters: how many numbers its weights have.
        gmac: multiply-accumulates of one clip, in units of 10^9.
        mb: of its file; of a module, of its parameters and buffers in memory. 10^6 bytes.
    """

    parameters: int | None
    gmac: float | None
    mb: float | None


@dataclass(frozen=True)
class Speed:
    """Clips a second: the median and the quartiles over the rounds."""

    clips_per_s: float
    quartiles: tuple[float, float]


def cost_of(network: TrackletNetwork) -> Cost:
    """Parameters, multiply-accumulates of one clip, and megabytes.

    Convolutions, matrix products and attention are counted, of a module by torch's counter while it computes a clip, of
    a foreign ONNX file by the shapes in its graph. An exported file costs what the network costs that it was made from;
    its megabytes are its own.

    >>> from stmga import STMGAConfig
    >>> cost_of(STMGA(STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=2)))
    Cost(parameters=4320219, gmac=0.129..., mb=17.3...)
    """
    if isinstance(network, ExportedModel):
        if network.config.backbone == CUSTOM:  # only its author can build it
            return Cost(None, None, network.path.stat().st_size / 1e6)
        made_from = cost_of(STMGA(network.config))
        return Cost(made_from.parameters, made_from.gmac, network.path.stat().st_size / 1e6)
    if isinstance(network, FrameEncoder) and network.file is not None:
        return _cost_of_file(network.file, network.clip_length, network.transform.size)
    # torch's counter does not know the packed convolutions of STMGA.for_inference
    run = network if isinstance(network, STMGA) else network.for_inference(precision="fp32", compile=False, digest="-")
    clips = example_clips(network, 1)
    with evaluating(network) if isinstance(network, STMGA) else nullcontext(), torch.inference_mode():
        work = gmac(lambda: run.forward_head(encoded(run, clips)))
    module = network.module if isinstance(network, FrameEncoder) else network
    known = isinstance(module, nn.Module)
    return Cost(parameters(module) if known else None, work, megabytes(module) if known else None)  # type: ignore[arg-type]


def _cost_of_file(file: OnnxImages, frames: int, size: tuple[int, int]) -> Cost:
    """A clip takes as many runs as batches of the file's size hold its frames."""
    model = OnnxFile(file.path, "").model
    n = file.batch or frames
    once = graph_gmac(model, {file.input.name: (n, 3, *size)})
    work = None if once is None else once * math.ceil(frames / n)
    return Cost(graph_parameters(model), work, file.path.stat().st_size / 1e6)


def encoded(network: InferenceNetwork, clips: Tensor) -> Tensor:
    """(b t 3 h w) -> (b c), before the BN neck."""
    return network.encode_clips(network.encode_frames(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]))


def example_clips(network: TrackletNetwork, b: int) -> Tensor:
    """b equal clips of random frames, preprocessed, on the network's device; the same at each call."""
    draw = torch.Generator().manual_seed(0)
    size = getattr(network.transform, "size", (256, 128))
    frames = torch.randint(256, (network.clip_length, 3, *size), dtype=torch.uint8, generator=draw, device="cpu")
    clip = network.transform(list(frames)).to(network.device)
    return clip.expand(b, *clip.shape).contiguous()


def speeds_of(
    networks: Mapping[str, TrackletNetwork],
    *,
    batch: int | None = None,
    rounds: int = 9,
    precision: str = "fp32",
    compile: bool = False,  # noqa: A002 - its name in torch
) -> dict[str, Speed]:
    """How many clips a second each network computes, without reading images.

    Each computes one batch to warm up. Then every round times each network once with a batch of the same number of
    clips, and the order alternates, so that a slow minute of the machine hits all of them.

    Args:
        batch: clips in a batch; None is as many as have 32 frames on a CPU, 256 on a GPU, as for
            :class:`stmga.TrackletEmbedder`.
    """
    runs: dict[str, Callable[[], Any]] = {}
    counts = {name: batch or clips_at_once(net.device, net.clip_length) for name, net in networks.items()}
    for name, network in networks.items():
        runs[name] = _runner(network, counts[name], precision, compile)
        runs[name]()
    took: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name in list(runs) if turn % 2 else reversed(list(runs)):
            start = time.perf_counter()
            runs[name]()
            took[name].append(counts[name] / (time.perf_counter() - start))
    return {name: _speed(found) for name, found in took.items()}


def _speed(found: list[float]) -> Speed:
    low, middle, high = statistics.quantiles(found, n=4) if len(found) > 1 else found * 3
    return Speed(middle, (low, high))


def _runner(network: TrackletNetwork, batch: int, precision: str, compiled: bool) -> Callable[[], Any]:
    clips, device = example_clips(network, batch), network.device.type
    run = network.for_inference(precision=precision, compile=compiled, digest="-")
    dtype = AUTOCAST[precision]

    def once() -> Any:
        with torch.inference_mode():
            with torch.autocast(device, dtype=dtype) if dtype else nullcontext():
                z = encoded(run, clips).float()
            return run.forward_head(z).cpu()  # waits for a GPU

    return once
