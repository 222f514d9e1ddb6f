"""Kinds of video files, each by how it is made: ordinary ones, cut ones, and those whose pictures must be counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.videos import video_of

H264 = {"x264-params": "bframes=3:keyint=10:scenecut=0"}
OPEN = {"x264-params": "bframes=3:keyint=10:scenecut=0:open-gop=1"}
PLAIN = {"x264-params": "bframes=0:keyint=10:scenecut=0"}
REFRESH = {"x264-params": "bframes=0:keyint=20:intra-refresh=1"}
HEVC = {"x265-params": "bframes=3:keyint=10:scenecut=0:log-level=none"}
VP9 = {"deadline": "realtime", "cpu-used": "8"}
HIDDEN = {"deadline": "good", "cpu-used": "4", "auto-alt-ref": "1", "lag-in-frames": "16"}
MPEG = {"bf": "2", "sc_threshold": "1000000000"}
COUNT = 48

Made = Callable[[Path], Path]


def made(codec: str, options: dict[str, str], **more) -> Made:
    return lambda file: video_of(file, range(COUNT), codec, options=options, **more)


def joined(codec: str, options: dict[str, str], **more) -> Made:
    """Two recordings one after the other, as `cat a b > c` makes them: their time stamps start again."""

    def make(file: Path) -> Path:
        parts = [video_of(file.with_name(f"{i}{file.suffix}"), numbers, codec, options=options, **more)
                 for i, numbers in enumerate([range(COUNT), range(100, 130)])]  # fmt: skip
        file.write_bytes(b"".join(part.read_bytes() for part in parts))
        return file

    return make


def zeroed(make: Made) -> Made:
    """A stretch in the middle is zeros, as after a power loss."""

    def make_and_zero(file: Path) -> Path:
        data = bytearray(make(file).read_bytes())
        start, length = len(data) // 2, len(data) // 10
        data[start : start + length] = bytes(length)
        file.write_bytes(data)
        return file

    return make_and_zero


def cut(number: int, key: bool) -> bool:
    return number > 6  # recording began between two keyframes


def lost(number: int, key: bool) -> bool:
    return not (key and number // 10 == 2)  # the third keyframe is not there


def same(number: int) -> int:
    return number  # a recorder that gives what arrives stamps of its own: no gap is left


UNEVEN = [n * n * 7 + 40 * n for n in range(COUNT)]

ORDINARY: dict[str, Made] = {
    "h264.mp4": made("libx264", H264),
    "h264.mov": made("libx264", H264),
    "h264.mkv": made("libx264", H264),
    "h264.ts": made("libx264", H264),
    "h264-live.mkv": made("libx264", H264, muxer={"live": "1"}),
    "open.mp4": made("libx264", OPEN),
    "open.ts": made("libx264", OPEN),
    "refresh.mp4": made("libx264", REFRESH),
    "fragments.mp4": made("libx264", H264, muxer={"movflags": "frag_keyframe"}),
    "hevc.mp4": made("libx265", HEVC),
    "hevc.mkv": made("libx265", HEVC),
    "vp9.webm": made("libvpx-vp9", VP9),
    "vp9-hidden.webm": made("libvpx-vp9", HIDDEN),
    "vp8-hidden.webm": made("libvpx", HIDDEN),
    "mpeg4.mp4": made("mpeg4", MPEG),
    "mjpeg.avi": made("mjpeg", {"strict": "unofficial"}),
    "mpeg2.mpg": made("mpeg2video", MPEG),
    "mpeg1.mpg": made("mpeg1video", MPEG),  # a packet has several stamps to choose from after a seek
    "uneven.mkv": made("libx264", H264, times=UNEVEN),
    "uneven.mp4": made("mpeg4", {}, times=UNEVEN),
}  # fmt: skip

CUT: dict[str, Made] = {
    "cut-hevc.mp4": made("libx265", HEVC, keep=cut),  # an edit list cuts away what cannot be decoded
    "edit.mp4": made("libx264", PLAIN, stamp=lambda number: number - 13),  # a keyframe too
    "edit-all.mp4": made("libx264", {"x264-params": "bframes=0:keyint=infinite"}, stamp=lambda number: number - 13),
    "gap.mp4": made("libx264", PLAIN, keep=lambda number, key: number != 23),
}

COUNTED: dict[str, Made] = {
    "h264.avi": made("libx264", H264),  # made-up stamps, in the order of decoding
    "mpeg4.avi": made("mpeg4", MPEG),
    "raw.h264": made("libx264", H264),  # no stamps at all
    "joined.ts": joined("libx264", H264),
    "joined.mkv": joined("libx264", H264),
    "joined.mpg": joined("mpeg2video", MPEG),
    "joined.webm": joined("libvpx-vp9", VP9),
    "cut.mp4": made("libx264", PLAIN, keep=cut),
    "cut.ts": made("libx264", H264, keep=cut),
    "cut.mkv": made("libx264", OPEN, keep=cut),
    "cut-hevc.ts": made("libx265", HEVC, keep=cut),
    "cut.webm": made("libvpx-vp9", VP9, keep=cut),
    "lost.mp4": made("libx264", PLAIN, keep=lost),
    "lost.ts": made("libx264", H264, keep=lost),
    "lost.avi": made("libx264", PLAIN, keep=lost),
    "lost.mkv": made("libx264", H264, keep=lost),
    "lost-hevc.mp4": made("libx265", HEVC, keep=lost),
    "lost-uneven.mp4": made("libx264", PLAIN, keep=lost, times=UNEVEN),
    "lost-stamped.mp4": made("libx264", PLAIN, keep=lost, stamp=same),
    "lost-stamped.mkv": made("libx264", PLAIN, keep=lost, stamp=same),
    "zeroed.mp4": zeroed(made("libx264", H264)),
    "zeroed.ts": zeroed(made("libx264", H264)),
}  # fmt: skip
