"""What several blocks share: full precision where it matters, and checks of their input."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32, other types stay: for softmaxes, sigmoids and norms."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def no_autocast(device_type: str) -> AbstractContextManager[Any]:
    """A region in full precision. A device without autocast (meta) has nothing to switch off."""
    # Some versions of the compiler cannot trace the check, and would break the graph there.
    available = torch.compiler.is_compiling() or torch.amp.is_autocast_available(device_type)
    return torch.autocast(device_type, enabled=False) if available else nullcontext()


def has_gradient(*tensors: Tensor) -> bool:
    """Whether a backward pass may reach one of them."""
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def shapes(values: Mapping[str, object]) -> str:
    """Tensors by name and shape, for a repr; None is left out.

    >>> shapes({"z": torch.zeros(2, 8), "parts": None})
    'z=(2, 8)'
    """
    shown = {name: tuple(v.shape) if isinstance(v, Tensor) else v for name, v in values.items() if v is not None}
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def check_input(x: object, axes: str, block: str, channels: int | None = None) -> None:
    """Say what a block got where it expects a tensor with these axes, and ``channels`` along c.

    Raises:
        TypeError: not a floating point tensor.
        ValueError: other axes, another number of channels, or an empty axis.

    >>> check_input(torch.rand(2, 8, 64), "b t c h w", "CPA", 64)
    Traceback (most recent call last):
    ValueError: CPA takes a tensor (b, t, c, h, w) with 64 channels c, got shape (2, 8, 64)
    """
    names = axes.split()
    expected = f"{block} takes a tensor ({', '.join(names)})" + (f" with {channels} channels c" if channels else "")
    if not isinstance(x, Tensor):
        raise TypeError(f"{expected}, got {type(x).__name__}")
    if x.ndim != len(names) or (channels is not None and x.shape[names.index("c")] != channels):
        raise ValueError(f"{expected}, got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"{expected} of floating point numbers, got {x.dtype}")
    if not torch.compiler.is_compiling() and x.numel() == 0:  # the compiler would guard each size
        raise ValueError(f"{expected} and no empty axis, got shape {tuple(x.shape)}")
