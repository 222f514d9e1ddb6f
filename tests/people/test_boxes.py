"""What detectors may return, and what is refused."""

from collections import Counter

import numpy as np
import pytest
import torch

from stmga.people import DetectorError
from stmga.people.boxes import persons_of
from stmga.people.region import Region

SIZE = 64, 48
BOX, SCORE = np.array([[1.0, 2, 30, 40]]), np.array([0.5])


@pytest.mark.parametrize(
    "result",
    [
        (BOX, SCORE),
        [BOX.tolist(), SCORE.tolist()],
        (torch.tensor(BOX), torch.tensor(SCORE).half()),
        (BOX.astype(int), SCORE),
    ],
)
def test_arrays_lists_and_tensors_are_the_same(result):
    boxes, scores = persons_of(result, SIZE, Counter())
    assert boxes.dtype == scores.dtype == np.float32
    assert boxes.tolist() == BOX.tolist() and scores.tolist() == [0.5]


@pytest.mark.parametrize("nobody", [([], []), (np.zeros((0, 4)), np.zeros(0)), (np.zeros((0, 5)), np.zeros((0, 1)))])
def test_nobody_is_no_box(nobody):
    boxes, scores = persons_of(nobody, SIZE, Counter())
    assert boxes.shape == (0, 4) and scores.shape == (0,)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (None, "NoneType"),
        (BOX, "ndarray"),
        ((BOX, SCORE, SCORE), "tuple of 3"),
        ((BOX[0], SCORE), r"boxes \(4,\)"),
        ((np.ones((1, 5)), SCORE), r"boxes \(1, 5\)"),
        ((BOX, np.ones(2)), r"scores \(2,\)"),
        ((BOX, SCORE[:, None]), r"scores \(1, 1\)"),
        ((BOX * np.nan, SCORE), "NaN"),
        ((BOX, SCORE * np.inf), "infinity"),
        ((BOX, SCORE * 100), "scores must be in 0..1, got 50"),
        ((BOX, -SCORE), "scores must be in 0..1"),
        ((np.array([[30.0, 2, 20, 40]]), SCORE), "not x, y, width, height"),
        ((BOX / 64, SCORE), "share of the picture"),
        ((BOX.astype(str), SCORE), "not numbers"),
        ((BOX > 0, SCORE), "not numbers"),
        (([[1, 2], [3]], SCORE), "not an array"),
    ],
)
def test_anything_else_is_refused(result, words):
    with pytest.raises(DetectorError, match=words):
        persons_of(result, SIZE, Counter())


def test_boxes_over_the_edge_are_clipped_and_counted():
    counts = Counter()
    result = np.array([[-5.0, 2, 30, 60], [70, 2, 90, 40], [1, 2, 30, 40]]), np.array([0.5, 0.6, 0.7])
    boxes, scores = persons_of(result, SIZE, counts)
    assert boxes.tolist() == [[0, 2, 30, 48], [1, 2, 30, 40]]
    assert scores.tolist() == pytest.approx([0.5, 0.7])
    assert counts == {"clipped": 1, "outside": 1}


def test_of_supervision_only_persons_count():
    sv = pytest.importorskip("supervision")
    three = np.repeat(BOX, 3, axis=0) + np.arange(3)[:, None]
    found = sv.Detections(three, confidence=np.full(3, 0.5), class_id=np.array([0, 2, 0]))
    with pytest.raises(DetectorError, match="person_class="):
        persons_of(found, SIZE, Counter())
    assert persons_of(found, SIZE, Counter(), person_class=0)[0].tolist() == three[::2].tolist()
    found.data["class_name"] = np.array(["car", "person", "dog"])
    assert persons_of(found, SIZE, Counter())[0].tolist() == three[1:2].tolist()
    unnamed = sv.Detections(three)
    assert persons_of(unnamed, SIZE, Counter())[1].tolist() == [1, 1, 1]


def test_a_region_is_what_shapes_say_is_inside():
    """Against a triangle's half planes, for many points."""
    region = Region.parse("10,10 50.5,20 20,45")
    feet = np.random.default_rng(0).uniform(0, 60, (500, 2))
    boxes = np.stack([feet[:, 0] - 3, feet[:, 1] - 9, feet[:, 0] + 3, feet[:, 1]], 1)
    corners = np.array(region.corners)
    edges = np.roll(corners, -1, 0) - corners
    away = feet[:, None] - corners
    sides = edges[:, 0] * away[..., 1] - edges[:, 1] * away[..., 0]  # on which side of each edge
    assert (region.inside(boxes) == (sides > 0).all(1)).all()
    assert 50 < region.inside(boxes).sum() < 450


@pytest.mark.parametrize("text", ["", "1,2 3,4", "1,2 3,4 x,5", "1,2,3 4,5 6,7", "1,2 1,2 1,2", "nan,1 2,3 4,5"])
def test_no_polygon_is_refused(text):
    with pytest.raises(ValueError, match="region"):
        Region.parse(text)
