"""The encoder that other libraries' trackers call: its vectors, colours, and what it refuses."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from stmga import STMGA, TrackletEmbedder
from stmga.trackers import Encoder
from tests.support.embedder import TINY, build

FRAME = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
BOXES = np.array([[5, 4, 25, 50], [30, 10, 55, 58], [60, 0, 80, 60]], dtype=np.float32)


@pytest.fixture(name="model", scope="module")
def model_fixture() -> STMGA:
    return build(TINY)


def crop(frame: np.ndarray, box) -> np.ndarray:
    """What a tracker's user would cut out: RGB."""
    x1, y1, x2, y2 = (int(v) for v in box)
    return frame[max(y1, 0) : y2, max(x1, 0) : x2, ::-1]


def embedded(model: STMGA, *clips: list[np.ndarray]) -> np.ndarray:
    return TrackletEmbedder(model)(list(clips)).vectors.numpy()


def detections(boxes: np.ndarray, ids=None) -> SimpleNamespace:
    return SimpleNamespace(xyxy=boxes, tracker_id=ids)


def test_vectors_are_those_of_the_embedder_for_the_same_crops(model):
    encoder = Encoder(model)
    expected = embedded(model, *([crop(FRAME, box)] for box in BOXES))
    for found in (encoder.extract_embeddings(detections(BOXES), FRAME), encoder.get_features(BOXES, FRAME)):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # the boxes do not look the same
    assert encoder.embedding_dim == expected.shape[1]


def test_the_order_of_channels_is_an_argument_and_bgr_is_the_default(model):
    found = Encoder(model).get_features(BOXES, FRAME)
    swapped = Encoder(model, channels="rgb").get_features(BOXES, np.ascontiguousarray(FRAME[..., ::-1]))
    np.testing.assert_array_equal(found, swapped)
    wrong = Encoder(model, channels="rgb").get_features(BOXES, FRAME)
    assert np.abs(found - wrong).max() > 1e-3


def test_a_box_that_is_partly_outside_is_clipped(model):
    encoder = Encoder(model)
    over = encoder.get_features(np.array([[-10.0, -3.0, 25.4, 70.0]]), FRAME)
    np.testing.assert_array_equal(over, encoder.get_features(np.array([[0, 0, 25, 60]]), FRAME))


@pytest.mark.parametrize("boxes", [np.zeros((0, 4), np.float32), np.zeros(0), []])
@pytest.mark.parametrize("clip", [1, 4])
def test_no_boxes_give_no_vectors(model, boxes, clip):
    encoder = Encoder(model, clip=clip)
    assert encoder.get_features(boxes, FRAME).shape == (0, encoder.embedding_dim)
    assert encoder.extract_embeddings(detections(np.zeros((0, 4))), FRAME).shape == (0, encoder.embedding_dim)


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (FRAME[..., 0], ValueError, "it is grey; convert it with cv2.cvtColor"),
        (FRAME[..., :1], ValueError, "it is grey"),
        (np.dstack([FRAME, FRAME[..., :1]]), ValueError, "alpha channel"),
        (FRAME[:0], ValueError, r"frame of shape \(0, 80, 3\).*it is empty"),
        (FRAME.transpose(2, 0, 1), ValueError, "move the channels"),
        (FRAME.astype(np.float32), TypeError, "the frame is float32, expected uint8"),
        (FRAME.astype(np.uint16), TypeError, "the frame is uint16"),
        (torch.from_numpy(FRAME), TypeError, "the frame is Tensor, expected a numpy array"),
        (Image.fromarray(FRAME), TypeError, "the frame is Image"),
        (None, TypeError, "the frame is NoneType"),
    ],
)
@pytest.mark.parametrize("boxes", [BOXES, BOXES[:0]])
def test_other_frames_are_refused_with_or_without_boxes(model, frame, error, message, boxes):
    with pytest.raises(error, match=message):
        Encoder(model).get_features(boxes, frame)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[5, 4, 25, 50], [float("nan"), 4, 25, 50]], "box 1 is not finite"),
        ([[5, 4, float("inf"), 50]], "box 0 is not finite"),
        ([[25, 4, 5, 50]], "box 0 has no area"),
        ([[5, 4, 5, 50]], "box 0 has no area"),
        ([[5, 4, 25, 50], [80, 4, 95, 50]], r"box 1 .* is outside the frame, which has 80 x 60 pixels"),
        ([[-30, 4, 0, 50]], "box 0 .* is outside"),
        ([[5, 4, 25, 50, 0.9]], r"boxes of shape \(1, 5\).*expected boxes \(n, 4\)"),
        ([5, 4, 25, 50], r"boxes of shape \(4,\)"),
        ([["5", "4", "25", "50"]], "type <U2"),
    ],
)
def test_other_boxes_are_refused(model, boxes, message):
    with pytest.raises(ValueError, match=message):
        Encoder(model).get_features(np.array(boxes), FRAME)


def test_detections_without_boxes_are_refused(model):
    with pytest.raises(TypeError, match="got ndarray; for an array of boxes use get_features"):
        Encoder(model).extract_embeddings(BOXES, FRAME)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": "BGR"}, "channels must be"),
        ({"clip": 0}, "clip must be an integer >= 1"),
        ({"clip": 2.0}, "clip must be an integer >= 1"),
        ({"max_bytes": 0}, "max_bytes must be"),
    ],
)
def test_other_options_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        Encoder(model, **options)


@pytest.mark.parametrize("options", [{"on_error": "skip"}, {"workers": 1}])
def test_an_embedder_that_leaves_out_boxes_or_starts_processes_is_refused(model, options):
    with pytest.raises(ValueError, match='an embedder with on_error="raise" and workers=0'):
        Encoder(TrackletEmbedder(model, **options))


def test_the_weights_are_read_once_and_those_of_the_embedder_stay_free(model, monkeypatch):
    calls = []
    digest = type(model).digest
    monkeypatch.setattr(type(model), "digest", lambda self: calls.append(1) or digest(self))
    embedder = TrackletEmbedder(model, batch_size=2)
    encoder = Encoder(embedder)
    for _ in range(3):
        encoder.get_features(BOXES, FRAME)
    assert len(calls) == 1
    assert encoder.embedder.batch_size == 2
    embedder.digest()
    assert len(calls) == 2


def test_vectors_by_track_become_embeddings_of_the_weights(model):
    encoder = Encoder(model)
    one, two, three = encoder.get_features(BOXES, FRAME)
    found = encoder.embeddings({7: one, np.float32(9): two, "x": three})
    assert found.ids == ["7", "9", "x"]
    assert found.digest == model.digest()
    assert found.calibration is None  # these weights have none
    np.testing.assert_array_equal(found["9"].vector.numpy(), two)
    assert len(encoder.embeddings({})) == 0


def walk(frames: int, seed: int = 1) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (frames, 60, 80, 3), dtype=np.uint8))


def test_a_track_is_embedded_as_a_clip_of_its_last_crops(model):
    """Two tracks, of which one is away for a frame, and a box without a track."""
    encoder, history = Encoder(model, clip=3), {}
    for number, frame in enumerate(walk(6)):
        ids = np.array([7, 9, -1] if number != 2 else [7, -1, -1])
        found = encoder.extract_embeddings(detections(BOXES + number, ids), frame)
        clips = []
        for track, box in zip(ids.tolist(), BOXES + number, strict=True):
            crops = history.setdefault(track, []) if track >= 0 else []
            crops.append(crop(frame, box).copy())
            clips.append(crops[-3:])
        np.testing.assert_allclose(found, embedded(model, *clips), atol=1e-6)
        frame[:] = 0  # readers of videos write the next frame into the same memory
    assert max(map(len, history.values())) == 6


def test_ids_of_boxmot_are_columns_of_floats(model):
    frames = walk(2)
    one, two = Encoder(model, clip=2), Encoder(model, clip=2)
    for frame in frames:
        found = one.get_features(BOXES, frame, ids=np.array([1.0, 2.0, 3.0], np.float32))
        other = two.extract_embeddings(detections(BOXES, np.array([1, 2, 3])), frame)
        np.testing.assert_array_equal(found, other)


def test_after_a_reset_the_same_ids_are_other_people(model):
    encoder, frames = Encoder(model, clip=4), walk(2)
    encoder.get_features(BOXES, frames[0], ids=[0, 1, 2])
    encoder.reset()
    found = encoder.get_features(BOXES, frames[1], ids=[0, 1, 2])
    np.testing.assert_array_equal(found, Encoder(model).get_features(BOXES, frames[1]))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (None, "these boxes have no track ids, which an encoder with clip=2 needs"),
        ([1, 2], r"ids of shape \(2,\) for 3 boxes"),
        ([1, 2, 2], "track 2 has two boxes in one frame"),
        ([1, 2, 2.5], "whole numbers"),
        ([1, 2, float("nan")], "whole numbers"),
        (["a", "b", "c"], "whole numbers"),
    ],
)
def test_other_ids_are_refused(model, ids, message):
    with pytest.raises(ValueError, match=message):
        Encoder(model, clip=2).get_features(BOXES, FRAME, ids=ids)


def test_the_memory_of_crops_is_bounded_however_many_tracks_there_are(model):
    """30 tracks come and go; the crops of about three of them fit."""
    most = 3 * 4 * 3 * 20 * 46
    encoder = Encoder(model, clip=4, max_bytes=most)
    for number in range(30):
        encoder.get_features(BOXES[:1], FRAME, ids=[number // 2])
        assert encoder._recent.bytes <= most
        assert encoder._recent.bytes == sum(c.nbytes for crops in encoder._recent._tracks.values() for c in crops)
    assert 2 <= len(encoder._recent) < 10


def test_too_little_memory_for_one_frame_is_said_once(model, caplog):
    encoder = Encoder(model, clip=2, max_bytes=100)
    with caplog.at_level(logging.WARNING, "stmga.trackers"):
        for _ in range(3):
            found = encoder.get_features(BOXES, FRAME, ids=[1, 2, 3])
    np.testing.assert_array_equal(found, Encoder(model).get_features(BOXES, FRAME))
    assert [record.getMessage() for record in caplog.records] == [
        "the crops of one frame's tracks exceed max_bytes=100: some clips have fewer crops; raise max_bytes"
    ]
