"""The sites of the adaptation benchmark: no label reaches the site, and Market's stays have honest times."""

import json

import torch

from benchmarks.accuracy.adaptation import joined, table
from benchmarks.accuracy.adaptation_sites import halves, market, mars8, stays
from stmga.embedding.embeddings import Embeddings
from stmga.people.unlabelled import seen_together

ROW = {"tracklet": "0007C2S1", "person": 7, "camera": 2, "sequence": 1}


def test_a_group_of_crops_is_cut_where_the_person_is_gone():
    frames = [f"f/0007_c2s1_{number:06d}_{box:02d}.jpg" for number, box in ((900, 1), (10, 0), (60, 2), (161, 0))]
    found = list(stays(ROW | {"frames": frames}))
    assert [(row["start"], row["end"], len(row["frames"])) for row in found] == [
        (10, 60, 2),
        (161, 161, 1),
        (900, 900, 1),
    ]
    assert {(row["video"], row["camera"], row["person"]) for row in found} == {("c2s1", 2, 7)}
    assert len({row["tracklet"] for row in found}) == 3


def test_equal_frame_numbers_of_one_camera_and_sequence_are_one_moment(tmp_path):
    folder = tmp_path / "market1501-867"
    folder.mkdir()
    rows = [
        ROW | {"tracklet": f"{p}S{s}", "person": p, "sequence": s, "frames": [f"f/{p:04d}_c2s{s}_000100_01.jpg"]}
        for p, s in ((1, 1), (3, 1), (5, 2), (2, 1))
    ]
    (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    site = market(tmp_path, tmp_path / "out")
    items = [json.loads(line) for line in site.manifest.read_text().splitlines()]
    assert [item["tracklet"] for item in items] == ["1S1F100", "3S1F100"]  # of persons 1, 2, 3, 5: every other one
    pairs = seen_together(Embeddings(torch.eye(2), items, digest=""))
    assert [list(side) for side in pairs] == [[0], [1]]
    tested = [json.loads(line)["person"] for line in site.tests["other"].manifest.read_text().splitlines()]
    assert sorted(tested) == [2, 5]


def test_no_label_reaches_the_site(tmp_path):
    folder = tmp_path / "mars8-dev"
    folder.mkdir()
    rows = [{"tracklet": f"t{p}", "role": "query", "person": p, "camera": 1, "frames": ["a.jpg"]} for p in range(6)]
    (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    site = mars8(tmp_path, tmp_path / "out", persons=2)
    items = [json.loads(line) for line in site.manifest.read_text().splitlines()]
    assert [item["tracklet"] for item in items] == ["t0", "t2"]
    assert all(item.keys().isdisjoint({"person", "role"}) for item in items)
    same = [json.loads(line) for line in site.tests["same"].manifest.read_text().splitlines()]
    assert [(row["person"], row["role"]) for row in same] == [(0, "query"), (2, "query")]
    assert [row["person"] for row in halves(rows, None)[1]] == [1, 3, 5]


def test_the_table_has_gains_and_what_the_choice_of_the_round_missed():
    runs = [
        {"start": {"other": {"mAP": 60.0}}, "kept": {"other": {"mAP": 60.0 + gain}}, "missed": missed, "cpu_seconds": 9}
        for gain, missed in ((2.0, 0.1), (4.0, 0.3))
    ]
    line = table({"all": runs}).splitlines()[-1]
    assert "+3.00 (+2.00 to +4.00)" in line
    assert "0.30" in line


def test_runs_join_by_seed_and_a_new_one_replaces_the_old():
    runs = joined([{"seed": 0, "best": 1}, {"seed": 2, "best": 2}], [{"seed": 2, "best": 4}, {"seed": 1, "best": 3}])
    assert [(run["seed"], run["best"]) for run in runs] == [(0, 1), (1, 3), (2, 4)]
