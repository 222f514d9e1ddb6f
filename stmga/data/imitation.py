"""Makes groups of still crops look like video, so that the temporal blocks can learn from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, inf

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from stmga.data.colour import shift_colour
from stmga.data.softening import LEAST, QUALITY, soften
from stmga.utils.settings import Settings

# Random numbers of a clip before and after those of its frames. Effects that were added later take theirs last, so that
# a seed still gives the earlier effects the same numbers.
_OWN, _LATE = 18, 5

# A box that drifts by more than half of the frame could shrink to nothing and be inverted.
_MOST = {"drift": 0.5, "passing": 1.0, "blur": inf, "light": 1.0, "hue": 0.5, "saturation": 1.0, "soften": 1.0}


@dataclass(frozen=True, kw_only=True)
class Imitation(Settings):
    """``(b, t, 3, h, w)`` in 0..1, b rows of random numbers -> the same shape: more like video of an imperfect tracker.

    The result for a clip depends only on its pixels and random numbers. :class:`stmga.data.ClipAugment` applies this
    before normalisation, with random numbers from the draw of the clip. An attribute of 0 turns its effect off. The
    order is light, colour (hue and saturation), drift, blur, soften, passing.

    Attributes:
        drift: how far the box may be off, as a share of the frame's height and width, at most 0.5. The box of a clip is
            shifted and scaled at random by up to this much. Over the clip it moves in a straight line by up to as much,
            half of it before the middle frame; each frame adds jitter of up to a fifth of it. A larger box makes a
            smaller person. Pixels beyond the edge repeat the edge.
        passing: probability that an occluder passes: an upright block of one colour that enters at one side and leaves
            at the other. In a clip of one frame its position is random.
        blur: largest standard deviation of a Gaussian blur, in pixels, the same for all frames of a clip.
        light: largest relative change of brightness and contrast of a clip: factors of its values, and of their
            distances from the clip's mean.
        hue: largest rotation of the hue of a clip, as a share of the full circle, at most 0.5.
        saturation: largest relative change of the distance from grey.
        soften: probability that a clip is resized down, to a quarter or more of its height and width, and up again,
            then compressed as JPEG at a quality of 30 to 95.

    Raises:
        ValueError: an attribute out of its range; clips of another shape or type; not one row of numbers for each clip.

    >>> clips = torch.rand(2, 8, 3, 64, 32)
    >>> Imitation(drift=0.08, passing=0.3)(clips, np.random.rand(2, Imitation.numbers(8))).shape
    torch.Size([2, 8, 3, 64, 32])
    """

    drift: float = 0.0
    passing: float = 0.0
    blur: float = 0.0
    light: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    soften: float = 0.0

    def _faults(self) -> Iterable[str]:
        for name, most in _MOST.items():
            if not 0 <= getattr(self, name) <= most:
                yield self.must(name, f"be in 0..{most:g}" if most < inf else "be >= 0")

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in _MOST)

    def __call__(self, clips: Tensor, draws: np.ndarray) -> Tensor:
        """``draws`` are uniform numbers (b, :meth:`numbers` of t) in [0, 1)."""
        if clips.dtype != torch.float32 or clips.ndim != 5 or clips.shape[2] != 3:
            raise ValueError(f"expected float32 clips (b, t, 3, h, w), got {clips.dtype} of shape {tuple(clips.shape)}")
        b, t = clips.shape[:2]
        if draws.shape != (b, self.numbers(t)):
            raise ValueError(f"expected {(b, self.numbers(t))} random numbers, got {draws.shape}")
        u = torch.from_numpy(draws.astype(np.float32)).to(clips.device, non_blocking=True)
        own, trembling, late = u.split([_OWN, 3 * t, _LATE], dim=1)
        trembling = rearrange(trembling, "b (t k) -> b t k", t=t)
        when = torch.linspace(-0.5, 0.5, t, dtype=clips.dtype, device=clips.device) if t > 1 else clips.new_zeros(1)
        if self.light:
            clips = self._lit(clips, own[:, 0:2])
        if self.hue or self.saturation:
            turn, saturation = (2 * late[:, :2] - 1).unbind(1)
            clips = shift_colour(clips, self.hue * turn, 1 + self.saturation * saturation)
        if self.drift:
            clips = self._drifted(clips, own[:, 2:8], trembling, when)
        if self.blur:
            clips = self._blurred(clips, own[:, 8])
        if self.soften:
            clips = self._softened(clips, draws[:, -3:])
        if self.passing:
            clips = self._passed(clips, own[:, 9:18], when)
        return clips

    @staticmethod
    def numbers(t: int) -> int:
        """How many random numbers a clip of t frames takes."""
        return _OWN + 3 * t + _LATE

    def _lit(self, clips: Tensor, u: Tensor) -> Tensor:
        bright, contrast = (1 + self.light * (2 * u - 1)).view(-1, 2, 1, 1, 1, 1).unbind(1)
        middle = clips.mean((1, 2, 3, 4), keepdim=True)
        return (clips * (contrast * bright)).add_(middle * (1 - contrast) * bright).clamp_(0, 1)

    def _drifted(self, clips: Tensor, u: Tensor, trembling: Tensor, when: Tensor) -> Tensor:
        b, t, _, h, w = clips.shape
        start, course = (2 * u - 1).view(b, 2, 1, 3).unbind(1)  # of y, x, scale
        off = self.drift * (start + course * when[:, None] + 0.2 * (2 * trembling - 1))  # (b t 3)
        y, x, scale = rearrange(off, "b t k -> k (b t)")
        # What affine_grid gives, in a tenth of its time on a CPU: x depends on the column alone, and y on the row.
        grid = torch.empty(b * t, h, w, 2, dtype=clips.dtype, device=clips.device)
        across, along = (2 * _middles(n, clips) - 1 for n in (w, h))  # grid coordinates run from -1 to 1
        grid[..., 0] = ((1 + scale)[:, None] * across + 2 * x[:, None])[:, None]
        grid[..., 1] = ((1 + scale)[:, None] * along + 2 * y[:, None])[..., None]
        frames = rearrange(clips, "b t c h w -> (b t) c h w")
        moved = F.grid_sample(frames, grid, padding_mode="border", align_corners=False)
        return rearrange(moved, "(b t) c h w -> b t c h w", t=t)

    def _blurred(self, clips: Tensor, u: Tensor) -> Tensor:
        b, t, c = clips.shape[:3]
        sigma = (self.blur * u).clamp_(min=1e-3)
        radius = max(3, ceil(3 * self.blur))
        x = torch.arange(-radius, radius + 1, dtype=clips.dtype, device=clips.device)
        kernel = torch.softmax(-0.5 * (x / sigma[:, None]) ** 2, 1)
        kernel = repeat(kernel, "b k -> (b t c) 1 k 1", t=t, c=c)
        planes = F.pad(rearrange(clips, "b t c h w -> 1 (b t c) h w"), [radius] * 4, mode="replicate")
        planes = F.conv2d(F.conv2d(planes, kernel, groups=b * t * c), kernel.mT, groups=b * t * c)
        return rearrange(planes, "1 (b t c) h w -> b t c h w", b=b, t=t)

    def _softened(self, clips: Tensor, u: np.ndarray) -> Tensor:
        """Clip by clip. The random numbers are on the host, so nothing waits for the device."""
        clips, (low, high) = clips.clone(), QUALITY
        for row in (u[:, 0] < self.soften).nonzero()[0].tolist():
            share, quality = LEAST + (1 - LEAST) * u[row, 1], low + (high - low) * u[row, 2]
            clips[row] = soften(clips[row], float(share), float(quality))
        return clips

    def _passed(self, clips: Tensor, u: Tensor, when: Tensor) -> Tensor:
        h, w = clips.shape[-2:]
        there, way, width, top, bottom = u[:, :5].unbind(1)
        colour = u[:, 5:8, None, None]
        # From -0.3 to 1.3, each varied by up to 0.3: at both ends at most half of the block is visible.
        middle = torch.where(way[:, None] < 0.5, when, -when) * 1.6 + 0.5 + (u[:, 8:9] - 0.5) * 0.6
        half = 0.1 + 0.15 * width
        x, y = _middles(w, clips), _middles(h, clips)
        across = (x - middle[..., None]).abs() < half[:, None, None]  # (b t w)
        along = (y > 0.5 * top[:, None]) & (y < 1 - 0.3 * bottom[:, None])  # (b h)
        hidden = across[:, :, None, :] & along[:, None, :, None] & (there < self.passing)[:, None, None, None]
        return torch.where(hidden[:, :, None], colour[:, None], clips)


def _middles(n: int, like: Tensor) -> Tensor:
    """(n,), the middles of n pixels side by side, as shares of their whole length."""
    return (torch.arange(n, dtype=like.dtype, device=like.device) + 0.5) / n
