"""Long- and short-term temporal augmentation: each part seen at several extents in time (section 3.3 of the paper)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stmga.blocks.ops import at_least_float32, check_input


class LSTA(nn.Module):
    """(b n t c) -> (b n s t c), gated frames at s temporal extents (eq. 7-8).

    A gate weighs every frame of every part; then each scale mixes a frame with its neighbours. Extent 1 is the frame
    itself; extent k is a convolution of three taps, (k - 1) / 2 frames apart, zeros beyond the ends. It starts as the
    identity, so all scales begin equal. Gate and operators are shared by all parts.

    Args:
        dim: channels c.
        scales: temporal extents, odd numbers of frames.
        conv: ``"full"`` mixes channels (c x c a tap, as the paper), ``"depthwise"`` does not and is 1/c of the size.
        reduction: shrink ratio of the gate's hidden layer (gamma in the paper).

    Example:
        >>> import torch
        >>> LSTA(64, scales=(1, 3, 5))(torch.rand(2, 7, 8, 64)).shape
        torch.Size([2, 7, 3, 8, 64])
    """

    def __init__(self, dim: int, *, scales: Sequence[int] = (1, 3, 5), conv: str = "full", reduction: int = 16) -> None:
        super().__init__()
        if not scales or any(k < 1 or k % 2 == 0 for k in scales):
            raise ValueError(f"LSTA needs temporal extents that are odd numbers of frames, got {tuple(scales)}")
        if dim < 1 or reduction < 1:
            raise ValueError(f"LSTA needs dim and reduction of at least 1, got {dim} and {reduction}")
        if conv not in ("full", "depthwise"):
            raise ValueError(f'LSTA takes conv="full" or conv="depthwise", got {conv!r}')
        self.dim = dim
        hidden = max(1, dim // reduction)
        # A convolution of extent 1 over time is a linear layer on the channels.
        self.gate = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        operator = MixedTaps if conv == "full" else DepthwiseTaps
        self.operators = nn.ModuleList(nn.Identity() if k == 1 else operator(dim, (k - 1) // 2) for k in scales)

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, "b n t c", "LSTA", self.dim)
        x = x + x * at_least_float32(self.gate(x)).sigmoid().to(x.dtype)
        return torch.stack([operator(x) for operator in self.operators], dim=2)


class MixedTaps(nn.Module):
    """(... t c) -> (... t c), a convolution over time of three taps that mix channels; it starts as the identity.

    One matrix product on the three frames side by side: with a handful of frames that is twice as fast as a Conv1d.
    """

    def __init__(self, dim: int, distance: int) -> None:
        super().__init__()
        self.distance = distance
        self.mix = nn.Linear(3 * dim, dim, bias=False)
        with torch.no_grad():
            self.mix.weight.zero_()[:, dim : 2 * dim].fill_diagonal_(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.cat(three_frames(x, self.distance), dim=-1))


class DepthwiseTaps(nn.Module):
    """(... t c) -> (... t c), a convolution over time of three taps within each channel; it starts as the identity."""

    def __init__(self, dim: int, distance: int) -> None:
        super().__init__()
        self.distance = distance
        self.weight = nn.Parameter(torch.tensor([[0.0], [1.0], [0.0]]).repeat(1, dim))

    def forward(self, x: Tensor) -> Tensor:
        before, now, after = three_frames(x, self.distance)
        return before * self.weight[0] + now * self.weight[1] + after * self.weight[2]


def three_frames(x: Tensor, distance: int) -> tuple[Tensor, Tensor, Tensor]:
    """(... t c) -> for every frame the one ``distance`` before it, itself, the one after; zeros beyond the ends."""
    padded = F.pad(x, (0, 0, distance, distance))
    t = x.shape[-2]
    return padded[..., :t, :], x, padded[..., 2 * distance : 2 * distance + t, :]
