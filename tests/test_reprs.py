"""What a prompt shows of each public object: one line with its size, its weights and its settings."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stmga import STMGA, ClipTransform, TrackletEmbedder, WeightRecord
from stmga.config import STMGAConfig
from stmga.data import Benchmark
from stmga.metrics import Protocol
from stmga.tracklets.tracklet import Tracklet
from stmga.train import Result
from tests.support.embedder import TINY

PLAIN = STMGAConfig(
    backbone="resnet18", stage="c4", parts="none", part_scales=(1,), temporal_scales=(), t_mga=False, s_mga=False,
    clip_length=2, size=(32, 16),
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return STMGA(TINY).eval()


def test_an_embedder_shows_weights_clips_and_settings(model, monkeypatch):
    shown = "TrackletEmbedder(unnamed weights, clips of 4 x 32 x 16 -> 256, cpu, fp32, sampling=all, batch_size=8)"
    assert repr(TrackletEmbedder(model)) == shown
    record = WeightRecord(name="stmga_tiny.test", config=TINY, sha256="0" * 64)
    monkeypatch.setattr(model, "record", record)
    shown = repr(TrackletEmbedder(model, precision="bf16", sampling="evenly", batch_size=9, flip=True))
    assert shown == (
        "TrackletEmbedder(stmga_tiny.test, clips of 4 x 32 x 16 -> 256, cpu, bf16, sampling=evenly, batch_size=9, flip)"
    )


def test_features_show_the_shapes_of_what_the_configuration_has(model):
    clips = torch.rand(2, 4, 3, 32, 16)
    with torch.no_grad():
        plain = STMGA(PLAIN).eval().forward_features(clips)
        full = model.forward_features(clips)
    assert repr(plain) == "Features(map=(2, 4, 256, 2, 1), z_f=(2, 256))"
    shown = repr(full)
    for part in (
        "Features(map=(2, 4, 256, 2, 1), z_f=(2, 256), cpa=CPASupervision(part_attention=(2, 4, 4, 2, 1), ",
        "pooled_parts=(2, 4, 256)), part_attention=(2, 4, 7, 2, 1), parts=(2, 7, 4, 256)",
        "temporal_parts=(2, 7, 3, 4, 256), part_vectors=(2, 7, 256)",
        "z_c=(2, 256))",
    ):
        assert part in shown, shown
    assert "\n" not in shown and "tensor" not in shown


def test_a_transform_is_what_one_would_type():
    transform = ClipTransform(size=(64, 32), std=(0.5, 0.5, 0.5))
    assert repr(transform) == "ClipTransform(size=(64, 32), mean=(0.485, 0.456, 0.406), std=(0.5, 0.5, 0.5))"
    assert eval(repr(transform)) == transform


def test_a_record_shows_its_first_result():
    metrics = ({"data": "MARS", "mAP": 80.1, "rank-1": 86.4}, {"data": "LS-VID", "mAP": 70.0})
    record = WeightRecord(name="net.mars", config=TINY, sha256="0" * 64, file_size=8_700_000, metrics=metrics)
    assert repr(record) == "WeightRecord(net.mars, 8.7 MB, mAP 80.1, rank-1 86.4 on MARS)"
    bare = WeightRecord(name="", config=TINY, sha256="0" * 64, metrics=({"data": "MARS"}, {}))
    assert repr(bare) == "WeightRecord(unnamed weights)"


def test_a_benchmark_counts_its_tracklets():
    frames = np.zeros((1, 8, 4, 3), np.uint8)
    train = [Tracklet(f"t{i}", frames, person=i // 2) for i in range(4)]
    made = Benchmark(name="mine", train=train, query=train[:1], gallery=train[1:], protocol=Protocol())
    assert repr(made) == "Benchmark(mine, 4 tracklets of 2 persons to train on, 1 queries, 3 in the gallery)"


def test_a_result_shows_its_best_validation_and_not_its_log():
    log = [{"epoch": 1, "loss": {"total": 3.5}}, {"epoch": 2, "loss": {"total": 1.25}}]
    assert repr(Result(Path("runs/a"), log, {})) == "Result('runs/a', 2 epochs, loss 1.250)"
    best = {"epoch": 1, "mAP": 0.6253, "rank-1": 0.7719}
    shown = "Result('runs/a', 2 epochs, loss 1.250, best mAP 62.5 %, rank-1 77.2 % in epoch 1)"
    assert repr(Result(Path("runs/a"), log, best)) == shown
