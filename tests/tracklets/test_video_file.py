"""Files that FFmpeg would open beside the one that it is given."""

import pytest

from stmga.tracklets.video_file import open_video


def test_an_index_of_subtitles_opens_no_other_file(tmp_path):
    av = pytest.importorskip("av")
    (tmp_path / "a.idx").write_text("# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 0\n")
    (tmp_path / "a.sub").write_bytes(b"\x00\x00\x01\xba" + bytes(3000))
    av.open(str(tmp_path / "a.idx")).close()  # FFmpeg itself reads a.sub
    with pytest.raises(av.FFmpegError):
        open_video(tmp_path / "a.idx")
