"""The process's own default type changes no vector and no answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import stmga
from tests.support.embedder import TINY, build

CLIPS = {f"t{i}": np.random.default_rng(i).integers(0, 255, (4, 96, 48, 3), dtype=np.uint8) for i in range(3)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_same_bits_under_another_default_type(case, dtype):
    assert "set_default_dtype" in (case("default-dtype") / "run.py").read_text()
    embed = stmga.TrackletEmbedder(build(TINY).eval())
    expected = embed(CLIPS)
    answers = stmga.Gallery(expected).search(expected, k=2)
    try:
        torch.set_default_dtype(dtype)
        assert torch.equal(embed(CLIPS).vectors, expected.vectors)
        assert stmga.Gallery(expected).search(expected, k=2) == answers
    finally:
        torch.set_default_dtype(torch.float32)
