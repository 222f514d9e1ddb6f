"""What several blocks share: attended max-pooling, and full precision where it matters."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from einops import rearrange
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32, all else stays: for softmaxes, sigmoids and norms."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def no_autocast(device_type: str) -> AbstractContextManager[Any]:
    """A region in full precision; on a device that knows no autocast (meta) there is nothing to switch off."""
    available = torch.amp.is_autocast_available(device_type)
    return torch.autocast(device_type, enabled=False) if available else nullcontext()


def attended_max(x: Tensor, attention: Tensor, *, keep: float = 1.0) -> Tensor:
    """(b t c h w), (b t n h w) -> (b n t c), the maximum over h, w of keep * F + A * F for each A (eq. 6: keep = 1)."""
    # One attention at a time: n copies of the map would not fit where one does.
    products = (x * a for a in (keep + attention.to(x.dtype)).split(1, dim=2))
    if torch.is_grad_enabled():  # `max` over a flat axis keeps the places of the maxima, `amax` the whole product
        return torch.stack([rearrange(p, "b t c h w -> b t c (h w)").max(-1).values for p in products], dim=1)
    return torch.stack([p.amax((-2, -1)) for p in products], dim=1)  # several times as fast


def require_map(x: Tensor, channels: int | None, block: str) -> None:
    """Say what a block got where it expects a map (b, t, c, h, w) with ``channels`` channels."""
    if x.ndim != 5:
        raise ValueError(f"{block} takes a feature map (b, t, c, h, w), got shape {tuple(x.shape)}")
    if channels is not None and x.shape[2] != channels:
        raise ValueError(f"{block} was built for {channels} channels, got a map with {x.shape[2]}: {tuple(x.shape)}")
