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


def require_map(x: Tensor, channels: int | None, block: str) -> None:
    """Raise ValueError unless x is a map (b, t, c, h, w) with ``channels`` channels."""
    if x.ndim != 5:
        raise ValueError(f"{block} takes a feature map (b, t, c, h, w), got shape {tuple(x.shape)}")
    if channels is not None and x.shape[2] != channels:
        raise ValueError(f"{block} was built for {channels} channels, got a map with {x.shape[2]}: {tuple(x.shape)}")
