"""Track files of the shared cases: the right frames, whole ids, and refusals that name the cause."""

from __future__ import annotations

import pytest

from stmga import Embeddings
from stmga.cli.main import main
from stmga.tracklets.mot import read_mot
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import TrackletError


def test_ids_of_64_bits_stay_two_persons(case):
    folder = case("mot-64-bit-ids")
    tracklets = read_mot(folder / "tracks.txt", folder / "img")
    assert {t.id: len(t) for t in tracklets} == {"tracks-4611686018427387905": 4, "tracks-4611686018427387906": 4}
    assert {frame.file.name for frame in tracklets[1].frames} == {f"{i:06d}.jpg" for i in (5, 6, 7, 8)}


def test_an_untracked_id_of_64_bits_is_refused(case, tmp_path):
    folder = case("mot-64-bit-ids")
    (tmp_path / "tracks.txt").write_text(
        (folder / "tracks.txt").read_text() + f"8,{2**64 - 1},2,2,10,20,0.9,-1,-1,-1\n"
    )
    with pytest.raises(TrackletError, match=r"tracks\.txt:9: .*no tracker has assigned"):
        read_mot(tmp_path / "tracks.txt", folder / "img")


def test_the_error_says_that_every_confidence_is_zero(case):
    folder = case("mot-all-confidences-zero")
    with pytest.raises(TrackletError, match=r"(?i)all .*confidence 0"):
        read_mot(folder / "tracks.txt", case("mot-64-bit-ids") / "img")


def test_classes_are_listed_and_can_be_chosen(case, caplog):
    folder, images = case("mot-classes"), case("mot-64-bit-ids") / "img"
    assert len(read_mot(folder / "gt.txt", images)) == 3
    assert "classes" in caplog.text and all(name in caplog.text for name in "137")
    assert [t.id for t in read_mot(folder / "gt.txt", images, classes=[1])] == ["gt-3"]


def test_images_are_matched_by_the_number_that_varies(case):
    folder = case("mot-images-numbered-after-digits")
    [tracklet] = read_mot(folder / "tracks.txt", folder / "img")
    assert [frame.file.name for frame in tracklet.frames] == ["cam1_000005.jpg", "cam1_000010.jpg"]


def test_a_stray_image_moves_no_frame(case, caplog):
    folder = case("mot-one-stray-image")
    [tracklet] = read_mot(folder / "tracks.txt", folder / "img")
    assert [frame.file.name for frame in tracklet.frames] == ["frame000002.jpg", "frame000003.jpg"]
    assert "background.jpg" in caplog.text


@pytest.mark.parametrize("source", ["tracks.txt", "manifest.jsonl"])
def test_boxes_as_shares_of_the_frame_are_refused(case, source):
    folder = case("mot-normalised-boxes")
    read = read_tracklets if source.endswith(".jsonl") else lambda file: read_mot(file, folder / "img")
    with pytest.raises(TrackletError, match=r"less than a pixel.*; are the boxes shares of the frame \(normalised\)\?"):
        read(folder / source)


@pytest.mark.parametrize("check_files", [True, False])
def test_a_box_outside_costs_one_frame(case, caplog, check_files):
    folder = case("mot-one-box-outside")
    lines = [line.split(",") for line in (folder / "tracks.txt").read_text().splitlines()]
    tracklets = {t.id: len(t) for t in read_mot(folder / "tracks.txt", folder / "img", check_files=check_files)}
    assert tracklets["tracks-1"] == sum(line[1] == "1" for line in lines) - 1
    assert sum(tracklets.values()) == len(lines) - 1
    assert "1 " in caplog.text and "outside" in caplog.text


def test_skipping_what_is_unreadable_keeps_the_track_whose_box_left_the_frame(case, tmp_path, capsys):
    folder, out = case("mot-one-box-outside"), tmp_path / "out.safetensors"
    asked = ["embed", folder / "tracks.txt", "--mot-frames", folder / "img", "-o", out, "-q", "--on-error", "skip"]
    assert main([str(part) for part in asked]) == 0
    assert "2 tracklets, 16 frames" in capsys.readouterr().out
    assert Embeddings.load(out).ids == ["tracks-1", "tracks-2"]
