"""The benchmark of persons: its scores worked by hand, and its draws."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.accuracy.persons import assigned, enrolled, over_draws, scores, searched, thirds
from stmga import Embeddings
from tests.support.vectors import people


@pytest.fixture(name="embeddings")
def embeddings_fixture():
    items = [{"tracklet": str(i), "person": i // 5, "camera": i % 3} for i in range(600)]
    return Embeddings(people(600, noise=0.3), items, digest="1f0c")


def test_scores_worked_by_hand():
    """The second query has no right answer, so that it does not count."""
    got = scores([[True, False, True], [False, False, False], [False] * 5 + [True]])
    assert got == {
        "rank-1": pytest.approx(1 / 2), "rank-5": pytest.approx(1 / 2),
        "mAP": pytest.approx(((1 + 2 / 3) / 2 + 1 / 6) / 2), "queries": 2,
    }  # fmt: skip


def test_half_of_each_person_is_enrolled(embeddings):
    part, others = enrolled(embeddings, np.random.default_rng(0))
    assert sorted(part.ids + others.ids) == sorted(embeddings.ids)
    assert set(Counter(part.persons).values()) == {2}
    assert part.ids != enrolled(embeddings, np.random.default_rng(1))[0].ids


def test_nobody_is_in_two_thirds(embeddings):
    parts = [set(part.persons) for part in thirds(embeddings, np.random.default_rng(0))]
    assert [len(part) for part in parts] == [40, 40, 40]
    assert len(set.union(*parts)) == 120


def test_the_best_tracklet_decides_rank_1(embeddings):
    for ways in searched(embeddings, 0).values():
        assert ways["best"]["rank-1"] == ways["tracklets"]["rank-1"] > 0.5
        assert ways["best"]["queries"] == ways["tracklets"]["queries"]


def test_shares_of_verdicts_add_up(embeddings):
    both = over_draws([assigned(embeddings, seed) for seed in range(2)])
    for kinds in both.values():
        for row in kinds.values():
            assert sum(share["mean"] for share in row.values()) == pytest.approx(1)
        assert kinds["strangers"]["known, right"]["mean"] == 0
        assert kinds["enrolled persons"]["known, right"]["mean"] > 0.5
