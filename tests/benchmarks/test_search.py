"""The scores of the search benchmark, worked by hand."""

import pytest
import torch

from benchmarks.accuracy.search import in_a_camera, joined, scores, ways
from stmga import Embeddings, Gallery


def scene(angles, rows):
    angles = torch.tensor(angles, dtype=torch.float32).deg2rad()
    items = [
        {"tracklet": name, "person": person, "camera": camera, "time": time, "end_time": time + 5.0}
        for name, person, camera, time in rows
    ]
    return Embeddings(torch.stack([angles.cos(), angles.sin()], dim=1), items, digest="1f0c")


@pytest.fixture
def parts():
    """In the first scene, somebody else looks more like `a1` than `a2` does, but is seen at the same time."""
    first = scene([0, 20, 10], [("a1", "a", "door", 0.0), ("a2", "a", "hall", 30.0), ("b", "b", "hall", 1.0)])
    return joined([first, scene([5], [("c", "c", "hall", 30.0)])])


def test_ways_are_scored_by_what_there_is_to_find(parts):
    gallery = Gallery(Embeddings.concatenate(parts))
    asked = parts[0]  # `b` has nothing to find
    found = {way: scores(answers, asked, gallery) for way, answers in ways(gallery, asked)}
    # a1 finds c, b, a2; a2 finds a1.
    assert found["plain"] == {"mAP": pytest.approx((1 / 3 + 1) / 2), "rank-1": 0.5}
    assert found["time"] == {"mAP": pytest.approx((1 / 2 + 1) / 2), "rank-1": 0.5}  # c is ten minutes later
    assert found["travel"] == {"mAP": pytest.approx((1 / 2 + 1) / 2), "rank-1": 0.5}  # b cannot be a1


def test_a_correct_tracklet_that_is_left_out_was_never_found(parts):
    gallery = Gallery(Embeddings.concatenate(parts))
    assert scores([[], [], []], parts[0], gallery) == {"mAP": 0.0, "rank-1": 0.0}


def test_in_a_camera(parts):
    """Only `door` asked of a2 and `hall` of a1 have an answer; c hides a2 in the hall."""
    gallery = Gallery(Embeddings.concatenate(parts))
    assert in_a_camera(gallery, parts[0]) == {"plain": 0.5, "camera": 0.5}
