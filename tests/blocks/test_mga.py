"""MGA: relations of parts and weights of scales, against the equations."""

import pytest
import torch
from torch import nn

from stmga.blocks import MGA
from stmga.blocks.mga import Partwise, ScaleAttention
from tests.support.blocks import randomise


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


def test_one_vector_of_a_scale_that_varies_is_the_same_with_and_without_its_relation():
    block = randomise(Partwise(8, 8, related=True, tau=0.05))
    x = torch.randn(3, 1, 8)
    with_relation = block.train()(x)
    assert torch.equal(block.eval()(x), with_relation)
    with_relation.sum().backward()
    assert all(p.grad is not None for p in block.parameters())  # also those that one vector cannot change


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
