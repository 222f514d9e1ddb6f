"""The check of an input: every fault, reported together, and every file opened once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.tracklets.validation import check_tracklets
from tests.support.tracklets import faults_of, manifest, picture


def test_all_faults_of_objects_come_together(tmp_path):
    def missing(name):
        return [tmp_path / name]

    good = np.zeros((2, 8, 4, 3), np.uint8)
    bad = [
        Tracklet("array", np.zeros((2, 8, 4, 3), np.int16)),
        Tracklet("rank", np.zeros((8, 4), np.uint8)),
        Tracklet("channels", torch.zeros(2, 8, 4, 3)),
        Tracklet("dtype", torch.zeros(2, 3, 8, 4, dtype=torch.int64)),
        Tracklet("empty", ()),
        Tracklet("no time", good[:0]),
        Tracklet("no width", good[:, :, :0]),
        Tracklet("kind", 3),  # type: ignore[arg-type]
        Tracklet("item", [good[0], 3]),
        Tracklet("item2", [good[0].astype(int)]),
        Tracklet("gone", missing("gone.jpg")),
        Tracklet("cameras", good, camera=[1, 2]),  # type: ignore[arg-type]
        Tracklet("person", good, person=1.5),  # type: ignore[arg-type]
        Tracklet("time", good, time=float("nan")),
        Tracklet("extra", good, extra={"cover": 1}),
        Tracklet("extra2", good, extra={"x": object()}),
        Tracklet(7, good),  # type: ignore[arg-type]
        Tracklet("array", good, camera=2),
    ]
    faults = faults_of(read_tracklets, [*bad, Tracklet("fine", good)])
    words = {
        "array": "array of int16, expected uint8 in 0..255 or floats in 0..1",
        "rank": "array of shape (8, 4), expected (t, h, w, 3)",
        "channels": "tensor of shape (2, 8, 4, 3), expected (t, 3, h, w)",
        "dtype": "tensor of torch.int64",
        "empty": "has no frames",
        "no time": "has no frames",
        "no width": "no pixels",
        "kind": "got int",
        "item": "frame 1: expected a path, a PIL image, an array or a tensor, got int",
        "item2": "frame 0: array of int64, expected uint8",
        "gone": "gone.jpg does not exist",
        "cameras": "two cameras in one tracklet",
        "person": "person must be",
        "time": "time must be",
        "extra": "'cover'",
        "extra2": "plain JSON",
        "7": "id must be a string",
    }
    for name, text in words.items():
        assert any(f'tracklet "{name}": ' in fault and text in fault for fault in faults), (name, faults)
    assert any('duplicate id "array"' in fault for fault in faults)
    assert len(faults) == len(words) + 1, faults


def test_no_tracklets_and_wrong_sources(tmp_path):
    for nothing in ([], {}, iter(())):
        assert "no tracklets" in faults_of(read_tracklets, nothing)[0]
    with pytest.raises(TypeError, match=r"write \[frames\]"):
        read_tracklets(np.zeros((2, 8, 4, 3), np.uint8))
    with pytest.raises(TypeError, match="got int"):
        read_tracklets(3)
    assert "does not exist" in faults_of(read_tracklets, tmp_path / "nowhere")[0]
    (tmp_path / "tracks.txt").write_text("")
    assert "read_mot" in faults_of(read_tracklets, tmp_path / "tracks.txt")[0]
    assert "it is empty" in faults_of(read_tracklets, manifest(tmp_path))[0]


def test_files_are_opened_once(tmp_path, monkeypatch):
    file = picture(tmp_path / "a.png")
    opened = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda f, *a, **k: opened.append(f) or real(f, *a, **k))
    tracklets = [Tracklet(str(i), [Frame(file, (i, 0, 5, 5)) for i in range(4)]) for i in range(3)]
    checked = check_tracklets(tracklets)
    read_tracklets(checked)
    assert [source.name for source in opened] == [str(file)]
    assert [t.checked for t in checked] == [True] * 3 and [t.checked for t in tracklets] == [False] * 3
    assert all(new.frames is old.frames for new, old in zip(checked, tracklets, strict=True))
    assert check_tracklets(checked) == checked and not check_tracklets(tracklets, check_files=False)[0].checked


def test_a_bad_file_is_one_fault(tmp_path):
    tracklets = [Tracklet(str(i), [Frame(tmp_path / "gone.png", (0, 0, 5, 5))] * 3) for i in range(2)]
    (fault,) = faults_of(check_tracklets, tracklets)
    assert "gone.png does not exist (6 frames use it)" in fault


def test_unchecked_files_fail_one_by_one_when_loaded(tmp_path):
    good = picture(tmp_path / "set" / "good" / "1.png")
    (tmp_path / "set" / "zero").mkdir()
    (tmp_path / "set" / "zero" / "1.png").write_bytes(b"")
    path = manifest(tmp_path, {"tracklet": "gone", "frames": ["gone.png"]}, {"tracklet": "good", "frames": [str(good)]})
    box = {"edge": [Frame(good, (40, 0, 5, 5))]}
    for source, bad in [(tmp_path / "set", "zero"), (path, "gone"), (box, "edge")]:
        faults_of(read_tracklets, source)
        tracklets = {tracklet.id: tracklet for tracklet in read_tracklets(source, check_files=False)}
        (fault,) = faults_of(tracklets[bad].load)
        assert f'tracklet "{bad}": ' in fault
        assert "outside" in fault if bad == "edge" else "1.png" in fault or "gone.png" in fault
        assert "edge" in tracklets or tracklets["good"].load()
        faults_of(read_tracklets, tracklets.values())  # not taken for checked


def test_a_name_that_no_file_can_have_hides_no_other_fault(tmp_path):
    picture(tmp_path / "plain.png")
    rows = [{"tracklet": "a", "frames": ["a\u0000.jpg"]}, {"tracklet": "b", "frames": ["plain.png/b.jpg", "gone.jpg"]}]
    null, below, gone = faults_of(read_tracklets, manifest(tmp_path, *rows))
    assert ":1: " in null
    assert "cannot be opened as an image" in null
    assert "plain.png/b.jpg cannot be opened as an image" in below
    assert "gone.jpg does not exist" in gone
