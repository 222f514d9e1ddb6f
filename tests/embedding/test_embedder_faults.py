"""Bad input to the embedder: named, or skipped and listed; interrupted, it leaves no process behind."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.model import STMGA
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.transforms import ClipTransform
from tests.support.embedder import TINY, build, tracklets, truncate, write


@pytest.mark.parametrize("workers", [0, 2])
def test_a_truncated_image_is_named_or_skipped(model: STMGA, tmp_path: Path, workers: int) -> None:
    root = write(tmp_path, {"a": 3, "b": 9, "c": 4})
    whole = TrackletEmbedder(model, batch_size=1)(root)
    truncate(root / "b" / "7.jpg")
    with pytest.raises(TrackletError, match=r'tracklet "b": cannot read .*b/7\.jpg') as caught:
        TrackletEmbedder(model, batch_size=1, workers=workers)(root)
    assert "Traceback" not in str(caught.value)
    rest = TrackletEmbedder(model, batch_size=1, workers=workers, on_error="skip")(root)
    assert rest.ids == ["a", "c"]
    assert torch.equal(rest.vectors, whole.vectors[[0, 2]])
    assert [fault["tracklet"] for fault in rest.skipped] == ["b"]
    assert "7.jpg" in rest.skipped[0]["reason"]
    rest.save(tmp_path / "e.safetensors")
    assert Embeddings.load(tmp_path / "e.safetensors").skipped == rest.skipped


def test_skipping_covers_files_that_are_missing_or_empty_too(model: STMGA, tmp_path: Path) -> None:
    root = write(tmp_path, {"a": 3, "b": 2, "c": 4, "d": 1})
    (root / "b" / "1.jpg").write_bytes(b"")
    (root / "d" / "0.jpg").write_text("no picture")
    gone = Tracklet("e", [root / "e" / "0.jpg"])
    records = [*read_tracklets(root, check_files=False), gone]
    with pytest.raises(TrackletError, match=r"(?s)3 faults.*b/1\.jpg.*d/0\.jpg.*e/0\.jpg"):
        TrackletEmbedder(model)(records)
    rest = TrackletEmbedder(model, on_error="skip")(records)
    assert rest.ids == ["a", "c"]
    assert [fault["tracklet"] for fault in rest.skipped] == ["b", "d", "e"]
    assert TrackletEmbedder(model, on_error="skip")(root).ids == ["a", "c"]
    with pytest.raises(TrackletError, match="duplicate id"):
        TrackletEmbedder(model, on_error="skip")([*records, gone])


def test_when_nothing_is_left_there_is_an_error(model: STMGA, tmp_path: Path) -> None:
    root = write(tmp_path, {"a": 3, "b": 2})
    truncate(root / "a" / "0.jpg")
    truncate(root / "b" / "1.jpg")
    with pytest.raises(TrackletError, match=r"(?s)2 faults.*0\.jpg.*1\.jpg"):
        TrackletEmbedder(model, on_error="skip")(root)


def test_bad_pixels_name_their_tracklet(model: STMGA) -> None:
    good, bad = tracklets(4)[0], torch.rand(2, 3, 8, 8)
    bad[1, 0, 0, 0] = torch.nan
    with pytest.raises(TrackletError, match=r'tracklet "nan".*NaN'):
        TrackletEmbedder(model)([good, Tracklet("nan", bad)])
    with pytest.raises(TrackletError, match=r'tracklet "bytes".*0\.\.1'):
        TrackletEmbedder(model)([good, Tracklet("bytes", torch.full((2, 3, 8, 8), 200.0))])
    with pytest.raises(TrackletError, match=r'tracklet "little".*0\.\.1'):
        TrackletEmbedder(model)([good, Tracklet("little", torch.full((2, 3, 8, 8), 1.2))])


def test_a_result_that_is_not_finite_names_its_tracklet(model: STMGA, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = model.encode_frames

    def broken(frames: torch.Tensor) -> torch.Tensor:
        features = encode(frames)
        features[frames.flatten(1).std(1) == 0] = torch.inf
        return features

    monkeypatch.setattr(model, "encode_frames", broken)
    records = [*tracklets(4, 6), Tracklet("grey", np.full((3, 32, 16, 3), 0, np.uint8))]
    transform = ClipTransform(size=TINY.size, mean=(0, 0, 0), std=(1, 1, 1))
    monkeypatch.setattr(ClipTransform, "from_config", lambda _: transform)
    with pytest.raises(TrackletError, match=r'tracklet "grey".*not finite'):
        TrackletEmbedder(model)(records)
    assert TrackletEmbedder(model, on_error="skip")(records).ids == ["t0", "t1"]


@pytest.mark.parametrize("value", [0.0, 1e30, 3e38, float("nan")])
def test_a_vector_of_another_length_than_one_never_leaves(
    model: STMGA, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """Large features overflow in the norm, which gives vectors of length 0 or NaN."""

    def broken(self: TrackletEmbedder, features: torch.Tensor, network: object) -> torch.Tensor:
        features = features.clone()
        features[1] = value
        return torch.nn.functional.normalize(features, dim=-1)

    monkeypatch.setattr(TrackletEmbedder, "_head", broken)
    with pytest.raises(TrackletError, match=r'tracklet "t1": its vector has the length (0|nan), not 1'):
        TrackletEmbedder(model)(tracklets(4, 6, 5))
    found = TrackletEmbedder(model, on_error="skip")(tracklets(4, 6, 5))
    assert found.ids == ["t0", "t2"] and len(found.vectors) == 2
    assert [skipped["tracklet"] for skipped in found.skipped] == ["t1"]


@pytest.mark.parametrize("value", [1e30, 3e38])
def test_clips_that_are_no_picture(model: STMGA, value: float) -> None:
    with pytest.raises(TrackletError, match=r'tracklet "ann".*0\.\.1'):
        TrackletEmbedder(model)({"ann": torch.full((4, 3, 32, 16), value)})


@pytest.mark.parametrize("source", [[], {}])
def test_zero_tracklets(model: STMGA, source: object) -> None:
    with pytest.raises(TrackletError, match="no tracklets"):
        TrackletEmbedder(model)(source)


@pytest.mark.parametrize(
    "bad", [{"precision": "int8"}, {"sampling": "random"}, {"on_error": "ignore"}, {"batch_size": 0}, {"workers": -1}]
)
def test_bad_options(model: STMGA, bad: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))}.*{next(iter(bad.values()))}"):
        TrackletEmbedder(model, **bad)


def test_a_half_precision_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"torch.float16; use model.float\(\)"):
        TrackletEmbedder(build(TINY).half())


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_stopping_ends_the_workers(
    model: STMGA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    root = write(tmp_path, dict.fromkeys("abcdef", 8))
    model.train()

    def stop(_: torch.Tensor) -> torch.Tensor:
        assert len(multiprocessing.active_children()) == 2
        raise error

    monkeypatch.setattr(model, "encode_frames", stop)
    with pytest.raises(error):
        TrackletEmbedder(model, workers=2, batch_size=1)(root)
    assert multiprocessing.active_children() == []
    assert model.training


def test_progress_counts_clips(model: STMGA, capfd: pytest.CaptureFixture[str]) -> None:
    TrackletEmbedder(model, batch_size=2)(tracklets(9, 2))
    assert capfd.readouterr().err == ""
    TrackletEmbedder(model, batch_size=2, progress=True)(tracklets(9, 2))
    assert "4/4" in capfd.readouterr().err
