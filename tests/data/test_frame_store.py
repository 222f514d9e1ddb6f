"""Frames kept in memory: read once, the same pixels and the same run as without."""

import io
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from stmga.data import PKSampler, TrainingSet, collate
from stmga.data.frame_store import FrameStore
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.train import StoppedError, TrainingError, train
from tests.support.train import QUICK, assert_same, little_benchmark, stop_at, tiny


@pytest.fixture(scope="module", name="benchmark")
def benchmark_fixture():
    return little_benchmark()


def store_of(lengths, threads=0):
    """Frame i of tracklet k is of the colour 10 k + i; and which frames were read, in order."""
    asked = []

    def read(tracklet, frames):
        asked.append((tracklet, frames))
        return torch.stack([torch.full((3, 4, 2), 10 * tracklet + i, dtype=torch.uint8) for i in frames])

    return FrameStore(lengths, read, (4, 2), threads=threads), asked


@pytest.mark.parametrize("threads", [0, 3])
def test_each_frame_is_read_once_and_comes_where_it_was_asked_for(threads):
    store, asked = store_of([2, 3, 1], threads)
    wanted = [(1, 2), (0, 1), (1, 2), (1, 0)]
    assert store(wanted)[:, 0, 0, 0].tolist() == [12, 1, 12, 10]
    assert sorted(asked) == [(0, [1]), (1, [2, 0])]
    assert store([*wanted, (2, 0)])[:, 0, 0, 0].tolist() == [12, 1, 12, 10, 20]
    assert sorted(asked)[2:] == [(2, [0])]
    assert store.read_frames == 4


def test_more_frames_than_memory_are_refused_with_both_sizes(monkeypatch):
    monkeypatch.setattr("stmga.data.frame_store._memory", lambda device: 10**6)
    with pytest.raises(
        ValueError, match=r"100 frames of 256 x 128 need 0\.0 GB .* without keep_frames \(--keep-frames\)"
    ):
        FrameStore([60, 40], lambda tracklet, frames: torch.empty(0), (256, 128))


@pytest.mark.parametrize("length", [1, 4])
def test_a_batch_of_kept_frames_is_the_batch_of_the_items(benchmark, length):
    options = dict(length=length, stride=1, size=(32, 16), dense_step=2)
    plain, kept = (TrainingSet(benchmark.train, keep=keep, threads=2, **options) for keep in (False, True))
    sampler = PKSampler(plain.persons, p=4, k=3, steps=5)
    for places in [*sampler, *sampler]:
        expected, found = collate([plain[place] for place in places]), kept.batch(places)
        assert plain.batch(places).keys() == found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype
            assert torch.equal(plain.batch(places)[name], tensor)
    assert default_collate([kept[place] for place in places])["clip"].equal(kept.batch(places)["clip"])


def test_a_run_that_keeps_its_frames_is_the_same_run(benchmark, tmp_path, monkeypatch):
    train(tiny(), benchmark, QUICK, tmp_path / "read")
    train(tiny(), benchmark, QUICK, tmp_path / "kept", keep_frames=True)
    assert_same(tmp_path / "kept", tmp_path / "read")
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(StoppedError):
            train(tiny(), benchmark, QUICK, tmp_path / "both", keep_frames=True, workers=2)
    train(tiny(), benchmark, QUICK, tmp_path / "both")  # how frames are read does not decide the result
    assert_same(tmp_path / "both", tmp_path / "read")


def test_a_frame_that_cannot_be_kept_is_named(benchmark, tmp_path):
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    bad = Tracklet("bad one", (tmp_path / "cut.jpg",), person=benchmark.train[0].person)
    data = TrainingSet([bad], length=1, stride=1, size=(8, 4), keep=True)
    with pytest.raises(TrackletError, match=r'"bad one".*cut\.jpg'):
        data.batch([(0, 0)])
    only_bad = [bad if t.person == bad.person else t for t in benchmark.train]
    with pytest.raises(TrainingError, match=r'"bad one".*repair or remove it'):
        train(tiny(), replace(benchmark, train=only_bad), QUICK, tmp_path / "run", keep_frames=True)


def test_a_run_whose_crops_changed_is_not_resumed(benchmark, tmp_path):
    def saved(quality):
        tracklets = []
        for number, tracklet in enumerate(benchmark.train):
            files = [tmp_path / f"{number}-{i}.jpg" for i in range(len(tracklet))]
            for file, pixels in zip(files, tracklet.load(), strict=True):
                picture = io.BytesIO()
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(picture, "JPEG", quality=quality)
                file.write_bytes(picture.getvalue())
            tracklets.append(replace(tracklet, frames=tuple(files)))
        return replace(benchmark, train=tracklets, query=[], gallery=[])

    train(tiny(), saved(90), QUICK, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"data\.digest was '\w+', now '\w+'"):
        train(tiny(), saved(50), QUICK, tmp_path / "run")


@pytest.mark.cuda
def test_frames_are_kept_on_a_gpu(benchmark):
    options = dict(length=2, stride=1, size=(32, 16))
    places = [(0, 5), (3, 6)]
    found = TrainingSet(benchmark.train, keep=True, device="cuda", **options).batch(places)["clip"]
    assert found.device.type == "cuda"
    assert torch.equal(found.cpu(), TrainingSet(benchmark.train, **options).batch(places)["clip"])
