"""Videos of the shared cases: frame k is the k-th picture that sequential decoding yields, in any order of asking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stmga.tracklets.mot import read_mot

av = pytest.importorskip("av")

BARS = 10  # in the upper half of each picture, lowest bit left
TURNS = 3  # quarter turns counter-clockwise of phone.mp4, by its display matrix
KINDS = {  # file, and the numbers that were drawn into its pictures
    "video-avi-b-frames/h264_bframes.avi": [*range(60)],
    "video-begins-between-keyframes/midgop.mp4": None,
    "video-begins-between-keyframes/midgop.ts": None,
    "video-frame-count-of-header/fragmented.mp4": [*range(60)],
    "video-timestamps-start-again/concat.ts": [*range(40), *range(100, 140)],
}


def number_on(picture: np.ndarray) -> int:
    width = picture.shape[1] // BARS
    bars = picture[: picture.shape[0] // 2, : BARS * width].mean((0, 2)).reshape(BARS, width).mean(1)
    return sum(1 << bit for bit, light in enumerate(bars) if light > 128)


def sequential(file: Path) -> list[np.ndarray]:
    with av.open(str(file)) as container:
        stream, pictures = container.streams.video[0], []
        for packet in container.demux(stream):
            try:
                pictures += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
            except av.FFmpegError:  # before the first keyframe
                continue
        return pictures


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["forwards", "backwards", "anywhere"])
def test_every_picture_is_the_one_of_its_number(case, kind, order):
    from stmga.tracklets.video import decode

    name, _, video = kind.partition("/")
    file = case(name) / video
    pictures = sequential(file)
    if KINDS[kind] is not None:
        assert [number_on(picture) for picture in pictures] == KINDS[kind]
    else:
        assert number_on(pictures[0]) == 15  # the first that can be decoded
    asked = list(range(len(pictures)))
    asked = {"forwards": asked, "backwards": asked[::-1], "anywhere": np.random.default_rng(0).permutation(asked)}[
        order
    ]
    for k in asked:
        [(index, picture)] = decode(file, [int(k)])
        assert index == k and np.array_equal(picture, pictures[k]), k


@pytest.mark.parametrize("kind", KINDS)
def test_the_tracks_of_the_case_are_read(case, kind):
    name, _, video = kind.partition("/")
    folder = case(name)
    lines = (folder / "tracks.txt").read_text().splitlines()
    [tracklet] = read_mot(folder / "tracks.txt", folder / video)
    assert [frame.index for frame in tracklet.frames] == [int(line.split(",")[0]) - 1 for line in lines]
    x, y, w, h = tracklet.frames[-1].box
    expected = sequential(folder / video)[tracklet.frames[-1].index][int(y) : int(y + h), int(x) : int(x + w)]
    assert np.array_equal(tracklet.load([len(tracklet) - 1])[0].permute(1, 2, 0), expected)


@pytest.mark.parametrize("tracks", ["tracks_in.txt", "tracks_low.txt"])
def test_a_phone_held_upright_is_read_upright(case, tracks):
    folder = case("video-rotated-phone")
    [tracklet] = read_mot(folder / tracks, folder / "phone.mp4")
    stored = sequential(folder / "phone.mp4")
    assert stored[0].shape == (96, 192, 3)
    for frame, crop in zip(tracklet.frames, tracklet.load(), strict=True):
        x, y, w, h = map(int, frame.box)
        upright = np.rot90(stored[frame.index], TURNS)
        assert np.array_equal(crop.permute(1, 2, 0), upright[y : y + h, x : x + w])


def test_opencv_turns_the_phone_in_the_same_way(case):
    cv2 = pytest.importorskip("cv2")
    file = case("video-rotated-phone") / "phone.mp4"
    first = cv2.VideoCapture(str(file)).read()[1][..., ::-1]
    upright = np.rot90(sequential(file)[0], TURNS)
    assert first.shape == upright.shape == (192, 96, 3)
    assert np.abs(first.astype(int) - upright).mean() < 3
