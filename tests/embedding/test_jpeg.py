"""JPEG files decoded where the network computes; here on the CPU, which gives the same by another code path."""

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stmga.config import STMGAConfig
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.jpeg import Encoded, decode, encoded_frames, require_decoder
from stmga.model import STMGA
from stmga.tracklets.images import decoded
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.transforms import ClipTransform

TINY = STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=4)
CPU = torch.device("cpu")
MOST = 4 * 64 * 32  # pixels of a frame that travels


def picture(seed: int, size: tuple[int, int] = (48, 24)) -> Image.Image:
    """Smooth colours, which JPEG keeps."""
    small = np.random.default_rng(seed).integers(256, size=(6, 3, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


@pytest.fixture
def tracklets(tmp_path: Path) -> list[Tracklet]:
    """JPEG files of two sizes, a grey one, a PNG file, a frame with a box: of all kinds there are."""
    files = []
    for i in range(9):
        image = picture(i, (48, 24) if i < 6 else (80, 40))
        files.append(tmp_path / f"{i}.{'png' if i == 5 else 'jpg'}")
        (image.convert("L") if i == 2 else image).save(files[-1])
    boxed = [Frame(file, box=(2, 3, 10, 20)) for file in files[:2]]
    return [
        Tracklet("a", files[:3]), Tracklet("png", files[4:6]), Tracklet("large", files[6:]), Tracklet("box", boxed),
        Tracklet("mixed", [files[0], files[7]]),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> STMGA:
    torch.manual_seed(0)
    return STMGA(TINY).eval()


def on_the_device(model: STMGA, **options) -> TrackletEmbedder:
    """An embedder that decodes where it computes; of the CPU it is not offered, because nothing would be gained."""
    embedder = TrackletEmbedder(model, **options)
    embedder.decode = "device"
    return embedder


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("workers", [0, 2])
def test_vectors_are_those_of_the_host(model, tracklets, batch_size, workers, caplog):
    caplog.set_level("INFO")
    expected = TrackletEmbedder(model)(tracklets)
    found = on_the_device(model, batch_size=batch_size, workers=workers)(tracklets)
    assert "on the host" not in caplog.text
    assert found.ids == expected.ids
    torch.testing.assert_close(found.vectors, expected.vectors, atol=1e-5, rtol=0)


def test_only_whole_jpeg_files_travel_encoded(tracklets):
    kinds = {t.id: encoded_frames(t, list(range(len(t))), MOST) for t in tracklets}
    assert {name for name, clip in kinds.items() if clip is None} == {"png", "box"}
    some = encoded_frames(tracklets[0], [2, 0], MOST)
    assert some is not None
    assert [Path(name).name for name in some.names] == ["2.jpg", "0.jpg"]
    assert encoded_frames(Tracklet("pixels", np.zeros((4, 8, 4, 3), np.uint8)), [0], MOST) is None
    assert encoded_frames(Tracklet("gone", [Path("nowhere.jpg")]), [0], MOST) is None


def test_what_the_decoder_might_take_wrongly_is_left_to_the_host(tmp_path):
    image, files = picture(0), {name: tmp_path / f"{name}.jpg" for name in ("good", "cut", "cmyk", "large", "padded")}
    image.save(files["good"])
    good = files["good"].read_bytes()
    files["cut"].write_bytes(good[:-40])
    files["padded"].write_bytes(good + bytes(8))
    image.convert("CMYK").save(files["cmyk"])
    picture(0, (200, 100)).save(files["large"])
    kept = {name for name, file in files.items() if encoded_frames(Tracklet(name, [file]), [0], MOST)}
    assert kept == {"good", "padded"}


def test_pixels_are_decoded_in_order_and_the_unreadable_is_named(caplog):
    caplog.set_level("INFO")
    good = [jpeg(picture(i)) for i in range(3)]
    transform = ClipTransform(size=(64, 32))
    expected = [transform([decoded(file)])[0] for file in good]
    frames, faults = decode([Encoded(good[:2], ["a", "b"]), Encoded(good[2:], ["c"])], transform, CPU)
    assert not faults and not caplog.text
    torch.testing.assert_close(frames, torch.stack(expected), rtol=0, atol=1e-5)
    frames, faults = decode([Encoded([good[0]], ["a"]), Encoded([good[1][:200]], ["b.jpg"])], transform, CPU)
    assert list(faults) == [1] and faults[1].startswith("cannot read b.jpg: ")
    assert "decoded on the host" in caplog.text
    torch.testing.assert_close(frames[0], expected[0], rtol=0, atol=1e-5)


def test_a_file_cut_short_is_named_or_skipped(model, tmp_path):
    (tmp_path / "good.jpg").write_bytes(jpeg(picture(0)))
    (tmp_path / "cut.jpg").write_bytes(jpeg(picture(1))[:300])
    source = [Tracklet("cut", [tmp_path / "cut.jpg"]), Tracklet("good", [tmp_path / "good.jpg"])]
    with pytest.raises(TrackletError, match=r'tracklet "cut": cannot read .*cut\.jpg'):
        on_the_device(model).embed(source)
    found = on_the_device(model, on_error="skip").embed(source)
    assert found.ids == ["good"]
    assert [skip["tracklet"] for skip in found.skipped] == ["cut"]
    torch.testing.assert_close(found.vectors, TrackletEmbedder(model)(source[1:]).vectors, atol=1e-5, rtol=0)


def test_it_is_refused_where_there_is_no_gpu(model):
    with pytest.raises(ValueError, match="is for a GPU; this computes on cpu"):
        TrackletEmbedder(model, decode="device")
    with pytest.raises(ValueError, match="decode must be one of 'host', 'device'"):
        TrackletEmbedder(model, decode="gpu")


def test_a_device_without_a_decoder_is_refused(monkeypatch):
    require_decoder(CPU)

    def none(*_args, **_kwargs):
        raise RuntimeError("no nvJPEG")

    monkeypatch.setattr("torchvision.io.decode_jpeg", none)
    with pytest.raises(ValueError, match=r'decode="device" needs a torchvision.*no nvJPEG'):
        require_decoder(CPU)


@pytest.mark.cuda
def test_a_gpu_decodes_nearly_the_same(model, tracklets, caplog):
    caplog.set_level("INFO")
    expected = TrackletEmbedder(model)(tracklets).vectors
    for workers in (0, 2):
        there = TrackletEmbedder(copy.deepcopy(model), device="cuda", decode="device", workers=workers)
        found = there(tracklets).vectors
        assert (found * expected).sum(1).min() > 0.99
    assert "on the host" not in caplog.text
