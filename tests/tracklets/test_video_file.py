"""What is not opened as a video, and why."""

import pytest

from stmga.tracklets.video_file import VideoError, open_video
from stmga.tracklets.video_frames import VideoFrames
from tests.support.videos import video_of


def test_an_index_of_subtitles_opens_no_other_file(tmp_path):
    av = pytest.importorskip("av")
    (tmp_path / "a.idx").write_text("# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 0\n")
    (tmp_path / "a.sub").write_bytes(b"\x00\x00\x01\xba" + bytes(3000))
    av.open(str(tmp_path / "a.idx")).close()  # FFmpeg itself reads a.sub
    with pytest.raises(VideoError, match=r"a\.idx: it is not a video"):
        open_video(tmp_path / "a.idx")


def test_text_that_ffmpeg_would_draw_is_not_a_video(tmp_path):
    av = pytest.importorskip("av")
    file = tmp_path / "notes.txt"
    file.write_text("some notes\n" * 50)
    av.open(str(file)).close()
    with pytest.raises(VideoError, match=r"notes\.txt: it is not a video"):
        open_video(file)


def test_empty_wrong_and_cut_files_are_told_apart(tmp_path):
    whole = video_of(tmp_path / "whole.mp4", range(60), "mpeg4").read_bytes()
    faults = {
        b"": "is empty",
        b"no video at all\n" * 99: "is not a video",
        whole[: len(whole) // 2]: "is cut off or not a video: it has no index; copy it again",
    }
    for contents, fault in faults.items():
        file = tmp_path / "broken.mp4"
        file.write_bytes(contents)
        for opened in (open_video, VideoFrames):
            with pytest.raises(VideoError) as caught:
                opened(file)
            assert str(caught.value) == f"cannot open {file}: it {fault}"
