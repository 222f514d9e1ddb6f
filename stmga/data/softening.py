"""Makes a sharp crop look like that of a distant camera: fewer pixels, then JPEG compression."""

from __future__ import annotations

from math import pi

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

# Quantisation of luma and chroma at quality 50 (ITU-T T.81, tables K.1 and K.2).
_LUMA = torch.tensor(
    [[16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
     [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
     [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]], dtype=torch.int64, device="cpu"
)  # fmt: skip
_CHROMA = torch.full((8, 8), 99, dtype=torch.int64, device="cpu")
_CHROMA[:4, :4] = torch.tensor(
    [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]], dtype=torch.int64, device="cpu"
)  # fmt: skip
_YCC = torch.tensor(  # JFIF
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=torch.float32, device="cpu"
)
_RGB = torch.linalg.inv(_YCC)
_k = torch.arange(8, dtype=torch.float32, device="cpu")
_DCT = torch.cos(pi / 8 * (_k + 0.5) * _k[:, None]) / 2  # orthonormal, by rows
_DCT[0] /= 2**0.5
_BASIS = torch.kron(_DCT, _DCT)  # (64 64): the cosine transform of a block of 8 x 8, orthonormal too
LEAST = 0.25  # the smallest share of its height and width that a frame keeps
QUALITY = (30, 95)


def soften(frames: Tensor, share: float, quality: float) -> Tensor:
    """``(n, 3, h, w)`` in 0..1 -> the same shape, resized down and up, then compressed as JPEG does.

    Args:
        share: height and width in between, as a share in 0..1.
        quality: of JPEG, in 1..100.

    >>> soften(torch.rand(4, 3, 64, 32), 0.5, 50).shape
    torch.Size([4, 3, 64, 32])
    """
    h, w = frames.shape[-2:]
    small = F.interpolate(frames, (max(1, round(h * share)), max(1, round(w * share))), mode="bilinear", antialias=True)
    return compress(F.interpolate(small, (h, w), mode="bicubic", antialias=True).clamp_(0, 1), quality)


def compress(frames: Tensor, quality: float) -> Tensor:
    """``(n, 3, h, w)`` in 0..1 -> the same after JPEG of that quality, 1..100, its colours at half the resolution.

    The steps of a baseline encoder and decoder (ITU-T T.81, JFIF) but for the lossless ones.
    """
    h, w = frames.shape[-2:]
    padded = F.pad(frames, (0, -w % 16, 0, -h % 16), mode="replicate") * 255
    matrix, back = (m.to(frames.device, non_blocking=True) for m in (_YCC, _RGB))
    ycc = (matrix @ padded.flatten(2)).view_as(padded)
    luma = _quantised(ycc[:, :1] - 128, _steps(_LUMA, quality)) + 128
    chroma = _quantised(F.avg_pool2d(ycc[:, 1:], 2), _steps(_CHROMA, quality))
    ycc = torch.cat([luma, F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)], 1)
    rgb = (back @ ycc.flatten(2)).view_as(ycc)[..., :h, :w]
    return (rgb / 255).clamp_(0, 1)


def _steps(table: Tensor, quality: float) -> Tensor:
    """The quantisation steps (64,) of a table, by the formula of the IJG encoder."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return ((table * scale + 50) / 100).floor().clamp(1, 255).flatten()


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """(n c h w), (64,) -> the planes after rounding the coefficients of their 8 x 8 blocks."""
    basis = _BASIS.to(planes.device, non_blocking=True)
    h, w = planes.shape[-2:]
    blocks = rearrange(planes, "n c (h p) (w q) -> n (c h w) (p q)", p=8, q=8)
    steps = steps.to(planes.device, non_blocking=True)
    rounded = (blocks @ basis.T).div_(steps).round_().mul_(steps)
    return rearrange(rounded @ basis, "n (c h w) (p q) -> n c (h p) (w q)", h=h // 8, w=w // 8, p=8)
