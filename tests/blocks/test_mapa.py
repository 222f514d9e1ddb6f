"""MA-PA against a literal loop, for any number of scales."""

import pytest
import torch

from stmga.blocks import MAPA


@pytest.mark.parametrize("scales", [(1,), (1, 2), (1, 2, 4), (1, 2, 4, 8), (1, 2, 3, 6)])
def test_mapa_sums_to_one_map_at_every_scale(scales):
    n = max(scales)
    attention = torch.rand(2, 3, n, 5, 4)
    mapa = MAPA(scales=scales)
    augmented = mapa.augment(attention)
    whole = attention.sum(2)
    for group in augmented.split(scales, dim=2):
        torch.testing.assert_close(group.sum(2), whole)
    # one sub-attention at a time: it occurs once in every scale, in the part of its neighbours
    for i in range(n):
        alone = torch.zeros_like(attention)
        alone[:, :, i] = 1
        for s, group in zip(scales, mapa.augment(alone).split(scales, dim=2), strict=True):
            assert group[0, 0, :, 0, 0].tolist() == [float(j == i * s // n) for j in range(s)]
    assert mapa(torch.rand(2, 3, 9, 5, 4), attention).shape == (2, sum(scales), 3, 9)


def test_mapa_features_lie_between_the_max_pool_and_twice_it():
    x, attention = torch.rand(2, 3, 9, 5, 4), torch.rand(2, 3, 4, 5, 4)
    p = MAPA(scales=(4,))(x, attention)
    pooled = x.amax((-2, -1))[:, None]
    assert (pooled <= p).all() and (p <= 2 * pooled).all()


@pytest.mark.parametrize("scales", [(1, 2, 4), (4, 1)])
@pytest.mark.parametrize("attend", ["residual", "scaled", "mask"])
def test_mapa_meets_the_map_as_a_literal_loop_does(attend, scales):
    torch.manual_seed(0)
    (b, t, c, h, w), n = (2, 3, 5, 4, 3), 4
    x = torch.randn(b, t, c, h, w, dtype=torch.float64, requires_grad=True)
    a = torch.rand(b, t, n, h, w, dtype=torch.float64, requires_grad=True)
    parts = []
    for s in scales:
        for group in a.split(n // s, dim=2):  # the sub-attentions of one part
            part = group.sum(2, keepdim=True)
            seen = {"residual": x + part * x, "scaled": x + s * part * x, "mask": part * x}[attend]
            parts.append(seen.flatten(-2).max(-1).values)
    literal = torch.stack(parts, dim=1)
    mapa = MAPA(scales=scales, attend=attend)
    torch.testing.assert_close(mapa(x, a), literal)
    with torch.no_grad():
        torch.testing.assert_close(mapa(x, a), literal)
    weight = torch.randn_like(literal)
    ours = torch.autograd.grad((mapa(x, a) * weight).sum(), (x, a))
    torch.testing.assert_close(ours, torch.autograd.grad((literal * weight).sum(), (x, a)))
    torch.testing.assert_close(mapa.augment(a), MAPA(scales=scales).augment(a))  # pictures are the same


def test_mapa_with_a_mask_sees_nothing_but_the_part():
    x, attention = torch.rand(1, 2, 5, 4, 3), torch.zeros(1, 2, 4, 4, 3)
    attention[:, :, 0, 1, 2] = 1
    whole, *others = MAPA(scales=(1, 4), attend="mask")(x, attention).unbind(1)
    torch.testing.assert_close(whole, x[..., 1, 2])
    torch.testing.assert_close(others[0], whole)
    assert not any(part.any() for part in others[1:])


def test_mapa_knows_no_other_way():
    with pytest.raises(ValueError, match="attend='residual' or 'scaled' or 'mask', got 'all'"):
        MAPA(attend="all")
