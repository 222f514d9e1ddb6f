"""LS-TA: where it starts, how far a frame reaches, and that parts do not mix."""

import pytest
import torch

from stmga.blocks import LSTA
from tests.support.blocks import randomise


@pytest.mark.parametrize("conv", ["full", "depthwise"])
@pytest.mark.parametrize(("b", "t", "n", "c"), [(1, 1, 1, 6), (2, 3, 7, 40), (3, 8, 2, 16)])
def test_lsta_starts_as_the_gate_alone(b, t, n, c, conv):
    lsta = LSTA(c, scales=(1, 3, 5, 7), conv=conv)
    x = torch.randn(b, n, t, c)
    y = lsta(x)
    assert y.shape == (b, n, 4, t, c)
    gated = x + x * torch.sigmoid(lsta.gate(x))
    for s in range(4):
        torch.testing.assert_close(y[:, :, s], gated)


@pytest.mark.parametrize("conv", ["full", "depthwise"])
@pytest.mark.parametrize("extent", [1, 3, 5, 7])
def test_lsta_extent_is_how_far_a_frame_reaches(extent, conv):
    lsta = randomise(LSTA(6, scales=(extent,), conv=conv)).double()
    x = torch.randn(1, 1, 15, 6, dtype=torch.float64)
    moved = x.clone()
    moved[:, :, 7] += 1
    change = (lsta(moved) - lsta(x)).abs().amax((0, 1, 2, 4))
    reach = [abs(i - 7) for i in change.nonzero().flatten().tolist()]
    assert max(reach) == (extent - 1) // 2
    assert set(reach) == ({0} if extent == 1 else {0, (extent - 1) // 2})  # three taps, dilated


def test_lsta_parts_do_not_mix():
    lsta = randomise(LSTA(6))
    x = torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(lsta(x[:, [2, 0, 1]]), lsta(x)[:, [2, 0, 1]])
