"""The share of neighbours that two vectors have, against the definition computed densely."""

import numpy as np
import pytest
import torch

from stmga.metrics import shared_neighbours as module
from stmga.metrics.shared_neighbours import shared_neighbours
from tests.support.vectors import people


def dense(x, floor, k, expand):
    """The definition, entry by entry: (n, n) shared neighbours, zero where two rows have nothing in common."""
    x = x.double().numpy()
    n, cosines = len(x), x @ x.T
    distances = ((x[:, None] - x[None]) ** 2).sum(2)
    np.fill_diagonal(distances, -1)  # every vector is its own nearest
    order = np.argsort(distances, axis=1, kind="stable")
    near = [set(row[: k + 1].tolist()) for row in order]
    neighbours = [[i] + [j for j in order[i, : k + 1].tolist() if j != i and i in near[j] and cosines[i, j] >= floor]
                  for i in range(n)]  # fmt: skip
    weights = np.zeros((n, n))
    for i, members in enumerate(neighbours):
        weights[i, members] = [1 if j == i else np.exp(cosines[i, j] - 1) for j in members]
    mean = np.stack([weights[members[:expand]].mean(0) for members in neighbours])
    mean /= mean.sum(1, keepdims=True)
    shared = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            least = np.minimum(mean[i], mean[j])
            least[[i, j]] = 0
            shared[i, j] = least.sum() / (2 - least.sum())
    return shared


@pytest.mark.parametrize(
    ("n", "floor", "k", "expand"),
    [(40, 0.5, 10, 4), (40, -1, 3, 1), (23, 0.7, 10, 2), (5, 0.0, 10, 4), (1, 0.5, 10, 4)],
)
@pytest.mark.parametrize("entries", [8 << 20, 7])
def test_it_is_the_definition(monkeypatch, n, floor, k, expand, entries):
    monkeypatch.setattr(module, "ENTRIES", entries)  # also in many small blocks
    x = people(n)
    pairs = shared_neighbours(x, floor=floor, k=k, expand=expand)
    codes = pairs.rows * n + pairs.columns
    assert (np.diff(codes) > 0).all()
    assert (pairs.rows < pairs.columns).all()
    found = np.zeros((n, n))
    found[pairs.rows, pairs.columns] = pairs.shared
    wanted = np.triu(dense(x, floor, k, expand), 1)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_two_that_only_have_each_other_share_nothing():
    x = people(6, each=2, noise=0.1)
    assert shared_neighbours(x, floor=0.5, k=1).shared.tolist() == [0, 0, 0]


def test_equal_vectors_and_zeros_are_neighbours_of_nobody_else():
    x = torch.cat([people(1).expand(30, -1), torch.zeros(3, 16)])
    pairs = shared_neighbours(x, floor=0.5)
    assert set(pairs.rows.tolist()) | set(pairs.columns.tolist()) <= set(range(30))
    assert 0 < pairs.shared.max() <= 1
