"""Attended max-pooling on CUDA: one Triton kernel for the forward pass and one for the backward pass."""

from typing import Any

import torch
import triton
import triton.language as tl
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

from stmga.blocks.ops import has_gradient

TILE = 4096  # values of the map in the registers of a program; one program has all positions of a channel
WARPS = 2  # with more, exchanging maxima between warps dominates
TRAINED = 256  # most positions of a map in training; the memory for the gradient of A grows with them


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels can take this map (b t c h w): they compute its precision exactly, and it fits in a tile."""
    most = TRAINED if has_gradient(x, weight) else TILE
    return x.dtype in (torch.float32, torch.bfloat16, torch.float16) and x.shape[-2] * x.shape[-1] <= most


def fused_max(x: Tensor, weight: Tensor) -> Tensor:
    """(b t c h w), (b t n h w) -> (b n t c), the maximum over h, w of W * F for each W; both of one precision.

    The result equals the plain form to the bit. The gradient goes to the first of equal maxima.
    """
    if torch.compiler.is_compiling():  # the compiler chooses the device
        return _pooled(x, weight)
    with torch.cuda.device_of(x):
        return _pooled(x, weight)


def _pooled(x: Tensor, weight: Tensor) -> Tensor:
    if has_gradient(x, weight):
        pooled: Tensor = _FusedMax.apply(x, weight)
        return pooled
    return _forward(_flat(x), _flat(weight).contiguous(), positions=False)[0]


def _flat(x: Tensor) -> Tensor:
    return rearrange(x, "b t c h w -> b t c (h w)")


class _FusedMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        frames, flat_weight = _flat(x), _flat(weight).contiguous()
        pooled, positions = _forward(frames, flat_weight, positions=True)
        ctx.save_for_backward(frames, flat_weight, positions)
        ctx.map = x.shape[-2:]
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        frames, weight, positions = ctx.saved_tensors
        to_frames, to_weight = _backward(frames, weight, positions, grad.contiguous())
        return to_frames.unflatten(-1, ctx.map), to_weight.unflatten(-1, ctx.map)


def _forward(frames: Tensor, weight: Tensor, *, positions: bool) -> tuple[Tensor, Tensor]:
    """(b t c s), (b t n s) -> the maxima (b n t c), and the position of each in s if asked for."""
    (b, t, c, s), n = frames.shape, weight.shape[2]
    pooled = frames.new_empty(b, n, t, c)
    found = torch.empty_like(pooled, dtype=torch.int32) if positions else pooled  # not written otherwise
    block_c, block_s = _tile(c, s)
    grid = (b * t, triton.cdiv(c, block_c))
    strides = frames.stride()
    _pool[grid](frames, weight, pooled, found, t, c, n, s, *strides, positions, block_c, block_s, num_warps=WARPS)
    return pooled, found


def _backward(frames: Tensor, weight: Tensor, positions: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients (b t c s) of the map and (b t n s) of the attentions."""
    (b, t, c, s), n = frames.shape, weight.shape[2]
    block_c, block_s = _tile(c, s)
    blocks = triton.cdiv(c, block_c)
    to_frames = torch.empty_like(frames)
    # Each program's share of the gradient of A is added up afterwards, in a fixed order, unlike with atomics. With 2048
    # channels and 7 attentions the shares take 0.44 of a half-precision map at 128 positions, 0.88 at 256.
    shares = torch.empty(b, t, blocks, n, s, dtype=torch.float32, device=grad.device)
    strides = (*frames.stride(), *to_frames.stride())
    _spread[b * t, blocks](
        frames, weight, positions, grad, to_frames, shares, t, c, n, s, *strides, block_c, block_s, num_warps=WARPS
    )
    return to_frames, shares.sum(2).to(weight.dtype)


def _tile(c: int, s: int) -> tuple[int, int]:
    """How many channels a program takes, and how many positions: powers of two."""
    block_s = triton.next_power_of_2(s)
    return min(triton.next_power_of_2(c), max(1, TILE // block_s)), block_s


@triton.jit
def _larger(a, b):  # type: ignore[no-untyped-def]
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _cells(start, t, c, s, by_b, by_t, by_c, by_s, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program's frame, channels and positions, their addresses (c s) in a map with these strides, and a mask."""
    frame = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    position = tl.arange(0, BLOCK_S)
    cells = start + frame // t * by_b + frame % t * by_t + channel[:, None] * by_c + position[None, :] * by_s
    return frame, channel, position, cells, (channel < c)[:, None] & (position < s)[None, :]


@triton.jit
def _pool(  # type: ignore[no-untyped-def]
    x, weight, pooled, positions, t, c, n, s, x_b, x_t, x_c, x_s,
    TRAIN: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """One program: some channels of a frame under every attention."""
    frame, channel, position, cells, there = _cells(x, t, c, s, x_b, x_t, x_c, x_s, BLOCK_C, BLOCK_S)
    tile = tl.load(cells, mask=there, other=0).to(tl.float32)
    for i in range(n):
        a = tl.load(weight + (frame * n + i) * s + position, mask=position < s, other=0).to(tl.float32)
        y = tl.where((position < s)[None, :], tile * a[None, :], float("-inf"))
        top = tl.reduce(y, 1, _larger)
        out = ((frame // t * n + i) * t + frame % t) * c + channel
        tl.store(pooled + out, top, mask=channel < c)
        if TRAIN:
            found = (y == top[:, None]) | (y != y)
            first = tl.min(tl.where(found, position[None, :], BLOCK_S), 1)
            tl.store(positions + out, first, mask=channel < c)


@triton.jit
def _spread(  # type: ignore[no-untyped-def]
    x, weight, positions, grad, to_x, shares, t, c, n, s, x_b, x_t, x_c, x_s, to_b, to_t, to_c, to_s,
    BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """The backward pass of `_pool`: every position gets the gradients of its maxima, mostly 0."""
    frame, channel, position, cells, there = _cells(x, t, c, s, x_b, x_t, x_c, x_s, BLOCK_C, BLOCK_S)
    tile = tl.load(cells, mask=there, other=0).to(tl.float32)
    total = tl.zeros((BLOCK_C, BLOCK_S), tl.float32)
    share = shares + (frame * tl.num_programs(1) + tl.program_id(1)) * n * s
    for i in range(n):
        a = tl.load(weight + (frame * n + i) * s + position, mask=position < s, other=0).to(tl.float32)
        out = ((frame // t * n + i) * t + frame % t) * c + channel
        g = tl.load(grad + out, mask=channel < c, other=0).to(tl.float32)
        hit = position[None, :] == tl.load(positions + out, mask=channel < c, other=-1)[:, None]
        total += tl.where(hit, g[:, None] * a[None, :], 0)
        tl.store(share + i * s + position, tl.sum(tl.where(hit, g[:, None] * tile, 0), 0), mask=position < s)
    to_cells = _cells(to_x, t, c, s, to_b, to_t, to_c, to_s, BLOCK_C, BLOCK_S)[3]
    tl.store(to_cells, total, mask=there)
