"""Pictures come out upright: every EXIF orientation, in every format, against Pillow's own turning."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from stmga.embedding.jpeg import encoded_frames
from stmga.tracklets.images import decoded, image_size, read_image
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.orientation import ORIENTATION, matrix_orientation, upright
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet
from tests.support.tracklets import faults_of, manifest

RED = (250, 20, 20)


def photo(orientation: int | None, suffix: str = "JPEG") -> bytes:
    """40 x 24 pixels as stored, no two corners alike."""
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:8, :16], pixels[:8, 24:], pixels[16:, :16] = RED, (20, 250, 20), (20, 20, 250)
    exif, out = Image.Exif(), io.BytesIO()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(out, suffix, exif=exif, **({} if suffix == "PNG" else {"quality": 95}))
    return out.getvalue()


def expected(data: bytes) -> np.ndarray:
    """What Pillow makes of it; its JPEG decoder gives the numbers that torchvision's gives."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_block_says(tmp_path, suffix, orientation):
    file = tmp_path / f"photo.{suffix.lower()}"
    file.write_bytes(photo(orientation, suffix))
    pixels = read_image(file)
    assert np.array_equal(pixels, expected(file.read_bytes()))
    assert image_size(file) == pixels.shape[1::-1] == ((24, 40) if orientation > 4 else (40, 24))
    assert (abs(pixels.astype(int) - RED).max(-1) < 40).sum() > 100  # and it is the picture that was drawn


@pytest.mark.parametrize("orientation", [0, 9, 2**16 - 1, None])
def test_a_tag_without_meaning_is_passed_over(orientation):
    assert np.array_equal(decoded(photo(orientation)), decoded(photo(1)))


def test_a_block_that_cannot_be_read_is_passed_over():
    data = photo(6)
    start = data.index(b"Exif\0\0") + 6
    broken = data[:start] + bytes(8) + data[start + 8 :]  # no byte order, no offset
    assert np.array_equal(decoded(broken), decoded(photo(1)))


def test_pillow_alone_turns_them_too(monkeypatch):
    before = decoded(photo(6))
    monkeypatch.delattr("torchvision.io.decode_jpeg")
    assert np.array_equal(decoded(photo(6)), before)


def test_boxes_are_in_the_upright_picture(tmp_path):
    """A photo stored on its side: its red block is in the upper right corner of what a detector saw."""
    (tmp_path / "photo.jpg").write_bytes(photo(6))
    box = [16, 0, 8, 16]
    index = manifest(tmp_path, {"tracklet": "a", "frames": [{"file": "photo.jpg", "box": box}]})
    (crop,) = read_manifest(index)[0].load()
    assert crop.shape == (3, 16, 8)
    assert abs(crop.float().mean((1, 2)) - crop.new_tensor(RED)).max() < 25
    low = manifest(tmp_path, {"tracklet": "a", "frames": [{"file": "photo.jpg", "box": [0, 30, 9, 9]}]})
    assert read_manifest(low)[0].load()[0].shape == (3, 9, 9)  # inside, though below the 24 rows that are stored
    right = manifest(tmp_path, {"tracklet": "a", "frames": [{"file": "photo.jpg", "box": [30, 0, 9, 9]}]})
    (fault,) = faults_of(read_manifest, right)
    assert "is outside" in fault and "24 x 40 pixels" in fault


def test_images_in_memory_are_turned_once():
    opened = Image.open(io.BytesIO(photo(6)))
    turned, made = ImageOps.exif_transpose(opened), opened.rotate(-90, expand=True)
    (tracklet,) = read_tracklets({"a": [opened, turned, made]})
    loaded = tracklet.load()
    assert [tuple(pixels.shape) for pixels in loaded] == [(3, 40, 24)] * 3
    assert all((pixels == loaded[0]).all() for pixels in loaded)


def test_only_upright_jpeg_files_travel_to_the_device(tmp_path):
    """nvJPEG does not look at EXIF: a turned file is decoded on the host, which does."""
    kept = []
    for orientation in range(1, 9):
        file = Path(tmp_path / f"{orientation}.jpg")
        file.write_bytes(photo(orientation))
        if encoded_frames(Tracklet("a", [Frame(file)]), [0], 10_000):
            kept.append(orientation)
    assert kept == [1]


@pytest.mark.parametrize(
    ("matrix", "orientation"),
    [
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), 1),
        ((0, 65536, 0, -65536, 0, 0, 70778880, 0, 2**30), 6),  # a phone held upright
        ((0, -65536, 0, 65536, 0, 0, 0, 0, 2**30), 8),
        ((-65536, 0, 0, 0, -65536, 0, 0, 0, 2**30), 3),
        ((-65536, 0, 0, 0, 65536, 0, 0, 0, 2**30), 2),  # mirrored, as by the front camera
        ((46341, 46341, 0, -46341, 46341, 0, 0, 0, 2**30), 1),  # an eighth of a turn: as it is stored
        ((0,) * 9, 1),
    ],
)
def test_a_display_matrix_as_an_exif_number(matrix, orientation):
    assert matrix_orientation(matrix) == orientation
    a, b, _, c, d = np.sign(matrix[:5]) if orientation > 1 else (1, 0, 0, 0, 1)
    pixels = np.arange(12).reshape(3, 4, 1)
    turned = upright(pixels, orientation)
    corner = [(a * x + c * y, b * x + d * y) for x, y in ((0, 0), (3, 0), (0, 2), (3, 2))]
    left, top = (min(place[i] for place in corner) for i in (0, 1))
    for y in range(3):
        for x in range(4):
            assert turned[b * x + d * y - top, a * x + c * y - left] == pixels[y, x]
