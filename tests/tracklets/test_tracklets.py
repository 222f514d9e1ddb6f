"""The tracklet: its pixels in the order asked, whatever holds them; a frame that is no picture is named."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stmga.tracklets.images import read_image
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError, load_cover
from stmga.tracklets.validation import check_tracklets
from stmga.transforms import ClipTransform
from tests.support.tracklets import faults_of, noise, picture


def test_the_record_imports_without_pillow_torchvision_av():
    code = "import sys, stmga.tracklets; print(sorted({'PIL', 'torchvision', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_load_gives_the_pixels_in_the_order_asked(tmp_path):
    pixels = [noise(tmp_path / f"{i}.png", i, size=(20 + i, 40)) for i in range(4)]
    tracklet = Tracklet("a", [tmp_path / f"{i}.png" for i in range(4)])
    loaded = tracklet.load([3, 0, 3, -1])
    assert [tuple(x.shape) for x in loaded] == [(3, 40, 23), (3, 40, 20), (3, 40, 23), (3, 40, 23)]
    for x, i in zip(loaded, [3, 0, 3, 3], strict=True):
        assert x.dtype == torch.uint8
        assert x.is_contiguous()
        assert np.array_equal(x.permute(1, 2, 0).numpy(), pixels[i])
    assert len(tracklet.load()) == len(tracklet) == 4


def test_box_crops_and_is_clipped(tmp_path, caplog):
    pixels = noise(tmp_path / "a.png", size=(40, 60))
    boxes = [(5, 10, 20, 30), (-5, -5, 15, 15), (30.4, 50.6, 100, 100), (3.2, 3.2, 1, 1)]
    tracklet = Tracklet("a", [Frame(tmp_path / "a.png", box) for box in boxes])
    (tracklet,) = check_tracklets([tracklet])
    expected = [pixels[10:40, 5:25], pixels[:10, :10], pixels[51:, 30:], pixels[3:4, 3:4]]
    for x, crop in zip(tracklet.load(), expected, strict=True):
        assert np.array_equal(x.permute(1, 2, 0).numpy(), crop)
    (record,) = caplog.records  # said once for the input, with counts
    assert "2 of 4 boxes reach over the edge" in record.getMessage()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("RGBA", (10, 20, 30, 40), (10, 20, 30)),
        ("P", 0, None),
        ("1", 1, (255, 255, 255)),
        ("LA", (9, 100), (9, 9, 9)),
    ],
)
def test_every_kind_of_image_becomes_rgb(tmp_path, mode, colour, expected):
    file = picture(tmp_path / "a.png", colour, mode=mode)
    (on_disk,) = Tracklet("a", [file]).load()
    with Image.open(file) as image:
        (in_memory,) = Tracklet("a", [image]).load()
    assert on_disk.dtype == torch.uint8
    assert on_disk.shape == (3, 64, 32)
    assert torch.equal(on_disk, in_memory)
    assert expected is None or tuple(on_disk[:, 5, 5].tolist()) == expected


def test_pixels_without_a_known_range_are_refused(tmp_path):
    files = [picture(tmp_path / f"{mode[-2:]}.tif", 1, mode=mode) for mode in ("F", "I", "I;16")]
    files.append(picture(tmp_path / "16.png", 4095, mode="I;16"))  # of a camera with 12 bits, say
    in_memory = [Image.new(mode, (8, 8), 1) for mode in ("F", "I", "I;16", "I;16B")]
    for frame in (*files, *in_memory):
        (fault,) = faults_of(Tracklet("ann", [frame]).load)
        assert "no 8-bit colours" in faults_of(read_tracklets, {"ann": [frame]})[0]
        assert 'tracklet "ann"' in fault
        assert "no 8-bit colours; scale it to 0..255 by the range of its values" in fault


def test_a_record_and_a_transform_take_the_same_values():
    transform = ClipTransform(size=(8, 4))
    frames = torch.rand(1, 3, 8, 4)
    for value, good in ((1 + 9e-4, True), (-9e-4, True), (1.002, False), (-0.002, False), (1.4, False)):
        frames[0, 0, 0, 0] = value
        tracklet = Tracklet("ann", frames)
        if good:
            (loaded,) = tracklet.load()
            assert loaded[0, 0, 0] == min(max(value, 0), 1)
            assert torch.equal(transform(frames), transform([loaded]))
        else:
            assert "must be in 0..1" in faults_of(tracklet.load)[0]
            with pytest.raises(ValueError, match=r"must be in 0\.\.1"):
                transform(frames)
        assert frames[0, 0, 0, 0] == torch.tensor(value)  # the user's tensor stays as it is


def test_clipping_is_said_once_when_nothing_was_checked(tmp_path, caplog):
    picture(tmp_path / "a.png", size=(40, 60))
    boxes = [(0, 0, 40, 60), (-5, -5, 15, 15), (30, 50, 100, 100)]
    frames = [Frame(tmp_path / "a.png", box) for box in boxes]
    (tracklet,) = read_tracklets({"ann": frames}, check_files=False)
    assert caplog.records == []
    tracklet.load([0])
    assert caplog.records == []
    tracklet.load()
    tracklet.load()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == 'tracklet "ann": boxes reach over the edge and are clipped; first: frame 1'
    assert load_cover(tracklet.row()).size == (10, 10)
    assert len(caplog.records) == 1


def test_pixels_in_memory_agree_whatever_holds_them():
    array = np.random.default_rng(0).integers(0, 256, (3, 40, 20, 3), dtype=np.uint8)
    array.flags.writeable = False
    kinds = {
        "array": array,
        "tensor": torch.tensor(array).permute(0, 3, 1, 2),
        "images": [Image.fromarray(frame) for frame in array],
        "arrays": list(array),
        "tensors": list(torch.tensor(array).permute(0, 3, 1, 2)),
    }
    loaded = {tracklet.id: tracklet.load() for tracklet in read_tracklets(kinds)}
    for frames in loaded.values():
        assert all(torch.equal(a, b) for a, b in zip(frames, loaded["array"], strict=True))
    loaded["array"][0].zero_()  # a copy: the user's array stays as it is
    assert array[0].any()


def test_float_frames_stay_float_and_nonsense_is_refused():
    good = torch.rand(2, 3, 8, 4, dtype=torch.float64)
    (tracklet,) = read_tracklets([good])
    assert tracklet.id == "0"
    assert torch.equal(tracklet.load()[1], good[1])
    assert tracklet.load()[1].dtype == torch.float64
    nonsense = {float("nan"): "NaN", float("inf"): "NaN or infinite", 255.0: "..255", -2.1: "normalised"}
    for bad, words in nonsense.items():
        frames = good.clone()
        frames[1, 2, 3, 3] = bad
        tracklet = Tracklet("ann", frames)
        assert len(tracklet.load([0])) == 1
        (fault,) = faults_of(tracklet.load)
        assert 'tracklet "ann": frame 1' in fault
        assert words in fault


def test_frames_of_one_video_say_when(tmp_path):
    a, b = tmp_path / "a.mp4", tmp_path / "b.mp4"
    row = Tracklet("t", [Frame(a, index=7), Frame(a, (0, 0, 4, 4), 3)]).row()
    assert (row["video"], row["start"], row["end"]) == (str(a), 3, 7)
    assert "video" not in Tracklet("t", [Frame(a, index=7), Frame(b, index=8)]).row()
    assert "video" not in Tracklet("t", [Frame(a)]).row()
    own = Tracklet("t", [Frame(a, index=7)], extra={"video": "mine"})
    assert own.row()["video"] == "mine"
    assert own.labels() == {"tracklet": "t", "person": None, "camera": None, "video": "mine"}


def test_row_and_cover(tmp_path, monkeypatch):
    files = [picture(tmp_path / f"{i}.png", (i, 0, 0)) for i in range(3)]
    monkeypatch.chdir(tmp_path)
    frames = [Path("0.png"), Frame(Path("1.png"), (2, 3, 10, 20)), "2.png"]
    tracklet = Tracklet("a", frames, person=np.int64(5), camera="door", time=1.5, extra={"role": "query"})
    row = json.loads(json.dumps(tracklet.row()))
    cover = {"file": str(files[1]), "box": [2, 3, 10, 20]}
    assert row == {"tracklet": "a", "person": 5, "camera": "door", "time": 1.5, "role": "query", "cover": cover}
    monkeypatch.chdir("/")
    image = load_cover(row)
    assert image.size == (10, 20)
    assert image.getpixel((0, 0)) == (1, 0, 0)
    in_memory = Tracklet("b", np.zeros((2, 4, 4, 3), np.uint8)).row()
    assert in_memory == {"tracklet": "b", "person": None, "camera": None}
    assert load_cover(in_memory) is None
    files[1].unlink()
    assert "1.png" in faults_of(load_cover, row)[0]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"quality": 30, "progressive": True}, {"quality": 100, "subsampling": 0}])
def test_a_jpeg_has_the_pixels_that_pillow_sees(tmp_path, mode, options):
    for i, (height, width) in enumerate([(128, 64), (33, 17), (1, 1)]):
        coarse = np.random.default_rng(i).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
        file = tmp_path / f"{i}.jpg"
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(file, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = read_image(file)
        with Image.open(file) as image:
            assert np.array_equal(found, np.asarray(image.convert("RGB")))


def test_pillow_decodes_where_torchvision_does_not(tmp_path, monkeypatch):
    noise(tmp_path / "a.jpg")
    before = read_image(tmp_path / "a.jpg")
    monkeypatch.delattr("torchvision.io.decode_jpeg")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), before)


def test_truncated_image_passes_the_check_and_is_named_when_loaded(tmp_path):
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    noise(good)
    bad.write_bytes(good.read_bytes()[:-500])
    (tracklet,) = read_tracklets({"ann": [good, bad]})
    assert len(tracklet.load([0])) == 1
    (fault,) = faults_of(tracklet.load)
    assert 'tracklet "ann"' in fault
    assert str(bad) in fault
    assert "truncated" in fault


def test_error_survives_worker_processes_and_lists_twenty():
    error = pickle.loads(pickle.dumps(TrackletError([f"fault {i}" for i in range(1234)])))
    assert len(error.faults) == 1234
    lines = str(error).splitlines()
    assert lines[0] == "1,234 faults in the tracklets:"
    assert lines[-1].strip() == "... and 1,214 more"
    assert len(lines) == 22
    tracklet = pickle.loads(pickle.dumps(Tracklet("a", [Frame(Path("x.jpg"), (1, 2, 3, 4))], camera=3)))
    assert tracklet.frames == (Frame(Path("x.jpg"), (1, 2, 3, 4)),)
