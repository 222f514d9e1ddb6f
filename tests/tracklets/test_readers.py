"""The readers: a folder of folders of crops, and a manifest, there and back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stmga.tracklets.folders import natural_key, read_folder
from stmga.tracklets.manifest import read_manifest, write_manifest
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.tracklets.validation import RESERVED
from tests.support.paths import ROOT
from tests.support.tracklets import faults_of, manifest, picture

# ---- folders


def test_folder_of_folders(tmp_path):
    for name in ("f10.jpg", "f2.jpg", "f1.JPG"):
        picture(tmp_path / "a" / name)
    picture(tmp_path / "b" / "x.png")
    (tmp_path / "a" / "track.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README").write_text("hello")
    a, b = read_tracklets(tmp_path)
    assert (a.id, b.id) == ("a", "b")
    assert [frame.file.name for frame in a.frames] == ["f1.JPG", "f2.jpg", "f10.jpg"]
    assert all(frame.file.is_absolute() for frame in a.frames)
    assert a.camera is None


def test_layout_names_the_levels(tmp_path):
    picture(tmp_path / "query" / "0002" / "c1_7" / "1.jpg")
    picture(tmp_path / "gallery" / "0002" / "c2_7" / "1.jpg")
    two = read_folder(tmp_path, layout="{role}/{person}/c{camera}_{tracklet}")
    assert [t.row() | {"cover": None} for t in two] == [
        {"tracklet": "gallery/0002/c2_7", "person": "0002", "camera": "2", "role": "gallery", "cover": None},
        {"tracklet": "query/0002/c1_7", "person": "0002", "camera": "1", "role": "query", "cover": None},
    ]
    with pytest.raises(ValueError, match="names nothing"):
        read_folder(tmp_path, layout="frames/{tracklet}")


def test_folder_faults_come_together(tmp_path):
    picture(tmp_path / "1" / "a" / "1.jpg")
    (tmp_path / "1" / "empty").mkdir()
    picture(tmp_path / "2" / "stray.jpg")
    picture(tmp_path / "3" / "a" / "deep" / "1.jpg")
    (tmp_path / "4" / "a").mkdir(parents=True)
    (tmp_path / "4" / "a" / "zero.jpg").write_bytes(b"")
    (tmp_path / "4" / "a" / "text.jpg").write_text("no image at all")
    faults = faults_of(read_folder, tmp_path, layout="{person}/{tracklet}")
    for path, words in {
        "1/empty": "no images",
        "2": "images above the level of tracklets (stray.jpg)",
        "3/a": 'folders below the level of tracklets (deep); layout is "{person}/{tracklet}"',
        "4/a/zero.jpg": "is empty (0 bytes)",
        "4/a/text.jpg": "cannot be opened as an image",
    }.items():
        assert any(str(tmp_path / path) in fault and words in fault for fault in faults), (path, faults)
    assert len(faults) == 5
    (tmp_path / "nothing").mkdir()
    assert "no tracklets" in faults_of(read_folder, tmp_path / "nothing")[0]
    assert "do not match" in " ".join(faults_of(read_folder, tmp_path, layout="p{person}/{tracklet}"))


def test_a_folder_that_cannot_be_read_is_one_fault_among_others(tmp_path, monkeypatch):
    picture(tmp_path / "a" / "1.jpg")
    picture(tmp_path / "locked" / "1.jpg")
    (tmp_path / "z").mkdir()
    scandir = os.scandir

    def locked(folder):  # permissions would not stop root
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", locked)
        one, two = faults_of(read_folder, tmp_path)
    assert one == f"{tmp_path / 'locked'} cannot be read: Permission denied"
    assert "has no images" in two


@given(st.lists(st.text(alphabet="ab01239 ._²٣", max_size=6), max_size=8))
def test_natural_order_is_total_and_keeps_numbers(names):
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.text(alphabet="abc_", max_size=4), st.lists(st.integers(0, 10**9), unique=True), st.integers(1, 10))
def test_natural_order_counts(prefix, numbers, width):
    names = [f"{prefix}{number:0{width}d}.jpg" for number in numbers]
    assert sorted(names, key=natural_key) == [f"{prefix}{number:0{width}d}.jpg" for number in sorted(numbers)]


# ---- manifests


def test_manifest_with_boxes_extra_keys_and_relative_names(tmp_path):
    picture(tmp_path / "frames" / "1.jpg")
    elsewhere = picture(tmp_path / "far" / "2.jpg")
    path = manifest(
        tmp_path / "frames",
        {"tracklet": "a", "person": 2, "camera": None, "cameras?": [2, 3], "frames": ["1.jpg", str(elsewhere)]},
        "",
        {"frames": [{"file": "../far/2.jpg", "box": [1, 2, 3, 4]}], "tracklet": "b", "camera": "door", "time": 3},
    )
    a, b = read_tracklets(str(path))
    assert (a.person, a.camera, a.extra) == (2, None, {"cameras?": [2, 3]})
    assert a.frames == (Frame(tmp_path / "frames" / "1.jpg"), Frame(elsewhere))
    assert (b.person, b.camera, b.time) == (None, "door", 3)
    assert b.load()[0].shape == (3, 4, 3)


def test_manifest_faults_come_together_with_line_numbers(tmp_path):
    picture(tmp_path / "1.jpg")
    (tmp_path / "zero.jpg").write_bytes(b"")
    box = {"file": "1.jpg", "box": [0, 0, 8, 8]}
    rows = {
        '{"tracklet": "a", ': "no JSON",
        "[1, 2]": "expected an object",
        '{"tracklet": "c"}': 'the key "frames" is missing',
        '{"frames": ["1.jpg"]}': 'the key "tracklet" is missing',
        '{"tracklet": "e", "frames": "1.jpg"}': '"frames" must be a list, got str',
        '{"tracklet": "f", "frames": []}': "has no frames",
        '{"tracklet": "g", "frames": ["gone.jpg"]}': f"{tmp_path / 'gone.jpg'} does not exist",
        '{"tracklet": "h", "frames": ["zero.jpg"]}': "empty (0 bytes)",
        '{"tracklet": "i", "frames": ["1.jpg"], "camera": [1, 2]}': "two cameras in one tracklet",
        json.dumps({"tracklet": "j", "frames": [box | {"camera": 2}]}): "two cameras in one tracklet",
        json.dumps({"tracklet": "k", "frames": [box | {"box": [0, 0, 8, 0]}]}): "has no area",
        json.dumps({"tracklet": "l", "frames": [box | {"box": [32, 0, 8, 8]}]}): "is outside",
        json.dumps({"tracklet": "l1", "frames": [box | {"box": [0.1, 0.2, 0.3, 0.4]}]}): "shares of the frame",
        json.dumps({"tracklet": "m", "frames": [box | {"box": [0, 0, 8]}]}): "box must be",
        json.dumps({"tracklet": "n", "frames": [box | {"bbox": 1}]}): "unknown key 'bbox'",
        json.dumps({"tracklet": "o", "frames": [box, 5]}): "frame 1: expected a file name",
        '{"tracklet": 5, "frames": ["1.jpg"]}': "id must be a string",
        '{"tracklet": "p", "frames": ["1.jpg"], "person": {}}': "person must be",
        '{"tracklet": "q", "frames": ["1.jpg"]}': None,
        '{"tracklet": "q", "frames": ["1.jpg"], "camera": 2}': '"q", two cameras in one tracklet (None, 2); first: ',
        '{"tracklet": "r", "frames": [{"file": "1.jpg", "box": [0, 0, NaN, 5]}]}': "no area",
        '{"tracklet": "s", "frames": ["."]}': "is a folder",
        '{"tracklet": "y", "frames": {"file": "a\\u0000b", "spans": [[0, 1]]}}': "cannot be read",
        '{"tracklet": "z", "frames": {"file": "\\ud800", "spans": [[0, 1]]}}': "cannot be read",
        '{"tracklet": "z1", "frames": ["a\\u0000b"]}': "cannot be opened",
        '{"tracklet": "z2", "frames": ["\\ud800.jpg"]}': "cannot be opened",
        "[" * 10**5: "no JSON: its lists and objects are nested too deeply",
        json.dumps(
            {"tracklet": "t", "frames": ["1.jpg"], "note": json.loads("[" * 40 + "]" * 40)}
        ): "more than 32 deep",
        '{"tracklet": "u", "frames": ["1.jpg"], "note": {"a": NaN}}': "plain JSON values",
        '{"tracklet": "v", "frames": ["1.jpg"], "note": [1e999]}': "plain JSON values",
        json.dumps({"tracklet": "w", "frames": ["1.jpg"], "time": 10**400}): "time must be a number of seconds",
        json.dumps({"tracklet": "x", "frames": [box | {"box": [0, 0, 10**400, 8]}]}): "no area",
    }
    path = manifest(tmp_path, *rows)
    faults = faults_of(read_manifest, path)
    for number, words in enumerate(rows.values(), 1):
        mine = [fault for fault in faults if fault.startswith(f"{path}:{number}: ")]
        assert len(mine) == (words is not None), (number, words, faults)
        assert all(words in fault for fault in mine), (words, mine)
    assert f"{len(rows) - 1} faults" in str(TrackletError(faults))
    assert "cannot read" in faults_of(read_manifest, tmp_path / "none.jsonl")[0]


LABELS = st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=5)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3))
KEYS = st.text(max_size=5).filter(lambda key: key not in RESERVED)
SIDES = st.floats(1, 30) | st.integers(1, 30)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.text(min_size=1, max_size=8), LABELS, LABELS, st.none() | st.floats(-1e9, 1e9),
            st.dictionaries(KEYS, JSON, max_size=3),
            st.lists(st.none() | st.tuples(SIDES, SIDES, SIDES, SIDES), min_size=1, max_size=3),
        ),
        min_size=1, max_size=4, unique_by=lambda row: row[0],
    )
)  # fmt: skip
def test_manifest_round_trip(tmp_path, rows):
    inside, outside = tmp_path / "m" / "frames 1", tmp_path / "o"
    files = [picture(inside / "ü é.png"), picture(outside / "1.png")]
    tracklets = [
        Tracklet(name, [Frame(files[i % 2], box) for i, box in enumerate(boxes)], person, camera, time, extra)
        for name, person, camera, time, extra, boxes in rows
    ]
    path = tmp_path / "m" / "index.jsonl"
    write_manifest(tracklets, path)
    back = read_manifest(path)
    assert [t.row() for t in back] == [t.row() for t in tracklets]
    assert [t.frames for t in back] == [t.frames for t in tracklets]
    write_manifest(back, tmp_path / "m" / "again.jsonl")
    assert (tmp_path / "m" / "again.jsonl").read_bytes() == path.read_bytes()


def test_manifest_of_file_names_that_are_not_utf8(tmp_path):
    file = tmp_path / "caf\udce9.png"  # latin-1 bytes on disk
    try:
        picture(file)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only UTF-8 names")
    write_manifest([Tracklet("a", [file])], tmp_path / "index.jsonl")
    assert read_manifest(tmp_path / "index.jsonl")[0].load()[0].shape == (3, 64, 32)


@pytest.mark.parametrize("text", ["\ud800", "\udcc3\udca9", "é\udce9"], ids=ascii)
def test_halves_of_surrogate_pairs_come_back(tmp_path, text):
    file = picture(tmp_path / "1.png")
    write_manifest([Tracklet(text, [file], person=text, extra={text: [text]})], tmp_path / "index.jsonl")
    (back,) = read_manifest(tmp_path / "index.jsonl")
    assert (back.id, back.person, back.extra) == (text, text, {text: [text]})


def test_manifest_moves_with_its_folder_and_refuses_memory(tmp_path):
    file = picture(tmp_path / "old" / "1.png")
    write_manifest([Tracklet("a", [file])], tmp_path / "old" / "index.jsonl")
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_manifest(tmp_path / "new" / "index.jsonl")[0].frames == (Frame(tmp_path / "new" / "1.png"),)
    kept = (tmp_path / "new" / "index.jsonl").read_bytes()
    memory = Tracklet("b", np.zeros((1, 4, 4, 3), np.uint8))
    assert '"b" is in memory' in faults_of(write_manifest, [memory], tmp_path / "new" / "index.jsonl")[0]
    assert (tmp_path / "new" / "index.jsonl").read_bytes() == kept


def test_the_manifest_lines_of_the_docs_are_read(tmp_path):
    text = (ROOT / "docs" / "use" / "tracklets.md").read_text("utf-8")
    lines = text.split("```json\n")[1].split("```")[0]
    path = tmp_path / "index.jsonl"
    path.write_text(lines)
    first, second, third = read_manifest(path, check_files=False)
    assert first.row()["role"] == "gallery"
    assert second.frames == (Frame(tmp_path / "full" / "000031.jpg", (410, 96, 62, 148)),)
    assert third.frames == (Frame(tmp_path / "yard.mp4", (33, 20, 48.5, 110), 250),)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there, and names have no newlines")
def test_a_link_loop_and_a_newline_in_a_name_spoil_nothing(tmp_path):
    for name in ("a", "b\nc"):
        picture(tmp_path / name / "1.png")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a" / "loop").symlink_to("loop")
    assert [t.id for t in read_folder(tmp_path)] == ["a", "b\nc"]
    assert [t.person for t in read_folder(tmp_path, layout="{person}")] == ["a", "b\nc"]
    write_manifest(read_folder(tmp_path)[1:], tmp_path / "m.jsonl")
    assert [t.id for t in read_manifest(tmp_path / "m.jsonl")] == ["b\nc"]
