"""Which image is frame n: the one number that varies counts; strays are named; what is ambiguous is an error."""

from __future__ import annotations

import pytest
from PIL import Image

from stmga.tracklets.mot import read_mot
from stmga.tracklets.tracklet import TrackletError


def asked(folder, names, *numbers, **options):
    """The images that a track in the frames `numbers` gets."""
    (folder / "img").mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", (32, 64)).save(folder / "img" / name)
    tracks = folder / "t.txt"
    tracks.write_text("".join(f"{n},1,0,0,9,9,1\n" for n in numbers))
    (tracklet,) = read_mot(tracks, folder / "img", **options)
    return [frame.file.name for frame in tracklet.frames]


@pytest.mark.parametrize(
    ("names", "numbers", "expected"),
    [
        ([f"cam1_{n:06d}.jpg" for n in range(5, 55, 5)], (5, 10), ["cam1_000005.jpg", "cam1_000010.jpg"]),
        ([f"MOT17-02_{n:06d}.jpg" for n in range(1, 8)], (5,), ["MOT17-02_000005.jpg"]),
        (["0003_frame.jpg", "0004_frame.jpg"], (4,), ["0004_frame.jpg"]),
        (["v2-0009-1080p.png", "v2-0010-1080p.png"], (9, 10), ["v2-0009-1080p.png", "v2-0010-1080p.png"]),
        (["7.jpg"], (7,), ["7.jpg"]),
    ],
)
def test_the_number_that_varies_counts(tmp_path, caplog, names, numbers, expected):
    assert asked(tmp_path, names, *numbers) == expected
    assert caplog.records == []


@pytest.mark.parametrize(
    "stray", ["background.jpg", "000003 (1).jpg", "000003_mask.jpg", "000003 - Copy.jpg", "000003.png"]
)
def test_strays_are_left_out_and_named(tmp_path, caplog, stray):
    names = [f"{n:06d}.jpg" for n in range(1, 6)]
    assert asked(tmp_path, [*names, stray], 2, 3) == ["000002.jpg", "000003.jpg"]
    (record,) = caplog.records
    assert "1 image left out" in record.getMessage()
    assert record.getMessage().endswith(f": {stray}")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["x9.png", "x10.png", "y1.png"], "images of several kinds"),
        (["000001_rgb.jpg", "000001_ir.jpg", "000002_rgb.jpg", "000002_ir.jpg"], "images of several kinds"),
        (["cam1_01.jpg", "cam1_02.jpg", "cam2_01.jpg", "cam2_02.jpg"], "more than one number"),
        (["01_170001.jpg", "02_170042.jpg"], "more than one number"),
        (["MOT17-02_000005.jpg"], "which number"),
        (["1.jpg", "1.png", "2.jpg", "2.png"], "frame 1 has 2 images, 1.jpg, 1.png"),
        (["1.jpg", "01.jpg", "2.jpg"], "frame 1 has 2 images"),
        (["a.jpg", "b.jpg", "c2.jpg"], "images of several kinds"),
    ],
)
def test_what_is_ambiguous_is_an_error_that_says_what_to_do(tmp_path, words, names):
    with pytest.raises(TrackletError, match=words) as caught:
        asked(tmp_path, names, 1)
    assert "keep one" in str(caught.value) or "name the images of one camera by their frame number" in str(caught.value)


def test_names_without_numbers_are_taken_in_order_and_this_is_said(tmp_path, caplog):
    assert asked(tmp_path, ["a.png", "c.png", "d.png"], 1, 3) == ["a.png", "d.png"]
    assert "no numbers in their names: frame 1 is a.png" in caplog.text


def test_a_tracker_that_saw_every_fifth_frame(tmp_path):
    names = [f"{n:04d}.jpg" for n in range(1, 27)]
    assert asked(tmp_path, names, 1, 2, 6, stride=5) == ["0001.jpg", "0006.jpg", "0026.jpg"]
    assert asked(tmp_path, names, 0, 1, first_index=0, stride=5) == ["0001.jpg", "0006.jpg"]
    with pytest.raises(TrackletError, match="no image for frame 7"):
        asked(tmp_path, names, 1, 7, stride=5)
    with pytest.raises(ValueError, match="stride must be an integer >= 1, got 0"):
        asked(tmp_path, names, 1, stride=0)


def test_a_folder_without_images_says_what_it_has(tmp_path):
    (tmp_path / "img" / "img1").mkdir(parents=True)
    (tmp_path / "img" / "000001.heic").write_bytes(b"heic")
    with pytest.raises(TrackletError, match=r"has no images \(it has 1 \.heic\); convert them to JPEG or PNG"):
        asked(tmp_path, [], 1)
    Image.new("RGB", (32, 64)).save(tmp_path / "img" / "img1" / "000001.jpg")
    with pytest.raises(TrackletError, match=r"has no images, but its folder img1 has: pass .*img1$"):
        asked(tmp_path, [], 1)
