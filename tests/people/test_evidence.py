"""What changes a score beside the vectors: one camera, travel times, pieces of one stay; and the thresholds."""

import numpy as np
import pytest
import torch

from stmga import Embeddings
from stmga.calibration import Calibration, Threshold
from stmga.metrics.shared_neighbours import Pairs
from stmga.people import TravelTime, link
from stmga.people.evidence import camera_change, travel_change
from stmga.people.thresholds import LinkThresholds, link_thresholds
from tests.support.vectors import people


def calibration(rates, roc=()):
    points = [Threshold(false_match_rate=r, similarity=s, true_match_rate=0.5) for r, s in rates.items()]
    counts = {"impostor_pairs": 9000, "genuine_pairs": 90, "persons": 40}
    return Calibration(thresholds=tuple(points), lower=0.2, roc=roc, digest="1f0c", **counts)


def at_angles(*degrees):
    angles = torch.tensor(degrees, dtype=torch.float32).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def linked(vectors, rates, travel=(), **columns):
    items = [{"tracklet": f"t{i}", **{k: v[i] for k, v in columns.items()}} for i in range(len(vectors))]
    found = link(Embeddings(vectors, items, digest="1f0c", calibration=calibration(rates)), travel=travel)
    return [row.identity for row in found]


def test_thresholds_come_from_the_calibration():
    given = calibration({1e-2: 0.4, 1e-3: 0.6, 1e-4: 0.8})
    assert link_thresholds(given) == LinkThresholds(0.6, 0.5, pytest.approx(0.2), 1e-3)
    assert link_thresholds(given, false_match_rate=1e-2) == LinkThresholds(0.4, 0.4, pytest.approx(0.2), 1e-2)
    assert link_thresholds(given, false_match_rate=1e-4) == LinkThresholds(0.8, pytest.approx(0.7), 0.0, 1e-4)
    assert link_thresholds(given, threshold=0.5) == LinkThresholds(0.5, 0.5)
    assert link_thresholds(calibration({1e-3: 0.6})) == LinkThresholds(0.6, 0.6, 0.0, 1e-3)


def test_within_one_camera_the_threshold_is_stricter():
    pair, rates = at_angles(0, 45), {1e-3: 0.6, 1e-4: 0.8}  # cosine 0.707
    assert linked(pair, rates, camera=["door", "hall"]) == [1, 1]
    assert linked(pair, rates, camera=["door", "door"]) == [1, 2]
    assert linked(pair, rates, camera=[None, None]) == [1, 1]  # unknown cameras need not be one
    assert linked(pair, {1e-3: 0.6}, camera=["door", "door"]) == [1, 1]


def test_camera_labels_of_files_and_numbers_are_one():
    pairs = Pairs(np.array([0, 0, 1]), np.array([1, 2, 2]), np.zeros(3, np.float32))
    assert camera_change(pairs, [1, "1", 2], 0.25).tolist() == [-0.25, 0, 0]
    assert camera_change(pairs, [None, None, None], 0.25).tolist() == [0, 0, 0]


def test_pieces_of_one_stay_are_one_witness():
    """Two people who look alike, each cut into pieces: the pieces must not connect them."""
    pieces = torch.cat([at_angles(*(i / 10 for i in range(6))), at_angles(*(50 + i / 10 for i in range(6)))])
    camera, rates = ["door"] * 6 + ["hall"] * 6, {1e-2: 0.4, 1e-3: 0.7}  # cosine 0.64
    assert linked(pieces, rates, camera=camera) == [1] * 6 + [2] * 6


def test_equal_vectors_are_one_person_over_cameras():
    assert linked(people(1).expand(4, -1), {1e-3: 0.6}, camera=[1, 1, 2, 2]) == [1] * 4


def test_nobody_is_faster_than_the_travel_time():
    same = people(1).expand(3, -1)
    times = {"camera": ["door", "hall", "hall"], "time": [0, 14, 40], "end_time": [10, 20, 50]}
    rates = {1e-3: 0.6}
    assert linked(same, rates, **times) == [1, 1, 1]
    assert linked(same, rates, [TravelTime(("hall", "door"), 5, 60)], **times) != [1, 1, 1]
    assert linked(same, rates, [TravelTime(("hall", "door"), 4, 60)], **times) == [1, 1, 1]


def test_a_fitting_travel_time_lowers_the_threshold():
    """10 tracklets in each camera, a minute apart: 19 of 100 pairs fit, so a rate five times as high will do."""
    starts = [60.0 * i for i in range(10)]
    clock = {i: ("door", (t, t + 10)) for i, t in enumerate(starts)}
    clock |= {10 + i: ("hall", (t + 30, t + 40)) for i, t in enumerate(starts)}
    pairs = Pairs(np.array([0, 0, 1]), np.array([10, 11, 10]), np.zeros(3, np.float32))
    travel = [TravelTime(("door", "hall"), 20, 25)]  # 20 s from a door to the hall, and 20 s back
    given = calibration({1e-2: 0.4, 1e-3: 0.6})
    change = travel_change(pairs, clock, travel, given, link_thresholds(given))
    fitting = 10 + 9  # there, and back
    easier = given.similarity_at(1e-3 * 100 / fitting)
    assert change.tolist() == pytest.approx([0.6 - easier, 0, 0.6 - easier])
    assert 0.4 < easier < 0.6
    assert travel_change(pairs, clock, travel, None, LinkThresholds(0.6, 0.6)).tolist() == [0, 0, 0]


def test_the_threshold_of_any_rate_is_between_those_measured():
    given = calibration({1e-2: 0.4, 1e-4: 0.8}, roc=((0.9, 0.0, 0.1), (0.7, 1e-3, 0.3), (0.2, 1.0, 1.0)))
    wanted = {1e-5: 0.8, 1e-4: 0.8, 1e-3: 0.7, 1e-2: 0.4, 1.0: 0.2, 3e-3: 0.55}
    assert [given.similarity_at(rate) for rate in wanted] == pytest.approx(list(wanted.values()), abs=0.01)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("door=1..2", "CAMERA:CAMERA=20..300"),
        ("door:hall", "CAMERA:CAMERA=20..300"),
        ("door:hall=1-2", "CAMERA:CAMERA=20..300"),
        ("door:hall=a..2", "CAMERA:CAMERA=20..300"),
        ("door:hall=3..2", "0 <= least <= most"),
        ("door:hall=-3..2", "0 <= least <= most"),
        ("door:hall=1..inf", "0 <= least <= most"),
        ("door:door=1..2", "between two cameras"),
    ],
)
def test_travel_times_that_are_none(text, words):
    with pytest.raises(ValueError, match=words):
        TravelTime.parse(text)


def test_a_travel_time_needs_cameras_with_times():
    times = {"camera": ["door", "hall"], "time": [0, None], "end_time": [10, None]}
    for cameras, words in (
        (("door", "hall"), "have no time and end_time"),
        (("dor", "hall"), "the cameras are door, hall"),
    ):
        with pytest.raises(ValueError, match=words):
            linked(people(2), {1e-3: 0.6}, [TravelTime(cameras, 1, 2)], **times)


def test_an_alternative_is_one_that_it_could_be():
    a, b = at_angles(0, 50)
    vectors = torch.stack([a, a, b, b])
    times = {"camera": ["door"] * 4, "video": ["a"] * 4}
    items = [
        {"tracklet": i, **{k: v[i] for k, v in times.items()}, "start": 10 * i, "end": 10 * i + 5} for i in range(4)
    ]
    found = link(Embeddings(vectors, items, digest="1f0c"), threshold=0.7).rows
    assert [(row.identity, row.alternative) for row in found] == [(1, None), (1, None), (2, None), (2, None)]
    found = link(Embeddings(vectors, items, digest="1f0c", calibration=calibration({1e-2: 0.3, 1e-3: 0.7}))).rows
    assert [(row.identity, row.alternative) for row in found] == [(1, 2), (1, 2), (2, 1), (2, 1)]
    items[2] |= {"start": 0, "end": 3}  # with the first tracklet
    found = link(Embeddings(vectors, items, digest="1f0c", calibration=calibration({1e-2: 0.3, 1e-3: 0.7}))).rows
    assert [row.alternative for row in found] == [None, 2, None, 1]
