"""Images and folders of the shared cases."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from stmga.data import load_benchmark
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Tracklet, TrackletError


def test_a_turned_photograph_is_cropped_where_the_box_is(case):
    [tracklet] = read_tracklets(case("image-exif-orientation") / "manifest.jsonl")
    crop = tracklet.load()[0]
    assert crop.shape == (3, 80, 40)
    np.testing.assert_allclose(crop.float().mean((1, 2)), [250, 20, 20], atol=3)


def test_a_tail_of_zeros_is_named_as_truncated(case):
    file = case("jpeg-tail-of-zeros") / "zeros.jpg"
    with pytest.raises(TrackletError, match=r"zeros\.jpg: .*truncated"):
        Tracklet("a", file).load()


def test_thumbnails_of_a_file_server_are_no_person(case, caplog):
    caplog.set_level(logging.WARNING)
    tracklets = read_tracklets(case("folder-nas-thumbnails") / "crops", layout="{person}/{camera}/{tracklet}")
    assert {(t.person, t.camera) for t in tracklets} == {("0001", "c1"), ("0001", "c2")}
    assert [len(t) for t in tracklets] == [1, 1]
    assert "left out, not images: 1 .jfif" in caplog.text


def test_a_holdout_of_one_camera_proposes_places(case):
    crops = case("one-camera-holdout") / "crops"
    with pytest.raises(ValueError, match=r"one camera only.*\{place\}") as caught:
        load_benchmark(crops, layout="{person}/{camera}/{tracklet}", holdout=0.4)
    assert "another seed" not in str(caught.value)
    found = load_benchmark(crops, layout="{person}/{place}/{tracklet}", holdout=0.4)
    assert found.query and found.gallery
