"""Multi-attentive part augmentation: the same parts at several grains (section 3.3 of the paper)."""

from collections.abc import Sequence

import torch
from einops import reduce
from torch import Tensor, nn

from stmga.blocks.ops import check_input
from stmga.blocks.pooling import attended_max

ATTEND = ("residual", "scaled", "mask")


class MAPA(nn.Module):
    """(b t c h w), (b t n h w) -> (b n' t c), the features of n' = sum(scales) parts in each frame (eq. 6).

    A scale of s parts adds up groups of n / s adjacent sub-attentions, so every sub-attention occurs once in every
    scale: with n = 4 and scales (1, 2, 4) the whole person, two halves, four quarters. It has no parameters.

    Args:
        scales: number of parts in each scale; each must divide the number n of sub-attentions.
        attend: what a part's attention A does to the map F before the maximum. ``"residual"``: F + A F, the paper's.
            ``"scaled"``: F + s A F in the scale of s parts, so that a part weighs as much as the whole does.
            ``"mask"``: A F, the part alone.

    Example:
        >>> import torch
        >>> MAPA(scales=(1, 2, 4))(torch.rand(2, 8, 64, 16, 8), torch.rand(2, 8, 4, 16, 8)).shape
        torch.Size([2, 7, 8, 64])
    """

    def __init__(self, *, scales: Sequence[int] = (1, 2, 4), attend: str = "residual") -> None:
        super().__init__()
        if attend not in ATTEND:
            raise ValueError(f"MAPA takes attend={' or '.join(map(repr, ATTEND))}, got {attend!r}")
        self.attend = attend
        if not scales or min(scales) < 1:
            raise ValueError(f"MAPA needs scales of at least one part each, got {tuple(scales)}")
        self.scales = tuple(scales)

    def forward(self, x: Tensor, attention: Tensor) -> Tensor:
        check_input(x, "b t c h w", "MAPA")
        check_input(attention, "b t n h w", "MAPA")
        (b, t, _, h, w), attention_shape = x.shape, attention.shape
        if (attention_shape[:2], attention_shape[3:]) != ((b, t), (h, w)):
            raise ValueError(
                f"MAPA takes attentions (b, t, n, h, w) of the map's own b, t, h, w: the map is {tuple(x.shape)}, "
                f"the attentions are {tuple(attention_shape)}"
            )
        return attended_max(x, self.weights(attention, x.dtype))

    def weights(self, attention: Tensor, dtype: torch.dtype) -> Tensor:
        """(b t n h w) -> (b t n' h w), what the map is multiplied with for each part: 1 + A, 1 + s A, or A."""
        parts = self._sums(attention)
        if self.attend != "mask":
            parts = [1 + (s * a if self.attend == "scaled" else a) for s, a in zip(self.scales, parts, strict=True)]
        # Concatenated last, because the result is stored: the compiler would repeat a later sum for every channel.
        return torch.cat([a.to(dtype) for a in parts], dim=2)

    def augment(self, attention: Tensor) -> Tensor:
        """(b t n h w) -> (b t n' h w), the attentions of all scales, in the order of ``scales``."""
        check_input(attention, "b t n h w", "MAPA.augment")
        return torch.cat(self._sums(attention), dim=2)

    def _sums(self, attention: Tensor) -> list[Tensor]:
        n = attention.shape[2]
        if any(n % s for s in self.scales):
            raise ValueError(f"MAPA with scales {self.scales} needs a number of attentions that each divides, got {n}")
        return [reduce(attention, "b t (s g) h w -> b t s h w", "sum", s=s) for s in self.scales]
