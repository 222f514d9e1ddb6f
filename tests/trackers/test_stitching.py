"""Stitching: pieces of one person's stay become one track, and pieces that overlap in time never do."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga import Embeddings, Frame, Tracklet, TrackletEmbedder
from stmga.calibration import Calibration, Threshold
from stmga.trackers import stitch
from tests.support.embedder import TINY, build
from tests.support.street import two_people
from tests.support.videos import filmed

ANN, BOB = (1.0, 0.0), (0.0, 1.0)
Spans = dict[int, tuple[int, int]]  # first and last frame of each track


def rows_of(spans: Spans) -> np.ndarray:
    """A row for every frame of every track, in order of frames; the box tells track and frame."""
    rows = [(f, track, track, f, 20, 40, 0.9) for track, (a, b) in spans.items() for f in range(a, b + 1)]
    return np.array(sorted(rows), dtype=float)


def embeddings(vectors: dict[int, Any], **options: Any) -> Embeddings:
    unit = torch.nn.functional.normalize(torch.tensor(list(vectors.values()), dtype=torch.float32))
    return Embeddings(unit, [{"tracklet": str(track)} for track in vectors], digest="1f0c", **options)


def tracklet(name: str, start: int, end: int, **options: Any) -> Tracklet:
    return Tracklet(name, [Frame(Path("a.mp4"), (0, 0, 9, 9), i) for i in range(start, end + 1)], **options)


def test_pieces_of_a_person_get_the_id_of_the_earliest():
    spans = {8: (1, 5), 3: (9, 12), 4: (2, 12)}
    rows = rows_of(spans)
    before = rows.copy()
    found = stitch(rows, embeddings({3: ANN, 4: BOB, 8: ANN}), threshold=0.9)
    assert found[:, 1].tolist() == [8.0 if track in (3, 8) else 4.0 for track in rows[:, 1]]
    np.testing.assert_array_equal(np.delete(found, 1, axis=1), np.delete(rows, 1, axis=1))
    np.testing.assert_array_equal(rows, before)


def test_boxes_without_a_track_stay_as_they_are():
    rows = np.vstack([rows_of({1: (1, 3), 2: (5, 6)}), [[2, -1, 5, 5, 9, 9, 0.2], [2, -1, 9, 5, 9, 9, 0.2]]])
    found = stitch(rows, embeddings({1: ANN, 2: ANN}), threshold=0.9)
    assert found[:, 1].tolist() == [1, 1, 1, 1, 1, -1, -1]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_two_boxes_of_one_id_are_in_one_frame(data):
    """Whatever the spans, the vectors and the threshold; no box is lost, and tracks are only joined whole."""
    n = data.draw(st.integers(1, 12))
    starts = data.draw(st.lists(st.integers(1, 30), min_size=n, max_size=n))
    lengths = data.draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))
    angles = data.draw(st.lists(st.floats(0, 1.5), min_size=n, max_size=n))
    spans = {i: (a, a + k) for i, (a, k) in enumerate(zip(starts, lengths, strict=True))}
    rows = rows_of(spans)
    vectors = embeddings({i: (np.cos(angle), np.sin(angle)) for i, angle in enumerate(angles)})
    found = stitch(rows, vectors, threshold=data.draw(st.floats(-1, 1.9)))
    pairs = found[:, :2].tolist()
    assert len({tuple(pair) for pair in pairs}) == len(pairs)
    renamed = {(old, new) for old, new in zip(rows[:, 1], found[:, 1], strict=True)}
    assert len(renamed) == n
    for new in set(found[:, 1]):
        own = sorted(spans[int(old)] for old, name in renamed if name == new)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(own))
        assert own[0] == spans[int(new)]


def test_identical_pieces_that_overlap_by_one_frame_are_two_people():
    vectors = embeddings({1: ANN, 2: ANN})
    assert len(set(stitch(rows_of({1: (1, 5), 2: (5, 9)}), vectors, threshold=-1)[:, 1])) == 2
    assert len(set(stitch(rows_of({1: (1, 5), 2: (6, 9)}), vectors, threshold=-1)[:, 1])) == 1


def calibration(points: dict[float, float]) -> Calibration:
    thresholds = tuple(Threshold(false_match_rate=r, similarity=s, true_match_rate=0.5) for r, s in points.items())
    return Calibration(
        thresholds=thresholds, lower=0.2, impostor_pairs=9000, genuine_pairs=90, persons=40, digest="1f0c"
    )


@pytest.mark.parametrize(
    ("cosine", "rate", "ids"),
    [(0.85, None, 1), (0.75, None, 2), (0.75, 1e-3, 1), (0.45, 1e-3, 2), (0.45, 1e-2, 1), (0.25, 1e-2, 2)],
)
def test_the_threshold_is_that_of_the_calibration_and_1e_4_is_the_default(cosine, rate, ids):
    known = calibration({1e-2: 0.3, 1e-3: 0.5, 1e-4: 0.8})
    vectors = embeddings({1: ANN, 2: (cosine, np.sqrt(1 - cosine**2))}, calibration=known)
    found = stitch(rows_of({1: (1, 5), 2: (6, 9)}), vectors, false_match_rate=rate)
    assert len(set(found[:, 1])) == ids


def test_without_the_default_rate_the_nearest_one_is_taken():
    known = calibration({1e-2: 0.3, 1e-3: 0.5})
    vectors = embeddings({1: ANN, 2: (0.6, 0.8), 3: (-0.4, 0.9)}, calibration=known)
    rows = rows_of({1: (1, 5), 2: (6, 9), 3: (6, 9)})
    assert [len(set(stitch(rows, vectors, **way)[:, 1])) for way in ({}, {"threshold": 0.7})] == [2, 3]


def test_tracklets_come_back_joined():
    tracks = [
        tracklet("b", 20, 24, camera=1, person=7, time=2.0, extra={"end_time": 2.4}),
        tracklet("c", 0, 30, camera=1, person=8, time=0.0, extra={"end_time": 3.0}),
        tracklet("a", 5, 9, camera=1, person=7, time=0.5, extra={"end_time": 0.9}),
    ]
    found = stitch(tracks, embeddings({"a": ANN, "b": ANN, "c": BOB}), threshold=0.9)
    assert [one.id for one in found] == ["c", "a"]
    assert found[0] is tracks[1]
    joined = found[1].row()
    assert [frame.index for frame in found[1].frames] == [5, 6, 7, 8, 9, 20, 21, 22, 23, 24]
    assert (joined["time"], joined["end_time"], joined["start"], joined["end"]) == (0.5, 2.4, 5, 24)
    assert joined["person"] == 7


def test_a_joined_tracklet_of_two_persons_has_none():
    tracks = [tracklet("a", 0, 4, person=7), tracklet("b", 5, 9, person=8)]
    (found,) = stitch(tracks, embeddings({"a": ANN, "b": ANN}), threshold=0.9)
    assert found.person is None


def test_tracklets_in_memory_are_joined_by_their_times():
    pictures = [np.full((n, 40, 20, 3), n, np.uint8) for n in (2, 3)]
    tracks = [
        Tracklet("a", pictures[0], time=1.0, extra={"end_time": 2.0}),
        Tracklet("b", pictures[1], time=3.0, extra={"end_time": 4.0}),
    ]
    (found,) = stitch(tracks, TrackletEmbedder(build(TINY)), threshold=-1)
    assert [int(frame[0, 0, 0]) for frame in found.load()] == [2, 2, 3, 3, 3]
    assert (found.time, found.extra["end_time"]) == (1.0, 4.0)


def test_nothing_to_stitch_is_nothing():
    embedder = TrackletEmbedder(build(TINY))
    assert stitch([], embedder) == []
    assert stitch(np.zeros((0, 10)), embedder, video="absent.mp4").shape == (0, 10)


EMBEDDER = object()


@pytest.mark.parametrize(
    ("tracks", "vectors", "options", "message"),
    [
        (np.zeros((3, 5)), {1: ANN}, {}, r"rows of shape \(3, 5\), expected rows \(n, 6 or more\)"),
        (np.array([[0, 1, 5, 5, 9, 9]]), {1: ANN}, {}, "row 0 has no whole frame from 1"),
        (np.array([[1, 1.5, 5, 5, 9, 9]]), {1: ANN}, {}, "and whole id"),
        (np.array([[1, 1, 5, 5, 9, 0]]), {1: ANN}, {}, "row 0 has a box without area"),
        (np.array([[1, 1, 5, float("nan"), 9, 9]]), {1: ANN}, {}, "row 0 is not finite"),
        (np.array([[1, 1, 5, 5, 9, 9], [1, 1, 6, 6, 9, 9]]), {1: ANN}, {}, "track 1 is in frame 1 twice"),
        (rows_of({1: (1, 2), 2: (3, 4)}), {1: ANN}, {"threshold": 1}, "there is no vector for tracks 2"),
        (rows_of({1: (1, 2)}), {1: ANN}, {}, "no calibration"),
        (rows_of({1: (1, 2)}), EMBEDDER, {}, "an embedder needs the pictures of these rows: pass video=FILE"),
        ([tracklet("a", 0, 4)], {"a": ANN}, {"video": "a.mp4"}, "tracklets name their own frames"),
        ([tracklet("a", 0, 4)], EMBEDDER, {"frames": 0}, "frames must be an integer >= 1, got 0"),
        ([tracklet("a", 0, 4), tracklet("a", 6, 8)], {"a": ANN}, {}, 'two tracklets have the id "a"'),
        ([tracklet("a", 0, 4, camera=1), tracklet("b", 6, 8, camera=2)], {"a": ANN}, {}, "2 cameras or videos"),
        ([Tracklet("a", ["1.jpg"])], {"a": ANN}, {}, 'tracklet "a" does not say when it is seen'),
    ],
)
def test_other_input_is_refused(tracks, vectors, options, message):
    made = TrackletEmbedder(build(TINY)) if vectors is EMBEDDER else embeddings(vectors)
    with pytest.raises(ValueError, match=message):
        stitch(tracks, made, **options)


def test_a_video_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"absent.mp4"):
        stitch(rows_of({1: (1, 2)}), TrackletEmbedder(build(TINY)), video="absent.mp4")


def test_a_list_of_rows_is_refused():
    with pytest.raises(TypeError, match="rows of a MOT file as a numpy array, got a list of list"):
        stitch([[1, 1, 5, 5, 9, 9]], embeddings({1: ANN}))


@pytest.fixture(name="street", scope="module")
def street_fixture(tmp_path_factory):
    """A video of two people, and rows in which each of them is cut into three pieces."""
    pictures, boxes = two_people()
    rows, gone = [], {20, 21, 22, 34, 35}
    for i, now in enumerate(boxes):
        for person, (x1, y1, x2, y2) in enumerate(now):
            if i not in gone and x2 > 0 and x1 < 160:
                piece = sum(i > edge for edge in (21, 34))
                rows.append((i + 1, 10 * (person + 1) + piece, x1, y1, x2 - x1, y2 - y1))
    return filmed(tmp_path_factory.mktemp("street") / "street.mp4", pictures), np.array(rows, dtype=float)


def test_an_embedder_stitches_the_pieces_of_a_video(street):
    import stmga

    video, rows = street
    embedder = TrackletEmbedder(stmga.create_model("stmga_resnet18_c4", pretrained=True))
    found = stitch(rows, embedder, video=video)
    assert sorted(set(rows[:, 1])) == [10, 11, 12, 20, 21, 22]
    assert found[:, 1].tolist() == [track // 10 * 10 for track in rows[:, 1].tolist()]


def test_a_track_that_is_wholly_outside_has_no_vector_and_stays_alone(street):
    video, rows = street
    away = [(f, 99, 400, 10, 20, 40) for f in range(30, 33)]
    rows = np.vstack([rows, away])
    found = stitch(rows, TrackletEmbedder(build(TINY)), video=video, threshold=-1)
    assert (found[-3:, 1] == 99).all()
    assert len(set(found[:-3, 1])) == 2
