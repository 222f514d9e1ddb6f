"""Image files whose end is missing or zeroed are named, and what follows a whole picture is passed over."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, features

from stmga.embedding.jpeg import encoded_frames
from stmga.tracklets.image_ends import check_jpeg
from stmga.tracklets.images import decoded
from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet, load_cover
from tests.support.tracklets import faults_of

JPEG = {
    "baseline": {},
    "optimised": {"optimize": True, "subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "exif": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"},
}
SHARES = (0.3, 0.5, 0.8, 0.95, 0.99)
CUTS = [".png", ".gif", ".tif", ".bmp", ".ppm", ".webp", ".tga"]  # a missing end
ZEROED = [".png", ".gif", ".webp"]  # a zeroed end; uncompressed, it is black pixels


def photo(size: tuple[int, int] = (72, 136)) -> Image.Image:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (9, 5, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.int16)
    return Image.fromarray((smooth + rng.integers(-9, 9, smooth.shape)).clip(0, 255).astype(np.uint8))


def bytes_of(image: Image.Image, suffix: str = ".jpg", **options) -> bytes:
    if suffix == ".webp" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    out = io.BytesIO()
    image.save(out, Image.registered_extensions()[suffix], **options)
    return out.getvalue()


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def zeroed(data: bytes, share: float) -> bytes:
    return cut(data, share).ljust(len(data), b"\0")


def ended(data: bytes, share: float) -> bytes:
    """Cut, and an end marker written behind it, as some tools repair files."""
    return cut(data, share) + b"\xff\xd9"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", JPEG.values(), ids=JPEG)
@pytest.mark.parametrize("damage", [cut, zeroed, ended])
def test_a_jpeg_that_is_not_whole_is_named(tmp_path, damage, options, mode):
    data = bytes_of(photo().convert(mode), **options)
    if damage is ended and mode == "CMYK":
        pytest.skip("only Pillow decodes it, and what it fills in is not known")
    decoded(data)
    # Where only a part of the last scan is missing, detail is, and no decoder says so.
    late = damage is ended and "progressive" in options
    for share in SHARES[:2] if late else SHARES:
        file = tmp_path / f"{share}.jpg"
        file.write_bytes(damage(data, share))
        (fault,) = faults_of(Tracklet("ann", [file]).load)
        assert f'tracklet "ann": cannot read {file}: ' in fault
        assert "truncated" in fault, (share, fault)


@pytest.mark.parametrize("options", JPEG.values(), ids=JPEG)
def test_every_place_where_a_jpeg_may_end(options):
    """A byte that is missing anywhere in the file is noticed, and no other error comes out of it."""
    data = bytes_of(photo((24, 40)), **options)
    for length in range(3, len(data)):
        for damaged in (data[:length], data[:length].ljust(len(data), b"\0")):
            with pytest.raises(ValueError, match="truncated"):
                check_jpeg(damaged, MAX_PIXELS)


@pytest.mark.parametrize("options", JPEG.values(), ids=JPEG)
@pytest.mark.parametrize("tail", [bytes(5000), b"\xff\xd8\xff garbage \xff\xda", b"\r\n", b"\xff"])
def test_what_follows_a_whole_jpeg_is_passed_over(options, tail):
    data = bytes_of(photo(), **options)
    assert np.array_equal(decoded(data + tail), decoded(data))


def test_a_thumbnail_ends_nothing():
    """A JPEG file within the EXIF block has an end marker of its own."""
    data = bytes_of(photo())
    small = b"Exif\0\0" + bytes_of(photo((16, 16)))
    holder = data[:2] + b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small + data[2:]
    assert np.array_equal(decoded(holder), decoded(data))
    with pytest.raises(ValueError, match="truncated"):
        decoded(holder[:-200])


@pytest.mark.parametrize("grey", [127, 128, 129])
@pytest.mark.parametrize("options", JPEG.values(), ids=JPEG)
def test_grey_pictures_are_whole(options, grey):
    """What libjpeg fills missing data with is a colour that pictures may have."""
    for mode in ("RGB", "L"):
        colour = grey if mode == "L" else (grey,) * 3
        found = decoded(bytes_of(Image.new(mode, (40, 24), colour), **options))
        assert np.abs(found.astype(int) - grey).max() <= 1
    mixed = photo()
    mixed.paste((grey,) * 3, (0, 60, 72, 136))
    decoded(bytes_of(mixed, **options))


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("suffix", CUTS)
def test_other_formats_that_end_early(tmp_path, monkeypatch, suffix, flag):
    """Also where the process has told Pillow to load such files; its setting stays."""
    data = bytes_of(photo(), suffix)
    file = tmp_path / f"a{suffix}"
    file.write_bytes(data)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", flag)
    (whole,) = Tracklet("ann", [file]).load()
    for share in SHARES:
        file.write_bytes(cut(data, share))
        (fault,) = faults_of(Tracklet("ann", [file]).load)
        assert f'tracklet "ann": cannot read {file}: ' in fault
    assert ImageFile.LOAD_TRUNCATED_IMAGES is flag
    if suffix != ".gif":
        file.write_bytes(data + bytes(3000))
        assert torch.equal(Tracklet("ann", [file]).load()[0], whole)


@pytest.mark.parametrize("options", [{}, {"lossless": True}])
@pytest.mark.parametrize("suffix", ZEROED)
def test_other_formats_whose_end_is_zeroed(suffix, options):
    data = bytes_of(photo(), suffix, **options if suffix == ".webp" else {})
    for share in (0.3, 0.5, 0.8, 0.9):
        with pytest.raises((ValueError, OSError)) as caught:
            decoded(zeroed(data, share))
        assert suffix != ".png" or "truncated" in str(caught.value)


@pytest.mark.parametrize("size", [(64, 128), (1920, 1080)])
def test_webp_of_one_colour_is_whole(size):
    for colour in ((0, 0, 0), (128, 128, 128), (200, 30, 60)):
        for options in ({"quality": 80}, {"quality": 1}, {"lossless": True}):
            assert decoded(bytes_of(Image.new("RGB", size, colour), ".webp", **options)).shape == (*size[::-1], 3)


def test_every_path_names_it(tmp_path: Path):
    """Spans, boxes, covers, images in memory, and the encoded files that a device decodes."""
    good = bytes_of(photo())
    bad = zeroed(good, 0.6)
    file = tmp_path / "shard.bin"
    file.write_bytes(good + bad)
    spans = [Frame(file, None, None, (0, len(good))), Frame(file, (0, 0, 8, 8), None, (len(good), len(bad)))]
    tracklet = Tracklet("ann", spans)
    assert len(tracklet.load([0])) == 1
    for call in (tracklet.load, lambda: load_cover(tracklet.row())):
        assert "truncated" in faults_of(call)[0]
    assert encoded_frames(Tracklet("ann", spans[:1]), [0], MAX_PIXELS) is not None
    assert encoded_frames(Tracklet("ann", [Frame(file, None, None, spans[1].span)]), [0], MAX_PIXELS) is None
    for data in (bad, zeroed(bytes_of(photo(), ".png"), 0.6)):
        with Image.open(io.BytesIO(data)) as image:
            assert "truncated" in faults_of(Tracklet("ann", [image]).load)[0]
    with Image.open(io.BytesIO(good)) as image:
        first, second = Tracklet("ann", [image, image]).load()
        assert torch.equal(first, second) and np.array_equal(first.permute(1, 2, 0), decoded(good))


def test_a_whole_picture_that_ends_in_grey_is_read_without_a_word(tmp_path, capfd):
    file = tmp_path / "grey.jpg"
    Image.new("RGB", (32, 64), (128, 128, 128)).save(file)
    assert decoded(file.read_bytes())[-1, -1].tolist() == [128, 128, 128]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_a_file_of_several_pictures_is_refused(tmp_path, form):
    """Nobody said which of them is the frame."""
    pictures = [Image.new("RGB", (8, 16), (80 * i, 9, 9)) for i in range(3)]
    for count in (1, 3):
        file = tmp_path / f"{count}.{form.lower()}"
        pictures[0].save(file, form, save_all=True, append_images=pictures[1:count])
    assert Tracklet("one", [tmp_path / f"1.{form.lower()}"]).load()[0].shape == (3, 16, 8)
    several = Tracklet("several", [tmp_path / f"3.{form.lower()}"])
    words = f"the {form} file holds several pictures"
    assert words in faults_of(several.load)[0]
    assert words in faults_of(lambda: load_cover(several.row()))[0]
    assert words in faults_of(read_tracklets, [several])[0]


def test_a_camera_s_file_of_several_pictures_is_its_first(tmp_path):
    pictures = [Image.new("RGB", (8, 16), (80 * i, 9, 9)) for i in range(2)]
    pictures[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=pictures[1:])
    assert Tracklet("a", [tmp_path / "a.jpg"]).load()[0][0].max() < 20  # red is 80 in the second
