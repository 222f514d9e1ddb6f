"""The invariants of the method that concern a block, for any channel count, map size, number of parts and scales."""

import pytest
import torch
from torch import nn

from stmga.blocks import CPA, LSTA, MAPA, MGA, Stripes
from stmga.blocks.mga import Partwise, ScaleAttention
from stmga.blocks.pooling import attended_max

SIZES = [(1, 1, 1, 1), (3, 5, 7, 3), (8, 2, 16, 8)]  # t, h, w beside a few channel counts


def randomise(module: nn.Module) -> nn.Module:
    """Parameters that hide nothing (zeros and ones would), in eval mode."""
    torch.manual_seed(0)
    for p in module.parameters():
        nn.init.normal_(p, std=0.3)
    return module.eval()


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


@pytest.mark.parametrize(("h", "scales"), [(16, (1, 2, 4)), (16, (1, 2, 4, 8)), (7, (1, 3)), (4, (4,))])
def test_stripes_are_a_true_partition(h, scales):
    """Light one row: exactly one band of every scale sees it, and the bands follow the rows from top to bottom."""
    stripes = Stripes(scales=scales)
    seen = []
    for row in range(h):
        x = torch.zeros(1, 1, 2, h, 3)
        x[..., row, :] = 1
        p = stripes(x)
        assert p.shape == (1, sum(scales), 1, 2)
        lit = [group[0, :, 0, 0].nonzero().flatten().tolist() for group in p.split(scales, dim=1)]
        assert all(len(bands) == 1 for bands in lit)
        seen.append([bands[0] for bands in lit])
    assert seen == sorted(seen) and [s - 1 for s in scales] == seen[-1]


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


@pytest.mark.parametrize("counts", [(1,), (1, 2, 4), (1, 2, 4, 8), (None, None, None), (5, None)])
@pytest.mark.parametrize(("partwise", "scalewise"), [(True, True), (True, False), (False, True), (False, False)])
def test_mga_shapes_and_gradients(counts, partwise, scalewise):
    torch.manual_seed(0)
    mga = MGA(12, counts=counts, partwise=partwise, scalewise=scalewise)
    z = mga([torch.rand(3, n or 6, 12) for n in counts])
    assert z.shape == (3, 12)
    if list(mga.parameters()):
        z.square().sum().backward()
    assert all(p.grad is not None for p in mga.parameters())
    if not partwise and not scalewise:
        assert not list(mga.parameters())


def test_partwise_relation_rows_add_up_to_one():
    relation = randomise(Partwise(8, 8, related=True, tau=0.05)).relation(torch.randn(3, 5, 8))
    assert relation.shape == (3, 5, 5)
    torch.testing.assert_close(relation.sum(-1), torch.ones(3, 5))


def test_partwise_equals_the_equations_step_by_step():
    """mean_i (R psi(X))_i + mean_i x_i, each step as printed, against the rearranged form that the block computes."""
    block = randomise(Partwise(8, 4, related=True, tau=0.05)).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    unit = lambda v: v / v.norm(dim=-1, keepdim=True)  # noqa: E731
    logits = torch.einsum("bic,bjc->bij", unit(block.phi(x)), unit(block.omega(x))) / 0.05
    relation = logits.exp() / logits.exp().sum(-1, keepdim=True)
    literal = torch.einsum("bij,bjc->bic", relation, block.psi(x)).mean(1) + x.mean(1)
    torch.testing.assert_close(block(x), literal)


def test_partwise_depends_on_the_relation_and_the_printed_form_does_not():
    """psi(X)^T R as printed, averaged over parts, is mean psi(X) whatever R is: its rows sum out. R psi(X) is not."""
    block = randomise(Partwise(8, 8, related=True, tau=0.05)).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    value, relation = block.psi(x), block.relation(x)
    printed = torch.einsum("bic,bij->bjc", value, relation).mean(1)
    torch.testing.assert_close(printed, value.mean(1))
    assert (block(x) - x.mean(1) - value.mean(1)).abs().max() > 1e-3


def test_partwise_ignores_the_order_of_the_parts():
    block = randomise(Partwise(8, 8, related=True, tau=0.05))
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(block(x[:, [3, 1, 4, 0, 2]]), block(x))


def test_partwise_of_one_vector_is_psi_plus_itself():
    block = randomise(Partwise(8, 8, related=False, tau=0.05))
    x = torch.randn(3, 1, 8)
    torch.testing.assert_close(block(x), (block.psi(x) + x)[:, 0])
    assert {name.split(".")[0] for name, _ in block.named_parameters()} == {"psi"}


def test_relation_is_the_same_for_a_scaled_input_without_biases():
    block = randomise(Partwise(8, 8, related=True, tau=0.05)).double()
    nn.init.zeros_(block.phi.bias), nn.init.zeros_(block.omega.bias)
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(block.relation(7 * x), block.relation(x))


def test_scale_attention_weights_add_up_to_one_per_channel():
    weights = randomise(ScaleAttention(8, 4, tau=0.05))(torch.randn(5, 3, 8))
    torch.testing.assert_close(weights.sum(1), torch.ones(5, 8))
    assert weights.std() > 0.01


def test_same_vector_at_every_scale_comes_out_twice():
    mga = randomise(MGA(8, counts=(1, 2, 4), partwise=False))
    y = torch.randn(5, 1, 8)
    torch.testing.assert_close(mga([y.expand(-1, n, -1) for n in (1, 2, 4)]), 2 * y[:, 0])


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


def test_relation_layers_learn_whatever_the_norm_of_the_features():
    """With a bare dot product at tau = 0.05 this ratio is rounding (1e-17): the softmax is one-hot from the start."""
    torch.manual_seed(0)
    block = Partwise(64, 64, related=True, tau=0.05)
    block(100 * torch.rand(8, 4, 64)).square().sum().backward()
    assert block.phi.weight.grad.norm() > 1e-4 * block.psi.weight.grad.norm()


def test_one_scale_is_passed_on_as_it_is():
    mga = MGA(8, counts=(1,))
    x = torch.rand(3, 1, 8)
    torch.testing.assert_close(mga([x]), (mga.aggregators[0].psi(x) + x)[:, 0])
