"""The embedder: the clip rule, independence of batch and workers, faults named or skipped, the model left as it was."""

import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stmga.config import ARCHITECTURES, STMGAConfig
from stmga.embedder import TrackletEmbedder, _Clips, clip_indices
from stmga.embeddings import Embeddings
from stmga.model import STMGA
from stmga.readers import read_tracklets
from stmga.tracklets import Tracklet, TrackletError
from stmga.transforms import ClipTransform

TINY = STMGAConfig(backbone="resnet18", stage="c4", size=(32, 16), clip_length=4)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors on busy cores: a second thread costs a hundred times what it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(config: STMGAConfig) -> STMGA:
    """A network whose normalisations are not the identity, so that leaving eval mode would show."""
    torch.manual_seed(0)
    model = STMGA(config)
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def model() -> STMGA:
    return build(TINY)


def pixels(frames: int, seed: int, size: tuple[int, int] = (40, 20)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 256, (frames, 5, 3, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(f).resize(size[::-1], Image.Resampling.BICUBIC)) for f in low])


def tracklets(*lengths: int) -> list[Tracklet]:
    return [
        Tracklet(f"t{i}", pixels(n, i, (40 + i, 20 + i)), person=i // 2, camera=i % 2, extra={"role": "query"})
        for i, n in enumerate(lengths)
    ]


def write(root: Path, lengths: dict[str, int]) -> Path:
    for seed, (name, frames) in enumerate(lengths.items()):
        (root / name).mkdir(parents=True)
        for i, frame in enumerate(pixels(frames, seed)):
            Image.fromarray(frame).save(root / name / f"{i}.jpg", quality=95)
    return root


def truncate(file: Path) -> None:
    """What a full disk leaves behind: a good header, half a picture."""
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2 + 150])


# ---- the rule


@given(frames=st.integers(1, 70), length=st.integers(1, 9))
def test_all_frames_in_consecutive_clips_padded_by_looping(frames: int, length: int) -> None:
    clips = clip_indices(frames, length)
    assert all(len(clip) == length for clip in clips)
    assert len(clips) == -(-frames // length)
    assert [i for clip in clips for i in clip] == [i % frames for i in range(len(clips) * length)]


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


def test_clips_can_be_sent_to_a_spawned_process() -> None:
    clips = _Clips(tracklets(5), ClipTransform.from_config(TINY), 4, "all")
    again = pickle.loads(pickle.dumps(clips))
    assert len(again) == 2
    assert torch.equal(again[1][1], clips[1][1])


def test_a_looped_frame_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    load = Tracklet.load
    monkeypatch.setattr(Tracklet, "load", lambda self, indices: (asked.append(list(indices)), load(self, indices))[1])
    clips = _Clips(tracklets(3), ClipTransform.from_config(TINY), 8, "all")
    _, clip = clips[0]
    assert asked == [[0, 1, 2]]
    assert torch.equal(clip, clip[[0, 1, 2, 0, 1, 2, 0, 1]])


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
def test_half_precision_stays_close(model: STMGA, precision: str, least: float) -> None:
    full = TrackletEmbedder(model)(tracklets(4, 6))
    half = TrackletEmbedder(model, precision=precision)(tracklets(4, 6))
    assert half.vectors.dtype == torch.float32
    assert not torch.equal(half.vectors, full.vectors)  # it was computed otherwise
    assert (half.vectors * full.vectors).sum(1).min() > least
    assert half.digest == full.digest


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    model = build(TINY)
    expected = TrackletEmbedder(model)(tracklets(4, 6, 9)).vectors
    embedder = TrackletEmbedder(model, device="cuda", workers=2)
    assert embedder.device.type == "cuda"
    torch.testing.assert_close(embedder(tracklets(4, 6, 9)).vectors, expected, atol=2e-3, rtol=0)


# ---- bad input


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
    encode = model.encode

    def broken(clips: torch.Tensor) -> torch.Tensor:
        z = encode(clips)
        z[clips.flatten(1).std(1) == 0] = torch.inf
        return z

    monkeypatch.setattr(model, "encode", broken)
    records = [*tracklets(4, 6), Tracklet("grey", np.full((3, 32, 16, 3), 0, np.uint8))]
    transform = ClipTransform(size=TINY.size, mean=(0, 0, 0), std=(1, 1, 1))
    monkeypatch.setattr(ClipTransform, "from_config", lambda _: transform)
    with pytest.raises(TrackletError, match=r'tracklet "grey".*not finite'):
        TrackletEmbedder(model)(records)
    assert TrackletEmbedder(model, on_error="skip")(records).ids == ["t0", "t1"]


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

    monkeypatch.setattr(model, "encode", stop)
    with pytest.raises(error):
        TrackletEmbedder(model, workers=2, batch_size=1)(root)
    assert multiprocessing.active_children() == []
    assert model.training


def test_progress_counts_clips(model: STMGA, capfd: pytest.CaptureFixture[str]) -> None:
    TrackletEmbedder(model, batch_size=2)(tracklets(9, 2))
    assert capfd.readouterr().err == ""
    TrackletEmbedder(model, batch_size=2, progress=True)(tracklets(9, 2))
    assert "4/4" in capfd.readouterr().err
