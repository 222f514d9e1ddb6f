"""All frames of a video in order: the same numbers as decoding by one thread, whatever is damaged."""

import numpy as np
import pytest

pytest.importorskip("av")

from stmga.tracklets.video_file import VideoError
from stmga.tracklets.video_frames import VideoFrames
from tests.support.videos import number_on, sequential, video_of

CODECS = ["mpeg4", "libx264", "mjpeg"]


def read(file):
    frames = VideoFrames(file)
    found = [(index, picture, stamp) for index, picture, stamp in frames]
    assert [index for index, _, _ in found] == list(range(len(found)))
    return frames, [picture for _, picture, _ in found], [stamp for _, _, stamp in found]


@pytest.mark.parametrize("codec", CODECS)
def test_all_frames_come_in_order_with_their_times(tmp_path, codec):
    file = video_of(tmp_path / "whole.mkv", range(40), codec)
    frames, pictures, stamps = read(file)
    assert [number_on(picture) for picture in pictures] == list(range(40))
    assert np.diff(stamps) == pytest.approx([1 / 25] * 39, abs=0.002)
    assert (frames.fps, frames.damage, frames.read) == (25, "", 40)


def test_pictures_are_upright(tmp_path):
    _, pictures, _ = read(video_of(tmp_path / "turned.mp4", range(3), "mpeg4", rotation=90))
    assert pictures[0].shape == (96, 64, 3)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_video_has_the_frames_of_sequential_decoding(tmp_path, codec, seed):
    file = video_of(tmp_path / "damaged.avi", range(60), codec)
    data, dice = bytearray(file.read_bytes()), np.random.default_rng(seed)
    for at in dice.integers(len(data) // 4, len(data), 4):
        data[at : at + 40] = dice.bytes(len(data[at : at + 40]))
    file.write_bytes(data)
    expected = sequential(file)
    _, pictures, _ = read(file)
    assert len(pictures) == len(expected)
    assert all((a == b).all() for a, b in zip(pictures, expected, strict=True))


def test_what_a_cut_video_lacks_is_said(tmp_path):
    file = video_of(tmp_path / "cut.avi", range(60), "mpeg4")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    frames, pictures, _ = read(file)
    assert len(pictures) == len(sequential(file)) < 60
    assert f"{len(pictures)} of 60 frames that its header counts could be read" in frames.damage


def test_a_frame_that_is_damaged_in_part_is_counted_and_located(tmp_path, monkeypatch):
    import stmga.tracklets.video_frames as module

    class Marked:
        """A frame that the decoder calls corrupt."""

        is_corrupt = True

        def __init__(self, frame):
            self.frame = frame

        def __getattr__(self, name):
            return getattr(self.frame, name)

    pictures = module._pictures
    marked = lambda *args, **kw: (Marked(f) if i == 57 else f for i, f in enumerate(pictures(*args, **kw)))  # noqa: E731
    monkeypatch.setattr(module, "_pictures", marked)
    frames, found, _ = read(video_of(tmp_path / "a.mkv", range(60), "mpeg4"))
    assert len(found) == 60
    assert frames.damage == "1 frame damaged in part; the damage begins near frame 57 (from 0)"


def test_no_video_and_a_large_one_are_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"cannot open .*text.mp4"):
        VideoFrames(tmp_path / "text.mp4")
    file = video_of(tmp_path / "whole.mp4", range(3), "mpeg4")
    with pytest.raises(VideoError, match="limit of 100"):
        list(VideoFrames(file, max_pixels=100))
