"""One run of a module that shows the channels of its map, and whether it is a map that ST-MGA can use."""

import math
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from stmga.utils.foreign import reason_of
from stmga.utils.modes import evaluating

STRIDE = 16  # of the map: 16 x 8 for frames of 256 x 128


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's first parameter or buffer; torch's default device for a module without any."""
    first = next(chain(module.parameters(), module.buffers()), None)
    return torch.get_default_device() if first is None else first.device


def map_channels(module: nn.Module, size: tuple[int, int], *, what: str = "the trunk") -> int:
    """The channels of the map that a trunk makes of frames, found by running it once on one frame of noise.

    It runs in eval mode and without gradients on its own device, and is afterwards in the modes of before: no parameter
    and no running statistic changes.

    Args:
        module: frames (n 3 h w) -> map (n c h/16 w/16).
        size: height and width of the frames in pixels.
        what: the name of the module in errors.

    Raises:
        TypeError: it is not a module, or gives no tensor.
        ValueError: it fails on frames of this size, is not float32, or gives no map, a map of another stride, or one
            with NaN or infinity.

    >>> map_channels(nn.Conv2d(3, 48, 16, stride=16), (256, 128))
    48
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"{what} must be a torch.nn.Module from frames to a map, got {type(module).__name__}")
    if other := {p.dtype for p in module.parameters()} - {torch.float32}:
        raise ValueError(f"{what} has parameters of {other.pop()}, and the network is float32: give module.float()")
    device = device_of(module)
    draw = torch.Generator().manual_seed(0)
    frame = torch.randn((1, 3, *size), generator=draw, dtype=torch.float32, device="cpu").to(device)
    with evaluating(module), torch.no_grad(), torch.device(device):
        try:
            found = module(frame)
        except Exception as error:  # a module may raise anything
            raise ValueError(
                f"{what} fails on frames of {size[0]} x {size[1]}: {reason_of(error, 160)}. If it wants another input "
                "size, build it for this one, or give STMGAConfig(size=(height, width))"
            ) from error
    return _checked(found, size, what)


def _checked(found: Any, size: tuple[int, int], what: str) -> int:
    """The channels of a map, if it is one."""
    wanted = [math.ceil(n / STRIDE) for n in size]
    grid = f"{wanted[0]} x {wanted[1]}"
    frames = f"frames of {size[0]} x {size[1]}"
    if not isinstance(found, Tensor):
        raise TypeError(f"{what} gives {type(found).__name__} for {frames}, expected a tensor (n, c, {grid})")
    shape = tuple(found.shape)
    if found.ndim == 3:
        raise ValueError(
            f"{what} gives tokens {shape} without a grid for {frames}; make a map of them with "
            f"stmga.TokenMap(module, grid=({wanted[0]}, {wanted[1]}))"
        )
    if found.ndim != 4 or shape[0] != 1:
        raise ValueError(f"{what} gives {shape} for {frames}, expected a map (n, c, {grid}), before any pooling")
    if list(shape[2:]) not in (wanted, [n // STRIDE for n in size]):
        last = list(shape[1:3]) == wanted
        hint = "move the channels, which are last, to axis 1" if last else _stride_hint(shape[2:], size)
        raise ValueError(f"{what} gives a map {shape} for {frames}, expected (n, c, {grid}), a stride of 16; {hint}")
    if not found.is_floating_point():
        raise ValueError(f"{what} gives a map of {found.dtype}, expected floating point numbers")
    if not found.is_meta and not found.isfinite().all():
        raise ValueError(f"{what} gives NaN or infinity for {frames} of noise; check its weights")
    return int(shape[1])


def _stride_hint(grid: tuple[int, ...], size: tuple[int, int]) -> str:
    if 0 in grid:
        return "give larger frames"
    if size[0] / grid[0] > STRIDE:
        return "remove the stride of its last stage, or end it one stage earlier"
    return "end it one stage later, or add a stride"
