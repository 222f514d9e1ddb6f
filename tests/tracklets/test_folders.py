"""Folders as file servers, phones and data sets leave them: junk, other files, labels in names, layouts that miss."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from stmga.tracklets.folders import read_folder
from stmga.tracklets.tracklet import TrackletError


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith((".jpg", ".png", ".jfif")):
            Image.new("RGB", (32, 64)).save(root / name, format="jpeg")
        else:
            (root / name).write_bytes(b"other")
    return root


def faults_of(*args, **kwargs):
    with pytest.raises(TrackletError) as caught:
        read_folder(*args, **kwargs)
    return caught.value.faults


def test_junk_is_passed_over_at_every_depth(tmp_path, caplog):
    junk = ["@eaDir", "__MACOSX", ".cache", "#recycle", "$RECYCLE.BIN"]
    put(tmp_path, "0001/c1/a/1.jpg", "0001/c2/b/1.jpg")
    for folder in ("", "0001/", "0001/c1/", "0001/c1/a/"):
        put(tmp_path, *(f"{folder}{name}/x/y/z.jpg" for name in junk))
        put(tmp_path, *(f"{folder}{name}" for name in ("Thumbs.db", ".DS_Store", "._1.jpg", "desktop.ini")))
    found = read_folder(tmp_path, layout="{person}/c{camera}/{tracklet}")
    assert [(t.id, t.person, len(t)) for t in found] == [("0001/c1/a", "0001", 1), ("0001/c2/b", "0001", 1)]
    assert caplog.records == []


def test_other_files_are_counted_in_one_line(tmp_path, caplog):
    put(tmp_path, "a/1.jpg", "a/2.jfif", "b/1.jpg", "b/2.HEIC", "b/3.heic", "b/notes", "index.csv")
    (tmp_path / "b" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "a" / "linked.jpg").symlink_to(tmp_path / "b" / "1.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "b" / "pipe.jpg")
    assert [len(t) for t in read_folder(tmp_path)] == [2, 1]
    (record,) = caplog.records
    for words in ("2 .heic", "1 .jfif", "1 .csv", "2 broken links", "1 extensionless file", f"first: {tmp_path}"):
        assert words in record.getMessage()
    assert not hasattr(os, "mkfifo") or "1 special file" in record.getMessage()


def test_a_folder_of_other_files_alone_says_what_they_are(tmp_path):
    put(tmp_path, "a/1.heic", "a/2.heic")
    (fault,) = faults_of(tmp_path)
    assert fault == f"{tmp_path / 'a'} has no images: an empty tracklet (left out, not images: 2 .heic)"


@pytest.mark.parametrize(
    ("deep", "layout", "proposed"),
    [
        ("{}/1.jpg", "{person}/{tracklet}", '"{tracklet}"'),
        ("{}/a/1.jpg", "{tracklet}", '"{person}/{tracklet}"'),
        ("{}/c1/a/1.jpg", "{tracklet}", '"{person}/{camera}/{tracklet}"'),
        ("train/{}/c1/a/1.jpg", "{person}/{tracklet}", '"{role}/{person}/{camera}/{tracklet}"'),
        ("x/train/{}/c1/a/1.jpg", "{tracklet}", '"{a}/{role}/{person}/{camera}/{tracklet}"'),
    ],
)
def test_a_layout_that_misses_is_proposed_once(tmp_path, deep, layout, proposed):
    put(tmp_path, *(deep.format(f"{n:04d}") for n in range(30)))
    (fault,) = faults_of(tmp_path, layout=layout)
    assert fault.startswith(f"{tmp_path}: its images are ")
    assert fault.endswith(f'layout is "{layout}"; perhaps it is {proposed}')


def test_names_that_do_not_match_are_one_fault(tmp_path):
    put(tmp_path, *(f"{n}/c1/1.jpg" for n in range(30)))
    (fault,) = faults_of(tmp_path, layout="p{person}/c{camera}")
    assert f"{tmp_path / '0'}, {tmp_path / '1'}, {tmp_path / '2'} and 27 more: 30 folders do not match" in fault


def test_a_folder_of_images_alone_is_told_what_to_do(tmp_path):
    put(tmp_path, "1.jpg", "2.jpg")
    (fault,) = faults_of(tmp_path)
    assert "move the images of each tracklet into a folder of its own" in fault
    assert 'layout="{person}C{camera}T{tracklet}F{frame}"' in fault


def test_labels_in_the_names_of_files(tmp_path):
    names = ["0001C1T0001F002", "0001C1T0001F010", "0001C1T0001F001", "0001C2T0003F001", "0002C1T0001F001"]
    expected = [("0001/1/0001", "0001", "1"), ("0001/2/0003", "0001", "2"), ("0002/1/0001", "0002", "1")]
    put(tmp_path, *(f"flat/{name}.jpg" for name in names), *(f"deep/{name[:4]}/{name}.jpg" for name in names))
    pattern = "{person}C{camera}T{tracklet}F{frame}"
    for root, layout in (("flat", pattern), ("deep", "{person}/" + pattern), ("flat", pattern + ".jpg")):
        found = read_folder(tmp_path / root, layout=layout)
        assert [(t.id, t.person, t.camera) for t in found] == expected
        assert [f.file.name for f in found[0].frames] == [f"0001C1T0001F{n}.jpg" for n in ("001", "002", "010")]
    put(tmp_path, "market/0002_c1s1_000451_03.jpg", "market/0002_c1s1_000452_01.jpg", "market/0007_c3s2_000001_01.jpg")
    found = read_folder(tmp_path / "market", layout="{person}_c{camera}s{sequence}_{frame}_{_}")
    assert [(t.person, t.camera, t.extra, len(t)) for t in found] == [
        ("0002", "1", {"sequence": "1"}, 2), ("0007", "3", {"sequence": "2"}, 1),
    ]  # fmt: skip


def test_faults_of_labels_in_names(tmp_path):
    pattern = "{person}C{camera}F{frame}"
    put(tmp_path, "a/1C1F1.jpg", "a/1C1F1.png", "a/cover.jpg", "b/1C2F1.jpg")
    faults = faults_of(tmp_path, layout="{room}/" + pattern)
    assert any("1C1F1.jpg and 1C1F1.png are both frame 1: keep one of them" in fault for fault in faults)
    assert any("cover.jpg: 1 image does not match the layout" in fault for fault in faults)
    assert len(faults) == 2
    put(tmp_path / "other", "2/1C1F1.jpg")
    assert "1 image does not match" in faults_of(tmp_path / "other", layout="{person}/" + pattern)[0]
    with pytest.raises(ValueError, match="for the last level, the names of files"):
        read_folder(tmp_path, layout="{frame}/{person}")


@pytest.mark.parametrize(
    ("layout", "meant"),
    [
        ("{subject}/{tracklet}", "{person}"), ("{person}_{frame_id}", "{frame}"), ("{person}/{frames}", "{frame}"),
        ("{pid}/{tracklet}", "{person}"), ("{id}/{camera}", "{person}"), ("{Person}/{camera}", "{person}"),
        ("{persn}/{camera}", "{person}"), ("{person}/{cam}", "{camera}"), ("{person}/c{camid}/{t}", "{camera}"),
        ("{person}/{camra}", "{camera}"),
    ],
)  # fmt: skip
def test_misspelt_labels_get_a_hint(tmp_path, layout, meant):
    put(tmp_path, "1/2/1.jpg")
    with pytest.raises(ValueError, match=r"did you mean") as caught:
        read_folder(tmp_path, layout=layout)
    assert str(caught.value).endswith(f"did you mean {meant}?")


@pytest.mark.parametrize("layout", ["{person}/{place}", "{person}/{session}", "{role}/{scene}", "{person}/{id}"])
def test_words_of_ones_own_are_kept(tmp_path, layout):
    put(tmp_path, "1/2/1.jpg")
    (tracklet,) = read_folder(tmp_path, layout=layout)
    assert tracklet.extra
