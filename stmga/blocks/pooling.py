"""Attended max-pooling (eq. 6): a kernel on CUDA, one loop for the compiler, in pieces elsewhere."""

import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from stmga.blocks.ops import has_gradient

logger = logging.getLogger(__name__)


def attended_max(x: Tensor, weight: Tensor) -> Tensor:
    """(b t c h w), (b t n h w) -> (b n t c), the maximum over h, w of W * F for each W (eq. 6: W = 1 + A).

    The map is not copied for each weight. No other tensor of its size is allocated, except its gradient in the backward
    pass. On CUDA a kernel reads the map once (:mod:`stmga.blocks.fused_max`).
    """
    weight = weight.to(x.dtype)
    # An exported program may run without Triton; a program compiled for CUDA has it.
    if x.is_cuda and not torch.compiler.is_exporting() and (torch.compiler.is_compiling() or runs_kernels(x.device)):
        from stmga.blocks.fused_max import fits, fused_max

        if fits(x, weight):
            return fused_max(x, weight)
    return pooled_plainly(x, weight) if torch.compiler.is_compiling() else pooled_in_pieces(x, weight)


@cache
def runs_kernels(device: torch.device) -> bool:
    """Whether Triton can launch a kernel: it needs a C compiler, and does not support every GPU."""
    one = torch.ones(1, 1, 1, 1, 1, dtype=torch.float32, device=device)
    try:
        from stmga.blocks.fused_max import fused_max

        fused_max(one, one)
    except Exception as error:  # no Triton, or its build or the driver fails
        logger.warning("attended pooling goes without its kernel, which cannot be run on %s: %s", device, error)
        return False
    return True


def pooled_plainly(x: Tensor, weight: Tensor) -> Tensor:
    """(b t c h w), (b t n h w) -> (b n t c), in a form that compiles to one loop, which reads the map once."""
    return torch.stack([(x * a).amax((-2, -1)) for a in weight.split(1, dim=2)], dim=1)


def pooled_in_pieces(x: Tensor, weight: Tensor) -> Tensor:
    """(b t c h w), (b t n h w) -> (b n t c), the same on any device."""
    b, t = x.shape[:2]
    frames, weight = rearrange(x, "b t c h w -> (b t) c h w"), rearrange(weight, "b t n h w -> (b t) n h w")
    pooled = _AttendedMax.apply(frames, weight) if has_gradient(frames, weight) else _pool(frames, weight)
    return rearrange(pooled, "n (b t) c -> b n t c", b=b, t=t)


def _pieces(frames: Tensor) -> Iterator[slice]:
    """A few frames at a time on a CPU, so that a piece and its product stay in the cache; elsewhere all at once."""
    size = max(1, 2**17 // frames[0].numel()) if frames.device.type == "cpu" else len(frames)
    return (slice(start, start + size) for start in range(0, len(frames), size))


def _pool(frames: Tensor, weight: Tensor) -> Tensor:
    """(m c h w), (m n h w) -> (n m c), the maximum of each product."""
    pooled = frames.new_empty(weight.shape[1], *frames.shape[:2])
    for piece in _pieces(frames):
        for out, a in zip(pooled, weight[piece].split(1, dim=1), strict=True):
            torch.amax(frames[piece] * a, (-2, -1), out=out[piece])
    return pooled


class _AttendedMax(torch.autograd.Function):
    """As `_pool`, and saves the position of each maximum. Only these have a gradient: the backward pass is sparse."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, weight: Tensor) -> Tensor:
        pooled = frames.new_empty(weight.shape[1], *frames.shape[:2])
        positions = torch.empty_like(pooled, dtype=torch.int64)
        for piece in _pieces(frames):
            x = frames[piece].contiguous(memory_format=torch.channels_last)
            for out, position, a in zip(pooled, positions, weight[piece].split(1, dim=1), strict=True):
                # max_pool2d finds values and positions of all channels at once; `max` over h, w takes six times as long
                found = F.max_pool2d(x * a, x.shape[-2:], return_indices=True)
                out[piece], position[piece] = (y.flatten(1) for y in found)
        ctx.save_for_backward(frames, weight, positions)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        frames, weight, positions = ctx.saved_tensors
        flat, flat_weight = frames.flatten(2), weight.flatten(2)
        to_frames, to_weight = torch.zeros_like(flat), torch.zeros_like(flat_weight)
        for n, (g, position) in enumerate(zip(grad, positions, strict=True)):  # (m c) each
            to_frames.scatter_add_(2, position[..., None], (g * flat_weight[:, n].gather(1, position))[..., None])
            to_weight[:, n].scatter_add_(1, position, g * flat.gather(2, position[..., None])[..., 0])
        return to_frames.view(frames.shape), to_weight.view(weight.shape)
