"""k-reciprocal re-ranking against its dense definition, written out loop by loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga.metrics import rerank, reranking
from stmga.metrics.neighbours import nearest


def dense(queries, gallery, k1=20, k2=6, weight=0.3):
    """Zhong et al. 2017, all matrices whole, float64."""
    x = np.concatenate([queries, gallery]).astype(np.float64)
    n, q = len(x), len(queries)
    d = ((x[:, None] - x[None]) ** 2).sum(2)
    d = d / np.maximum(d.max(1, keepdims=True), 1e-12)
    order = np.argsort(d, axis=1, kind="stable")

    def reciprocal(i, k):
        return [j for j in order[i, : k + 1] if i in order[j, : k + 1]]

    v = np.zeros((n, n))
    for i in range(n):
        first = set(reciprocal(i, k1))
        members = set(first)
        for j in first:
            half = set(reciprocal(j, int(np.around(k1 / 2))))
            if len(half & first) > 2 / 3 * len(half):
                members |= half
        members = sorted(members)
        v[i, members] = np.exp(-d[i, members])
        if members:
            v[i] /= v[i].sum()
    if k2 > 1:
        v = np.stack([v[order[i, :k2]].mean(0) for i in range(n)])
    least = np.stack([np.minimum(v[i], v).sum(1) for i in range(q)])
    jaccard = 1 - least / (2 - least)
    return ((1 - weight) * jaccard + weight * d[:q])[:, q:]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    q=st.integers(1, 12),
    g=st.integers(1, 60),
    k1=st.integers(1, 25),
    k2=st.integers(1, 8),
    weight=st.sampled_from([0.0, 0.3, 1.0]),
    whole=st.booleans(),
)
def test_equals_the_dense_definition(seed, q, g, k1, k2, weight, whole):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(5, 8)) * 2
    x = centres[random.integers(0, 5, q + g)] + random.normal(size=(q + g, 8))
    x = (np.round(x) if whole else x).astype(np.float32)  # whole numbers: many equal distances, all exact
    x[-1] += 1  # not all equal
    found = torch.cat(list(rerank(torch.from_numpy(x[:q]), torch.from_numpy(x[q:]), k1=k1, k2=k2, weight=weight)))
    np.testing.assert_allclose(found.numpy(), dense(x[:q], x[q:], k1, k2, weight), atol=1e-5)


@pytest.fixture
def small_strips(monkeypatch):
    """Limits so low that a small case goes through many strips, chunks and recomputed blocks."""
    monkeypatch.setattr("stmga.metrics.neighbours.STRIP", 1)
    monkeypatch.setattr(reranking, "SCRATCH", 2000)
    monkeypatch.setattr(reranking, "HEAD", 0)
    monkeypatch.setattr(reranking, "PAIRS", 7)


def test_equals_the_dense_definition_in_many_blocks(small_strips):
    x = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))
    blocks = list(rerank(x[:70], x[70:], block=32))
    assert [len(block) for block in blocks] == [32, 32, 6]
    np.testing.assert_allclose(torch.cat(blocks).numpy(), dense(x[:70].numpy(), x[70:].numpy()), atol=1e-5)


def test_neighbours_are_those_of_the_whole_matrix(small_strips):
    x = torch.randint(0, 4, (500, 3), generator=torch.Generator().manual_seed(0)).float()  # equal ones everywhere
    d = (x[:, None] - x[None]).square().sum(2)
    near = nearest(x, 21, keep=90)
    assert torch.equal(near.indices, d.argsort(dim=1, stable=True)[:, :21])
    assert torch.equal(near.squares, d.sort(dim=1).values[:, :21])
    assert torch.equal(near.farthest, d.amax(1))
    assert near.head is not None
    assert torch.equal(near.head, d[:90, 90:])


def test_cosine_is_the_distance_of_unit_vectors():
    x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(x)
    cosine, plain = (torch.cat(list(f)) for f in (rerank(x[:9], x[9:], distance="cosine"), rerank(unit[:9], unit[9:])))
    torch.testing.assert_close(cosine, plain, atol=1e-6, rtol=0)
    assert not torch.allclose(cosine, torch.cat(list(rerank(x[:9], x[9:]))), atol=1e-3)


def test_one_query_and_one_gallery_entry():
    assert next(rerank(torch.zeros(1, 2), torch.ones(1, 2))).shape == (1, 1)
    assert torch.isfinite(next(rerank(torch.ones(1, 2), torch.ones(50, 2)))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(k1=0), "k1 must be >= 1, got 0"),
        (dict(weight=1.5), "weight must be in 0..1, got 1.5"),
        (dict(distance="hamming"), "cosine, euclidean"),
        (dict(gallery=torch.zeros(3, 5)), r"got \(2, 4\) and \(3, 5\)"),
        (dict(gallery=torch.zeros(0, 4)), "needs queries and a gallery"),
        (dict(gallery=torch.full((3, 4), torch.nan)), "hold NaN"),
    ],
)
def test_mistakes_are_named(change, message):
    asked = dict(queries=torch.zeros(2, 4), gallery=torch.zeros(3, 4)) | change
    with pytest.raises(ValueError, match=message):
        rerank(**asked)
