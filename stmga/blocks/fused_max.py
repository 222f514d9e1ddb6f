"""Attended max-pooling on CUDA as one pass over the map, forward and backward: a Triton kernel each."""

from typing import Any

import torch
import triton
import triton.language as tl
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

from stmga.blocks.ops import has_gradient

TILE = 4096  # numbers of the map that a program holds in registers; a channel's places always in one program
WARPS = 2  # more of them spend their time on passing maxima to each other
TRAINED = 256  # places of a map in training: the more there are, the more memory the gradient of A takes on the way


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels take this map (b t c h w): a precision they compute exactly, places that fit in a tile."""
    most = TRAINED if has_gradient(x, weight) else TILE
    return x.dtype in (torch.float32, torch.bfloat16, torch.float16) and x.shape[-2] * x.shape[-1] <= most


def fused_max(x: Tensor, weight: Tensor) -> Tensor:
    """(b t c h w), (b t n h w) -> (b n t c), the maximum over h, w of W * F for each W; both of one precision.

    The numbers are those of the plain form to the bit. Its gradient goes to the first of equal maxima.
    """
    if torch.compiler.is_compiling():  # which chooses the device by itself
        return _pooled(x, weight)
    with torch.cuda.device_of(x):
        return _pooled(x, weight)


def _pooled(x: Tensor, weight: Tensor) -> Tensor:
    if has_gradient(x, weight):
        pooled: Tensor = _FusedMax.apply(x, weight)
        return pooled
    return _forward(_flat(x), _flat(weight).contiguous(), places=False)[0]


def _flat(x: Tensor) -> Tensor:
    return rearrange(x, "b t c h w -> b t c (h w)")


class _FusedMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        frames, flat_weight = _flat(x), _flat(weight).contiguous()
        pooled, places = _forward(frames, flat_weight, places=True)
        ctx.save_for_backward(frames, flat_weight, places)
        ctx.map = x.shape[-2:]
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        frames, weight, places = ctx.saved_tensors
        to_frames, to_weight = _backward(frames, weight, places, grad.contiguous())
        return to_frames.unflatten(-1, ctx.map), to_weight.unflatten(-1, ctx.map)


def _forward(frames: Tensor, weight: Tensor, *, places: bool) -> tuple[Tensor, Tensor]:
    """(b t c s), (b t n s) -> the maxima (b n t c), and where each is in s, if that is wanted."""
    (b, t, c, s), n = frames.shape, weight.shape[2]
    pooled = frames.new_empty(b, n, t, c)
    found = torch.empty_like(pooled, dtype=torch.int32) if places else pooled  # else it is not written
    block_c, block_s = _tile(c, s)
    grid = (b * t, triton.cdiv(c, block_c))
    _pool[grid](frames, weight, pooled, found, t, c, n, s, *frames.stride(), places, block_c, block_s, num_warps=WARPS)
    return pooled, found


def _backward(frames: Tensor, weight: Tensor, places: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients (b t c s) of the map and (b t n s) of the attentions."""
    (b, t, c, s), n = frames.shape, weight.shape[2]
    block_c, block_s = _tile(c, s)
    blocks = triton.cdiv(c, block_c)
    to_frames = torch.empty_like(frames)
    # Each program's share of the gradient of A, added up afterwards: the sum has one order, atomics would have many.
    # Of 2048 channels, 128 places and 7 attentions that is 0.44 of a map in half precision, of 256 places 0.88.
    shares = torch.empty(b, t, blocks, n, s, dtype=torch.float32, device=grad.device)
    strides = (*frames.stride(), *to_frames.stride())
    _spread[b * t, blocks](
        frames, weight, places, grad, to_frames, shares, t, c, n, s, *strides, block_c, block_s, num_warps=WARPS
    )
    return to_frames, shares.sum(2).to(weight.dtype)


def _tile(c: int, s: int) -> tuple[int, int]:
    """How many channels a program takes, and how many places: powers of two."""
    block_s = triton.next_power_of_2(s)
    return min(triton.next_power_of_2(c), max(1, TILE // block_s)), block_s


@triton.jit
def _larger(a, b):  # type: ignore[no-untyped-def]
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _cells(start, t, c, s, by_b, by_t, by_c, by_s, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program's frame, channels and places; where they lie (c s) in a map with these strides, and which there are."""
    frame = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    place = tl.arange(0, BLOCK_S)
    cells = start + frame // t * by_b + frame % t * by_t + channel[:, None] * by_c + place[None, :] * by_s
    return frame, channel, place, cells, (channel < c)[:, None] & (place < s)[None, :]


@triton.jit
def _pool(  # type: ignore[no-untyped-def]
    x, weight, pooled, places, t, c, n, s, x_b, x_t, x_c, x_s,
    TRAIN: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """A program: some channels of a frame under every attention."""
    frame, channel, place, cells, there = _cells(x, t, c, s, x_b, x_t, x_c, x_s, BLOCK_C, BLOCK_S)
    tile = tl.load(cells, mask=there, other=0).to(tl.float32)
    for i in range(n):
        a = tl.load(weight + (frame * n + i) * s + place, mask=place < s, other=0).to(tl.float32)
        y = tl.where((place < s)[None, :], tile * a[None, :], float("-inf"))
        top = tl.reduce(y, 1, _larger)
        out = ((frame // t * n + i) * t + frame % t) * c + channel
        tl.store(pooled + out, top, mask=channel < c)
        if TRAIN:
            found = (y == top[:, None]) | (y != y)
            first = tl.min(tl.where(found, place[None, :], BLOCK_S), 1)
            tl.store(places + out, first, mask=channel < c)


@triton.jit
def _spread(  # type: ignore[no-untyped-def]
    x, weight, places, grad, to_x, shares, t, c, n, s, x_b, x_t, x_c, x_s, to_b, to_t, to_c, to_s,
    BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """The backward pass of `_pool`: every place of the map gets what its maxima get, mostly nothing."""
    frame, channel, place, cells, there = _cells(x, t, c, s, x_b, x_t, x_c, x_s, BLOCK_C, BLOCK_S)
    tile = tl.load(cells, mask=there, other=0).to(tl.float32)
    total = tl.zeros((BLOCK_C, BLOCK_S), tl.float32)
    share = shares + (frame * tl.num_programs(1) + tl.program_id(1)) * n * s
    for i in range(n):
        a = tl.load(weight + (frame * n + i) * s + place, mask=place < s, other=0).to(tl.float32)
        out = ((frame // t * n + i) * t + frame % t) * c + channel
        g = tl.load(grad + out, mask=channel < c, other=0).to(tl.float32)
        hit = place[None, :] == tl.load(places + out, mask=channel < c, other=-1)[:, None]
        total += tl.where(hit, g[:, None] * a[None, :], 0)
        tl.store(share + i * s + place, tl.sum(tl.where(hit, g[:, None] * tile, 0), 0), mask=place < s)
    to_cells = _cells(to_x, t, c, s, to_b, to_t, to_c, to_s, BLOCK_C, BLOCK_S)[3]
    tl.store(to_cells, total, mask=there)
