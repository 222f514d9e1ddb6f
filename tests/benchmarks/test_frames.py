"""The benchmarks of short tracklets: scores of the thinned test, and ratios of the work on fewer frames."""

from dataclasses import replace

import pytest

from benchmarks.accuracy import frames
from benchmarks.accuracy.card_figures import thinned
from benchmarks.speed import short_tracklets
from stmga import TrackletEmbedder
from stmga.metrics import evaluate
from tests.support.train import TINY, little_benchmark, tiny


def test_every_number_of_frames_has_its_scores_and_its_speed():
    model, benchmark = tiny(), little_benchmark()
    rows = frames.measure(model, benchmark, [1, 2, 100])
    longest = max(map(len, [*benchmark.query, *benchmark.gallery]))
    assert [row["frames"] for row in rows] == [1, 2, longest]
    count = len(benchmark.query) + len(benchmark.gallery)
    assert rows[0]["frames_per_s"] == pytest.approx(count / rows[0]["seconds"])
    embed = TrackletEmbedder(model)
    for row in rows:
        query, gallery = ([thinned(t, row["frames"]) for t in side] for side in (benchmark.query, benchmark.gallery))
        found = evaluate(embed(query), embed(gallery), benchmark.protocol)
        assert (row["mAP"], row["rank-1"]) == (round(100 * found.mAP, 2), round(100 * found.rank(1), 2))
    assert len(frames.table({"mine": rows}).splitlines()) == 4


def test_the_network_computes_as_many_frames_as_a_side_says(monkeypatch):
    monkeypatch.setattr(short_tracklets, "TRACKLETS", 2)
    model = tiny(config=replace(TINY, clip_length=8))
    embedder, seen = TrackletEmbedder(model, batch_size=3), []
    network = embedder._network(embedder.digest())
    encode = network.encode_frames
    monkeypatch.setattr(network, "encode_frames", lambda x: (seen.append(len(x)), encode(x))[1])
    for sides in (short_tracklets.network_sides(embedder, 3), short_tracklets.embedder_sides(embedder)):
        assert list(sides) == ["8", "4", "2", "1"]
        for run in sides.values():
            run()
    assert seen == [24, 12, 6, 3, 16, 8, 4, 2]
    row = {"model": "mine", "batch": 3, **short_tracklets.measure(model, 3, 2)}
    assert all(row[thing]["8"]["ratio"] == 1 for thing in ("network", "trunk", "embedder"))
    assert len(list(short_tracklets.table_rows({"rows": [row]}))) == 3
    assert len(short_tracklets.show(row).splitlines()) == 3
