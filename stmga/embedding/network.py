"""What an embedder computes with: the protocol that networks fulfil, and how each is made ready."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from stmga.fuse import fused
from stmga.model import STMGA

if TYPE_CHECKING:
    from stmga.hub.records import WeightRecord


class ClipConfig(Protocol):
    """The clips that a network takes; :class:`stmga.STMGAConfig` is one.

    Attributes:
        clip_length: frames in a clip.
        size: (height, width) of a frame in pixels.
    """

    @property
    def clip_length(self) -> int: ...
    @property
    def size(self) -> tuple[int, int]: ...


class TrackletNetwork(Protocol):
    """What :class:`stmga.TrackletEmbedder` needs of a network. Write such a class to embed with a network of your own.

    :class:`stmga.STMGA` and :class:`stmga.deploy.ExportedModel` fulfil it. A network that is also a ``torch.nn.Module``
    is moved to the embedder's device, copied in eval mode, run under autocast and compiled as asked. Any other computes
    as it is, in float32 on its own ``device``.

    Attributes:
        config: the clips that it takes: ``clip_length`` and ``size``.
        dim: c, the components of a vector.
        device: where ``encode`` and ``forward_head`` compute.
        record: the record of its weights, with their name and calibration; None without.
        transform: frames of one clip, t tensors (3, h, w), -> the clip as ``encode`` takes it, (t, 3, h, w). This is
            where a frame is resized. A :class:`stmga.ClipTransform` also runs on the device, many clips at once; any
            other runs where frames are read.

    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from stmga import ClipTransform, TrackletEmbedder
    >>> class MeanColour:
    ...     config = SimpleNamespace(clip_length=4, size=(64, 32))
    ...     dim, device, record = 3, torch.device("cpu"), None
    ...     transform = ClipTransform(size=(64, 32))
    ...
    ...     def digest(self):
    ...         return "mean colour, version 1"
    ...
    ...     def encode(self, clips):
    ...         return clips.mean((1, 3, 4))
    ...
    ...     def forward_head(self, z):
    ...         return nn.functional.normalize(z, dim=-1)
    >>> TrackletEmbedder(MeanColour())({"a": np.full((9, 80, 40, 3), 200, np.uint8)}).vectors.shape
    torch.Size([1, 3])
    """

    @property
    def config(self) -> ClipConfig: ...
    @property
    def dim(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def record(self) -> WeightRecord | None: ...
    @property
    def transform(self) -> Callable[[Any], Tensor]: ...

    def digest(self) -> str:
        """Text that is the same only for the same weights and settings: embeddings compare only where it is."""

    def encode(self, clips: Tensor) -> Tensor:
        """(b t 3 h w) -> (b c), a feature per clip; a long tracklet's is the mean over its clips."""

    def forward_head(self, z: Tensor, /) -> Tensor:
        """(n c) -> (n c) of unit length: a tracklet's feature to its vector."""


_MEMBERS = [name for name in vars(TrackletNetwork) if not name.startswith("_")]


class Computation(NamedTuple):
    """The two functions of a network that is ready to compute."""

    encode: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]


def prepare(network: TrackletNetwork, device: str | torch.device | None, precision: str, compiled: bool) -> None:
    """Move the network to the device.

    Raises:
        TypeError: it is not a network.
        ValueError: it cannot compute as asked.
    """
    if lacking := [name for name in _MEMBERS if not hasattr(network, name)]:
        raise TypeError(
            f"expected a network, got {type(network).__name__}, which has no {', '.join(lacking)}; "
            "stmga.create_model(name, pretrained=True) makes one, and stmga.embedding.TrackletNetwork says what it has"
        )
    if not isinstance(network, nn.Module):
        if compiled or precision != "fp32" or torch.device(device or network.device) != network.device:
            raise ValueError(
                f"{network} computes as it was written, in fp32 on {network.device}, and is not compiled; "
                "leave out device, precision and compile"
            )
        return
    dtype = next((parameter.dtype for parameter in network.parameters()), torch.float32)
    if dtype != torch.float32:
        raise ValueError(f"the model's weights are {dtype}; use model.float() and choose precision=")
    if device is not None:
        network.to(device)


def for_inference(network: TrackletNetwork, half: torch.dtype | None, compiled: bool) -> Computation:
    """The network ready to compute, ``half`` under autocast to that type; changes of its weights do not follow."""
    if not isinstance(network, nn.Module):
        return Computation(network.encode, network.forward_head)
    with _evaluating(network):
        ready = fused(network, half=half) if isinstance(network, STMGA) else copy.deepcopy(network)
    encode = torch.compile(ready.encode, dynamic=True) if compiled else ready.encode
    return Computation(encode, ready.forward_head)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards each module is in the mode it was in, frozen parts too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
