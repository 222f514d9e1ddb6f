"""Stripes are a true partition of the map."""

import pytest
import torch

from stmga.blocks import Stripes


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
