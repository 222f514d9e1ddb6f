"""The benchmark of choices at test time: two sizes as defined, all rows, and vectors that are not computed twice."""

import argparse
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.accuracy import test_time as script
from stmga import ClipTransform, Tracklet, TrackletEmbedder
from stmga.metrics import Reranking, evaluate
from stmga.tracklets.tracklet import TrackletError
from tests.support.train import little_benchmark, tiny


def test_two_sizes_are_averaged_before_the_neck():
    model = tiny().eval()
    frames = np.random.default_rng(0).integers(0, 256, (2, 50, 24, 3), dtype=np.uint8)
    (found,) = TrackletEmbedder(script.TwoSizes(model))({"a": frames}).vectors
    sizes = model.config.size, (80, 40)
    clips = [ClipTransform.from_config(replace(model.config, size=size))(frames)[None] for size in sizes]
    with torch.no_grad():
        wanted = model.forward_head(torch.stack([model.encode(clip) for clip in clips]).mean(0))[0]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    mixed = Tracklet("a", [np.zeros((8, 4, 3), np.uint8), np.zeros((9, 4, 3), np.uint8)])
    with pytest.raises(TrackletError, match="uint8 and all of one size"):
        TrackletEmbedder(script.TwoSizes(model))([mixed])


def test_every_form_has_scores_and_a_cost_and_is_embedded_once(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "RATE", 0.1)
    model, benchmark = tiny(), little_benchmark()
    args = argparse.Namespace(work=tmp_path, rounds=2, precision="fp32")
    rows = script.measure("mine/best", model, benchmark, args)
    assert tuple(rows) == ("plain", "re-ranking", "flip", "two sizes")
    for flip in (False, True):
        embed = TrackletEmbedder(model, flip=flip)
        found = evaluate(embed(benchmark.query), embed(benchmark.gallery), benchmark.protocol)
        assert rows["flip" if flip else "plain"]["mAP"] == round(100 * found.mAP, 2)
    protocol = replace(benchmark.protocol, reranking=Reranking())
    embed = TrackletEmbedder(model)
    found = evaluate(embed(benchmark.query), embed(benchmark.gallery), protocol)
    assert rows["re-ranking"]["mAP"] == round(100 * found.mAP, 2)
    assert rows["plain"]["cost"] == 1
    assert all(row["cost"] > 0 for row in rows.values())
    assert len(script.table({"mine/best": rows}).splitlines()) == 5
    monkeypatch.setattr(TrackletEmbedder, "embed", None)  # all vectors are there
    args.rounds = 0
    again = script.measure("mine/best", model, benchmark, args)
    assert again["flip"]["mAP"] == rows["flip"]["mAP"]
    assert "cost" not in again["flip"]
