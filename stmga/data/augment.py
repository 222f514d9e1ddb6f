"""Augmentation of training clips, on whatever device they are, one decision a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stmga.data.imitation import Imitation

TRIES = 10  # rectangles drawn per clip; the first that fits is erased
_OWN = 4 + 2 * TRIES  # random numbers for flip and erasing


@dataclass(frozen=True, kw_only=True)
class ClipAugment:
    """``(b, t, 3, h, w)`` uint8 and b draws -> the same shape, float32: flip, imitate video, normalise, erase (D39).

    A clip is mirrored as a whole or not at all, and the same rectangle is erased in all its frames. The result for a
    clip depends only on its pixels and its draw, not on the batch, the device or the number of processes. If the draws
    are not on the device, nothing waits for it.

    Attributes:
        flip, erase: probability of mirroring a clip, and of erasing a rectangle in it.
        erase_area: range of the rectangle's area as a share of the frame; uniform.
        erase_aspect: range of the rectangle's height / width; uniform, as in Zhong et al., Random Erasing Data
            Augmentation, AAAI 2020. The first of ten rectangles that fits is used; if none fits, nothing is erased.
            The position is uniform. Erased pixels are 0 after normalisation, the mean colour.
        imitation: changes that make crops look like video; by default none.
        mean, std: of RGB in 0..1.

    Raises:
        ValueError: an attribute out of its range; clips of another shape or type; not one draw for each clip.

    >>> clips = torch.randint(256, (2, 8, 3, 64, 32), dtype=torch.uint8)
    >>> ClipAugment()(clips, draws=[17, 18]).shape
    torch.Size([2, 8, 3, 64, 32])
    """

    flip: float = 0.5
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: tuple[float, float] = (0.3, 1 / 0.3)
    imitation: Imitation = field(default_factory=Imitation)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        for name in ("flip", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a chance in 0..1, got {getattr(self, name)!r}")
        for name, most in (("erase_area", 1.0), ("erase_aspect", float("inf"))):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise ValueError(f"{name} must be (least, most) with 0 < least <= most <= {most:g}, got {(low, high)}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean and std must be 3 numbers, std positive, got {self.mean} and {self.std}")

    def __call__(self, clips: Tensor, draws: Sequence[int] | Tensor) -> Tensor:
        if clips.dtype != torch.uint8 or clips.ndim != 5 or clips.shape[2] != 3:
            raise ValueError(f"expected uint8 clips (b, t, 3, h, w), got {clips.dtype} of shape {tuple(clips.shape)}")
        if len(draws) != len(clips):
            raise ValueError(f"expected one draw for each of {len(clips)} clips, got {len(draws)}")
        h, w = clips.shape[-2:]
        plan = torch.from_numpy(self._plan(draws, h, w)).to(clips.device, non_blocking=True)
        flip, top, bottom, left, right = (column.view(-1, 1, 1) for column in plan.unbind(1))
        clips = torch.where(flip[..., None, None] > 0, clips.flip(-1), clips)
        y = torch.arange(h, dtype=torch.int64, device=clips.device).view(1, h, 1)
        x = torch.arange(w, dtype=torch.int64, device=clips.device).view(1, 1, w)
        erased = (top <= y) & (y < bottom) & (left <= x) & (x < right)
        pixels = clips.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        if self.imitation:
            numbers = uniform(draws, _OWN + Imitation.numbers(clips.shape[1]))[:, _OWN:]
            pixels = self.imitation(pixels, numbers)
        return self._normalised(pixels).masked_fill_(erased[:, None, None], 0.0)

    def _normalised(self, pixels: Tensor) -> Tensor:
        """The steps of `ClipTransform` in its order, so that the result is the same to the last bit."""
        values = torch.tensor([self.mean, self.std], dtype=torch.float32, device="cpu").to(
            pixels.device, non_blocking=True
        )
        mean, std = values.view(2, 3, 1, 1)
        return pixels.sub_(mean).div_(std)

    def _plan(self, draws: Sequence[int] | Tensor, h: int, w: int) -> np.ndarray:
        """For each clip (b, 5): flip, then top, bottom, left and right of the rectangle, all 0 for none."""
        u = uniform(draws, _OWN)
        area = _between(self.erase_area, u[:, 4 : 4 + TRIES]) * (h * w)
        aspect = _between(self.erase_aspect, u[:, 4 + TRIES :])
        heights = np.rint(np.sqrt(area * aspect)).astype(np.int64).clip(1)
        widths = np.rint(np.sqrt(area / aspect)).astype(np.int64).clip(1)
        fits = (heights <= h) & (widths <= w)
        first = np.arange(len(u)), fits.argmax(axis=1)
        height, width = heights[first], widths[first]
        top = (u[:, 2] * (h - height + 1)).astype(np.int64)
        left = (u[:, 3] * (w - width + 1)).astype(np.int64)
        rectangle = np.stack([top, top + height, left, left + width], axis=1)
        rectangle[~((u[:, 1] < self.erase) & fits[first])] = 0
        return np.column_stack([self.mirrored(draws), rectangle])

    def mirrored(self, draws: Sequence[int] | Tensor) -> np.ndarray:
        """b draws -> (b,) bool: which clips are mirrored."""
        return uniform(draws, 1)[:, 0] < self.flip


def uniform(draws: Sequence[int] | Tensor, count: int) -> np.ndarray:
    """b draws -> (b, count) float64 in [0, 1): SplitMix64 (Steele et al., OOPSLA 2014), started from each draw's hash.

    >>> uniform([7, 8], 2)[1] == uniform([8], 2)[0]
    array([ True,  True])
    """
    numbers = draws.cpu().numpy() if isinstance(draws, Tensor) else np.asarray(draws, dtype=np.uint64)
    start = _mixed(numbers.astype(np.uint64))[:, None]
    bits = _mixed(start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return (bits >> np.uint64(11)) * 2.0**-53


def _mixed(z: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64, a bijection; the products wrap at 64 bits as intended."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _between(bounds: tuple[float, float], u: np.ndarray) -> np.ndarray:
    low, high = bounds
    return low + (high - low) * u
