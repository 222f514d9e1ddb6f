"""With the libraries themselves: `supervision` and the installed `trackers`, and the calls that others document."""

from __future__ import annotations

import numpy as np
import pytest

import stmga
from stmga.trackers import Encoder, mot_rows, stitch
from tests.support.embedder import TINY, build
from tests.support.street import two_people

sv = pytest.importorskip("supervision")
trackers = pytest.importorskip("trackers")

PICTURES, PEOPLE = two_people()
HIDDEN = range(26, 40)  # frames, more than a second at ten frames per second


def found_in(index: int) -> sv.Detections:
    """What a detector finds: nobody while both are hidden."""
    boxes = [box for box in PEOPLE[index] if index not in HIDDEN and box[2] > 0 and box[0] < 160]
    return sv.Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4), confidence=np.full(len(boxes), 0.9, np.float32)
    )


@pytest.mark.parametrize("kind", ["ByteTrackTracker", "OCSORTTracker"])
def test_a_tracker_loses_people_and_stitching_finds_them_again(kind):
    """Vectors are those that an encoder makes on the way: the newest clip of each track."""
    tracker = getattr(trackers, kind)(frame_rate=10.0)
    encoder = Encoder(stmga.create_model("stmga_resnet18_c4", pretrained=True), clip=8)
    rows, newest = [], {}
    for index, picture in enumerate(PICTURES):
        tracked = tracker.update(found_in(index))
        rows.append(mot_rows(tracked, index))
        vectors = encoder.extract_embeddings(tracked, np.ascontiguousarray(picture[..., ::-1]))
        newest |= {str(track): vector for track, vector in zip(tracked.tracker_id, vectors, strict=True) if track >= 0}
    rows = np.concatenate(rows)
    found = stitch(rows, encoder.embeddings(newest))
    assert len(set(rows[:, 1])) == 4
    assert len(set(found[:, 1])) == 2
    for track in set(found[:, 1]):
        left = found[found[:, 1] == track, 2]
        steps = np.diff(left)
        assert (steps > 0).all() or (steps < 0).all()  # one walks to the right, the other to the left


def test_rows_are_those_of_mot_files():
    detections = sv.Detections(
        xyxy=np.array([[10, 20, 40, 100], [60, 20, 90, 110]], np.float32),
        confidence=np.array([0.5, 0.75], np.float32),
        tracker_id=np.array([-1, 3]),
    )
    assert mot_rows(detections, 4).tolist() == [[5, 3, 60, 20, 30, 90, 0.75, -1, -1, -1]]
    assert mot_rows(sv.Detections.empty(), 4).shape == (0, 10)
    with pytest.raises(ValueError, match="the detections have no tracker_id"):
        mot_rows(found_in(20), 20)  # of a detector, before the tracker


def roboflow_association(call, frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """What roboflow/trackers asks of a `ReIDEncoder` (pull request 511): a finite matrix, a row for each box."""
    embeddings = np.asarray(call(sv.Detections(xyxy=boxes), frame), dtype=np.float32)
    assert embeddings.ndim == 2
    assert np.isfinite(embeddings).all()
    assert len(embeddings) == len(boxes)
    return embeddings


def boxmot_association(model, detections: np.ndarray, image: np.ndarray) -> np.ndarray:
    """What boxmot's trackers ask of their `reid_model`: detections are x1, y1, x2, y2, confidence, class."""
    features = model.get_features(detections[:, 0:4], image)
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ["extract_embeddings", "extract_features"])
def test_both_libraries_get_the_same_vectors_by_their_own_calls(name):
    model = build(TINY)
    call = getattr(Encoder(model), name)
    frame = np.ascontiguousarray(PICTURES[20][..., ::-1])
    boxes = found_in(20).xyxy
    columns = np.column_stack([boxes, np.full(len(boxes), 0.9), np.zeros(len(boxes))])
    one = roboflow_association(call, frame, boxes)
    two = boxmot_association(Encoder(model), columns, frame)
    assert len(one) == 2
    np.testing.assert_allclose(one, two, atol=1e-6)
    assert roboflow_association(call, frame, boxes[:0]).shape == (0, Encoder(model).embedding_dim)
