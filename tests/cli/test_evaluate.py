"""`stmga eval` and `stmga calibrate`: what they print, write and refuse."""

import csv
import json

import numpy as np
import pytest
import torch

from stmga import Embeddings
from stmga.metrics import Protocol, Reranking, calibrate, evaluate


@pytest.fixture
def files(tmp_path):
    """all, q, g: 30 persons seen by three cameras, one query each."""
    random = np.random.default_rng(0)
    who = np.arange(90) % 30
    x = random.normal(size=(30, 16))[who] + 0.7 * random.normal(size=(90, 16))
    roles = ["query" if i < 30 else "gallery" for i in range(90)]
    items = [{"tracklet": f"t{i}", "person": int(who[i]), "camera": i // 30, "role": roles[i]} for i in range(90)]
    every = Embeddings(torch.from_numpy(x).float(), items, digest="1f0c", model="m.v1")
    every.save(tmp_path / "all")
    for name, role in (("q", "query"), ("g", "gallery")):
        every.select([r == role for r in roles]).save(tmp_path / name)
    return tmp_path


def loaded(files):
    return Embeddings.load(files / "q"), Embeddings.load(files / "g")


def test_eval_prints_and_keeps_the_protocol(files, run):
    code, text, _ = run("eval", files / "all", "--title", "my cameras", "-o", files / "r.json")
    assert code == 0
    result = evaluate(*loaded(files), Protocol(data="my cameras"))
    assert str(result) in text
    assert "weights   m.v1, digest 1f0c" in text
    kept = json.loads((files / "r.json").read_text())
    assert kept == json.loads(json.dumps(result.to_dict()))
    assert Protocol.from_dict(kept["protocol"]) == result.protocol
    assert (kept["model"], kept["digest"], kept["counted"], kept["gallery"]) == ("m.v1", "1f0c", 30, 90)


@pytest.mark.parametrize(
    ("options", "rules"),
    [
        (["--rerank"], dict(reranking=Reranking())),
        (["--distance", "euclidean", "--ap", "trapezoid"], dict(distance="euclidean", ap="trapezoid")),
        (["--keep-same-camera", "--keep-unknown-camera"], dict(same_camera="keep", unknown_camera="keep")),
        (["--junk", "1", "2", "--distractors", "3"], dict(junk=("1", "2"), distractors=("3",))),
    ],
)
def test_options_are_the_protocol(files, run, options, rules):
    code, text, _ = run("eval", files / "all", *options)
    assert code == 0
    assert str(evaluate(*loaded(files), Protocol(**rules))) in text


def test_a_gallery_of_its_own(files, run):
    code, text, _ = run("eval", files / "q", files / "g", "--no-queries-in-gallery")
    assert code == 0
    assert str(evaluate(*loaded(files), Protocol(queries_in_gallery=False))) in text


def test_eval_refuses(files, fails):
    g = Embeddings.load(files / "g")
    assert "holds 30 queries and 0 gallery tracklets" in fails("eval", files / "q")
    assert "queries are in the gallery already" in fails("eval", files / "q", files / "all")
    Embeddings(g.vectors, g.items, "other").save(files / "other")
    assert "different weights cannot be compared" in fails("eval", files / "q", files / "other")
    Embeddings(torch.eye(1), [{"tracklet": "a"}], "1f").save(files / "x")
    assert "role None; every item needs the role query or gallery" in fails("eval", files / "x")
    assert ".json" in fails("eval", files / "all", "-o", files / "r.txt")
    assert "create it first" in fails("eval", files / "all", "-o", files / "no" / "r.json")
    assert "cannot be both --junk and --distractors" in fails(
        "eval", files / "all", "--junk", "1", "--distractors", "1"
    )
    every = Embeddings.load(files / "all")
    for item in every.items:
        item["camera"] = "c1"
    every.save(files / "one-camera")
    assert 'same_camera="keep" (--keep-same-camera) counts' in fails("eval", files / "one-camera")
    for item in g.items:
        item["person"] = "nobody"
    g.save(files / "g")
    text = fails("eval", files / "q", files / "g", "--no-queries-in-gallery")
    assert "none of the 30 queries has a match" in text
    assert "30 have no other tracklet of their person" in text
    assert "--keep-same-camera" not in text


def test_calibrate_then_search_says_same_or_unsure(files, run):
    code, text, _ = run("calibrate", files / "all", "--rates", "0.01", "0.001")
    assert code == 0
    found = Embeddings.load(files / "all").calibration
    assert found == calibrate(Embeddings.load(files / "all"), false_match_rates=[0.01, 0.001])
    assert f"{found.threshold(0.01).similarity:.4f}" in text
    assert "3,915 pairs of different persons, 90 of one person" in text
    code, text, _ = run("search", files / "q", files / "all", "-o", files / "m.jsonl")
    assert code == 0
    assert found.describe() in text
    lines = [json.loads(line) for line in (files / "m.jsonl").read_text().splitlines()]
    seen = [(match["similarity"], match["verdict"]) for line in lines for match in line["matches"]]
    assert {verdict for _, verdict in seen} == {"same", "unsure", "other"}
    assert all(found.verdict(similarity) == verdict for similarity, verdict in seen)
    assert run("search", files / "q", files / "all", "-o", files / "m.csv")[0] == 0
    assert [row["verdict"] for row in csv.DictReader((files / "m.csv").open())] == [v for _, v in seen]


def test_calibrate_says_which_default_rates_it_skips(files, run, caplog):
    code, text, _ = run("calibrate", files / "all")
    assert code == 0
    assert "\n0.001 " in text and "\n0.0001 " not in text
    assert "not measured: 0.0001; a false-match rate of 0.0001 needs at least 10,000 pairs" in caplog.text


def test_calibrate_for_another_file(files, run, fails):
    assert run("calibrate", files / "all", "--rates", "0.01", "--for", files / "g")[0] == 0
    assert Embeddings.load(files / "all").calibration is None
    assert Embeddings.load(files / "g").calibration is not None
    assert run("calibrate", files / "all", "--rates", "0.01", "-o", files / "new")[0] == 0
    assert len(Embeddings.load(files / "new")) == 90
    assert "needs at least 10,000 pairs" in (text := fails("calibrate", files / "all", "--rates", "0.01", "0.0001"))
    assert "--rates" in text
    Embeddings(torch.eye(2), [{"tracklet": "a"}, {"tracklet": "b"}], "other").save(files / "x")
    assert "different weights cannot be compared" in fails(
        "calibrate", files / "all", "--rates", "0.01", "--for", files / "x"
    )
