"""The share of neighbours that two vectors have, against the definition computed densely."""

import numpy as np
import pytest
import torch

from stmga.metrics import shared_neighbours as module
from stmga.metrics.shared_neighbours import shared_neighbours
from tests.support.vectors import people


def dense(x, match, floor, most):
    """The definition, entry by entry: (n, n) shared neighbours, zero where two rows have nothing in common."""
    x = x.double().numpy()
    n, cosines = len(x), x @ x.T
    matches = [sum(cosines[i, j] >= match for j in range(n) if i != j) for i in range(n)]
    matched = [count for count in matches if count]
    k = min(max(round(sum(matched) / len(matched)), 1), most) if matched else 1
    distances = ((x[:, None] - x[None]) ** 2).sum(2)
    np.fill_diagonal(distances, -1)  # every vector is its own nearest
    order = np.argsort(distances, axis=1, kind="stable")
    near = [set(row[: k + 1].tolist()) for row in order]
    neighbours = [[i] + [j for j in order[i, : k + 1].tolist() if j != i and i in near[j] and cosines[i, j] >= floor]
                  for i in range(n)]  # fmt: skip
    weights = np.zeros((n, n))
    for i, members in enumerate(neighbours):
        weights[i, members] = [1 if j == i else np.exp(cosines[i, j] - 1) for j in members]
    weights /= weights.sum(1, keepdims=True)
    nearest = [[i] + [j for j in order[i, : 1 + round(k / 3)] if j != i and cosines[i, j] >= floor] for i in range(n)]
    mean = np.stack([weights[rows].mean(0) for rows in nearest])
    shared = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            least = np.minimum(mean[i], mean[j])
            least[[i, j]] = 0
            shared[i, j] = least.sum() / (2 - least.sum())
    return shared


@pytest.mark.parametrize(
    ("n", "match", "floor", "most"),
    [(40, 0.5, 0.5, 10), (40, 0.8, 0.5, 10), (40, 0, -1, 3), (40, 0, -1, 1), (23, 0.7, 0.7, 10), (5, 0, 0, 10),
     (40, 1.1, 0.3, 10), (1, 0.5, 0.5, 10)],
)  # fmt: skip
@pytest.mark.parametrize("entries", [8 << 20, 7])
def test_it_is_the_definition(monkeypatch, n, match, floor, most, entries):
    monkeypatch.setattr(module, "ENTRIES", entries)  # also in many small blocks
    x = people(n)
    pairs = shared_neighbours(x, match=match, floor=floor, most=most)
    codes = pairs.rows * n + pairs.columns
    assert (np.diff(codes) > 0).all()
    assert (pairs.rows < pairs.columns).all()
    found = np.zeros((n, n))
    found[pairs.rows, pairs.columns] = pairs.shared
    wanted = np.triu(dense(x, match, floor, most), 1)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    paired = np.zeros((n, n), bool)
    paired[pairs.rows, pairs.columns] = True
    cosines = (x @ x.T).numpy()
    assert n > most or (paired | paired.T)[(cosines >= floor) & ~np.eye(n, dtype=bool)].all()


def test_two_that_only_have_each_other_share_nothing():
    x = people(6, each=2, noise=0.1)
    assert shared_neighbours(x, match=0.5, floor=0.5).shared.tolist() == [0, 0, 0]


def test_equal_vectors_and_zeros_are_neighbours_of_nobody_else():
    x = torch.cat([people(1).expand(30, -1), torch.zeros(3, 16)])
    pairs = shared_neighbours(x, match=0.5, floor=0.5)
    assert set(pairs.rows.tolist()) | set(pairs.columns.tolist()) <= set(range(30))
    assert 0 < pairs.shared.max() <= 1


@pytest.mark.parametrize("each", [3, 10])
def test_how_many_neighbours_count_comes_from_the_data(each):
    """With three vectors per person, the nearest beyond them are other people, and they are not shared."""
    x = people(60, each=each, noise=0.8)
    pairs = shared_neighbours(x, match=0.5, floor=0.0)
    person = np.arange(60) // each
    other = person[pairs.rows] != person[pairs.columns]
    fixed = shared_neighbours(x, match=-1, floor=0.0)  # everything matches: ten neighbours
    wrong = person[fixed.rows] != person[fixed.columns]
    assert pairs.shared[other].sum() <= fixed.shared[wrong].sum() * (0.5 if each == 3 else 1)
