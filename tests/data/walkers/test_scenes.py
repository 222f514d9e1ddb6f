"""People in rendered scenes: true boxes and visibility, who hides whom, one camera at a time, ways between cameras."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stmga import read_tracklets
from stmga.data.walkers import filming
from stmga.data.walkers.canvas import Canvas
from stmga.data.walkers.filming import Film, Sighting
from stmga.data.walkers.looks import make_look
from stmga.data.walkers.routes import itinerary
from stmga.data.walkers.scene_spec import SceneSpec
from stmga.data.walkers.truth import SEEN
from tests.support.scenes import SMALL, Truth, spec_of


def box_of(changed: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
    return columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]


def test_boxes_and_visibility_are_those_of_the_drawn_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame is drawn again without each person, and without the others: what changes is the person."""
    monkeypatch.setattr(filming, "photograph", lambda camera, frames, rng: frames)
    monkeypatch.setattr(Canvas, "shade", lambda *args, **options: None)  # no shadow on the ground
    film, compared, hidden, cut = Film(spec_of(SMALL), 0), 0, 0, 0
    drawn: list[list[Any]] = []
    draw = film._frame
    film._frame = lambda frame, people: (drawn.append(people), draw(frame, people))[1]  # type: ignore[method-assign]
    for number, (pixels, sightings) in enumerate(itertools.islice(film.frames(), 0, 150, 10)):
        people, empty = drawn[10 * number], draw(0, [])[0]
        by_person = {one.person: one for one in sightings}
        for person in people:
            alone = (draw(0, [person])[0] != empty).any(-1)
            if alone.any(0).sum() <= 1:  # outside but for an edge: less than half a pixel
                continue
            seen = (pixels != draw(0, [p for p in people if p is not person])[0]).any(-1)
            x, y, w, h = box_of(alone)
            found = by_person[person.person]
            if found.x > 0 and found.x + found.w < 200:
                assert np.abs(np.subtract(found[2:6], (x, y, w, h))).max() <= 2, (found, (x, y, w, h))
                assert found.visible == pytest.approx(seen.sum() / alone.sum(), abs=0.12)
                hidden += found.visible < 0.7
            else:
                assert found.x <= x + 1 and found.x + found.w >= x + w - 1
                cut += found.visible < 0.9
            compared += 1
    assert compared > 40 and hidden > 3 and cut > 3


def test_a_person_is_hidden_by_one_who_is_nearer(truth: Truth) -> None:
    """Nothing stands in the way of an easy scene, and who is nearer has lower feet."""
    checked = 0
    for sightings in truth.values():
        for frame in by_frame(sightings).values():
            for one in frame:
                if one.visible < 0.9 and one.x > 0 and one.x + one.w < 200:
                    others = [o for o in frame if o is not one and overlap(o, one) > 0]
                    assert any(o.y + o.h > one.y + one.h - 0.1 * one.h for o in others), one
                    checked += 1
    assert checked > 20


def by_frame(sightings: list[Sighting]) -> dict[int, list[Sighting]]:
    found = defaultdict(list)
    for one in sightings:
        found[one.frame].append(one)
    return found


def overlap(a: Sighting, b: Sighting) -> int:
    across = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    return max(0, across) * max(0, min(a.y + a.h, b.y + b.h) - max(a.y, b.y))


def test_people_cross_hide_each_other_stand_leave_and_return(scenes: Path, truth: Truth) -> None:
    crossings = 0
    for sightings in truth.values():
        frames = by_frame(sightings)
        for pair in itertools.combinations(range(1, SMALL["persons"] + 1), 2):
            sides = []
            for frame in frames.values():
                found = {one.person: one for one in frame}
                if found.keys() >= set(pair) and overlap(found[pair[0]], found[pair[1]]):
                    middles = [found[p].x + found[p].w / 2 for p in pair]
                    sides.append(middles[0] < middles[1])
            crossings += len(set(sides)) == 2
    assert crossings > 3
    hidden = [one for s in truth.values() for one in s if one.visible < SEEN and 0 < one.x < one.x + one.w < 200]
    assert len(hidden) > 5
    stays = defaultdict(list)
    for tracklet in read_tracklets(scenes / "manifest.jsonl"):
        stays[tracklet.person].append((tracklet.time, tracklet.camera))
    routes = ["".join(str(camera)[-1] for _, camera in sorted(stay)) for stay in stays.values()]  # type: ignore[type-var]
    assert any("11" in route or "22" in route for route in routes)  # returns to the same camera
    assert any("12" in route or "21" in route for route in routes)  # goes on to the other
    rests = [v.rest for p in range(1, 15) for v in itertools.islice(itinerary(spec_of(SMALL), p), 4)]
    assert 0 in rests and max(rests) > 2


def test_numbers_are_of_persons_and_nobody_is_in_two_cameras(truth: Truth) -> None:
    numbers = [{one.person for one in sightings} for sightings in truth.values()]
    assert numbers[0] & numbers[1] and numbers[0] | numbers[1] <= set(range(1, 15))
    at = [{(one.person, one.frame) for one in sightings} for sightings in truth.values()]
    assert not at[0] & at[1]
    assert all(len(places) == len(sightings) for places, sightings in zip(at, truth.values(), strict=True))


def test_the_way_to_the_next_camera_takes_time_and_feet_do_not_slide() -> None:
    spec = SceneSpec(seed=3)
    for person in range(1, 11):
        visits = list(itertools.islice(itinerary(spec, person), 6))
        for one, following in itertools.pairwise(visits):
            assert following.start - one.end > 2  # seconds: at least 3 body heights, or a turn
            assert abs(one.camera - following.camera) in (0, 1, 3)  # a ring of four
            side, entry = (np.sign(v.path[i, 0]) for v, i in ((one, -1), (following, 0)))
            assert (side == entry) == (one.camera == following.camera)
        visit = visits[0]
        steps = np.hypot(*np.diff(visit.path, axis=0).T)
        assert steps.max() < 0.06 and 0.35 < visit.speed < 1.2
        a, b = (visit.at(visit.start + t) for t in (1.0, 1.1))
        moved = np.hypot(a.across - b.across, a.away - b.away)
        assert (b.phase - a.phase) / (2 * np.pi) * visit.cycle == pytest.approx(moved, rel=0.25)


def test_a_person_is_the_walker_of_that_number() -> None:
    assert SceneSpec(seed=5).look(7) == make_look(np.random.default_rng([5, 1, 7]), similar_clothes=0.3)


def test_the_background_stands_still_under_the_noise_of_the_sensor() -> None:
    frames = np.stack([pixels for pixels, _ in Film(spec_of(SMALL | {"persons": 1, "seconds": 4}), 1).frames()])
    deviation = frames.astype(float).std(0).mean(-1)
    assert 0.5 < np.median(deviation) < 8
    corner = frames[:, :20, :20].astype(float).mean((1, 2, 3))
    assert np.ptp(corner) < 2
