"""What linking writes: a manifest with persons, track files with identities."""

import json
import logging

import pytest
import torch

from stmga import Embeddings
from stmga.cli.main import main
from stmga.people import link, read_known, save_tracks, with_persons
from stmga.tracklets.manifest import read_manifest, write_manifest
from stmga.tracklets.track_file import read_track_file
from stmga.tracklets.tracklet import Frame, Tracklet


@pytest.fixture(name="tracks")
def tracks_fixture(tmp_path):
    """Two people in two cameras; one of them is seen twice at the door."""
    door, hall = tmp_path / "door.mp4", tmp_path / "hall.mp4"

    def track(name, camera, video, start, length=3):
        frames = tuple(Frame(video, (10 * k, 5, 20.5, 40), start + k) for k in range(length))
        return Tracklet(name, frames, camera=camera)

    return [
        track("door-1", "door", door, 0),
        track("hall-1", "hall", hall, 40),
        track("door-2", "door", door, 2),
        track("door-3", "door", door, 50),
    ]


VECTORS = torch.eye(2, dtype=torch.float32)[[0, 1, 1, 0]]


def linked(tracks, **options):
    return link(Embeddings(VECTORS, [t.row() for t in tracks], digest="1f0c"), threshold=0.6, **options)


def test_track_files_have_identities(tracks, tmp_path):
    out = tmp_path / "people"
    out.mkdir()
    assert [file.name for file in save_tracks(linked(tracks), tracks, out)] == [
        "manifest.jsonl",
        "door.txt",
        "hall.txt",
    ]
    lines = (out / "door.txt").read_text().splitlines()
    assert lines == [
        "1,1,0,5,20.5,40,1,-1,-1,-1", "2,1,10,5,20.5,40,1,-1,-1,-1", "3,1,20,5,20.5,40,1,-1,-1,-1",
        "3,2,0,5,20.5,40,1,-1,-1,-1", "4,2,10,5,20.5,40,1,-1,-1,-1", "5,2,20,5,20.5,40,1,-1,-1,-1",
        "51,1,0,5,20.5,40,1,-1,-1,-1", "52,1,10,5,20.5,40,1,-1,-1,-1", "53,1,20,5,20.5,40,1,-1,-1,-1",
    ]  # fmt: skip
    read = read_track_file(out / "hall.txt")
    assert [(row.frame, row.track, row.box) for row in read.rows] == [
        (41 + k, 2, (10 * k, 5, 20.5, 40)) for k in range(3)
    ]


def test_the_manifest_has_persons_and_is_a_correction(tracks, tmp_path):
    people = linked(tracks)
    save_tracks(people, tracks, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert [row["person"] for row in rows] == ["id-1", "id-2", "id-2", "id-1"]
    assert [t.row() for t in with_persons(people, tracks)] == [
        t.row() for t in read_manifest(tmp_path / "manifest.jsonl", check_files=False)
    ]
    rows[3]["person"] = "ann"  # she is somebody else
    corrected = tmp_path / "corrected.jsonl"
    corrected.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = linked(tracks, known=read_known(corrected))
    assert [row.identity for row in again] == [1, 2, 2, 3]
    assert [again.name(i) for i in (1, 2, 3)] == ["id-1", "id-2", "ann"]


def test_known_numbers_are_the_same_as_text(tracks):
    people = linked(tracks, known={"door-1": 7, "hall-1": "7"})
    assert [row.identity for row in people][:2] == [1, 1]
    assert str(people.name(1)) == "7"


def test_names_are_not_taken_twice(tracks):
    people = linked(tracks, known={"door-3": "id-1", "door-1": "ann"})
    assert [row.identity for row in people] == [1, 2, 2, 3]
    assert [people.name(i) for i in (1, 2, 3)] == ["ann", "id-2", "id-1"]


def test_several_videos_of_a_camera_and_labels_that_are_no_file_names(tracks, tmp_path):
    for tracklet, camera in zip(tracks, ("../a", "../a", "b/c", "b:c"), strict=True):
        object.__setattr__(tracklet, "camera", camera)
    names = [file.name for file in save_tracks(linked(tracks), tracks, tmp_path)]
    assert names == ["manifest.jsonl", "_._a-door.txt", "_._a-hall.txt", "b_c.txt", "b_c-2.txt"]
    assert {file.name for file in tmp_path.iterdir()} == set(names)


def test_tracklets_without_boxes_in_a_video_are_counted(tracks, tmp_path, caplog):
    tracks[1] = Tracklet("hall-1", [tmp_path / "1.jpg"], camera="hall")
    with caplog.at_level(logging.INFO):
        files = save_tracks(linked(tracks), tracks, tmp_path)
    assert [file.name for file in files] == ["manifest.jsonl", "door.txt"]
    assert "1 tracklet not in track files" in caplog.text


def test_a_manifest_of_other_tracklets_is_refused(tracks, tmp_path):
    with pytest.raises(ValueError, match='"door-3" was linked, but is not in the manifest'):
        save_tracks(linked(tracks), tracks[:3], tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_all_files_and_takes_its_own_manifest(tracks, tmp_path, capsys):
    write_manifest(tracks, tmp_path / "tracks.jsonl")
    Embeddings(VECTORS, [t.row() for t in tracks], digest="1f0c").save(tmp_path / "all.safetensors")
    out = tmp_path / "people"
    command = [
        "link",
        str(tmp_path / "all.safetensors"),
        "--threshold",
        "0.6",
        "--no-pictures",
        "--tracklets",
        str(tmp_path / "tracks.jsonl"),
    ]
    assert main([*command, "-o", str(out)]) == 0
    names = ["identities.jsonl", "identities.csv", "manifest.jsonl", "door.txt", "hall.txt"]
    text = capsys.readouterr().out
    assert f"wrote     {', '.join(names)} in {out}" in text
    assert "clocks    unknown for 4 tracklets" in text
    assert sorted(file.name for file in out.iterdir()) == sorted([*names, "report.html"])
    assert main([*command, "-o", str(tmp_path / "again"), "--known", str(out / "manifest.jsonl")]) == 0
    assert (tmp_path / "again" / "door.txt").read_bytes() == (out / "door.txt").read_bytes()
    assert main([*command, "-o", str(out), "--travel", "door:hall=5..9"]) == 1
    assert "its tracklets have no time and end_time" in capsys.readouterr().err
