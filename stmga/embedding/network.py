"""What an embedder needs of a network: any object with these attributes and methods can be embedded with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

if TYPE_CHECKING:
    from stmga.hub import WeightRecord


def frames_at_once(device: torch.device) -> int:
    """How many frames are computed at once by default. On a CPU more than 32 are slower."""
    return 32 if device.type == "cpu" else 256


def clips_at_once(device: torch.device, clip_length: int) -> int:
    """How many clips are computed at once by default: those of 32 frames on a CPU, of 256 on a GPU; at least one."""
    return max(1, frames_at_once(device) // clip_length)


class InferenceNetwork(Protocol):
    """What computes: a half for frames, a half for clips, and the head.

    Each distinct frame of a tracklet goes through :meth:`encode_frames` once, however often its clips repeat it. The
    mean of a tracklet's clip features goes through the head.
    """

    def encode_frames(self, frames: Tensor) -> Tensor:
        """(n 3 h w), frames after the transform -> (n ...), what depends on one frame alone.

        A network that looks at frames together, such as a 3D network, returns the frames themselves.
        """
        ...

    def encode_clips(self, features: Tensor) -> Tensor:
        """(b t ...), the features of each clip's frames -> (b c), before the BN neck."""
        ...

    def forward_head(self, z: Tensor) -> Tensor:
        """(b c) -> (b c) of unit length."""
        ...


@runtime_checkable
class TrackletNetwork(Protocol):
    """A network that :class:`stmga.TrackletEmbedder` takes.

    :class:`stmga.STMGA` and :class:`stmga.deploy.ExportedModel` are such networks. Implement this protocol to embed,
    search and evaluate with a network of your own.

    Attributes:
        clip_length: frames in a clip.
        record: where the weights come from; None if that is unknown.
        dim: c, the length of a vector.
        device: where the network computes.
        transform: the preprocessing of a clip. The reader calls it with a list of ``(3, h, w)`` uint8 frames; a
            :class:`stmga.ClipTransform` also runs in batches on ``device``.
    """

    record: WeightRecord | None
    dim: int

    @property
    def clip_length(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def transform(self) -> Callable[[Any], Tensor]: ...

    def digest(self) -> str:
        """Hex digest of the weights. Only vectors with the same digest are compared."""
        ...

    def to(self, device: Any) -> Any:
        """Move the network. Raises ValueError for a device on which it cannot compute."""
        ...

    def check_inference(self, *, precision: str, compile: bool) -> None:  # noqa: A002 - its name in torch
        """Raise ValueError if it cannot compute in "fp32", "bf16" or "fp16" (autocast), or cannot be compiled."""

    def for_inference(self, *, precision: str, compile: bool, digest: str) -> InferenceNetwork:  # noqa: A002
        """The network that computes, made again when the digest, the device or the precision changes."""
        ...
