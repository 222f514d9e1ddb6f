"""Attended max-pooling: values, gradients and memory."""

import pytest
import torch

from stmga.blocks import CPA, MAPA
from stmga.blocks.pooling import attended_max


@pytest.mark.parametrize("channels_last", [False, True])
def test_attended_max_is_its_definition_value_and_gradient(channels_last):
    x = torch.randn(2, 3, 5, 4, 3, dtype=torch.float64)
    if channels_last:
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (2, 3))
    x, a = x.requires_grad_(), torch.rand(2, 3, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    literal = (x[:, None] * a.movedim(2, 1)[:, :, :, None]).amax((-2, -1))
    torch.testing.assert_close(attended_max(x, a), literal)
    with torch.no_grad():  # inference takes another way to the same numbers
        torch.testing.assert_close(attended_max(x, a), literal)
    weight = torch.randn_like(literal)
    ours = torch.autograd.grad((attended_max(x, a) * weight).sum(), (x, a))
    theirs = torch.autograd.grad((literal * weight).sum(), (x, a))
    torch.testing.assert_close(ours, theirs)


def test_attended_max_takes_large_maps_in_pieces():
    x, a = torch.rand(2, 2, 600, 16, 16), torch.rand(2, 2, 3, 16, 16)  # more than one frame does not fit in a piece
    literal = torch.stack([(x * a[:, :, n : n + 1]).amax((-2, -1)) for n in range(3)], dim=1)
    assert torch.equal(attended_max(x, a), literal)
    assert torch.equal(attended_max(x.requires_grad_(), a), literal)


def test_attended_max_keeps_no_copy_of_the_map_for_the_backward_pass():
    x, a = torch.rand(1, 2, 32, 16, 8, requires_grad=True), torch.rand(1, 2, 7, 16, 8, requires_grad=True)
    kept: dict[int, int] = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        attended_max(x, a)
    kept.pop(x.untyped_storage().data_ptr())
    assert sum(kept.values()) < x.untyped_storage().nbytes() / 2


def test_half_precision_map_with_full_precision_attention_as_autocast_makes_them():
    torch.manual_seed(0)
    x, attention = torch.rand(2, 3, 12, 5, 4), torch.rand(2, 3, 4, 5, 4)
    out = MAPA()(x.bfloat16(), attention)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), MAPA()(x, attention), rtol=0.02, atol=0.02)
    cpa = CPA(12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = cpa.supervise(x.bfloat16())
    assert found.part_attention.dtype == found.residual.dtype == torch.float32  # what the losses compare
    sum(v.float().square().sum() for v in found).backward()
    assert all(torch.isfinite(p.grad).all() for p in cpa.parameters())
