"""Videos with boxes and identities: every frame, boxes where they are, one colour each, time stamps kept."""

import numpy as np
import pytest

from stmga.calibration import Calibration, Threshold
from stmga.people.identities import Identities, Membership
from stmga.report import draw_video, draw_videos
from stmga.report.boxes import Boxes, colour_of
from stmga.tracklets.manifest import write_manifest
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.tracklets.video import pictures
from tests.support.videos import number_on, video_of

pytest.importorskip("av")


def track(name, video, indices, box, camera="door"):
    return Tracklet(name, [Frame(video, box, index) for index in indices], camera=camera)


def identities_of(*rows):
    members = [Membership(identity=i, tracklet=t, similarity=s, confidence=0.8) for t, i, s in rows]
    return Identities(members, threshold=0.6)


def near(pixel, colour):
    return np.abs(np.asarray(pixel, int) - colour).max() < 70  # after compression of colours


@pytest.fixture
def video(tmp_path):
    return video_of(tmp_path / "in.mp4", range(40), "mpeg4")


def test_every_frame_is_written_with_its_number_time_and_boxes(video, tmp_path):
    tracklets = [track("a", video, range(5, 20), (4, 36, 30, 24)), track("b", video, range(10, 30), (50, 36, 40, 24))]
    done = draw_video(video, tracklets, identities_of(("a", 1, 0.9), ("b", 2, 0.9)), tmp_path / "out.mp4")
    assert (done.frames, done.boxes, done.missing) == (40, 35, 0)
    before, after = list(pictures(video)), list(pictures(tmp_path / "out.mp4"))
    assert [number_on(picture) for _, picture in after] == list(range(40))
    assert [s for s, _ in after] == pytest.approx([s for s, _ in before])
    for number, (_, picture) in enumerate(after):
        assert near(picture[48, 5], colour_of(1)) == (5 <= number < 20)  # the left side of the box
        assert near(picture[59:62, 70].mean(0), colour_of(2)) == (10 <= number < 30)  # its lower side


def test_unsure_boxes_are_dashed(video, tmp_path):
    point = Threshold(false_match_rate=1e-3, similarity=0.6, true_match_rate=0.5)
    made = Calibration(thresholds=(point,), lower=0.2, impostor_pairs=9, genuine_pairs=9, persons=4)
    tracklets = [track("a", video, range(40), (4, 2, 88, 60))]
    lines = {}
    for name, similarity in (("sure", 0.9), ("unsure", 0.5)):
        found = identities_of(("a", 3, similarity))
        draw_video(video, tracklets, found, tmp_path / f"{name}.mp4", calibration=made)
        _, picture = next(pictures(tmp_path / f"{name}.mp4"))
        lines[name] = np.mean([near(pixel, colour_of(3)) for pixel in picture[34:60, 4:6].mean(1)])
    assert lines["sure"] > 0.9
    assert 0.2 < lines["unsure"] < 0.8


def test_tracks_of_every_third_frame_have_boxes_in_between_but_not_in_a_gap(video):
    frames = [Frame(video, (k, 0, 10, 20), k) for k in (0, 3, 6, 18, 21)]
    boxes = Boxes(video, [(7, Tracklet("a", frames))])
    assert [number for number in range(30) if list(boxes.at(number))] == [*range(7), *range(18, 22)]
    assert list(boxes.at(4)) == [(7, [4.0, 0.0, 10.0, 20.0])]


def test_a_video_that_ends_early_is_written_up_to_there(video, tmp_path, caplog):
    tracklets = [track("a", video, [*range(30, 40), 60, 61], (4, 36, 30, 24))]
    done = draw_video(video, tracklets, identities_of(("a", 1, 0.9)), tmp_path / "out.mp4")
    assert (done.frames, done.boxes, done.missing) == (40, 10, 2)
    assert "40 frames: 2 boxes are after its end" in caplog.text


def test_what_cannot_be_drawn_leaves_an_old_file(video, tmp_path):
    tracklets = [track("a", video, [0], (0, 0, 9, 9))]
    found = identities_of(("a", 1, 0.9))
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")
    for call, words in (
        (lambda: draw_video(video, tracklets, found, video), "is the video itself"),
        (lambda: draw_video(tmp_path / "b.mp4", tracklets, found, out), "no tracklet has a box"),
        (lambda: draw_video(video, tracklets, identities_of(("b", 1, 0.9)), out), "have no identity"),
        (lambda: draw_videos([Tracklet("a", ["x.jpg"])], found, tmp_path), "no tracklet has frames of a video"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    video.write_bytes(b"no video")
    with pytest.raises(ValueError, match="cannot open"):
        draw_video(video, tracklets, found, out)
    assert out.read_bytes() == b"old"
    assert {file.name for file in tmp_path.iterdir()} == {"in.mp4", "out.mp4"}


def test_the_command_draws_all_videos_of_a_manifest(tmp_path, capsys):
    from stmga.cli.main import main
    from tests.support.report import embeddings_of

    one, two = (video_of(tmp_path / f"{name}.mp4", range(12), "mpeg4") for name in ("one", "two"))
    tracklets = [
        track("a", one, range(12), (4, 2, 40, 60), "../up"),
        track("b", two, range(12), (4, 2, 40, 60), "hall"),
    ]
    write_manifest(tracklets, tmp_path / "m.jsonl")
    e = embeddings_of(tracklets)
    command = ["link", str(e.save(tmp_path / "e.safetensors")), "-o", str(tmp_path / "out"), "--video"]
    assert main([*command, "--tracklets", str(tmp_path / "m.jsonl")]) == 0
    assert {file.name for file in (tmp_path / "out").glob("*.mp4")} == {"_up.mp4", "hall.mp4"}
    assert "hall.mp4 (12 frames, 12 boxes)" in capsys.readouterr().out
    assert len(list(pictures(tmp_path / "out" / "hall.mp4"))) == 12
    manifest = ["--tracklets", str(tmp_path / "m.jsonl")]
    for more, words in (([], "--video needs --tracklets"), (["--no-pictures", *manifest], "--video shows people")):
        assert main([*command, *more]) == 1
        assert words in capsys.readouterr().err
