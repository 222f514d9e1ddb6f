"""A network of single images as a network of tracklets: a vector for each frame, and their mean."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from stmga.checks import wrong_network
from stmga.deploy.onnx_images import OnnxImages
from stmga.embedding.network import TrackletNetwork
from stmga.hub import WeightRecord
from stmga.transforms import ClipTransform
from stmga.utils.arrays import hash_weights
from stmga.utils.foreign import reason_of

Pool = Literal["mean", "max"]
IMAGENET = ClipTransform()


class FrameEncoder:
    """A network of single images as a :class:`TrackletNetwork`, for embedding, search and evaluation.

    The network is a torch module or an ``.onnx`` file of any origin. From frames ``(n, 3, h, w)`` it gives vectors
    ``(n, c)``, or maps ``(n, c, h', w')``, which are averaged over h' and w'. A clip's vector is the mean of its
    frames' vectors, that of a tracklet the mean over its clips, then the L2 norm. There is no BN neck; one of your own
    belongs into the module.

    Frames are resized as a whole, bicubic and antialiased, scaled to 0..1 and normalised by ``mean`` and ``std``
    (:class:`stmga.ClipTransform`). The digest covers the weights, the module's structure, the preprocessing, ``pool``
    and ``clip_length``: vectors that were made with another of these are never compared. It does not cover the code of
    ``forward``.

    A module computes as a copy in eval mode, channels last. It takes bf16, fp16 and ``compile``. A file computes on the
    CPU in fp32.

    Args:
        network: a module, or the path of an ``.onnx`` file.
        size: (height, width) of the frames; None: as the file states it.
        mean, std: RGB, for pixels in 0..1; the default is ImageNet's.
        pool: ``"mean"`` or ``"max"`` over the frames of a clip.
        clip_length: frames in a clip. The network sees each frame alone, so it does not change a frame's vector. A
            tracklet of another length fills its last clip by looping, so that its first frames count twice.
        output: of a file with several outputs, the name of the one to take.

    Attributes:
        dim: c, found by a trial with two black frames.

    Raises:
        TypeError: something else than a module or a path, a network of tracklets, or a module in DataParallel.
        ValueError: a network that does not take such frames, or gives neither vectors nor maps; weights that are not
            float32; a file that does not take images; no size.
        FileNotFoundError, ImportError: as :class:`stmga.deploy.onnx_images.OnnxImages`.

    >>> from stmga import TrackletEmbedder
    >>> network = FrameEncoder(nn.Conv2d(3, 8, 5), size=(64, 32))
    >>> TrackletEmbedder(network)({"a": torch.zeros(5, 3, 80, 40, dtype=torch.uint8)}).vectors.shape
    torch.Size([1, 8])
    """

    def __init__(
        self,
        network: nn.Module | str | os.PathLike[str],
        *,
        size: Sequence[int] | None = None,
        mean: Sequence[float] = IMAGENET.mean,
        std: Sequence[float] = IMAGENET.std,
        pool: Pool = "mean",
        clip_length: int = 8,
        output: str = "",
    ) -> None:
        if pool not in get_args(Pool):
            raise ValueError(f'pool must be "mean" or "max", got {pool!r}')
        if isinstance(clip_length, bool) or not isinstance(clip_length, int) or clip_length < 1:
            raise ValueError(f"clip_length must be an integer >= 1, got {clip_length!r}")
        self.module, self.file = _module_or_file(network, output)
        if size is None and (self.file is None or None in self.file.size):
            raise ValueError("give the size of the frames, such as size=(256, 128) (height, width)")
        self.transform = ClipTransform(size=_plain(size or self.file.size), mean=_plain(mean), std=_plain(std))  # type: ignore[union-attr]
        if self.file is not None:
            self.file.check_size(self.transform.size)
        self.pool, self.clip_length = pool, clip_length
        self.record: WeightRecord | None = None
        self.check_inference(precision="fp32", compile=False)
        self.dim = self._try()

    def __repr__(self) -> str:
        what = type(self.module).__name__ if self.file is None else repr(str(self.file.path))
        size = " x ".join(map(str, self.transform.size))
        return f"FrameEncoder({what}, frames of {size} -> {self.dim}, pool={self.pool!r})"

    @property
    def device(self) -> torch.device:
        """Where the module is; the CPU for a file or a module without parameters."""
        tensors = [*self.module.parameters(), *self.module.buffers()] if self.module is not None else []
        return tensors[0].device if tensors else torch.device("cpu")

    def digest(self) -> str:
        """sha256 (hex) of the weights and of all settings that the vectors depend on."""
        settings = self.transform.to_dict() | {"pool": self.pool, "clip_length": self.clip_length}
        if self.file is not None:
            settings |= {"file": self.file.sha256, "output": self.file.output}
        else:
            settings |= {"module": re.sub(r" at 0x[0-9a-f]+", "", repr(self.module))}
        total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        if self.module is not None:
            hash_weights(total, self.module.state_dict())
        return total.hexdigest()

    def to(self, device: Any) -> FrameEncoder:
        """Itself, with the module on the device. Raises ValueError for a file on another device than the CPU."""
        if self.module is not None:
            self.module.to(device)
        elif torch.device(device).type != "cpu":
            raise ValueError(f"an ONNX file computes on the cpu, not on {device}: {self}")
        return self

    def check_inference(self, *, precision: str, compile: bool) -> None:  # noqa: A002 - its name in torch
        """Raise ValueError for a file in another precision than fp32, or a module whose weights are not float32."""
        if self.file is not None and (compile or precision != "fp32"):
            raise ValueError(f"an ONNX file computes as it was written, in fp32 and not compiled: {self}")
        parameters = self.module.parameters() if self.module is not None else ()
        for dtype in {p.dtype for p in parameters if p.is_floating_point()} - {torch.float32}:
            raise ValueError(f"the module's weights are {dtype}; use module.float() and choose precision=")

    def for_inference(self, *, precision: str = "fp32", compile: bool = False, digest: str = "") -> FrameInference:  # noqa: A002
        """What computes: the file, or a copy of the module in eval mode, compiled if asked for."""
        if self.module is None:
            assert self.file is not None
            return FrameInference(self.file, self.pool)
        network: Any = copy.deepcopy(self.module).eval().requires_grad_(False).to(memory_format=torch.channels_last)
        return FrameInference(torch.compile(network, dynamic=True) if compile else network, self.pool)

    def _try(self) -> int:
        """The length of a vector, from two black frames."""
        frames = torch.zeros(2, 3, *self.transform.size, dtype=torch.float32, device=self.device)
        try:
            with torch.inference_mode():
                return int(self.for_inference().encode_frames(frames).shape[1])
        except _OutputError:
            raise
        except Exception as error:  # a foreign network may raise anything
            what = f"the network does not take frames (n, 3, h, w) of shape {tuple(frames.shape)}"
            raise ValueError(f"{what}: {reason_of(error)}") from error


class FrameInference:
    """The image network as the embedder calls it: frames alone, then their pooling, then the L2 norm."""

    def __init__(self, run: Callable[[Tensor], Any], pool: Pool) -> None:
        self.run, self.pool = run, pool

    def encode_frames(self, frames: Tensor) -> Tensor:
        """(n 3 h w) -> (n c) float32; maps are averaged."""
        found = self.run(frames)
        if not isinstance(found, Tensor):
            raise _OutputError(
                f"the network gives {type(found).__name__}, expected a tensor (n, c) or (n, c, h, w); wrap it in a "
                "module that returns the vectors alone"
            )
        if found.ndim not in (2, 4) or len(found) != len(frames):
            tokens = "; tokens must be pooled by the module, for example x[:, 0]" if found.ndim == 3 else ""
            raise _OutputError(
                f"the network gives {tuple(found.shape)} for {len(frames)} frames, expected vectors (n, c) or maps "
                f"(n, c, h, w){tokens}"
            )
        return found.float().mean((2, 3)) if found.ndim == 4 else found.float()

    def encode_clips(self, features: Tensor) -> Tensor:
        """(b t c) -> (b c)."""
        return features.mean(1) if self.pool == "mean" else features.amax(1)

    def forward_head(self, z: Tensor) -> Tensor:
        """(b c) -> (b c) of unit length."""
        return F.normalize(z, dim=-1)


class _OutputError(ValueError):
    """The network gives neither vectors nor maps."""


def _module_or_file(network: Any, output: str) -> tuple[nn.Module | None, OnnxImages | None]:
    if isinstance(network, (str, os.PathLike)):
        return None, OnnxImages(network, output=output)
    network = getattr(network, "_orig_mod", network)  # what torch.compile was given
    if isinstance(network, TrackletNetwork):
        raise TypeError(f"{type(network).__name__} is a network of tracklets already; use it as it is")
    if not isinstance(network, nn.Module) or isinstance(network, (nn.DataParallel, DistributedDataParallel)):
        raise TypeError(f"expected a torch module or the path of an .onnx file, {wrong_network(network)}")
    if output:
        raise ValueError(f"output={output!r} is for an .onnx file; a module returns its vectors alone")
    return network, None


def _plain(values: Sequence[Any]) -> Any:
    """Numbers of numpy or torch, lists and tuples, as a tuple of Python's numbers."""
    return tuple(getattr(value, "item", lambda value=value: value)() for value in values)
