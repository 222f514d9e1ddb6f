"""The scores of the linking benchmark: worked by hand, and against scikit-learn."""

import numpy as np
import pytest

from benchmarks.accuracy.linking import halves, scores
from stmga import Embeddings
from tests.support.vectors import people


def test_bcubed_worked_by_hand():
    """Two persons; one cluster has two of a and one of b, the other two of b."""
    found, persons = [1, 1, 1, 2, 2], ["a", "a", "b", "b", "b"]
    got = scores(found, persons)
    assert got["BCubed precision"] == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / 5)
    assert got["BCubed recall"] == pytest.approx((1 + 1 + 1 / 3 + 2 / 3 + 2 / 3) / 5)
    assert got["pairwise precision"] == pytest.approx(2 / 4)
    assert got["pairwise recall"] == pytest.approx(2 / 4)
    assert got["persons found / true"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_rand_index_is_that_of_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    dice = np.random.default_rng(seed)
    found, persons = dice.integers(0, 9, 200).tolist(), dice.integers(0, 7, 200).tolist()
    got = scores(found, persons)
    assert got["adjusted Rand index"] == pytest.approx(metrics.adjusted_rand_score(persons, found))
    (_, extra), (missing, hits) = metrics.cluster.pair_confusion_matrix(persons, found)
    assert got["pairwise precision"] == pytest.approx(hits / (hits + extra))
    assert got["pairwise recall"] == pytest.approx(hits / (hits + missing))


def test_nobody_is_in_both_halves():
    items = [{"tracklet": str(i), "person": i // 3} for i in range(30)]
    one, two = halves(Embeddings(people(30), items, digest="1f0c"), seed=0)
    assert len(set(one.persons)) == len(set(two.persons)) == 5
    assert not set(one.persons) & set(two.persons)
    assert len(one) + len(two) == 30
