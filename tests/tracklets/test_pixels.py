"""Frames in memory: one rule for tracklets and the transform, single images, and refusals that work when followed."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.transforms import ClipTransform

RGB = np.random.default_rng(0).integers(0, 256, (3, 32, 16, 3), dtype=np.uint8)
TENSOR = torch.from_numpy(RGB).movedim(-1, -3)
TRANSFORM = ClipTransform(size=(32, 16))


@pytest.mark.parametrize("form", [Image.fromarray(RGB[0]), RGB[0], TENSOR[0], RGB[0] / 255, TENSOR[0] / 255])
def test_one_image_is_a_tracklet_of_one_frame(form):
    for source, name in ((form, "0"), ([form], "0"), ({"ann": form}, "ann"), (Tracklet("ann", form), "ann")):
        [tracklet] = read_tracklets(source)
        assert (tracklet.id, len(tracklet)) == (name, 1)
        torch.testing.assert_close(TRANSFORM(tracklet.load()), TRANSFORM(RGB[:1]), atol=1e-5, rtol=0)


def test_each_item_of_a_list_is_a_tracklet():
    images = [Image.fromarray(frame) for frame in RGB]
    assert [len(t) for t in read_tracklets(images)] == [1, 1, 1]
    assert [len(t) for t in read_tracklets([images])] == [3]
    assert [len(t) for t in read_tracklets(list(RGB))] == [1, 1, 1]
    assert [len(t) for t in read_tracklets([RGB])] == [3]


def test_files_alone_and_in_a_list(tmp_path):
    file = tmp_path / "ann.png"
    Image.fromarray(RGB[0]).save(file)
    for source, name in ((file, "ann"), (str(file), "ann"), ([file], "0"), ({"x": str(file)}, "x")):
        [tracklet] = read_tracklets(source)
        assert tracklet.id == name
        assert torch.equal(tracklet.load()[0], TENSOR[0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4"])
def test_floats_in_0_to_1_of_any_kind(dtype):
    floats = (RGB / 255).astype(dtype)
    loaded = TRANSFORM(read_tracklets([floats])[0].load())
    assert torch.equal(loaded, TRANSFORM(floats))
    torch.testing.assert_close(loaded, TRANSFORM(RGB), atol=3e-3 if dtype == np.float16 else 1e-5, rtol=0)


def test_frames_of_an_array_backwards_are_read():
    assert torch.equal(TRANSFORM(read_tracklets([RGB[..., ::-1]])[0].load()), TRANSFORM(RGB[..., ::-1]))


REFUSED = {  # what came, what it says, and what it says to type; the last gives RGB
    "bytes as floats": (RGB.astype(np.float32), r"0\.\.1, got 0\.\.255; divide", lambda frames: frames / 255),
    "as a tensor": (TENSOR.double(), r"0\.\.1, got 0\.\.255; divide", lambda frames: frames / 255),
    "int64": (RGB.astype(np.int64), r"array of int64.*\.astype\(np\.uint8\)", lambda frames: frames.astype(np.uint8)),
    "int32 tensor": (
        TENSOR.int(),
        r"tensor of torch\.int32.*\.to\(torch\.uint8\)",
        lambda frames: frames.to(torch.uint8),
    ),
    "channels first": (np.moveaxis(RGB, -1, -3), None, lambda frames: np.moveaxis(frames, -3, -1)),
    "channels last": (torch.from_numpy(RGB), None, lambda frames: frames.movedim(-1, -3)),
    "alpha": (np.concatenate([RGB, RGB[..., :1]], -1), None, lambda frames: frames[..., :3]),
    "alpha tensor": (torch.cat([TENSOR, TENSOR[:, :1]], 1), None, lambda frames: frames[..., :3, :, :]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_advice_works(name):
    given, words, follow = REFUSED[name]
    with pytest.raises(TrackletError, match=words) as ours:
        read_tracklets([given])[0].load()
    with pytest.raises((ValueError, TypeError), match=words) as theirs:
        TRANSFORM(given)
    assert _advice(theirs.value) == _advice(ours.value)
    loaded = TRANSFORM(read_tracklets([follow(given)])[0].load())
    torch.testing.assert_close(loaded, TRANSFORM(RGB), atol=1e-5, rtol=0)
    torch.testing.assert_close(TRANSFORM(follow(given)), loaded)


GREY = {
    "a grey frame": (RGB[0, ..., 0], "np.stack([frames] * 3, -1)"),
    "grey frames": (RGB[:2, ..., 0], "np.stack([frames] * 3, -1)"),
    "a grey tensor": (TENSOR[0, 0], "torch.stack([frames] * 3, -3)"),
    "grey channel": (RGB[..., :1], "frames.repeat(3, -1)"),
    "grey channel of a tensor": (TENSOR[:, :1], "frames.repeat_interleave(3, -3)"),
    "a batch of clips": (RGB[None], "list(frames)"),
}


@pytest.mark.parametrize("name", GREY)
def test_other_shapes_say_what_to_type(name):
    frames, advice = GREY[name]
    with pytest.raises(TrackletError, match=re.escape(advice)):
        read_tracklets([frames])
    followed = eval(advice, {"np": np, "torch": torch, "frames": frames})
    followed = followed if isinstance(followed, list) else [followed]
    assert [TRANSFORM(tracklet.load()).shape[1:] for tracklet in read_tracklets(followed)] == [(3, 32, 16)]


@pytest.mark.parametrize(
    "floats",
    [RGB / 127.5 - 1, np.full((2, 8, 8, 3), np.nan), np.full((2, 8, 8, 3), np.inf), np.full((2, 8, 8, 3), 1e30)],
)
def test_values_of_no_picture(floats):
    for read in (TRANSFORM, lambda frames: read_tracklets([frames])[0].load()):
        with pytest.raises(ValueError, match=r"0\.\.1"):
            read(floats)


@pytest.mark.parametrize("frames", [RGB, TENSOR])
def test_frames_that_may_be_several_persons_are_refused(frames):
    with pytest.raises(TypeError, match=r"one person or 3; write \[frames\].*list\(frames\)"):
        read_tracklets(frames)


def test_a_video_alone_says_what_is_missing(tmp_path):
    (tmp_path / "door.mp4").write_bytes(b"....ftyp")
    with pytest.raises(TrackletError, match=r"door\.mp4 is a video; the boxes.*--mot-frames"):
        read_tracklets(tmp_path / "door.mp4")
    with pytest.raises(TypeError, match=r"expected a folder, a manifest, an image.*got int"):
        read_tracklets(3)


def _advice(error: Exception) -> str:
    return str(error).rpartition("; ")[2]
