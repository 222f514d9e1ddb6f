"""Consistent part attention: parts that mean the same in every frame (section 3.2 of the paper)."""

import math
from typing import NamedTuple

from einops import rearrange
from torch import Tensor, nn

from stmga.blocks.ops import at_least_float32, check_input, shapes
from stmga.blocks.pooling import attended_max


class CPASupervision(NamedTuple):
    """What the losses of CPA need (eq. 2-5); computed by :meth:`CPA.supervise` only."""

    part_attention: Tensor  # (b t n h w) a^n, the residual part attentions, in 0..1
    global_attention: Tensor  # (b t 1 h w) a^g, in 0..1
    residual: Tensor  # (b t 1 h w) a^g less its minimum over h, w: the target of the sum of the parts
    pooled_global: Tensor  # (b c) P_g
    pooled_parts: Tensor  # (b n c) P_n

    def __repr__(self) -> str:
        return f"CPASupervision({shapes(self._asdict())})"


class CPA(nn.Module):
    """(b t c h w) -> (b t n h w), n part attentions in 0..1 for every frame (eq. 1).

    The parts are learnt as residuals over the background (mode ``direct``, D8). Nothing is subtracted from them; only
    their target, the global attention, has its minimum subtracted. So ``forward`` needs only the part heads.
    :meth:`supervise` also computes the global head and the pooled features for the losses. Use it in training: with
    ``forward`` alone, the global head gets no gradient. The residual keeps its gradient. The loss of the parts should
    detach it, since it is their target.

    Args:
        dim: channels c of the map.
        parts: number n of part attentions (N_s in the paper).
        reduction: shrink ratio of a head's hidden layer (gamma in the paper).

    Example:
        >>> import torch
        >>> cpa = CPA(64, parts=4)
        >>> cpa(torch.rand(2, 8, 64, 16, 8)).shape
        torch.Size([2, 8, 4, 16, 8])
    """

    def __init__(self, dim: int, *, parts: int = 4, reduction: int = 16) -> None:
        super().__init__()
        if parts < 1 or dim < 1 or reduction < 1:
            raise ValueError(f"CPA needs dim, parts and reduction of at least 1, got {dim}, {parts}, {reduction}")
        self.dim = dim
        # At the start the parts add up to about the residual global attention, whose mean is near 0.4: Adam moves a
        # bias by about lr a step, so from 0.5 each it would take thousands of steps to get there.
        self.start = 0.4 / parts
        self.part_heads = attention_heads(dim, parts, reduction, start=self.start)
        self.global_head = attention_heads(dim, 1, reduction, start=0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self._attend(self.part_heads, x)

    def supervise(self, x: Tensor) -> CPASupervision:
        """(b t c h w) -> the part attentions and everything that the losses of CPA compare them with (eq. 1-4)."""
        parts, whole = self._attend(self.part_heads, x), self._attend(self.global_head, x)
        return CPASupervision(
            part_attention=parts,
            global_attention=whole,
            residual=whole - whole.amin((-2, -1), keepdim=True),
            pooled_global=attended_max(x, 1 + whole).mean(2).squeeze(1),
            pooled_parts=attended_max(x, 1 + parts).mean(2),
        )

    def _attend(self, heads: nn.Sequential, x: Tensor) -> Tensor:
        check_input(x, "b t c h w", "CPA", self.dim)
        logits = heads(rearrange(x, "b t c h w -> (b t) c h w"))
        attention = at_least_float32(logits).sigmoid().to(next(heads.parameters()).dtype)
        return rearrange(attention, "(b t) n h w -> b t n h w", t=x.shape[1])


def attention_heads(dim: int, heads: int, reduction: int, *, start: float) -> nn.Sequential:
    """``heads`` independent heads in one module, whose attention begins around ``start``.

    The group convolution gives each head its own hidden channels, so the heads stay separate.
    """
    hidden = max(1, dim // reduction)
    norm = nn.BatchNorm2d(heads)
    nn.init.constant_(norm.bias, math.log(start / (1 - start)))
    return nn.Sequential(
        nn.Conv2d(dim, heads * hidden, 1, bias=False),
        nn.BatchNorm2d(heads * hidden),
        nn.ReLU(),
        nn.Conv2d(heads * hidden, heads, 1, groups=heads, bias=False),
        norm,
    )
