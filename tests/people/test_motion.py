"""The detector motion: who is found, who stays found, and what is not a person."""

import numpy as np
import pytest

from stmga.people import Motion
from tests.support.street import EMPTY, street, walk

FPS = 10
PERSON = (70, 30, 90, 90)


def watched(motion, *pictures):
    """The boxes of the last picture, as integers."""
    for picture in pictures:
        boxes, scores = motion(picture)
        assert boxes.shape == (len(scores), 4) and ((scores >= 0) & (scores <= 1)).all()
    return boxes.round().astype(int).tolist()


@pytest.fixture
def motion():
    found = Motion(FPS)
    assert watched(found, *[EMPTY] * FPS) == []
    return found


def test_a_walker_is_found_in_every_frame(motion):
    for box in walk(40):
        boxes = watched(motion, street(box))
        x1, x2 = max(box[0], 0), min(box[2], 160)
        if x2 - x1 >= 8:
            assert len(boxes) == 1
            assert np.abs(np.array(boxes[0]) - [x1, box[1], x2, box[3]]).max() <= 2


def test_who_stands_still_for_forty_seconds_stays_found(motion):
    arrival = [street(box) for box in walk(22)]
    standing = street(walk(22)[-1])
    assert len(watched(motion, *arrival)) == 1
    for _ in range(40):
        assert len(watched(motion, *[standing] * FPS)) == 1
    assert watched(motion, *[EMPTY] * 3) == []  # and leaves nothing behind


def test_who_is_there_from_the_beginning_leaves_no_ghost():
    motion = Motion(FPS)
    for _ in range(3):
        assert watched(motion, *[street(PERSON)] * FPS) == []  # unknown until it moves
    away = [street((x, *PERSON[1:2], x + 20, PERSON[3])) for x in range(70, 164, 4)]
    for picture in away:
        found = watched(motion, picture)
    assert watched(motion, *[EMPTY] * 2 * FPS) == []
    assert len(found) <= 1
    assert watched(motion, street(PERSON)) == [list(PERSON)]  # and the place is watched again


@pytest.mark.parametrize("step", [2, 4])
def test_who_walks_away_in_the_first_frames_leaves_no_ghost_for_a_single_frame(step):
    motion = Motion(FPS)
    for x in range(70, 164, step):
        found = watched(motion, street((x, 30, x + 20, 90)))
        if x >= 100:  # apart from where it stood
            assert len(found) <= 1 and all(box[2] > x for box in found)
    assert watched(motion, *[EMPTY] * 2) == []


def test_who_stops_in_front_of_an_edge_of_the_background_stays_found():
    edge = EMPTY.copy()
    edge[:, 68:72] = edge[:, 88:92] = 240  # posts, on both sides of where the person stands
    person = edge.copy()
    person[30:90, 70:90] = street(PERSON)[30:90, 70:90]
    motion = Motion(FPS)
    assert watched(motion, *[edge] * FPS) == []
    for _ in range(20):
        assert len(watched(motion, *[person] * FPS)) == 1


def test_slow_changes_of_light_are_no_persons(motion):
    for second in range(60):
        light = 1 - 0.4 * second / 60
        assert watched(motion, *[street(light=light)] * 2) == []
    assert watched(motion, street(PERSON, light=0.6)) == [list(PERSON)]


def test_a_camera_that_adjusts_itself_to_a_person_sees_one_person(motion):
    for light in (1.0, 1.1, 1.25, 1.25, 1.25):
        assert watched(motion, street(PERSON, light=light)) == [list(PERSON)]


def test_a_camera_that_is_turned_starts_again(motion):
    blocks = np.random.default_rng(1).integers(0, 256, (15, 20, 3), np.uint8)
    elsewhere = blocks.repeat(8, 0).repeat(8, 1)
    assert watched(motion, *[elsewhere] * FPS) == []
    turned = elsewhere.copy()
    turned[30:90, 70:90] = 255 - turned[30:90, 70:90]
    (box,) = watched(motion, turned)
    assert np.abs(np.array(box) - PERSON).max() <= 8


def test_a_soft_shadow_is_no_person(motion):
    x = np.arange(160)
    shadow = 1 - 0.5 * np.clip(1 - np.abs(x - 80) / 50, 0, 1)
    assert watched(motion, *[(EMPTY * shadow[None, :, None]).astype(np.uint8)] * 3) == []


def test_a_chair_is_background_after_a_minute(motion):
    assert watched(motion, *[street(PERSON)] * 50 * FPS) == [list(PERSON)]
    assert watched(motion, *[street(PERSON)] * 15 * FPS) == []


def test_parts_of_one_person_are_one_box_and_two_people_are_two(motion):
    belt = street(PERSON)
    belt[58:62, 70:90] = EMPTY[58:62, 70:90]  # as the background
    assert watched(motion, belt) == [list(PERSON)]
    assert len(watched(motion, street(PERSON, (110, 30, 130, 90)))) == 2


def test_specks_are_no_persons(motion):
    assert watched(motion, street((70, 30, 72, 34), (100, 80, 110, 86))) == []


def test_another_size_starts_again_and_large_pictures_are_reduced():
    motion = Motion(FPS)
    large = [np.kron(picture, np.ones((9, 9, 1), np.uint8)) for picture in (EMPTY, street(PERSON))]
    assert watched(motion, EMPTY, large[0]) == []
    (box,) = watched(motion, large[1])
    assert np.abs(np.array(box) - 9 * np.array(PERSON)).max() <= 6


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (8, 9), (64, 2000), (431, 767)])
def test_pictures_of_any_size_give_boxes_inside_of_them(size):
    motion, dice = Motion(FPS), np.random.default_rng(0)
    for number in range(12):
        picture = dice.integers(0, 256, (*size, 3), np.uint8) if number % 3 else np.full((*size, 3), 90, np.uint8)
        boxes, scores = motion(picture)
        assert boxes.shape == (len(scores), 4) and (boxes >= 0).all()
        assert (boxes[:, 2:] <= size[::-1]).all() and (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize("setting", [{"fps": 0}, {"fps": float("nan")}, {"threshold": 300}, {"min_height": 0}])
def test_settings_are_checked(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=name):
        Motion(**setting)
