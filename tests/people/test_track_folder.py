"""The folder of tracks when something is wrong: what is refused before any work, and what is left behind."""

import json

import pytest

from stmga.people import DetectorError, NoPersonError, track
from stmga.people.tracking import Job, TrackSettings
from stmga.tracklets.video_file import VideoError
from tests.support.street import EMPTY, two_people
from tests.support.truth import Truth
from tests.support.videos import filmed, video_of


@pytest.mark.parametrize("folder", [None, "out"])
def test_a_camera_in_which_nobody_was_found_is_warned_of(crossing, tmp_path, caplog, folder):
    empty = filmed(tmp_path / "hall.mp4", [EMPTY] * 20)
    found = track([crossing[0], empty], detector="motion", folder=folder and tmp_path / folder)
    assert {t.camera for t in found} == {"street"}
    assert caplog.messages == ["no person was found by hall, though the other cameras have some"]
    caplog.clear()
    track(crossing[0], detector="motion")
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("contents", "words"),
    [(b"", "it is empty"), (b"no video at all\n" * 99, "it is not a video")],
)
def test_every_video_is_opened_before_the_first_is_tracked(crossing, tmp_path, contents, words):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(contents)
    with pytest.raises(ValueError, match=f"cannot open {broken}: {words}"):
        track([crossing[0], broken], folder=tmp_path / "tracks", detector="motion")
    assert not (tmp_path / "tracks").exists()


def test_a_video_without_pictures_is_refused_before_the_first_is_tracked(crossing, tmp_path):
    empty = video_of(tmp_path / "empty.mp4", range(10), "mpeg4", muxer={"movflags": "faststart"})  # index first
    data = empty.read_bytes()
    empty.write_bytes(data[: data.index(b"mdat") + 4])
    seen = Truth(crossing[1])
    with pytest.raises(VideoError, match=f"cannot decode {empty}: it has no readable picture"):
        track([crossing[0], empty], folder=tmp_path / "tracks", detector=seen)
    assert seen.seen == 0 and not (tmp_path / "tracks").exists()


def test_a_live_source_is_not_opened_early(crossing, monkeypatch):
    opened = []
    monkeypatch.setattr("stmga.people.tracking.VideoFrames", lambda address, **_: opened.append(address))
    Job("door=rtsp://127.0.0.1:9/none", TrackSettings(detector="motion")).check_videos()
    assert opened == []


def test_a_folder_in_which_nobody_was_found_is_free_for_other_settings(crossing, tmp_path):
    folder = tmp_path / "tracks"
    with pytest.raises(NoPersonError):
        track(crossing[0], folder=folder, detector="motion", region="0,0 1,0 1,1 0,1")
    assert not [file for file in folder.iterdir() if not file.name.startswith(".")]
    assert len(track(crossing[0], folder=folder, detector="motion")) == 2


def failing_at(number, boxes):
    """A detector that returns something else from a frame on."""
    truth = Truth(boxes)
    return lambda frame: truth(frame) if truth.seen < number else "nothing"


def test_an_error_before_the_first_video_is_finished_frees_the_folder(crossing, tmp_path):
    video, boxes = crossing
    with pytest.raises(DetectorError, match="frame 48"):
        track(video, folder=tmp_path, detector=failing_at(48, boxes))
    assert [file.name for file in tmp_path.iterdir() if file.name != ".lock"] == []
    assert len(track(video, folder=tmp_path, detector="motion")) == 2


def test_an_error_after_the_first_video_keeps_it(tmp_path):
    pictures, boxes = two_people()
    videos = [filmed(tmp_path / f"cam{n}.mp4", pictures) for n in (1, 2)]
    with pytest.raises(DetectorError, match=r"cam2.mp4: frame 5"):
        track(videos, folder=tmp_path / "out", detector=failing_at(55, boxes))
    assert list(json.loads((tmp_path / "out" / "videos.json").read_text())) == ["cam1"]
    with pytest.raises(ValueError, match="has tracks of other videos or settings"):
        track(videos, folder=tmp_path / "out", detector="motion")


def test_a_full_disk_keeps_what_the_detector_has_seen(crossing, tmp_path, monkeypatch):
    video, boxes = crossing
    truth = Truth(boxes)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stmga.people.track_folder.VideoWriter.write", full)
    with pytest.raises(OSError, match="No space left"):
        track(video, folder=tmp_path, detector=truth)
    monkeypatch.undo()
    seen, after = truth.seen, Truth(boxes)
    assert len(track(video, folder=tmp_path, detector=after)) == 2 and after.seen == 50 - seen < 50


def test_a_folder_of_another_call_is_refused_in_plain_text(crossing, tmp_path):
    first, folder = tmp_path / "a.b.mp4", tmp_path / "out"
    first.write_bytes(crossing[0].read_bytes())
    zero = filmed(tmp_path / "zero.mp4", two_people()[0])
    region = "0,0 160,0 160,120.5 0,120"
    track([first, zero], folder=folder, detector="motion", region=f"zero={region}", min_frames=5)

    def differences(*videos, **settings):
        with pytest.raises(ValueError, match="has tracks of other videos or settings: ") as caught:
            track(videos, folder=folder, **dict(detector="motion", region=f"zero={region}", min_frames=5) | settings)
        found = str(caught.value).partition("settings: ")[2].removesuffix(". Name a new folder, or delete that one")
        return found.split("; ")

    assert differences(first, region=()) == [
        "the videos differ: zero is not among them any more",
        f"the region of zero was {region}, now not given",
    ]
    assert differences(first, zero, f"c={zero}") == ["the videos differ: c is new"]
    assert differences(first, zero, start="a.b=2026-11-28T10:00:00+01:00") == [
        "the start of a.b was not given, now 2026-11-28T10:00:00+01:00"
    ]
    assert differences(first, zero, region="zero=0,0 9,0 9,9") == [f"the region of zero was {region}, now 0,0 9,0 9,9"]
    assert differences(first, zero, min_frames=None) == ["min_frames was 5, now not given"]
    assert differences(first, zero, tracker="sort") == ["tracker was bytetrack, now sort"]
    assert differences(f"a.b={zero}", zero)[0] == f"the video of a.b was {first}, now {zero}"
    first.write_bytes(zero.read_bytes() + b"more")
    assert differences(first, zero) == ["the video of a.b has changed since"]
