"""Training tracklets as rows: pieces, labels, the frames of a clip, and the same clips from any number of workers."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from stmga.data import PKSampler, TrainingSet, collate, train_clip
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.transforms import ClipTransform
from tests.support.tracklets import noise, picture


def counted(name, frames, person, size=(8, 4)):
    """Frame number i has colour i, so that a clip shows which frames it took."""
    pixels = np.arange(frames, dtype=np.uint8)[:, None, None, None]
    return Tracklet(name, np.broadcast_to(pixels, (frames, *size, 3)).copy(), person=person)


def training_set(*tracklets, **changes):
    return TrainingSet(tracklets, **{"length": 4, "stride": 2, "size": (8, 4), **changes})


def taken(item):
    colours = item["clip"].flatten(1)
    assert (colours == colours[:, :1]).all()
    return colours[:, 0].tolist()


def test_labels_are_the_places_of_the_identities_sorted_as_text():
    data = training_set(*(counted(str(i), 3, person) for i, person in enumerate([10, "9", "b", 9, 10])))
    assert data.identities == ["10", "9", "b"]
    assert data.persons == ["10", "9", "b", "9", "10"]
    assert data.labels == [0, 1, 2, 1, 0]
    assert len(data) == 5


def test_a_draw_decides_which_frames_are_taken():
    data = training_set(counted("a", 60, "a"), counted("b", 5, "b"), counted("c", 2, "c"))
    for row, frames in enumerate((60, 5, 2)):
        clips = [taken(data[row, draw]) for draw in range(20)]
        assert clips == [train_clip(frames, 4, 2, np.random.default_rng(draw)) for draw in range(20)]
        assert len(set(map(tuple, clips))) > 1
    item = data[1, 7]
    assert (item["row"], item["draw"], item["label"]) == (1, 7, 1)
    assert item["clip"].dtype == torch.uint8 and item["clip"].shape == (4, 3, 8, 4)


def test_long_tracklets_become_rows_of_their_own_frames():
    data = training_set(counted("a", 70, "a"), counted("b", 20, "b"), dense_step=32)
    assert data.persons == ["a", "a", "b"] and data.labels == [0, 0, 1]
    for row, (low, high) in enumerate([(0, 32), (32, 70), (0, 20)]):
        found = {i for draw in range(200) for i in taken(data[row, draw])}
        assert min(found) == low and max(found) == high - 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_frames_are_those_of_clip_transform_rounded(dtype):
    frames = [torch.randint(256, (3, h, w), dtype=torch.uint8) for h, w in ((20, 9), (8, 4), (20, 9), (5, 30))]
    if dtype.is_floating_point:
        frames = [frame / 255 for frame in frames]
    item = training_set(Tracklet("a", frames, person="a"))[0, 0]  # 4 of 4 frames: all of them
    transform = ClipTransform(size=(8, 4), mean=(0, 0, 0), std=(1, 1, 1))
    expected = transform(frames) * 255
    assert (item["clip"] - expected).abs().max() <= 0.5 + 1e-3


def test_a_frame_that_comes_twice_is_read_once(tmp_path, monkeypatch):
    from stmga.tracklets import tracklet as tracklets

    read, reads = tracklets.read_image, []
    monkeypatch.setattr(tracklets, "read_image", lambda file, *rest: reads.append(file) or read(file, *rest))
    pixels = [noise(tmp_path / f"{i}.png", i, size=(4, 8)) for i in range(2)]
    data = training_set(Tracklet("a", [tmp_path / "0.png", tmp_path / "1.png"], person="a"))
    for draw in range(10):
        reads.clear()
        clip = data[0, draw]["clip"].permute(0, 2, 3, 1).numpy()
        chosen = train_clip(2, 4, 2, np.random.default_rng(draw))
        assert (clip == np.stack([pixels[i] for i in chosen])).all()
        assert len(reads) == len(set(chosen))


def test_what_cannot_be_read_names_the_tracklet_and_the_file(tmp_path):
    good, bad = picture(tmp_path / "0.png"), tmp_path / "1.png"
    bad.write_bytes(good.read_bytes()[:60])
    data = training_set(Tracklet("ann/1", [bad], person="ann"), Tracklet("bob/1", [tmp_path / "gone.png"], person="b"))
    for row, message in enumerate(('tracklet "ann/1": cannot read .*1.png', 'tracklet "bob/1": .*gone.png')):
        with pytest.raises(TrackletError, match=message):
            data[row, 0]
    with pytest.raises(TrackletError, match=r'tracklet "grey": frame of shape \(8, 4\)'):
        training_set(Tracklet("grey", [torch.zeros(8, 4)], person="a"))[0, 0]
    with pytest.raises(TrackletError, match='tracklet "ann/1"'):  # also out of a worker process
        list(DataLoader(data, batch_sampler=[[(0, 0)]], num_workers=1, collate_fn=collate))


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_and_ranks_give_the_same_clips(tmp_path, context):
    for i in range(6):
        noise(tmp_path / f"{i}.png", i, size=(10, 20))
    files = Tracklet("files", [tmp_path / f"{i}.png" for i in range(6)], person="c")
    data = training_set(counted("a", 60, "a"), counted("b", 5, "b"), files, counted("d", 90, 4), dense_step=20)

    def batches(workers, **ranks):
        sampler = PKSampler(data.persons, p=4, k=2, steps=3, **ranks)
        kind = context if workers else None
        loader = DataLoader(
            data, batch_sampler=sampler, num_workers=workers, collate_fn=collate, multiprocessing_context=kind
        )
        return list(loader)

    one = batches(0)
    assert [batch["clip"].shape for batch in one] == [(8, 4, 3, 8, 4)] * 3
    assert [batch[key].dtype for batch in one for key in ("clip", "label", "row", "draw")] == [
        torch.uint8, torch.int64, torch.int64, torch.int64,
    ] * 3  # fmt: skip
    for batch in one:
        assert batch["label"].tolist() == [data.labels[row] for row in batch["row"]]
    for key in one[0]:
        for alone, worked in zip(one, batches(2), strict=True):
            assert torch.equal(alone[key], worked[key])
        for alone, *ranks in zip(one, *(batches(0, rank=r, world=2) for r in range(2)), strict=True):
            assert torch.equal(alone[key], torch.cat([rank[key] for rank in ranks]))


def test_it_can_be_pickled():
    data = training_set(counted("a", 60, "a"), counted("b", 5, "b"))
    assert taken(pickle.loads(pickle.dumps(data))[0, 3]) == taken(data[0, 3])


@pytest.mark.parametrize(
    ("tracklets", "changes", "message"),
    [
        ([], {}, "no tracklets to train on"),
        ([counted("a", 3, None), counted("b", 3, "b")], {}, r"1 of 2 tracklets have no person: a; .*\{person\}"),
        ([Tracklet("a", [], person="a")], {}, "1 of 1 tracklets have no frames: a"),
        ([counted("a", 3, "a")], dict(length=0), "at least 1 .* got 0, 2"),
        ([counted("a", 3, "a")], dict(size=(8, 0)), r"\(8, 0\)"),
        ([counted("a", 3, "a")], dict(dense_step=-1), "-1"),
    ],
)
def test_what_cannot_be_trained_on_is_an_error(tracklets, changes, message):
    with pytest.raises(ValueError, match=message):
        training_set(*tracklets, **changes)
