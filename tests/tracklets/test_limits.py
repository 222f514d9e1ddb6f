"""What is too large, or no regular file, is refused before anything is decoded, on every path."""

import io
import json
import os
import resource
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from stmga.data.packing import pack
from stmga.embedding.jpeg import encoded_frames
from stmga.tracklets.images import image_size, read_image
from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.mot import read_mot
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError, load_cover
from tests.support.paths import ROOT
from tests.support.tracklets import faults_of, manifest, picture
from tests.support.videos import video_of

LARGE = 65_500
ADVICE = "scale it down, or read the tracklets with max_pixels="
TOO_MANY = f"{LARGE} x {LARGE} pixels are more than the limit of 64,000,000; {ADVICE}"


def jpeg_bomb() -> bytes:
    """A small JPEG file whose header says 65,500 x 65,500."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "JPEG")
    data = bytearray(out.getvalue())
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", LARGE, LARGE)
    return bytes(data)


def png_bomb(width: int = LARGE, height: int = LARGE) -> bytes:
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT": zlib.compress(b""), b"IEND": b""}
    whole = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks.items()]
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def bmp_bomb() -> bytes:
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, LARGE, LARGE, 1, 24, *[0] * 6)


@pytest.mark.parametrize("bomb", [jpeg_bomb, png_bomb, bmp_bomb])
def test_a_small_file_of_a_huge_picture(tmp_path, bomb):
    data = bomb()
    file = tmp_path / "a.jpg"
    file.write_bytes(data)
    whole, span = Tracklet("ann", [file]), Tracklet("ann", [Frame(file, None, None, (0, len(data)))])
    pixels = "pixels than|" + TOO_MANY.replace("(", r"\(")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for call in (
        lambda: read_tracklets({"ann": [file]}),
        whole.load,
        span.load,
        lambda: load_cover(whole.row()),
        lambda: load_cover(span.row()),
    ):
        with pytest.raises(TrackletError, match=pixels) as caught:
            call()
        assert "64,000,000" in str(caught.value) and "a.jpg" in str(caught.value)
    assert encoded_frames(whole, [0], 4 * 64 * 128) is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


def test_a_picture_in_memory(tmp_path):
    (tmp_path / "a.png").write_bytes(png_bomb(9000, 9000))
    image = Image.open(tmp_path / "a.png")
    small = torch.zeros(3, 1, 1, dtype=torch.uint8)
    for frame in (image, small.expand(3, 8001, 8000), np.broadcast_to(np.uint8(0), (8001, 8000, 3))):
        assert "pixels are more than the limit of 64,000,000" in faults_of(Tracklet("ann", [frame]).load)[0]
        assert "pixels are more than the limit of 64,000,000" in faults_of(read_tracklets, {"ann": [frame]})[0]
    assert "64,000,000" in faults_of(read_tracklets, {"ann": small.expand(2, 3, 8001, 8000)})[0]
    image.close()


def test_the_limit_is_the_callers(tmp_path):
    """It goes from the reader to what loads, and a limit that is raised is named by the message."""
    file = picture(tmp_path / "p" / "a.png", size=(20, 30))
    rows = manifest(tmp_path, {"tracklet": "ann", "frames": ["p/a.png"]})
    (tmp_path / "t.txt").write_text("1,1,0,0,5,5,1\n")
    for read in (
        lambda **limit: read_tracklets(tmp_path, **limit),
        lambda **limit: read_tracklets(rows, **limit),
        lambda **limit: read_tracklets({"ann": [file]}, **limit),
        lambda **limit: read_tracklets([Tracklet("ann", [file])], **limit),
        lambda **limit: read_mot(tmp_path / "t.txt", tmp_path / "p", **limit),
    ):
        assert read()[0].max_pixels == MAX_PIXELS
        assert (
            "20 x 30 pixels are more than the limit of 599; scale it down, or read the tracklets with max_pixels=600"
            in str(faults_of(read, max_pixels=599))
        )
        assert len(read(max_pixels=600)[0].load()) == 1
        unchecked = read(max_pixels=599, check_files=False)
        assert "limit of 599" in faults_of(unchecked[0].load)[0]
    assert read_image(file, None, 600).shape == (30, 20, 3)
    assert "limit of 599" in faults_of(load_cover, Tracklet("ann", [file]).row(), max_pixels=599)[0]


def test_a_tile_of_a_tiff_file_may_be_larger_than_its_picture(tmp_path):
    file = tmp_path / "a.tif"
    Image.new("RGB", (8, 8)).save(file, tiffinfo={65000: LARGE, 65001: LARGE})
    data = file.read_bytes()
    for ours, tag in ((65000, 322), (65001, 323)):  # Pillow writes no tiles
        data = data.replace(struct.pack("<H", ours), struct.pack("<H", tag))
    file.write_bytes(data)
    with Image.open(file) as image:
        assert image.tag_v2.get(322) == LARGE
    for read in (image_size, read_image):
        with pytest.raises(ValueError, match="limit of 64,000,000"):
            read(file)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff" + b"\xff" * 10**6,  # filling
        b"P6\n#" + b"a" * 10**6 + b"\n2 2 255\n" + b"a" * 12,
        b"GIF89a\x10\x00\x10\x00\x00\x00\x00" + (b"!\xfe\xff" + b"c" * 255 + b"\x00") * 20_000,
    ],
    ids=["jpeg", "ppm", "gif"],
)
def test_a_header_that_does_not_end(tmp_path, data):
    file = tmp_path / "a.jpg"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="its header does not end"):
        image_size(file)
    with pytest.raises(ValueError, match="damaged"):
        read_image(file)


@pytest.mark.parametrize(
    "head",
    [
        b"\xff\xd8\xff",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"P6\n#",
        b"\x89PNG\r\n\x1a\n\x7f\xff\xff\xffiTXt",
        b"GIF89a\x10\x00\x10\x00\x00\x00\x00",
        b"II*\x00\x08\x00\x00\x00\x01\x00\x11\x01\x04\x00\xff\xff\xff\x3f\x20\x00\x00\x00",
    ],
    ids=["jpeg", "webp", "ppm", "png", "gif", "tiff"],
)
def test_the_size_of_a_picture_in_a_file_of_too_many_bytes(tmp_path, head):
    file = tmp_path / "a.jpg"
    with open(file, "wb") as out:
        out.write(head)
        out.truncate(1 << 40)
    with pytest.raises(OSError, match="1,099,511,627,776 bytes, and at most 545,554,432"):
        image_size(file)
    assert (
        "1,099,511,627,776 bytes"
        in faults_of(read_tracklets, manifest(tmp_path, {"tracklet": "a", "frames": ["a.jpg"]}))[0]
    )


def test_files_of_too_many_bytes(tmp_path):
    file = tmp_path / "a.jpg"
    with open(file, "wb") as out:
        out.write(b"\xff\xd8\xff")
        out.truncate(1 << 40)
    for frame in (Frame(file), Frame(file, None, None, (0, 1 << 39))):
        assert "545,554,432" in faults_of(Tracklet("ann", [frame]).load)[0]
    for name in ("a.jsonl", "a.txt"):
        with open(tmp_path / name, "wb") as out:
            out.truncate(1 << 40)
    assert "at most" in str(faults_of(read_tracklets, tmp_path / "a.jsonl"))
    assert "at most" in str(faults_of(read_mot, tmp_path / "a.txt", tmp_path))


SCRIPT = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from pathlib import Path
from stmga.data.packing import pack
from stmga.tracklets.mot import read_mot
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet, load_cover
file, folder = Path(sys.argv[1]), Path(sys.argv[2])
whole, span = Tracklet("a", [file]), Tracklet("a", [Frame(file, None, None, (0, 9))])
video = Tracklet("a", [Frame(file, None, 3)])
(folder / "t.txt").write_text("1,1,0,0,5,5,1\\n")
calls = {
    "checked": lambda: read_tracklets([whole]), "checked span": lambda: read_tracklets([span]),
    "checked video": lambda: read_tracklets([video]), "image": whole.load, "span": span.load, "video": video.load,
    "cover": lambda: load_cover(whole.row()), "cover of a video": lambda: load_cover(video.row()),
    "track file": lambda: read_mot(file, folder), "video of tracks": lambda: read_mot(folder / "t.txt", file),
    "pack": lambda: pack([whole], folder / "packed"),
}
if file.suffix == ".jsonl":
    calls = {"manifest": lambda: read_tracklets(file)}
for name, call in calls.items():
    try:
        call()
    except ValueError as error:
        print(json.dumps([name, str(error)]))
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
@pytest.mark.parametrize("suffix", [".jpg", ".jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_neither_hang_nor_eat_memory(tmp_path, kind, suffix):
    pytest.importorskip("av")
    file = tmp_path / f"a{suffix}"
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    command = [sys.executable, "-c", SCRIPT, str(file), str(tmp_path)]
    out = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=120, text=True
    )
    found = dict(json.loads(line) for line in out.stdout.splitlines())
    assert not out.stderr and len(found) == (1 if suffix == ".jsonl" else 11), (found, out.stderr[-2000:])
    for name, message in found.items():
        expected = "does not exist; expected a folder" if name == "video of tracks" else "regular file"
        assert expected in message, (name, message)


def test_formats_that_run_programs_are_not_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    for fault in (
        faults_of(read_tracklets, {"ann": [tmp_path / "a.jpg"]}),
        faults_of(Tracklet("a", [tmp_path / "a.jpg"]).load),
    ):
        assert "files of the format EPS are not read; convert it to PNG or JPEG" in fault[0]


def test_the_limit_of_videos(tmp_path):
    av = pytest.importorskip("av")
    from stmga.tracklets import video

    small = video_of(tmp_path / "small.mp4", range(5), "mpeg4")
    large = Tracklet("ann", [Frame(small, None, 2)], max_pixels=96 * 64 - 1)
    for call in (large.load, lambda: read_tracklets([large]), lambda: load_cover(large.row(), max_pixels=6143)):
        (fault,) = faults_of(call)
        assert "limit of 6,143; scale it down, or read the tracklets with " in fault and "small.mp4" in fault
    assert len(Tracklet("ann", [Frame(small, None, 2)], max_pixels=6144).load()) == 1
    assert av and video.video_size(small, 6144)[:2] == (96, 64)


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "h264"), ("mjpeg", "mjpeg"), ("mpeg2video", "m2v")])
def test_pictures_that_grow_on_the_way(tmp_path, codec, suffix):
    """They are an error: passed over like damaged ones, they would shift the numbers of all that follow."""
    av = pytest.importorskip("av")
    from stmga.tracklets import video

    def stream(name: str, width: int, height: int) -> bytes:
        with av.open(str(tmp_path / name), "w") as out:
            track = out.add_stream(codec, rate=25)
            track.width, track.height = width, height
            track.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for _ in range(3):
                out.mux(
                    track.encode(av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24"))
                )
            out.mux(track.encode())
        return (tmp_path / name).read_bytes()

    file = tmp_path / f"mixed.{suffix}"
    file.write_bytes(stream(f"s.{suffix}", 96, 64) + stream(f"l.{suffix}", 640, 480) + stream(f"t.{suffix}", 96, 64))
    everything = len(dict(video.decode(file, range(7))))
    assert everything == 7
    with pytest.raises(video.VideoError, match="has a picture of more pixels than the limit of 100,000"):
        list(video.decode(file, range(7), 100_000))


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile small.mp4\n", "#EXTM3U\n#EXTINF:1,\nsmall.mp4\n"])
def test_a_list_of_other_files_is_no_video(tmp_path, text):
    pytest.importorskip("av")
    video_of(tmp_path / "small.mp4", range(5), "mpeg4")
    file = tmp_path / "list.mp4"
    file.write_text(text)
    assert "list.mp4" in faults_of(Tracklet("ann", [Frame(file, None, 2)]).load)[0]
    assert "list.mp4" in faults_of(read_tracklets, {"ann": [Frame(file, None, 2)]})[0]


def test_a_pack_of_large_pictures(tmp_path):
    """Packing copies bytes and decodes nothing; what is loaded from the pack has the limit."""
    file = picture(tmp_path / "a.png", size=(20, 30))
    packed = pack([Tracklet("ann", [file])], tmp_path / "packed")
    assert "limit of 599" in faults_of(read_tracklets(packed, max_pixels=599)[0].load)[0]
    assert len(read_tracklets(packed, max_pixels=600)[0].load()) == 1
