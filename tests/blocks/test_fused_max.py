"""The kernel of attended pooling against the plain form: on a GPU, and without one in Triton's interpreter."""

import os
import subprocess
import sys

import pytest
import torch

from stmga.blocks import pooling
from tests.support.paths import ROOT

SHAPES = [(2, 3, 37, 5, 3, 7), (1, 2, 64, 16, 8, 4), (2, 1, 8, 1, 1, 1), (1, 1, 4100, 3, 2, 2)]  # b t c h w n


def compare(dtype: torch.dtype, device: str) -> None:
    """Values to the bit, gradients to rounding, in both layouts, with shapes that fill no tile."""
    from stmga.blocks.fused_max import fits, fused_max
    from stmga.blocks.pooling import pooled_in_pieces

    close = {"atol": 1e-4, "rtol": {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}[dtype]}
    for b, t, c, h, w, n in SHAPES:
        for last in (False, True):
            x = torch.randn(b, t, c, h, w, device=device).to(dtype)
            if last:
                x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (b, t))
            weight = (1 + torch.rand(b, t, n, h, w, device=device)).to(dtype)
            assert fits(x, weight)
            assert torch.equal(fused_max(x, weight), pooled_in_pieces(x, weight))
            ours, theirs = (  # compared in float32, as the kernel compares products of half precision too
                [y.detach().to(dtype_).requires_grad_() for y in (x, weight)] for dtype_ in (dtype, torch.float32)
            )
            pooled, expected = fused_max(*ours), pooled_in_pieces(*theirs)
            assert torch.equal(pooled, expected.to(dtype))
            grad = torch.randn_like(pooled)
            pooled.backward(grad)
            expected.backward(grad.float())
            for one, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(one.grad.float(), other.grad, **close)
    x = torch.rand(1, 1, 3, 2, 2, device=device, dtype=dtype)
    x[0, 0, 1, 1, 0] = float("nan")
    pooled = fused_max(x, torch.ones(1, 1, 2, 2, 2, device=device, dtype=dtype))
    assert pooled.isnan().flatten().tolist() == [False, True, False] * 2
    large, double = torch.empty(1, 1, 1, 128, 128), torch.empty(1, 1, 1, 2, 2, dtype=torch.float64)
    assert not fits(large, large) and not fits(double, double)
    fair = torch.empty(1, 1, 1, 32, 32)
    assert fits(fair, fair) and not fits(fair.clone().requires_grad_(), fair)


def test_the_kernel_in_the_interpreter():
    """The interpreter replaces the compiler only if it is enabled before the import, hence a separate process.

    It truncates bfloat16 where a GPU rounds, so bfloat16 is tested on the GPU.
    """
    pytest.importorskip("triton")
    code = "import torch; from tests.blocks.test_fused_max import compare; "
    code += "compare(torch.float32, 'cpu'); compare(torch.float16, 'cpu')"
    env = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_where_a_kernel_cannot_be_launched_the_pieces_do_it(caplog):
    """As on this CPU, or where Triton finds no C compiler."""
    assert not pooling.runs_kernels(torch.device("cpu"))
    assert "goes without its kernel" in caplog.text


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_kernel_on_a_gpu(dtype):
    compare(dtype, "cuda")


@pytest.mark.cuda
def test_the_blocks_take_it_on_a_gpu(monkeypatch):
    """Compiled too, as one graph."""
    from stmga import MAPA
    from stmga.blocks import fused_max

    used, real = [], fused_max._forward
    monkeypatch.setattr(fused_max, "_forward", lambda *args, **kwargs: used.append(1) or real(*args, **kwargs))
    x, attention = torch.rand(2, 3, 64, 8, 4), torch.rand(2, 3, 4, 8, 4)
    expected = MAPA()(x, attention)
    torch.testing.assert_close(MAPA()(x.cuda(), attention.cuda()).cpu(), expected, rtol=0, atol=1e-5)
    assert used
    monkeypatch.undo()
    compiled = torch.compile(MAPA(), dynamic=True, fullgraph=True)
    with torch.inference_mode():
        for b, t in ((2, 3), (1, 2)):
            found = compiled(x[:b, :t].cuda(), attention[:b, :t].cuda()).cpu()
            torch.testing.assert_close(found, expected[:b, :, :t], rtol=0, atol=1e-5)
