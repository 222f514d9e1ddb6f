"""The embedder: the clip rule, independence of batch and workers, the model left as it was."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stmga.calibration import Calibration, Threshold
from stmga.config import ARCHITECTURES, STMGAConfig
from stmga.embedding.clip_dataset import Clips, clip_indices, on_device
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.network import clips_at_once
from stmga.gallery.gallery import Gallery
from stmga.hub.records import WeightRecord
from stmga.model import STMGA
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.transforms import ClipTransform
from tests.support.embedder import TINY, build, tracklets, write

# ---- the rules


@given(frames=st.integers(1, 70), length=st.integers(1, 9))
def test_all_frames_in_consecutive_clips_padded_by_looping(frames: int, length: int) -> None:
    clips = clip_indices(frames, length)
    assert all(len(clip) == length for clip in clips)
    assert len(clips) == -(-frames // length)
    assert [i for clip in clips for i in clip] == [i % frames for i in range(len(clips) * length)]


@pytest.mark.parametrize(
    ("device", "length", "clips"),
    [("cpu", 1, 32), ("cpu", 8, 4), ("cpu", 5, 6), ("cpu", 33, 1), ("cuda", 1, 256), ("cuda", 8, 32)],
)
def test_as_many_clips_at_once_as_have_32_frames_or_256_on_a_gpu(device: str, length: int, clips: int) -> None:
    assert clips_at_once(torch.device(device), length) == clips
    model = STMGA(replace(TINY, clip_length=length)).eval()
    assert TrackletEmbedder(model).batch_size == clips_at_once(torch.device("cpu"), length)
    assert TrackletEmbedder(model, batch_size=3).batch_size == 3


@given(frames=st.integers(1, 70), length=st.integers(1, 9))
def test_evenly_is_one_clip_over_the_whole_length(frames: int, length: int) -> None:
    clips = clip_indices(frames, length, "evenly")
    assert len(clips) == 1
    if frames <= length:
        assert clips == clip_indices(frames, length)
    else:
        steps = set(np.diff(clips[0]).tolist())
        assert steps <= {frames // length, frames // length + 1}
        assert abs(clips[0][0] - (frames - 1 - clips[0][-1])) <= 1  # as far from the start as from the end


@pytest.mark.parametrize("sampling", ["all", "evenly"])
def test_vector_is_the_head_of_the_mean_over_clips(model: STMGA, sampling: str) -> None:
    model.eval()
    records = tracklets(3, 4, 11)
    got = TrackletEmbedder(model, batch_size=2, sampling=sampling)(records)
    transform = ClipTransform.from_config(TINY)
    for record, vector in zip(records, got.vectors, strict=True):
        clips = [transform(record.frames[indices]) for indices in clip_indices(len(record), 4, sampling)]
        with torch.no_grad():
            expected = model.forward_head(torch.stack([model.encode(clip[None])[0] for clip in clips]).mean(0)[None])
        torch.testing.assert_close(vector[None], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.vectors.norm(dim=1), torch.ones(3))
    assert got.vectors.dtype == torch.float32
    assert not got.vectors.is_inference()
    assert (got.vectors[0] - got.vectors[1]).abs().max() > 1e-3  # they are not all one vector


@pytest.mark.parametrize(
    ("config", "lengths"),
    [(TINY, (3, 8, 1, 10)), (ARCHITECTURES["stmga_resnet18_c4"], (3, 10))],
    ids=["tiny", "stmga_resnet18_c4"],
)
def test_a_vector_does_not_depend_on_its_neighbours(config: STMGAConfig, lengths: tuple[int, ...]) -> None:
    model = build(config)
    records = tracklets(*lengths)
    together = TrackletEmbedder(model, batch_size=3)(records).vectors
    alone = torch.cat([TrackletEmbedder(model, batch_size=1)([record]).vectors for record in records])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_order_and_repetition_change_nothing(model: STMGA) -> None:
    records = tracklets(3, 8, 1, 10)
    embedder = TrackletEmbedder(model, batch_size=3)
    vectors = embedder(records).vectors
    assert torch.equal(embedder(records).vectors, vectors)
    torch.testing.assert_close(embedder(records[::-1]).vectors.flip(0), vectors, atol=1e-5, rtol=0)


# ---- sources, rows, workers


def test_rows_say_who_and_which_weights(model: STMGA) -> None:
    got = TrackletEmbedder(model)(tracklets(4, 2))
    assert got.items[1] == {"tracklet": "t1", "person": 0, "camera": 1, "role": "query"}
    assert got.digest == model.digest()
    assert got.model == ""
    assert got.skipped == []


def test_files_arrays_and_worker_processes_agree(model: STMGA, tmp_path: Path) -> None:
    root = write(tmp_path, {"a": 3, "b": 9, "c": 4, "d": 1, "e": 6})
    files = TrackletEmbedder(model, batch_size=2)(root)
    assert files.ids == ["a", "b", "c", "d", "e"]
    apart = TrackletEmbedder(model, batch_size=2, workers=2)(root)
    assert apart.ids == files.ids
    assert torch.equal(apart.vectors, files.vectors)
    opened = {name: [Image.open(file) for file in sorted((root / name).iterdir())] for name in files.ids}
    assert torch.equal(TrackletEmbedder(model, batch_size=2)(opened).vectors, files.vectors)


def test_frames_of_any_size_and_type_share_batches(model: STMGA) -> None:
    """Small uint8 frames of one size are transformed in the batch, all else by the reader: the numbers are the same."""
    random = np.random.default_rng(0)
    height, width = TINY.size
    sizes = [(height, width), (height, width), (2 * height, width), (5 * height, width), (7, 3)]
    clips: dict[str, object] = {
        str(i): random.integers(0, 256, (4, *s, 3), dtype=np.uint8) for i, s in enumerate(sizes)
    }
    clips["mixed"] = [random.integers(0, 256, (20 + i, 10, 3), dtype=np.uint8) for i in range(4)]
    clips["floats"] = torch.rand(4, 3, height, width)
    together = TrackletEmbedder(model, batch_size=7)(clips)
    transform = ClipTransform.from_config(TINY)
    for name, vector in zip(together.ids, together.vectors, strict=True):
        with torch.no_grad():
            expected = model.eval()(transform(clips[name])[None])[0]
        torch.testing.assert_close(vector, expected, atol=1e-5, rtol=0)


def test_clips_can_be_sent_to_a_spawned_process() -> None:
    clips = Clips(tracklets(5), ClipTransform.from_config(TINY), 4, "all")
    again = pickle.loads(pickle.dumps(clips))
    assert len(again) == 2
    assert torch.equal(again[1].frames, clips[1].frames)


def test_a_looped_frame_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    load = Tracklet.load
    monkeypatch.setattr(Tracklet, "load", lambda self, indices: (asked.append(list(indices)), load(self, indices))[1])
    clips = Clips(tracklets(3, 10), ClipTransform.from_config(TINY), 8, "all")
    for number, indices in enumerate(([0, 1, 2, 0, 1, 2, 0, 1], [0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 0, 1, 2, 3, 4, 5])):
        sample = clips[number]
        assert (sample.indices, sample.new) == (indices, asked[number])
    assert asked == [[0, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7], [8, 9]]


# ---- the model is the caller's


def test_the_model_is_given_back_as_it_was(model: STMGA) -> None:
    before = model.digest()
    model.train()
    model.backbone.eval()  # frozen, as when fine-tuning
    modes = [module.training for module in model.modules()]
    training = TrackletEmbedder(model)(tracklets(4, 6)).vectors
    assert [module.training for module in model.modules()] == modes
    assert model.digest() == before
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.eval()
    assert torch.equal(TrackletEmbedder(model)(tracklets(4, 6)).vectors, training)
    assert not model.training
    model.train()
    with pytest.raises(TrackletError):
        TrackletEmbedder(model)([Tracklet("a", torch.full((2, 3, 8, 8), 200.0))])
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.999), ("fp16", 0.9999)])
def test_half_precision_stays_close(precision: str, least: float) -> None:
    model = build(replace(TINY, size=(64, 32)))  # smaller maps are computed wrongly in bf16 by oneDNN on CPUs with AMX
    full = TrackletEmbedder(model)(tracklets(4, 6))
    half = TrackletEmbedder(model, precision=precision)(tracklets(4, 6))
    assert half.vectors.dtype == torch.float32
    assert not torch.equal(half.vectors, full.vectors)  # it was computed otherwise
    assert (half.vectors * full.vectors).sum(1).min() > least
    assert half.digest == full.digest


def test_pixels_on_an_accelerator_are_left_to_this_process() -> None:
    array, tensor = np.zeros((2, 8, 4, 3), np.uint8), torch.zeros(2, 3, 8, 4)
    here = (array, tensor, list(array), list(tensor), ["a.jpg"])
    assert not any(on_device(Tracklet("a", frames)) for frames in here)
    assert all(on_device(Tracklet("a", frames)) for frames in (tensor.to("meta"), [tensor[0], tensor[0].to("meta")]))


@pytest.mark.cuda
def test_cuda_agrees_with_the_cpu() -> None:
    model = build(TINY)
    expected = TrackletEmbedder(model)(tracklets(4, 6, 9)).vectors
    embedder = TrackletEmbedder(model, device="cuda", workers=2)
    assert embedder.device.type == "cuda"
    torch.testing.assert_close(embedder(tracklets(4, 6, 9)).vectors, expected, atol=2e-3, rtol=0)


@pytest.mark.cuda
def test_bf16_on_cuda_stays_close_and_its_gallery_finds_the_same(model: STMGA) -> None:
    full = TrackletEmbedder(model)(tracklets(4, 6, 9))
    half = TrackletEmbedder(build(TINY), device="cuda", precision="bf16")(tracklets(4, 6, 9))
    assert half.vectors.device.type == "cpu"
    assert half.vectors.dtype == torch.float32
    assert (half.vectors * full.vectors).sum(1).min() > 0.999
    here, there = (Gallery(full, device=device).search(full, k=2) for device in ("cpu", "cuda"))
    assert [[match.id for match in row] for row in there] == [[match.id for match in row] for row in here]
    assert [m.similarity for row in there for m in row] == pytest.approx([m.similarity for row in here for m in row])


@pytest.mark.cuda
def test_frames_on_cuda_with_workers(model: STMGA) -> None:
    frames = {record.id: torch.from_numpy(record.frames).movedim(-1, 1) for record in tracklets(4, 6)}
    expected = TrackletEmbedder(model)(frames).vectors
    on_device = {name: clip.cuda() for name, clip in frames.items()}
    got = TrackletEmbedder(model, workers=2)({**on_device, "t1": list(on_device["t1"])})
    assert torch.equal(got.vectors, expected)


# ---- what similarities mean


def test_the_calibration_of_the_weights_goes_with_the_embeddings(tmp_path: Path) -> None:
    """In any precision and by any clip rule, but never with weights that were changed since."""
    model = build(TINY)
    threshold = Threshold(false_match_rate=1e-3, similarity=0.6, true_match_rate=0.8)
    calibration = Calibration(
        thresholds=(threshold,), lower=0.5, impostor_pairs=9, genuine_pairs=9, persons=3, digest=model.digest()
    )
    record = WeightRecord(name="stmga_tiny.mine", config=TINY, sha256="0" * 64, calibration=calibration)
    model.save_pretrained(tmp_path, record=record)
    loaded = STMGA.from_pretrained(tmp_path)
    found = TrackletEmbedder(loaded)(tracklets(5, 3))
    assert found.calibration == calibration
    assert found.calibration.digest == found.digest
    for options in ({"precision": "bf16"}, {"sampling": "evenly"}):
        assert TrackletEmbedder(loaded, **options)(tracklets(5, 3)).calibration == calibration
    found.save(tmp_path / "found.safetensors")
    assert Gallery.load(tmp_path / "found.safetensors").calibration == calibration
    with torch.no_grad():
        loaded.neck.weight.add_(0.1)
    assert TrackletEmbedder(loaded)(tracklets(5, 3)).calibration is None
    assert TrackletEmbedder(build(TINY))(tracklets(5, 3)).calibration is None
