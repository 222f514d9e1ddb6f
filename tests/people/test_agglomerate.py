"""Average linkage on sparse pairs, against scipy and against merging by hand."""

import numpy as np
import pytest

from stmga.metrics.shared_neighbours import Pairs
from stmga.people.agglomerate import agglomerate
from stmga.people.constraints import KnownPersons, NoOverlap
from tests.support.vectors import people


def every_pair(n, shared=None):
    rows, columns = np.triu_indices(n, 1)
    return Pairs(rows, columns, np.zeros(len(rows), np.float32) if shared is None else shared[rows, columns])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cut", [-0.2, 0.3, 0.6, 0.9])
def test_without_shared_neighbours_it_is_average_linkage(seed, cut):
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    x = people(60, seed=seed).numpy()
    found = agglomerate(x, every_pair(60), cut)
    distances = 1 - (x.astype(np.float64) @ x.T.astype(np.float64))[np.triu_indices(60, 1)]
    wanted = hierarchy.fcluster(hierarchy.linkage(distances, "average"), 1 - cut, "distance")
    same = wanted[:, None] == wanted
    assert ((found[:, None] == found) == same).all()
    assert (found == [np.flatnonzero(row)[0] for row in same]).all()  # named by the first row


def by_hand(x, shared, cut, allowed):
    """The same without any cleverness: all scores computed again after every merge."""
    clusters = [[i] for i in range(len(x))]
    scores = x.astype(np.float64) @ x.T.astype(np.float64) + shared
    while True:
        best = max(
            ((scores[np.ix_(a, b)].mean(), i, j) for i, a in enumerate(clusters) for j, b in enumerate(clusters)
             if i < j and allowed(a, b)), default=(-9, 0, 0),
        )  # fmt: skip
        if best[0] < cut:
            return clusters
        clusters[best[1]] += clusters.pop(best[2])


@pytest.mark.parametrize("seed", range(4))
def test_with_shared_neighbours_and_constraints_it_is_merging_by_hand(seed):
    n, dice = 40, np.random.default_rng(seed)
    x = people(n, each=8, noise=0.7, seed=seed).numpy()
    shared = np.triu(dice.random((n, n)) * 0.4, 1).astype(np.float32)
    shared += shared.T
    spans = {i: ("door" if i % 2 else "hall", (i // 4, i // 4 + 2)) for i in range(0, n, 3)}
    persons = {0: "ann", 7: "bob", 12: "ann"}

    def allowed(a, b):
        known = {persons[i] for i in (*a, *b) if i in persons}
        timed = [(spans[i], spans[j]) for i in a for j in b if i in spans and j in spans]
        return len(known) < 2 and not any(p == q and s <= v and u <= t for (p, (s, t)), (q, (u, v)) in timed)

    found = agglomerate(x, every_pair(n, shared), 0.35, constraints=[NoOverlap(spans), KnownPersons(persons)])
    wanted = by_hand(x, shared, 0.35, allowed)
    assert sorted(map(sorted, wanted)) == sorted(np.flatnonzero(found == name).tolist() for name in set(found))
    assert 2 < len(wanted) < n


def test_what_must_be_together_is_so_whatever_its_score():
    x = np.eye(4, dtype=np.float32)
    assert agglomerate(x, every_pair(4), 0.5, together=[(3, 1), (1, 2)]).tolist() == [0, 1, 1, 1]


def test_only_clusters_with_a_pair_are_compared():
    x = np.ones((3, 1), dtype=np.float32)
    pairs = Pairs(np.array([0]), np.array([2]), np.zeros(1, np.float32))
    assert agglomerate(x, pairs, 0.5).tolist() == [0, 1, 0]
    none = Pairs(np.array([], np.int64), np.array([], np.int64), np.array([], np.float32))
    assert agglomerate(x, none, 0.5).tolist() == [0, 1, 2]


def test_intervals_of_a_cluster_are_kept_apart_also_after_merges():
    apart = NoOverlap(
        {0: ("door", (0, 4)), 1: ("door", (10, 14)), 2: ("door", (5, 9)), 3: ("hall", (0, 99)), 4: ("door", (4, 5))}
    )
    assert apart.allows(0, 1)
    apart.merge(0, 1)
    assert apart.allows(0, 2)
    assert not apart.allows(0, 4)
    assert apart.allows(0, 3)
    apart.merge(3, 0)
    apart.merge(3, 2)
    assert not apart.allows(4, 3)
    assert not apart.allows(3, 4)
