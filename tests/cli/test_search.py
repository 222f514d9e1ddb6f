"""`stmga search`: what it finds, prints, writes and refuses."""

import csv
import dataclasses
import errno
import json

import numpy as np
import pytest
import torch
from PIL import Image

from stmga import STMGA, Embeddings, Gallery
from stmga.calibration import Calibration, Threshold
from stmga.cli.main import main
from stmga.metrics import rank_scores


def test_search_ranks_and_scores(place, run, tmp_path):
    file = place / "all.safetensors"
    where = ("--where", "role=query", "--gallery-where", "role=gallery")
    code, text, _ = run("search", file, file, *where, "--top", 3, "-o", tmp_path / "m.jsonl")
    assert code == 0
    everything = Embeddings.load(file)
    queries, gallery = (
        everything.select([item["role"] == role for item in everything.items]) for role in ("query", "gallery")
    )
    similarity = queries.vectors @ gallery.vectors.T
    scores = rank_scores(similarity, queries.persons, gallery.persons)
    assert f"mAP {scores.mAP:.1%}, rank-1 {scores.rank(1):.1%}" in text
    assert "rule: cosine similarity" in text
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [line["query"]["tracklet"] for line in lines] == queries.ids
    for line, row in zip(lines, similarity, strict=True):
        best = row.argsort(descending=True, stable=True)[:3]
        assert [match["tracklet"] for match in line["matches"]] == [gallery.ids[i] for i in best]
        assert [match["similarity"] for match in line["matches"]] == pytest.approx(row[best].tolist(), abs=1e-5)
        assert line["query"]["tracklet"] in text


def test_a_query_never_finds_itself(place, run, tmp_path):
    file = place / "all.safetensors"
    assert run("search", file, file, "-o", tmp_path / "m.csv", "--top", 99)[0] == 0
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert len(rows) == 10 * 9
    assert all(row["query"] != row["tracklet"] for row in rows)
    assert [int(row["rank"]) for row in rows[:9]] == list(range(1, 10))


def test_search_other_cameras_only_and_above_a_threshold(place, run, tmp_path):
    file, out = place / "all.safetensors", tmp_path / "m.csv"
    assert run("search", file, file, "--other-camera", "-o", out)[0] == 0
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 10 * 5
    assert all(row["query_camera"] != row["camera"] for row in rows)
    limit = float(np.median([float(row["similarity"]) for row in rows]))
    assert run("search", file, file, "--other-camera", "--threshold", limit, "-o", out)[0] == 0
    kept = list(csv.DictReader(out.open()))
    assert 0 < len(kept) < len(rows)
    assert all(float(row["similarity"]) >= limit - 1e-6 for row in kept)


def test_search_several_galleries(place, run, tmp_path):
    everything = Embeddings.load(place / "all.safetensors")
    for camera in (0, 1):
        everything.select([c == camera for c in everything.cameras]).save(tmp_path / f"{camera}.safetensors")
    code, text, _ = run("search", place / "all.safetensors", tmp_path / "0.safetensors", tmp_path / "1.safetensors")
    assert code == 0
    assert "10 queries in 10 tracklets" in text
    assert "and 0 more" not in text


def test_search_draws_a_picture(place, run, tmp_path):
    file, picture = place / "all.safetensors", tmp_path / "ranked.png"
    assert run("search", file, file, "--where", "role=query", "--picture", picture)[0] == 0
    with Image.open(picture) as image:
        assert image.width > 500
        assert image.height > 1000


def test_search_without_persons_has_no_score(run, tmp_path):
    Embeddings(torch.eye(3), [{"tracklet": name} for name in "abc"], digest="1f").save(tmp_path / "x.safetensors")
    code, text, _ = run("search", tmp_path / "x.safetensors", tmp_path / "x.safetensors", "--threshold", "0.5")
    assert code == 0
    assert "mAP" not in text
    assert "a      -" in text  # no match above the threshold


def test_search_says_when_nothing_can_be_scored(run, tmp_path):
    items = [{"tracklet": "a", "person": 1, "camera": 1}, {"tracklet": "b", "person": 1, "camera": 1}]
    Embeddings(torch.eye(2), items, digest="1f").save(tmp_path / "x.safetensors")
    code, text, _ = run("search", tmp_path / "x.safetensors", tmp_path / "x.safetensors")
    assert code == 0
    assert "there is no score" in text


def test_calibrated_weights_give_verdicts_with_no_further_step(place, run, tmp_path):
    model = STMGA.from_pretrained(place / "tiny")
    point = Threshold(false_match_rate=1e-3, similarity=-1.0, true_match_rate=0.9)
    calibration = Calibration(
        thresholds=(point,), lower=0.0, impostor_pairs=9, genuine_pairs=9, persons=3, digest=model.digest(),
        data="figures",
    )  # fmt: skip
    model.save_pretrained(tmp_path / "m", record=dataclasses.replace(model.record, calibration=calibration))
    out = tmp_path / "x.safetensors"
    assert run("embed", place / "crops/manifest.jsonl", "-o", out, "--model", tmp_path / "m", "-q")[0] == 0
    code, text, _ = run("search", out, out, "-o", tmp_path / "m.jsonl")
    assert code == 0
    assert 'verdict: "same" from -1.000' in text
    assert "measured on figures" in text
    line = json.loads((tmp_path / "m.jsonl").read_text().splitlines()[0])
    assert {match["verdict"] for match in line["matches"]} == {"same"}
    text = run("search", place / "all.safetensors", place / "all.safetensors")[1]
    assert text.count("verdict") == 1
    assert "verdict: none" in text


def test_persons_and_cameras_compare_as_text(run, tmp_path):
    for name, persons, camera in (("q", (1, 2), 1), ("g", ("1", "2"), "2")):
        items = [{"tracklet": f"{name}{person}", "person": person, "camera": camera} for person in persons]
        Embeddings(torch.eye(2), items, digest="1f").save(tmp_path / name)
    code, text, _ = run("search", tmp_path / "q", tmp_path / "g")
    assert code == 0
    assert "rank-1 100.0%" in text
    assert text.count("right") == 2


def test_numbers_that_are_labels_are_printed_as_they_are(run, tmp_path):
    items = [{"tracklet": 20261128 + i, "person": 10234, "camera": 4000 + i} for i in range(12)]
    file = tmp_path / "x.safetensors"
    Embeddings(torch.eye(12), items, digest="1f").save(file)
    _, text, _ = run("search", file, file)
    assert "20261128" in text and " 10234 " in text and " 4000 " in text
    assert "10,234" not in text and "4,000" not in text and "20,261," not in text


def test_the_hint_about_a_file_knows_the_file_that_was_written(run, tmp_path):
    file, out = tmp_path / "x.safetensors", tmp_path / "m.csv"
    Embeddings(torch.eye(12), [{"tracklet": f"t{i}"} for i in range(12)], digest="1f").save(file)
    assert "... and 2 more queries; write all with -o matches.jsonl" in run("search", file, file)[1]
    assert f"... and 2 more queries; all are in {out}" in run("search", file, file, "-o", out)[1]


def test_search_refuses(place, fails, tmp_path):
    file = place / "all.safetensors"
    assert "no embeddings file" in fails("search", tmp_path / "none.safetensors", file)
    assert "role is gallery, query" in fails("search", file, file, "--where", "role=queries")
    assert "the keys are camera, person, role, tracklet" in fails("search", file, file, "--where", "roll=query")
    assert "expected key=value" in fails("search", file, file, "--where", "query")
    assert ".jsonl or .csv" in fails("search", file, file, "-o", tmp_path / "m.xlsx")
    assert "-1..1" in fails("search", file, file, "--threshold", "80")
    loaded = Embeddings.load(file)
    Embeddings(loaded.vectors, loaded.items, digest="other").save(tmp_path / "other.safetensors")
    assert "vectors of different weights cannot be compared" in fails("search", file, tmp_path / "other.safetensors")
    assert len(Gallery.load(file)) == 10  # untouched


@pytest.fixture
def not_unicode(tmp_path):
    """Embeddings of tracklets whose folder names are no UTF-8."""
    names = ("caf\udce9", "th\udce9")
    file = tmp_path / "x.safetensors"
    embeddings = Embeddings(torch.eye(2), [{"tracklet": name} for name in names], digest="1f", model="mod\udce9le")
    embeddings.save(file)
    assert Embeddings.load(file).items == embeddings.items
    assert Embeddings.load(file).model == "mod\\udce9le"
    return file


def test_search_any_file_name(not_unicode, run, tmp_path):
    code, text, _ = run("search", not_unicode, not_unicode, "-o", tmp_path / "m.jsonl")
    assert code == 0
    assert "caf\\udce9" in text
    (first, _) = (json.loads(line) for line in (tmp_path / "m.jsonl").read_text("utf-8").splitlines())
    assert first["query"]["tracklet"] == "caf\udce9"
    assert first["matches"][0]["tracklet"] == "th\udce9"
    assert run("search", not_unicode, not_unicode, "-o", tmp_path / "m.csv")[0] == 0
    assert b"caf\xe9,,,1,th\xe9," in (tmp_path / "m.csv").read_bytes()  # the names as the file system has them
    assert run("search", not_unicode, not_unicode, "--picture", tmp_path / "m.png")[0] == 0


def test_search_writes_before_it_prints(place, tmp_path, monkeypatch):
    def closed(*args, **kwargs):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    file = str(place / "all.safetensors")
    main(["search", file, file, "-o", str(tmp_path / "m.jsonl")])
    assert len((tmp_path / "m.jsonl").read_text().splitlines()) == 10


def test_search_refuses_a_picture_of_another_suffix_at_once(fails, tmp_path):
    nowhere = tmp_path / "none.safetensors"
    assert "a picture can be written as .png" in fails("search", nowhere, nowhere, "--picture", tmp_path / "m.jpg")


def test_search_checks_all_files_and_conditions_before_it_reads_one(place, fails, tmp_path, monkeypatch):
    def loads(path):
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(Embeddings, "load", loads)
    file, nowhere = place / "all.safetensors", tmp_path / "none.safetensors"
    with pytest.raises(AssertionError, match=r"all\.safetensors is read"):  # what is right is read
        main(["search", str(file), str(file), "--where", "role=query"])
    assert f"no embeddings file {nowhere}" in fails("search", nowhere, file)
    assert f"no embeddings file {nowhere}" in fails("search", file, file, nowhere)
    assert "got a folder" in fails("search", file, tmp_path)
    assert "expected key=value, got 'role'" in fails("search", file, file, "--gallery-where", "role")


def test_a_full_disk_leaves_the_old_picture(place, fails, tmp_path, monkeypatch):
    picture = tmp_path / "ranked.png"
    picture.write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    file = place / "all.safetensors"
    assert "No space left" in fails("search", file, file, "--picture", picture)
    assert picture.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["ranked.png"]


@pytest.mark.parametrize("command", ["search", "eval", "calibrate"])
def test_names_in_embeddings_have_no_effect_on_the_terminal(run, tmp_path, command):
    bad = "\x1b[2J\u202e\nstmga: error: not ours"
    for name, n in (("q", 8), ("g", 30)):
        vectors = torch.nn.functional.normalize(torch.randn(n, 8, generator=torch.Generator().manual_seed(n)))
        items = [
            {"tracklet": f"{name}{i}{bad}", "person": f"{i % 3}{bad}", "camera": f"{i % 2}{bad}"} for i in range(n)
        ]
        Embeddings(vectors, items, digest="d", model=f"m{bad}").save(tmp_path / f"{name}.safetensors")
    queries, gallery = tmp_path / "q.safetensors", tmp_path / "g.safetensors"
    options = {
        "search": (queries, gallery),
        "eval": (queries, gallery, "--no-queries-in-gallery"),
        "calibrate": (gallery, "--rates", "0.1"),
    }
    code, text, err = run(command, *options[command])
    assert code == 0 and "m\\x1b[2J" in text
    assert "\x1b" not in text + err and "\u202e" not in text + err and "\nstmga: error" not in text + err
