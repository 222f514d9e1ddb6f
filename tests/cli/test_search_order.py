"""`stmga search` with re-ranking and travel times."""

import csv
import json

import numpy as np
import pytest
import torch

from stmga import Embeddings
from stmga.calibration import Calibration, Threshold
from stmga.metrics import rank_scores, rerank


def test_search_reranked(place, run, tmp_path):
    file, out = place / "all.safetensors", tmp_path / "m.jsonl"
    where = ("--where", "role=query", "--gallery-where", "role=gallery")
    code, text, _ = run("search", file, file, *where, "--rerank", "--top", 99, "-o", out)
    assert code == 0
    everything = Embeddings.load(file)
    queries, gallery = (
        everything.select([item["role"] == role for item in everything.items]) for role in ("query", "gallery")
    )
    distances = torch.cat(list(rerank(queries.vectors, gallery.vectors, distance="cosine")))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    for line, row, own in zip(lines, distances, queries.vectors, strict=True):
        best = row.argsort(stable=True)
        assert [match["tracklet"] for match in line["matches"]] == [gallery.ids[i] for i in best]
        cosines = gallery.vectors[best] @ own
        assert [match["similarity"] for match in line["matches"]] == pytest.approx(cosines.tolist(), abs=1e-5)
    scores = rank_scores(-distances, queries.persons, gallery.persons)
    assert f"mAP {scores.mAP:.1%}, rank-1 {scores.rank(1):.1%}" in text
    assert "order: k-reciprocal re-ranking with the whole gallery; similarities are cosines and need not fall" in text
    assert "re-ranked (Zhong et al. 2017" in text


@pytest.fixture
def corridor(tmp_path):
    """One who is seen at the door, and four in the hall: too soon, in time, in time by other looks, too late."""
    times = {"q": ("door", 0), "soon": ("hall", 5), "fits": ("hall", 40), "other": ("hall", 45), "late": ("hall", 900)}
    times |= {f"night{i}": ("hall", 9000 + i) for i in range(40)}
    angles = [0, 10, 40, 89, 45] + [90] * 40
    vectors = torch.tensor([[np.cos(np.deg2rad(a)), np.sin(np.deg2rad(a))] for a in angles], dtype=torch.float32)
    items = [{"tracklet": n, "camera": c, "time": t, "end_time": t + 9} for n, (c, t) in times.items()]
    points = tuple(
        Threshold(false_match_rate=r, similarity=s, true_match_rate=0.5) for r, s in ((1e-2, 0.7), (1e-3, 0.8))
    )
    calibration = Calibration(
        thresholds=points, lower=0.2, impostor_pairs=9000, genuine_pairs=90, persons=40, digest="1f"
    )
    file = tmp_path / "all.safetensors"
    Embeddings(vectors, items, digest="1f", calibration=calibration).save(file)
    return file


def test_search_with_travel_times(corridor, run, tmp_path):
    out, asked = tmp_path / "m.jsonl", ("search", corridor, corridor, "--top", 3, "--where", "tracklet=q")
    assert run(*asked, "-o", out)[0] == 0
    (line,) = map(json.loads, out.read_text().splitlines())
    assert [match["tracklet"] for match in line["matches"]] == ["soon", "fits", "late"]
    assert "travel" not in line["matches"][0]
    code, text, _ = run(*asked, "--travel", "hall:door=20..300", "-o", out)
    assert code == 0
    assert "travel: a time that fits is added to the similarity, for order, threshold and verdict" in text
    assert "0.766 + 0.100" in text
    (line,) = map(json.loads, out.read_text().splitlines())
    found = [(m["tracklet"], m["similarity"], m["travel"], m["verdict"]) for m in line["matches"]]
    assert found[:2] == [("fits", 0.766044, pytest.approx(0.1), "same"), ("late", 0.707107, 0, "unsure")]
    assert found[2][0] == "other"
    assert run(*asked, "--travel", "hall:door=20..300", "-o", tmp_path / "m.csv")[0] == 0
    (first, *_) = csv.DictReader((tmp_path / "m.csv").open())
    assert (first["tracklet"], first["travel"], first["verdict"]) == ("fits", "0.1", "same")


def test_reranking_with_travel_times_leaves_out_the_same(corridor, run, tmp_path):
    kept = []
    for more in ((), ("--rerank",)):
        out = tmp_path / "m.jsonl"
        asked = ("search", corridor, corridor, "--where", "tracklet=q", "--travel", "hall:door=20..300", "--top", 99)
        code, text, _ = run(*asked, *more, "-o", out)
        assert code == 0
        kept.append({match["tracklet"]: match["verdict"] for match in json.loads(out.read_text())["matches"]})
    assert "travel: a time that fits is added to the similarity, for threshold and verdict" in text
    assert kept[0] == kept[1]
    assert "soon" not in kept[0]


def test_travel_times_that_cannot_be_used(place, corridor, fails):
    file = place / "all.safetensors"
    assert "CAMERA:CAMERA=20..300" in fails("search", file, file, "--travel", "0:1")
    assert "its tracklets have no time and end_time" in fails("search", file, file, "--travel", "0:1=2..9")
    assert "'yard': the cameras are door, hall" in fails("search", corridor, corridor, "--travel", "door:yard=2..9")
    twice = ("--travel", "door:hall=2..9", "--travel", "hall:door=3..9")
    assert "there are two travel times between 'door' and 'hall'" in fails("search", corridor, corridor, *twice)
