"""The benchmark of choices at test time: all rows, and vectors that are not computed twice."""

import argparse
from dataclasses import replace

from benchmarks.accuracy import test_time as script
from stmga import TrackletEmbedder
from stmga.metrics import Reranking, evaluate
from tests.support.train import little_benchmark, tiny


def test_every_form_has_scores_and_a_cost_and_is_embedded_once(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "RATE", 0.1)
    model, benchmark = tiny(), little_benchmark()
    args = argparse.Namespace(work=tmp_path, rounds=2, precision="fp32")
    rows = script.measure("mine/best", model, benchmark, args)
    assert tuple(rows) == ("plain", "re-ranking", "flip", "two sizes")
    for form, views in (("plain", {}), ("flip", {"flip": True}), ("two sizes", {"two_sizes": True})):
        embed = TrackletEmbedder(model, **views)
        found = evaluate(embed(benchmark.query), embed(benchmark.gallery), benchmark.protocol)
        assert rows[form]["mAP"] == round(100 * found.mAP, 2)
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
