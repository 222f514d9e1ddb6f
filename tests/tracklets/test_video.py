"""Picture k of a video is the k-th that decoding yields: every picture of many kinds of files, whole and damaged."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from stmga.tracklets import video
from stmga.tracklets.manifest import read_manifest, write_manifest
from stmga.tracklets.mot import read_mot
from stmga.tracklets.orientation import upright
from stmga.tracklets.preload import preload
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.tracklets.video_index import video_index
from tests.support.video_kinds import COUNT, COUNTED, CUT, ORDINARY, PLAIN
from tests.support.videos import HEIGHT, WIDTH, number_on, numbered, sequential, video_of

pytest.importorskip("av", reason='needs PyAV: pip install "stmga[video]"')


def is_counted(file: Path) -> bool:
    return video_index(str(file), file.stat().st_mtime_ns).counted


def forget() -> None:
    """As in a new process."""
    video_index.cache_clear()
    video._kept.clear()


@pytest.mark.parametrize("name", [*ORDINARY, *CUT, *COUNTED])
def test_every_picture_is_the_one_that_sequential_decoding_yields(tmp_path, name):
    file = (ORDINARY | CUT | COUNTED)[name](tmp_path / name)
    expected = sequential(file)
    assert len(expected) > 15
    if name in ORDINARY:
        assert [number_on(picture) for picture in expected] == list(range(COUNT))
    numbers = list(range(len(expected)))

    def check(found):
        for number, picture in found:
            assert np.array_equal(picture, expected[number]), number

    forget()
    check(video.decode(file, numbers))
    assert is_counted(file) == (name in COUNTED)
    check((number, next(video.decode(file, [number]))[1]) for number in reversed(numbers))
    forget()
    for number in random.Random(0).sample(numbers, len(numbers)):
        check(video.decode(file, [number]))
    assert is_counted(file) == (name in COUNTED)
    for number in random.Random(1).sample(numbers, 5):
        forget()
        check(video.decode(file, [number]))
    with pytest.raises(video.VideoError, match=rf"has {len(expected)} frames, no frame {len(expected)} \(from 0\)"):
        list(video.decode(file, [3, len(expected)]))


@pytest.mark.parametrize("name", [*ORDINARY, *CUT, *COUNTED])
def test_opencv_counts_the_same_pictures(tmp_path, name):
    """It converts colours otherwise, so by a mean difference."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python-headless")
    file = (ORDINARY | CUT | COUNTED)[name](tmp_path / name)
    capture, expected = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG), sequential(file)
    count = 0
    while (read := capture.read())[0]:
        ((_, picture),) = video.decode(file, [count])
        assert picture.shape == read[1].shape
        assert abs(picture.astype(int) - read[1][..., ::-1]).mean() < 12
        count += 1
    # It ends at the first packet that cannot be decoded.
    assert count < len(expected) if name in ("cut.webm", "zeroed.mp4") else count == len(expected)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize(("rotation", "orientation"), [(0, 1), (90, 8), (180, 3), (-90, 6), (270, 6)])
def test_a_rotated_video_is_turned(tmp_path, codec, rotation, orientation):
    """`rotation` is counter-clockwise, as PyAV has it: phones held upright write -90."""
    file = video_of(tmp_path / "phone.mp4", range(12), codec, rotation=rotation)
    for (number, picture), stored in zip(video.decode(file, range(12)), sequential(file), strict=True):
        assert number_on(stored) == number
        assert np.array_equal(picture, upright(stored, orientation))
    size = (HEIGHT, WIDTH) if orientation > 4 else (WIDTH, HEIGHT)
    assert video.video_size(file)[:2] == size == picture.shape[1::-1]


def test_opencv_turns_the_same_way(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python-headless")
    for rotation in (0, 90, 180, -90):
        file = video_of(tmp_path / "phone.mp4", [5], "libx264", rotation=rotation)
        _, seen = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG).read()
        ((_, picture),) = video.decode(file, [0])
        assert picture.shape == seen.shape
        assert abs(picture.astype(int) - seen[..., ::-1]).mean() < 12


def test_a_mirrored_video_is_mirrored_and_named(tmp_path, caplog):
    file = video_of(tmp_path / "selfie.mp4", [5], "libx264", rotation=0, mirrored=True)
    ((_, picture),) = video.decode(file, [0])
    assert np.array_equal(picture, sequential(file)[0][:, ::-1])
    read_mot_of(tmp_path, file)
    assert "selfie.mp4 is marked to be mirrored" in caplog.text


def test_boxes_of_a_rotated_video_are_in_the_upright_picture(tmp_path):
    """96 x 64 stored, 64 x 96 seen."""
    file = video_of(tmp_path / "phone.mp4", range(12), "libx264", rotation=-90)
    (tmp_path / "low.txt").write_text("".join(f"{n + 1},1,0,70,20,20,1\n" for n in range(12)))
    (tracklet,) = read_mot(tmp_path / "low.txt", file)
    for number, crop in enumerate(tracklet.load()):
        assert crop.shape == (3, 20, 20)
        difference = abs(crop.permute(1, 2, 0).numpy().astype(int) - upright(numbered(number), 6)[70:90, :20])
        assert difference.mean() < 12
    (tmp_path / "right.txt").write_text("1,1,70,0,20,20,1\n")
    with pytest.raises(TrackletError, match=r"is outside .*64 x 96 pixels"):
        read_mot(tmp_path / "right.txt", file)


def test_the_number_of_frames_in_a_header_is_no_bound(tmp_path):
    file = ORDINARY["fragments.mp4"](tmp_path / "v.mp4")
    assert video.video_size(file)[2] < COUNT == video.frame_count(file)
    (tmp_path / "t.txt").write_text("".join(f"{n + 1},1,0,0,96,64,1\n" for n in range(COUNT)))
    (tracklet,) = read_mot(tmp_path / "t.txt", file)
    assert [number_on(crop.permute(1, 2, 0).numpy()) for crop in tracklet.load()] == list(range(COUNT))
    write_manifest([tracklet], tmp_path / "index.jsonl")
    assert len(read_manifest(tmp_path / "index.jsonl")[0]) == COUNT
    (tmp_path / "t.txt").write_text(f"{COUNT + 1},1,0,0,96,64,1\n")
    with pytest.raises(TrackletError, match=f"has {COUNT} frames, no frame {COUNT}"):
        read_mot(tmp_path / "t.txt", file)


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """The time stamps of all pictures that are decoded from now on."""
    stamps: list[int] = []
    real = video._pictures

    def counting(*args):
        for frame in real(*args):
            stamps.append(frame.pts)
            yield frame

    monkeypatch.setattr(video, "_pictures", counting)
    return stamps


def test_decoding_skips_what_nobody_asked_for(tmp_path, decoded):
    file = video_of(tmp_path / "v.mp4", range(50), "mpeg4", options={"sc_threshold": "1000000000"})
    Tracklet("a", [Frame(file, None, index) for index in (34, 2, 3, 2, 32)]).load()
    assert len(decoded) == len(set(decoded)) == 4 + 5  # 0..3, then from the keyframe 30 to 34
    decoded.clear()
    whole = Tracklet("b", [Frame(file, None, index) for index in range(50)])
    clips = [whole.load(range(start, start + 5)) for start in range(0, 50, 5)]
    assert len(decoded) == len(set(decoded)) == 50  # clip after clip begins where the one before ended
    pictures = [crop.permute(1, 2, 0).numpy() for clip in clips for crop in clip]
    assert [number_on(picture) for picture in pictures] == list(range(50))


def test_counting_costs_one_pass_as_long_as_numbers_rise(tmp_path, decoded):
    file = COUNTED["h264.avi"](tmp_path / "v.avi")
    whole = Tracklet("a", [Frame(file, None, index) for index in range(COUNT)])
    for start in range(0, COUNT, 6):
        whole.load(range(start, start + 6))
    assert len(decoded) == COUNT
    decoded.clear()
    whole.load([33])  # counted before: from its keyframe
    assert len(decoded) < 10


def test_time_stamps_that_come_twice_are_never_sought(tmp_path, decoded):
    file = COUNTED["joined.ts"](tmp_path / "v.ts")
    assert [number_on(picture) for _, picture in video.decode(file, [3, 60])] == [3, 112]
    decoded.clear()
    assert [number_on(picture) for _, picture in video.decode(file, [51])] == [103]
    assert len(decoded) == 52


def test_a_gap_is_looked_at_once(tmp_path, decoded):
    """A packet is missing, or the camera has paused: the frames around are decoded, and found to be right."""
    pause = [40 * n + 2000 * (n >= 24) for n in range(COUNT)]
    file = video_of(tmp_path / "v.mp4", range(COUNT), "libx264", options=PLAIN, times=pause)
    assert [number_on(picture) for _, picture in video.decode(file, [45])] == [45]
    assert len(decoded) == 11 + 6  # 20 to the next keyframe 30, then 40 to 45
    decoded.clear()
    assert [number_on(picture) for _, picture in video.decode(file, [44])] == [44]
    assert len(decoded) == 5
    assert not is_counted(file)


@pytest.mark.parametrize("content", [b"", b"no video", bytes(5000)])
def test_what_is_no_video_is_named(tmp_path, content):
    file = tmp_path / "v.mp4"
    file.write_bytes(content)
    with pytest.raises(video.VideoError, match=r"cannot open .*v\.mp4"):
        list(video.decode(file, [0]))
    with pytest.raises(TrackletError, match=r'tracklet "a": .*v\.mp4'):
        Tracklet("a", [Frame(file, None, 0)]).load()
    with pytest.raises(TrackletError, match=r"v\.mp4 .*(empty|cannot be opened as a video)"):
        read_mot_of(tmp_path, file)


def test_a_file_without_pictures_is_named(tmp_path):
    import av

    file = tmp_path / "sound.mkv"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(video.VideoError, match=r"sound\.mkv has no video stream"):
        list(video.decode(file, [0]))
    with pytest.raises(TrackletError, match=r"sound\.mkv.*has no video stream"):
        read_mot_of(tmp_path, file)


def read_mot_of(folder: Path, file: Path) -> list[Tracklet]:
    (folder / "t.txt").write_text("1,1,0,0,9,9,1\n")
    return read_mot(folder / "t.txt", file)


def test_preloaded_tracklets_have_the_same_pixels_and_each_video_is_read_once(tmp_path, decoded):
    file = video_of(tmp_path / "a.mp4", range(30), "mpeg4")
    box = (2.0, 3.0, 20.0, 30.0)
    tracklets = [
        Tracklet("a", [Frame(file, box, k) for k in (3, 9, 20)], camera="door"),
        Tracklet("b", [Frame(file, None, k) for k in (9, 4, 9)]),
        Tracklet("c", np.zeros((2, 8, 4, 3), np.uint8)),
    ]
    wanted = [t.load() for t in tracklets]
    forget()
    decoded.clear()
    one, two, three = preload(tracklets)
    assert len(decoded) <= 21
    assert (one.id, one.camera, three) == ("a", "door", tracklets[2])
    assert all(not isinstance(frame, Frame) for frame in (*one.frames, *two.frames))
    for loaded, pixels in zip((one, two), wanted, strict=False):
        assert all((a == b).all() for a, b in zip(loaded.load(), pixels, strict=True))
    with pytest.raises(ValueError, match="no frame 77"):
        preload([Tracklet("d", [Frame(file, None, 77)])])
