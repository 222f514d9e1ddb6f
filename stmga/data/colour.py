"""Changes hue and saturation of clips with one matrix product per pixel."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

# RGB to luma and two axes of colour (YIQ, NTSC 1953). Rotating the two changes the hue, scaling them the saturation.
_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], dtype=torch.float32, device="cpu"
)
_RGB = torch.linalg.inv(_YIQ)


def shift_colour(clips: Tensor, turn: Tensor, saturation: Tensor) -> Tensor:
    """``(b, t, 3, h, w)`` in 0..1, b turns and b factors -> the same shape; grey pixels keep their value.

    Args:
        turn: rotation of the hue, as a share of the full circle.
        saturation: factor for the distance from grey; 0 makes the clip grey.

    >>> shift_colour(torch.full((1, 1, 3, 1, 1), 0.5), torch.tensor([0.3]), torch.tensor([2.0])).flatten()
    tensor([0.5000, 0.5000, 0.5000])
    """
    angle = 2 * pi * turn
    cos, sin = saturation * angle.cos(), saturation * angle.sin()
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    rotate = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1).view(-1, 3, 3)
    there, back = (m.to(clips.device, non_blocking=True) for m in (_YIQ, _RGB))
    matrix = back @ rotate @ there  # (b 3 3)
    return (matrix[:, None] @ clips.flatten(3)).view_as(clips).clamp_(0, 1)
