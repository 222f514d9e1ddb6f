"""The preprocessing of a weight, as data: what is done to a clip before the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.tracklets.pixels import as_clip, check_layout, checked_range, from_array, is_image, to_pixels
from stmga.utils.settings import Settings

if TYPE_CHECKING:
    from stmga.config import STMGAConfig

_ACCEPTED = (
    "a clip is a list of PIL images, a list of (3, h, w) tensors, an array (t, h, w, 3) "
    "or a tensor (..., t, 3, h, w), or one such image alone; RGB, uint8 in 0..255 or float in 0..1"
)


@dataclass(frozen=True, kw_only=True)
class ClipTransform(Settings):
    """Clip of any size -> ``(t, 3, h, w)`` float32: resize (bicubic, antialiased), scale to 0..1, normalise.

    ``size`` is (height, width) in pixels, ``mean`` and ``std`` are RGB in 0..1. The whole frame is resized, so the
    aspect ratio is not kept; frames that already have the size are not resampled. Accepted are

    - a list or tuple of PIL images, ``(h, w, 3)`` arrays or ``(3, h, w)`` tensors; frames may differ in size;
    - an array ``(..., t, h, w, 3)``, channels last;
    - a tensor ``(..., t, 3, h, w)``, channels first; the result stays on its device and keeps the leading axes;
    - one PIL image, ``(h, w, 3)`` array or ``(3, h, w)`` tensor: a clip of one frame.

    Channels are RGB. OpenCV's frames are BGR, which cannot be detected: pass ``frame[..., ::-1]``, or
    ``cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)``. Values are uint8 in 0..255, or float in 0..1. The three uint8 forms give
    bit-identical numbers; float gives them within 1e-5.

    Raises:
        TypeError: not a clip, or values neither uint8 nor float.
        ValueError: wrong rank or channel count, empty clip, NaN, or float values outside 0..1.

    >>> transform = ClipTransform(size=(256, 128))
    >>> transform(np.zeros((8, 120, 56, 3), dtype=np.uint8)).shape
    torch.Size([8, 3, 256, 128])
    """

    size: tuple[int, int] = (256, 128)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def _faults(self) -> Iterable[str]:
        if min(self.size) < 1:
            yield self.must("size", "be > 0")
        if min(self.std) <= 0:
            yield self.must("std", "be > 0")

    def __call__(self, clip: Tensor | np.ndarray | Sequence[Any]) -> Tensor:
        clip = as_clip(clip)
        if isinstance(clip, (np.ndarray, Tensor)):
            frames = _checked(clip, ndim=4)
            return self._apply(frames.reshape(-1, *frames.shape[-3:])).unflatten(0, frames.shape[:-3])
        if not isinstance(clip, Sequence) or isinstance(clip, (str, bytes)):
            raise TypeError(f"got {type(clip).__name__}; {_ACCEPTED}")
        if len(clip) == 0:
            raise ValueError(f"empty clip; {_ACCEPTED}")
        return self._apply_each([_from_frame(frame) for frame in clip])

    def _apply_each(self, frames: list[Tensor]) -> Tensor:
        """Frames of unequal size, one group of equal frames at a time; the order stays."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, frame in enumerate(frames):
            groups.setdefault((frame.shape, frame.dtype, frame.device), []).append(i)
        if len(groups) == 1:
            return self._apply(torch.stack(frames))
        out = frames[0].new_empty((len(frames), 3, *self.size), dtype=torch.float32)
        for indices in groups.values():
            out[indices] = self._apply(torch.stack([frames[i] for i in indices])).to(out.device)
        return out

    def _apply(self, frames: Tensor) -> Tensor:
        """(n, 3, h, w) uint8, or float in 0..1 -> (n, 3, *size) float32."""
        # Contiguous, because the channels-last kernel is slower and rounds differently.
        x = frames.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        if frames.dtype != torch.uint8:
            x.mul_(255)
        if x.shape[-2:] != self.size:
            # Clamped, because bicubic overshoots at edges.
            x = F.interpolate(x, self.size, mode="bicubic", antialias=True).clamp_(0, 255)
        mean = x.new_tensor(self.mean).view(3, 1, 1)
        std = x.new_tensor(self.std).view(3, 1, 1)
        return x.div_(255).sub_(mean).div_(std)

    def describe(self) -> str:
        """What the transform accepts and does, as text."""
        height, width = self.size
        return (
            f"{_ACCEPTED}; resized to {height} x {width} (height x width; bicubic, antialiased, whole frame), "
            f"scaled to 0..1, normalised with mean {self.mean} and std {self.std}; "
            f"gives (t, 3, {height}, {width}) float32"
        )

    __str__ = describe

    @classmethod
    def from_config(cls, config: STMGAConfig) -> ClipTransform:
        """The transform that a model of this configuration expects."""
        return cls(size=config.size, mean=config.mean, std=config.std)


def _from_frame(frame: Any) -> Tensor:
    """One PIL image, (h, w, 3) array or (3, h, w) tensor -> checked (3, h, w) tensor."""
    if is_image(frame):
        frame = to_pixels(frame)
    if not isinstance(frame, (np.ndarray, Tensor)):
        raise TypeError(f"frame of type {type(frame).__name__}; {_ACCEPTED}")
    return _checked(frame, ndim=3)


def _checked(pixels: np.ndarray | Tensor, *, ndim: int) -> Tensor:
    """Frames as a tensor, channels first: (3, h, w) for ``ndim`` 3, (..., t, 3, h, w) for 4."""
    check_layout(pixels, ndim, batched=ndim == 4)
    if 0 in pixels.shape:
        raise ValueError(f"empty clip of shape {tuple(pixels.shape)}: it needs at least one frame of one pixel")
    return checked_range(from_array(pixels) if isinstance(pixels, np.ndarray) else pixels)
