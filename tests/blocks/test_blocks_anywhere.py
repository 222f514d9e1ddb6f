"""What every block keeps in somebody else's network: any float dtype, autocast, compiling, batches, clear mistakes."""

import numpy as np
import pytest
import torch

from stmga.blocks import CPA, LSTA, MAPA, MGA, Stripes

BLOCKS = {
    "cpa": (lambda: CPA(12, parts=3), lambda b, t: (torch.rand(b, t, 12, 5, 4),)),
    "mapa": (lambda: MAPA(scales=(1, 3)), lambda b, t: (torch.rand(b, t, 12, 5, 4), torch.rand(b, t, 3, 5, 4))),
    "mapa scaled": (
        lambda: MAPA(scales=(1, 3), attend="scaled"),
        lambda b, t: (torch.rand(b, t, 12, 5, 4), torch.rand(b, t, 3, 5, 4)),
    ),
    "stripes": (lambda: Stripes(scales=(1, 2)), lambda b, t: (torch.rand(b, t, 12, 5, 4),)),
    "lsta": (lambda: LSTA(12), lambda b, t: (torch.rand(b, 3, t, 12),)),
    "mga": (lambda: MGA(12, counts=(None, 3)), lambda b, t: ([torch.rand(b, t, 12), torch.rand(b, 3, 12)],)),
}


def to(value, dtype):
    return [v.to(dtype) for v in value] if isinstance(value, list) else value.to(dtype)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_any_float_dtype_in_is_the_dtype_out(name, dtype):
    torch.manual_seed(0)
    make, inputs = BLOCKS[name]
    block = make().eval()
    given = inputs(2, 3)
    exact = block(*given)
    out = block.to(dtype)(*(to(g, dtype) for g in given))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), exact.float(), rtol=0.02, atol=0.01)


@pytest.mark.parametrize("name", BLOCKS)
def test_autocast_runs_forward_and_backward_without_nan(name):
    torch.manual_seed(0)
    make, inputs = BLOCKS[name]
    block = make()
    exact = block(*inputs(2, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(*inputs(2, 3))
    assert out.shape == exact.shape and torch.isfinite(out).all()
    if list(block.parameters()):
        out.float().square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in block.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", BLOCKS)
def test_compiles_whole_with_dynamic_batch_and_time(name):
    torch.manual_seed(0)
    make, inputs = BLOCKS[name]
    block = make().eval()
    torch._dynamo.reset()
    compiled = torch.compile(block, fullgraph=True, dynamic=True, backend="aot_eager")
    for b, t in [(2, 3), (5, 7), (1, 1)]:
        given = inputs(b, t)
        torch.testing.assert_close(compiled(*given), block(*given))
        with torch.no_grad():
            torch.testing.assert_close(compiled(*given), block(*given))


@pytest.mark.parametrize("name", BLOCKS)
def test_a_clip_does_not_see_its_neighbours(name):
    torch.manual_seed(0)
    make, inputs = BLOCKS[name]
    block = make().eval()
    given = inputs(4, 3)
    order = [2, 0, 3, 1]
    pick = lambda rows: block(*([v[rows] for v in g] if isinstance(g, list) else g[rows] for g in given))  # noqa: E731
    together = block(*given)
    torch.testing.assert_close(pick(order), together[order])
    torch.testing.assert_close(torch.cat([pick([i]) for i in range(4)]), together)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: CPA(0), "dim"),
        (lambda: MAPA(scales=()), "scales"),
        (lambda: MAPA(scales=(1, 2))(torch.rand(1, 1, 4, 3, 3), torch.rand(1, 1, 3, 3, 3)), "divides"),
        (lambda: MAPA()(torch.rand(1, 1, 4, 3, 3), torch.rand(1, 4, 3, 3)), "(b, t, n, h, w)"),
        (lambda: MAPA()(torch.rand(1, 2, 4, 3, 3), torch.rand(1, 1, 4, 3, 3)), "(b, t, n, h, w)"),
        (lambda: MGA(8, counts=(2,), relation_dim=0), "relation_dim"),
        (lambda: LSTA(8, reduction=0), "reduction"),
        (lambda: Stripes(scales=(1, 8))(torch.rand(1, 1, 4, 4, 3)), "rows"),
        (lambda: LSTA(8, scales=(1, 2)), "odd"),
        (lambda: LSTA(8, conv="dense"), "depthwise"),
        (lambda: LSTA(8)(torch.rand(1, 2, 3, 9)), "(b, n, t, c) with 8 channels c, got shape (1, 2, 3, 9)"),
        (lambda: MGA(8, counts=()), "count"),
        (lambda: MGA(8, counts=(1, 2))([torch.rand(1, 1, 8)]), "2 scales"),
        (lambda: MGA(8, counts=(2,))([torch.rand(1, 3, 8)]), "(b, 2, 8)"),
        (lambda: CPA(8)(torch.rand(2, 8, 4, 4)), "(b, t, c, h, w)"),
        (lambda: CPA(8)(torch.rand(1, 1, 9, 4, 4)), "8 channels"),
        (lambda: MGA(8, counts=(None, 2))([torch.rand(1, 3, 8), torch.rand(2, 2, 8)]), "one b"),
    ],
)
def test_a_mistake_says_what_was_expected(make, word):
    with pytest.raises(ValueError, match=None) as error:
        make()
    assert word in str(error.value)


def replaced(given, argument, value):
    """The inputs of a block with one tensor of one argument replaced."""
    given = list(given)
    given[argument] = [value, *given[argument][1:]] if isinstance(given[argument], list) else value
    return given


WRONG = [(name, argument) for name in BLOCKS for argument in range(2 if name.startswith("mapa") else 1)]


@pytest.mark.parametrize(("name", "argument"), WRONG)
@pytest.mark.parametrize("value", ["x", None, 3, [1.0], np.zeros((2, 3, 12, 5, 4), np.float32)])
def test_what_is_not_a_tensor_is_a_type_error_of_ours(name, argument, value):
    make, inputs = BLOCKS[name]
    with pytest.raises(TypeError, match=f"takes a tensor .*got {type(value).__name__}"):
        make()(*replaced(inputs(2, 3), argument, value))


@pytest.mark.parametrize(("name", "argument"), WRONG)
def test_tensors_of_other_axes_or_types(name, argument):
    make, inputs = BLOCKS[name]
    one = inputs(2, 3)[argument]
    x = one[0] if isinstance(one, list) else one
    for wrong in (x[0], x[None]):
        with pytest.raises(ValueError, match=r"takes a tensor \(b, .*got shape"):
            make()(*replaced(inputs(2, 3), argument, wrong))
    for dtype in (torch.int64, torch.bool, torch.complex64):
        with pytest.raises(TypeError, match=f"floating point numbers, got {dtype}"):
            make()(*replaced(inputs(2, 3), argument, x.to(dtype)))


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize(("b", "t"), [(0, 3), (2, 0)])
@pytest.mark.parametrize("training", [True, False])
def test_no_clip_or_no_frame(name, b, t, training):
    make, inputs = BLOCKS[name]
    with pytest.raises(ValueError, match=r"no empty axis, got shape \("):
        make().train(training)(*inputs(b, t))


@pytest.mark.parametrize("sets", ["xy", 2, None, {"a": 1}, iter([torch.rand(1, 2, 12)])])
def test_mga_takes_a_list(sets):
    with pytest.raises(TypeError, match="MGA takes a list with a tensor"):
        MGA(12, counts=(None, 3))(sets)


@pytest.mark.parametrize("call", [CPA(12).supervise, MAPA().augment])
def test_the_other_methods_of_blocks(call):
    with pytest.raises(TypeError, match="takes a tensor"):
        call("x")
    with pytest.raises(ValueError, match="empty axis"):
        call(torch.rand(0, 3, 12, 5, 4))


@pytest.mark.parametrize("name", BLOCKS)
def test_exports_with_dynamic_batch_and_time(name):
    make, inputs = BLOCKS[name]
    block, given = make().eval(), inputs(3, 4)
    axes = dict.fromkeys((0, 1), torch.export.Dim.AUTO)
    shapes = tuple([axes] * len(x) if isinstance(x, list) else axes for x in given)
    with torch.no_grad():
        program = torch.export.export(block, tuple(given), dynamic_shapes=shapes)
    other = inputs(2, 4)
    torch.testing.assert_close(program.module()(*other), block(*other))
