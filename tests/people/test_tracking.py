"""From a video to tracklets: what is written, resumed and refused."""

import json
import sys

import numpy as np
import pytest

from stmga.people import DetectorError, NoPersonError, track
from stmga.people.tracking import Job, TrackSettings, write_tracks
from stmga.tracklets import read_manifest, read_mot
from tests.support.street import two_people
from tests.support.truth import Truth
from tests.support.videos import filmed


def ious(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    inter = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return inter / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter)


def corners(box):
    x, y, w, h = box
    return [x, y, x + w, y + h]


def test_two_people_are_two_tracklets_over_the_video(crossing):
    video, boxes = crossing
    tracklets = track(video, detector="motion")
    assert [t.id for t in tracklets] == ["street-1", "street-2"]
    for tracklet in tracklets:
        assert tracklet.camera == "street" and tracklet.person is None and tracklet.time is None
        assert len(tracklet) >= 36 and {frame.file for frame in tracklet.frames} == {video}
        whole = [frame for frame in tracklet.frames if frame.box[2] > 18]
        best = [max(ious(corners(frame.box), box) for box in boxes[frame.index]) for frame in whole]
        assert len(whole) > 30 and min(best) > 0.8
    colours = [t.load([20])[0][:, :15].float().mean((1, 2)).argmax().item() for t in tracklets]
    assert sorted(colours) == [0, 2]  # each tracklet stays with one person: red, and blue


def test_the_folder_has_manifest_mot_file_and_claim(crossing, tmp_path):
    video, _ = crossing
    tracklets = track(video, detector="motion", folder=tmp_path / "out", start="2026-11-28T10:00:00+01:00")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "manifest.jsonl", "street.txt", "track.json", "videos.json",
    ]  # fmt: skip
    again = read_manifest(tmp_path / "out" / "manifest.jsonl")
    from_mot = {t.id: t for t in read_mot(tmp_path / "out" / "street.txt", video, camera="street")}
    assert [t.id for t in again] == [t.id for t in tracklets] == sorted(from_mot)
    for tracklet in again:
        assert [f.index for f in tracklet.frames] == [f.index for f in from_mot[tracklet.id].frames]
        boxes, others = ([frame.box for frame in t.frames] for t in (tracklet, from_mot[tracklet.id]))
        assert np.abs(np.array(boxes) - np.array(others)).max() < 0.011
        first, last = tracklet.frames[0].index, tracklet.frames[-1].index
        assert tracklet.time == pytest.approx(1795856400 + first / 10)
        assert tracklet.extra["end_time"] == pytest.approx(1795856400 + last / 10)
    summary = json.loads((tmp_path / "out" / "videos.json").read_text())["street"]
    assert (summary["frames"], summary["tracks"], summary["fps"], summary["damage"]) == (50, 2, 10, "")
    assert summary["clock"] == "time stamps of the video"


def test_a_finished_folder_is_not_computed_again_and_other_settings_are_refused(crossing, tmp_path):
    video, boxes = crossing
    first = Truth(boxes)
    tracklets = track(video, detector=first, folder=tmp_path)
    assert first.seen == 50 and len(tracklets) == 2
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    second = Truth(boxes)
    assert [t.id for t in track(video, detector=second, folder=tmp_path)] == [t.id for t in tracklets]
    assert second.seen == 0 and before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="min_frames was not given, now 4"):
        track(video, detector=Truth(boxes), folder=tmp_path, min_frames=4)


def test_an_interrupted_run_resumes_to_the_same_files(tmp_path):
    pictures, boxes = two_people()
    videos = [filmed(tmp_path / f"cam{n}.mp4", pictures) for n in (1, 2)]
    whole = track(videos, detector=Truth(boxes), folder=tmp_path / "whole")
    assert [t.id for t in whole] == ["cam1-1", "cam1-2", "cam2-1", "cam2-2"]
    stopped = Truth(boxes, stop_at=80)  # in the second video, when its first track may have begun
    with pytest.raises(KeyboardInterrupt):
        track(videos, detector=stopped, folder=tmp_path / "resumed")
    log = tmp_path / "resumed" / ".cam2.detections"
    with open(log, "ab") as file:
        file.write(b"[[1, 2")  # a kill may cut the last line
    after = Truth(boxes)
    track(videos, detector=after, folder=tmp_path / "resumed")
    assert after.seen == 20  # 100 frames, of which 80 were seen before
    names = sorted(file.name for file in (tmp_path / "whole").iterdir())
    assert names == sorted(file.name for file in (tmp_path / "resumed").iterdir())
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes(), name


def test_motion_sees_an_interrupted_video_from_its_beginning(crossing, tmp_path, monkeypatch):
    from stmga.people.motion import Motion

    video, _ = crossing
    whole = track(video, detector="motion")
    calls = []
    detect = Motion.__call__

    def stop(self, frame):
        calls.append(None)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return detect(self, frame)

    monkeypatch.setattr(Motion, "__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        track(video, detector="motion", folder=tmp_path)
    assert [t.frames for t in track(video, detector="motion", folder=tmp_path)] == [t.frames for t in whole]
    assert len(calls) == 80


def test_only_persons_whose_feet_are_in_the_region_count(crossing):
    video, boxes = crossing
    (upper,) = track(video, detector=Truth(boxes), region="0,0 160,0 160,80 0,80")
    assert {frame.box[1] for frame in upper.frames} == {5.0}


def test_short_tracks_are_left_out_and_counted(crossing, tmp_path):
    video, boxes = crossing
    brief = [now if i < 14 else [] for i, now in enumerate(boxes)]
    job = Job(video, TrackSettings(detector=Truth(brief), min_frames=10))
    with pytest.raises(
        NoPersonError, match=r"no person was found .* for long enough; [1-9] shorter tracks? left out; try"
    ):
        write_tracks(job, tmp_path)


def test_a_video_that_ends_in_damage_gives_what_was_read(tmp_path):
    pictures, _ = two_people()
    video = filmed(tmp_path / "cut.avi", pictures)
    video.write_bytes(video.read_bytes()[: int(video.stat().st_size * 0.75)])
    tracklets = track(video, detector="motion", folder=tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "videos.json").read_text())["cut"]
    assert 25 < summary["frames"] < 50 and "of 50 frames that its header counts could be read" in summary["damage"]
    assert len(tracklets) == 2
    for tracklet in read_manifest(tmp_path / "out" / "manifest.jsonl"):
        assert tracklet.load([len(tracklet) - 1])[0].shape[0] == 3  # its last frame can be read again


def test_detections_come_from_a_file_by_frame(crossing, tmp_path):
    video, boxes = crossing
    lines = [
        f"{i + 1},-1,{x1},{y1},{x2 - x1},{y2 - y1},0.9"
        for i, now in enumerate(boxes) for x1, y1, x2, y2 in now if x1 < 160 and x2 > 0
    ]  # fmt: skip
    folder = tmp_path / "detections"
    folder.mkdir()
    (folder / "street.txt").write_text("\n".join(reversed(lines)) + "\n")  # in any order
    expected = {t.frames for t in track(video, detector=Truth(boxes))}
    for detector in (folder, folder / "street.txt", str(folder / "street.txt")):
        assert {t.frames for t in track(video, detector=detector)} == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [("1,-1,2,3,4", ":2: expected frame"), ("0,-1,2,3,4,5,1", "count from 1"), ("1,-1,2,3,4,5,60", "0..1, got 60")],
)
def test_a_file_of_something_else_is_refused(crossing, tmp_path, line, words):
    file = tmp_path / "det.txt"
    file.write_text(f"1,-1,2,3,4,5,1\n{line}\n")
    with pytest.raises(DetectorError, match=words):
        track(crossing[0], detector=file)


def test_a_detector_that_returns_something_else_is_named_with_its_frame(crossing):
    with pytest.raises(DetectorError, match=r"street.mp4: frame 0: .*boxes \(1, 5\)"):
        track(crossing[0], detector=lambda frame: (np.ones((1, 5)), np.ones(1)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(start="2026-11-28T10:00:00"), "no time zone: write 2026-11-28T10:00:00"),
        (dict(start="yesterday"), "start must be a date"),
        (dict(start="door=2026-11-28T10:00:00Z"), "start names camera 'door'"),
        (dict(start=["2026-11-28T10:00:00Z"] * 2), "given twice"),
        (dict(region="1,2 3,4"), "region"),
        (dict(min_frames=0), "min_frames must be at least 1"),
        (dict(tracker="bytetrak"), "did you mean 'bytetrack'"),
        (dict(detector=""), "detector is empty; expected motion"),
        (dict(detector="moton"), "did you mean 'motion'"),
        (dict(detector="torchvision:fasterrcnn"), "torchvision has no detector"),
        (dict(detector="rfdetr:huge"), "sizes nano"),
        (dict(seconds=0), "seconds must be more than 0"),
    ],
)
def test_arguments_are_checked_before_anything_is_read(crossing, arguments, words):
    with pytest.raises(ValueError, match=words):
        track(crossing[0], **arguments)


def test_a_missing_or_wrong_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.mp4"):
        track(tmp_path / "nowhere.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text.mp4"):
        track(tmp_path / "text.mp4", detector="motion")
    with pytest.raises(ValueError, match="no video"):
        track([])


@pytest.mark.parametrize("library", ["trackers", "supervision", "cv2"])
def test_a_missing_library_names_the_extra(crossing, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"stmga\[track\]"):
        track(crossing[0], detector="motion")


@pytest.mark.parametrize("name", ["sort", "ocsort", "botsort", "cbiou"])
def test_other_trackers_by_name(crossing, name):
    video, boxes = crossing
    assert len(track(video, detector=Truth(boxes), tracker=name)) == 2


def test_a_tracker_object_is_used_and_reset(crossing):
    import trackers

    video, boxes = crossing
    tracker = trackers.ByteTrackTracker(frame_rate=10)
    for _ in range(2):
        assert [t.id for t in track(video, detector=Truth(boxes), tracker=tracker)] == ["street-1", "street-2"]
