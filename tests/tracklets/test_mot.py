"""MOT track files over frame folders and videos: the right frame, the right box, in whatever order the lines come."""

from __future__ import annotations

import importlib.util
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stmga.tracklets.manifest import read_manifest, write_manifest
from stmga.tracklets.mot import read_mot
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import TrackletError, load_cover

WIDTH, HEIGHT = 96, 64

needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason='needs PyAV: pip install "stmga[video]"')


def scene(number: int) -> np.ndarray:
    """Frame `number` (from 0): grey says its number, and a white square at x = 8 + number, y = 16 is the 'person'."""
    pixels = np.full((HEIGHT, WIDTH, 3), 4 * number + 20, np.uint8)
    pixels[16:32, 8 + number : 24 + number] = 255
    return pixels


def number_of(background: float) -> int:
    return round((background - 20) / 4)


def folder_of(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(scene(number)).save(folder / name)
    return folder


def video_of(file: Path, count: int, *, codec: str, gop: int = 10, times=None, options=None) -> Path:
    import av

    try:
        container = av.open(str(file), "w")
        stream = container.add_stream(codec, rate=25)
    except (ValueError, av.FFmpegError) as error:  # this build of FFmpeg has no such encoder
        pytest.skip(f"no encoder {codec}: {error}")
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.codec_context.bit_rate = 4_000_000
    stream.codec_context.time_base = Fraction(1, 1000 if times else 25)
    stream.options = {"g": str(gop)} | (options or {})
    with container:
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(scene(number), format="rgb24")
            frame.pts = times[number] if times else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def tracks_of(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(lines) + "\n")
    return file


def faults_of(*args, **kwargs) -> list[str]:
    with pytest.raises(TrackletError) as caught:
        read_mot(*args, **kwargs)
    return caught.value.faults


# ---- frame folders


def test_tracks_over_a_folder_of_frames(tmp_path):
    frames = folder_of(tmp_path / "img1", [f"{n + 1:06d}.jpg" for n in range(12)])
    lines = [f"{n + 1},{track},{8 + n},16,16,16,1,-1,-1,-1" for n in range(12) for track in (3, 12)]
    tracks = tracks_of(tmp_path / "cam1.txt", *reversed(lines))
    three, twelve = read_mot(tracks, frames)
    assert (three.id, twelve.id) == ("cam1-3", "cam1-12")
    assert three.camera is None
    assert [frame.file.name for frame in three.frames] == [f"{n + 1:06d}.jpg" for n in range(12)]
    for crop in three.load():
        assert crop.shape == (3, 16, 16)
        assert crop.float().mean() > 240  # the white square and nothing else
    named = read_mot(tracks, frames, camera=7)
    assert [(t.id, t.camera) for t in named] == [("7-3", 7), ("7-12", 7)]
    assert read_tracklets(named) == named
    assert three.extra == {"video": str(frames), "start": 0, "end": 11}  # when it was seen
    (late,) = read_mot(tracks_of(tmp_path / "t.txt", "5,1,0,0,9,9,1", "3,1,0,0,9,9,1"), frames, first_index=1, stride=1)
    assert (late.row()["start"], late.row()["end"]) == (2, 4)


@pytest.mark.parametrize(
    ("names", "first_index", "expected"),
    [
        (["000001.png", "000002.png", "000003.png"], 1, ["000001.png", "000003.png"]),
        (["000000.png", "000001.png", "000002.png"], 1, ["000000.png", "000002.png"]),
        (["000000.png", "000001.png", "000002.png"], 0, ["000000.png", "000002.png"]),
        (["000001.png", "000002.png", "000003.png"], 0, ["000001.png", "000003.png"]),
        (["img1.png", "img2.png", "img3.png", "img10.png"], 1, ["img1.png", "img3.png"]),
        (["1.png", "3.png", "10.png"], 1, ["1.png", "3.png"]),
        (["a.png", "c.png", "d.png"], 1, ["a.png", "d.png"]),
    ],
)
def test_which_image_is_which_frame(tmp_path, names, first_index, expected):
    frames = folder_of(tmp_path / "f", names)
    tracks = tracks_of(tmp_path / "t.txt", *(f"{first_index + n},1,0,0,9,9,1" for n in (2, 0)))
    (tracklet,) = read_mot(tracks, frames, first_index=first_index)
    assert [frame.file.name for frame in tracklet.frames] == expected


def test_an_excerpt_is_matched_by_number(tmp_path):
    frames = folder_of(tmp_path / "f", ["000120.png", "000121.png", "000125.png"])
    tracks = tracks_of(tmp_path / "t.txt", "125 1 0 0 9 9", "120 1 0 0 9 9")  # spaces will do, and no confidence
    (tracklet,) = read_mot(tracks, frames)
    assert [frame.file.name for frame in tracklet.frames] == ["000120.png", "000125.png"]


def test_ignored_lines_short_tracks_and_clipped_boxes_are_said(tmp_path, caplog):
    caplog.set_level("INFO", "stmga")
    frames = folder_of(tmp_path / "f", ["1.png", "2.png"])
    tracks = tracks_of(
        tmp_path / "t.txt", "1,1,-4,0,9,9,0.9", "2,1,90,60,9,9,-1", "1,2,0,0,9,9,1", "1,3,0,0,9,9,0", "2,3,0,0,9,9,0.0"
    )
    (tracklet,) = read_mot(tracks, frames, min_frames=2)
    assert tracklet.id == "t-1"
    assert [tuple(crop.shape) for crop in tracklet.load()] == [(3, 9, 5), (3, 4, 6)]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0] == f"{tracks}: left out: 2 lines with confidence 0, 1 track with fewer than 2 frames"
    assert any("2 of 2 boxes reach over the edge" in words for words in said)


def test_faults_come_together_with_line_numbers(tmp_path):
    frames = folder_of(tmp_path / "f", ["1.png", "2.png"])
    rows = {
        "1,1,0,0,9,w": "expected numbers",
        "1,1,0,0,9": "at least 6 columns",
        "1.5,1,0,0,9,9": "whole numbers",
        "1,1,nan,0,9,9": "finite",
        "1,-1,0,0,9,9,0.7": "run a tracker first",
        "0,1,0,0,9,9": "pass first_index=0",
        "1,2,0,0,9,0,1": "no area",
        "1,2,0,0,9,9,1": None,
        "1,2,1,1,9,9,1": "track 2 is in frame 1 twice; first: line 8",
        "3,2,0,0,9,9,1": "no image for frame 3",
        "1,5,0.1,0.2,0.3,0.4,1": "are the boxes shares of the frame",
        "1,18446744073709551615,0,0,9,9,1": "run a tracker first",
        "1,4.611686018427388e18,0,0,9,9,1": "has lost digits",
    }
    tracks = tracks_of(tmp_path / "t.txt", *rows)
    faults = faults_of(tracks, frames)
    for number, words in enumerate(rows.values(), 1):
        mine = [fault for fault in faults if fault.startswith(f"{tracks}:{number}: ")]
        assert len(mine) == (words is not None), (number, faults)
        assert all(words in fault for fault in mine), (number, mine)
    assert "has no tracks" in faults_of(tracks_of(tmp_path / "e.txt", ""), frames)[0]
    one = tracks_of(tmp_path / "o.txt", "1,1,0,0,9,9")
    assert "has no tracks of 5 frames or more" in faults_of(one, frames, min_frames=5)[0]
    assert "does not exist" in faults_of(one, tmp_path / "nowhere")[0]
    assert "cannot read" in faults_of(tmp_path / "none.txt", frames)[0]
    (tmp_path / "bare").mkdir()
    assert "has no images" in faults_of(one, tmp_path / "bare")[0]


# ---- video

VIDEOS = {
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4-b.mp4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg4-b.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "h264.mp4": {"codec": "libx264"},
    "h264-open.mkv": {"codec": "libx264", "options": {"x264-params": "open-gop=1:bframes=3:keyint=10:scenecut=0"}},
    "h264-open.mp4": {"codec": "libx264", "options": {"x264-params": "open-gop=1:bframes=3:keyint=10:scenecut=0"}},
    "h264-open.ts": {"codec": "libx264", "options": {"x264-params": "open-gop=1:bframes=3:keyint=10:scenecut=0"}},
    "h264.h264": {"codec": "libx264"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "mjpeg.avi": {"codec": "mjpeg"},
    "variable.mkv": {"codec": "mpeg4", "times": [n * n * 7 + 40 * n for n in range(50)]},
}


@needs_av
@pytest.mark.parametrize("name", VIDEOS)
def test_the_right_frame_and_box_come_out_of_a_video(tmp_path, name):
    kind = dict(VIDEOS[name])
    if kind["codec"] == "mjpeg":
        kind["options"] = {"strict": "unofficial"}
    video = video_of(tmp_path / name, 50, **kind)
    numbers = [49, 0, 31, 9, 10, 11, 30, 29, 48, 2]
    lines = [f"{n + 1},5,{8 + n},16,16,16,1" for n in numbers] + [f"{n + 1},6,0,40,96,16,1" for n in numbers]
    square, ground = read_mot(tracks_of(tmp_path / "cam.txt", *lines), video, camera="cam")
    assert [frame.index for frame in ground.frames] == sorted(numbers)
    assert [number_of(crop.float().mean().item()) for crop in ground.load()] == sorted(numbers)
    for crop in square.load():
        assert crop.shape == (3, 16, 16)
        assert crop.float().mean() > 235
    order = [7, 7, 0, -1, 3]
    assert [number_of(crop.float().mean().item()) for crop in ground.load(order)] == [sorted(numbers)[i] for i in order]
    for i in range(len(numbers)):  # each by a seek of its own
        assert number_of(ground.load([i])[0].float().mean().item()) == sorted(numbers)[i]


@needs_av
def test_video_cover_manifest_and_first_index(tmp_path):
    video = video_of(tmp_path / "v.mp4", 12, codec="mpeg4")
    tracks = tracks_of(tmp_path / "t.txt", *(f"{n},1,0,40,96,16" for n in range(3, 8)))
    (tracklet,) = read_mot(tracks, video, first_index=0)
    assert [frame.index for frame in tracklet.frames] == [3, 4, 5, 6, 7]
    cover = load_cover(tracklet.row())
    assert cover.size == (96, 16)
    assert number_of(np.asarray(cover).mean()) == 5
    write_manifest([tracklet], tmp_path / "index.jsonl")
    assert read_manifest(tmp_path / "index.jsonl")[0].frames == tracklet.frames


@needs_av
def test_video_faults(tmp_path):
    video = video_of(tmp_path / "v.mp4", 12, codec="mpeg4")
    tracks = tracks_of(tmp_path / "t.txt", "12,1,0,0,9,9", "13,1,0,0,9,9", "2,1,100,0,9,9")
    faults = faults_of(tracks, video)
    assert faults == [f"{tracks}:2: {video} has 12 frames, no frame 12 (from 0)"]
    (tmp_path / "text.mp4").write_text("no video")
    (fault,) = faults_of(tracks, tmp_path / "text.mp4")
    assert "cannot be opened as a video" in fault
    assert "3 frames use it" in fault
    (tmp_path / "zero.mp4").write_bytes(b"")
    assert "empty (0 bytes)" in faults_of(tracks, tmp_path / "zero.mp4")[0]
    (tracklet,) = read_mot(tracks_of(tmp_path / "t.txt", "1,1,0,0,9,9"), video)
    video.unlink()
    with pytest.raises(TrackletError, match=r"t-1.*v\.mp4"):
        tracklet.load()


@needs_av
def test_truncated_video_is_named_when_loaded(tmp_path):
    video = video_of(tmp_path / "v.mkv", 50, codec="mpeg4")
    tracks = tracks_of(tmp_path / "t.txt", "1,1,0,40,96,16", "50,1,0,40,96,16")
    (tracklet,) = read_mot(tracks, video)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert number_of(tracklet.load([0])[0].float().mean().item()) == 0
    with pytest.raises(TrackletError, match=r"t-1.*v\.mkv"):
        tracklet.load()


def test_without_pyav_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "v.mp4").write_bytes(b"x")
    with pytest.raises(ImportError, match=r'pip install "stmga\[video\]"'):
        read_mot(tracks_of(tmp_path / "t.txt", "1,1,0,0,9,9"), tmp_path / "v.mp4")
