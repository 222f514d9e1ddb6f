"""CPA: shapes, ranges, and where it starts."""

import pytest
import torch

from stmga.blocks import CPA
from tests.support.blocks import randomise

SIZES = [(1, 1, 1, 1), (3, 5, 7, 3), (8, 2, 16, 8)]  # t, h, w beside a few channel counts


@pytest.mark.parametrize("dim", [6, 48])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize(("b", "t", "h", "w"), SIZES)
def test_cpa_shapes_and_range(dim, parts, b, t, h, w):
    cpa = randomise(CPA(dim, parts=parts))
    x = torch.randn(b, t, dim, h, w)
    attention = cpa(x)
    assert attention.shape == (b, t, parts, h, w)
    assert attention.min() >= 0 and attention.max() <= 1
    found = cpa.supervise(x)
    torch.testing.assert_close(found.part_attention, attention)
    assert found.global_attention.shape == found.residual.shape == (b, t, 1, h, w)
    assert found.pooled_global.shape == (b, dim) and found.pooled_parts.shape == (b, parts, dim)


def test_cpa_residual_is_above_zero_with_minimum_zero_in_every_frame():
    found = randomise(CPA(16)).supervise(torch.randn(2, 5, 16, 7, 4))
    assert (found.residual >= 0).all()
    assert (found.residual.amin((-2, -1)) == 0).all()
    assert found.residual.amax() > 0


def test_cpa_heads_are_independent():
    """A group convolution is n separate heads: what one head sees never reaches another."""
    cpa = randomise(CPA(32, parts=4))
    x = torch.randn(2, 1, 32, 4, 4)
    before = cpa(x)
    hidden = 32 // 16
    with torch.no_grad():
        cpa.part_heads[0].weight[:hidden] += 1  # the first head's own layer
    after = cpa(x)
    assert not torch.allclose(before[:, :, 0], after[:, :, 0])
    torch.testing.assert_close(before[:, :, 1:], after[:, :, 1:])


@pytest.mark.parametrize("parts", [2, 4, 8])  # a bias of zero would give parts / 2
def test_cpa_starts_with_parts_that_add_up_to_about_the_residual(parts):
    torch.manual_seed(0)
    attention = CPA(64, parts=parts).train()(torch.rand(4, 4, 64, 16, 8))
    assert attention.sum(2).mean().item() == pytest.approx(0.4, abs=0.2)


def test_cpa_inference_leaves_the_global_head_alone():
    cpa = CPA(16)
    cpa.global_head.forward = None  # would fail if called
    cpa(torch.rand(1, 2, 16, 4, 4))
    with pytest.raises(TypeError):
        cpa.supervise(torch.rand(1, 2, 16, 4, 4))


def test_cpa_every_parameter_has_a_gradient():
    cpa = CPA(16)
    found = cpa.supervise(torch.rand(2, 2, 16, 4, 4))
    sum(v.square().sum() for v in found).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in cpa.parameters())
