"""Horizontal stripes: the fixed partition that the paper compares its part attention with (Table 5)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stmga.blocks.ops import check_input


class Stripes(nn.Module):
    """(b t c h w) -> (b n t c), max-pooled horizontal bands, n = sum(scales).

    Scale s cuts the h rows into s bands that neither overlap nor leave a row out; bands are equal where s divides h.
    It replaces CPA and MA-PA, without attention and without parameters.

    Args:
        scales: number of bands in each scale.

    Example:
        >>> import torch
        >>> Stripes(scales=(1, 2, 4))(torch.rand(2, 8, 64, 16, 8)).shape
        torch.Size([2, 7, 8, 64])
    """

    def __init__(self, *, scales: Sequence[int] = (1, 2, 4)) -> None:
        super().__init__()
        if not scales or min(scales) < 1:
            raise ValueError(f"Stripes needs scales of at least one band each, got {tuple(scales)}")
        self.scales = tuple(scales)

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, "b t c h w", "Stripes")
        h = x.shape[3]
        if h < max(self.scales):
            raise ValueError(f"Stripes with scales {self.scales} needs at least {max(self.scales)} rows, got {h}")
        bands = [x[..., i * h // s : (i + 1) * h // s, :].amax((-2, -1)) for s in self.scales for i in range(s)]
        return torch.stack(bands, dim=1)
