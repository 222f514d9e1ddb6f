"""The maintainer's script that makes a weight: its functions, on an untrained network and a few walkers."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from benchmarks.accuracy import card_figures, elsewhere
from benchmarks.tools import release_weights as script
from stmga import STMGA, Embeddings, Tracklet, TrackletEmbedder, WeightRecord
from stmga.hub.records import WeightsError, read_record
from stmga.metrics import Protocol, calibrate, evaluate
from stmga.metrics.network_table import embed_test
from stmga.utils.distributed import World
from tests.support.train import TINY, little_benchmark, tiny

NAME = "stmga_resnet18_c4.figures"
SCORER = """
import sys, numpy
data = numpy.load(sys.argv[2])
assert sys.argv[1] == "figures.zip" and len(data["names"]) == len(data["feats"])
print({"queries": 1, "mAP": %r, "rank-1": %r})
"""


@pytest.fixture(scope="module", name="best")
def best_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    tiny().save_pretrained(folder / "best")
    (folder / "log.jsonl").write_text('{"epoch": 1}\n')
    return folder / "best"


@pytest.fixture(scope="module", name="measured")
def measured_fixture(best):
    """(network, its test) of the rounded file."""
    model = script.rounded(best, NAME)
    return model, script.measure(model, little_benchmark(), rates=(0.1,))


def record_of(model, whole) -> WeightRecord:
    found, calibration = whole.found, whole.calibration
    return WeightRecord(
        name=NAME, config=model.config, sha256=model.record.sha256, metrics=(script.figures(found, "one seed"),),
        calibration=calibration, speed=(script.speed(model, rounds=1),), training_data="rendered figures",
        training_command="stmga train ...", log="log.jsonl", licence=script.LICENCE, terms=script.TERMS,
    )  # fmt: skip


def test_what_is_measured_is_the_file_that_ships(best, measured, tmp_path):
    model, whole = measured
    logs = [best.parent / "log.jsonl"]
    kept = script.write(model, tmp_path / NAME, record_of(model, whole), logs)
    assert sorted(file.name for file in (tmp_path / NAME).iterdir()) == [
        "README.md", "config.json", "log.jsonl", "model.safetensors",
    ]  # fmt: skip
    shipped, benchmark = STMGA.from_pretrained(tmp_path / NAME), little_benchmark()
    assert kept == shipped.record
    assert shipped.digest() == whole.found.digest == whole.calibration.digest == kept.calibration.digest
    assert kept.file_size < 0.52 * (best / "model.safetensors").stat().st_size
    again = evaluate(*embed_test(shipped, benchmark, World()), benchmark.protocol)
    row = kept.metrics[0]
    assert (row["data"], row["mAP"], row["rank-1"]) == (
        "little",
        *(round(100 * x, 2) for x in (again.mAP, again.rank(1))),
    )
    assert row["protocol"].startswith("little; cosine distance")
    assert row["protocol"].endswith("12 queries, 24 tracklets in the gallery; scores in %")
    assert kept.calibration.data == "little"
    assert kept.calibration.roc == ()
    assert kept.speed[0]["frames/s"] > 0
    assert kept.speed[0]["processor"]
    assert json.loads((tmp_path / NAME / "log.jsonl").read_text()) == {"epoch": 1}
    card = (tmp_path / NAME / "README.md").read_text()
    for words in ("one seed", "research only", "Market-1501", "0.1 | ", "frames/s", "stmga train ..."):
        assert words in card


def test_it_can_be_run_again_and_worse_weights_do_not_take_the_place(best, measured, tmp_path):
    model, whole = measured
    logs = [best.parent / "log.jsonl"] * 2  # of two stages
    record = record_of(model, whole)
    script.write(model, tmp_path, dataclasses.replace(record, repo_id="me/figures", revision="1" * 40), logs)
    again = script.write(model, tmp_path, dataclasses.replace(record, terms="others"), logs)
    assert (again.published, again.terms) == (True, "others")
    assert (tmp_path / "log.jsonl").read_text() == '{"epoch": 1}\n' * 2
    other = tiny(seed=1)
    worse = dataclasses.replace(record, sha256="1" * 64, calibration=None)
    with pytest.raises(SystemExit, match="which stay"):
        script.write(other, tmp_path, worse, logs)
    assert STMGA.from_pretrained(tmp_path).record == again
    better = dataclasses.replace(worse, metrics=({**worse.metrics[0], "mAP": 100.1},))
    assert not script.write(other, tmp_path, better, logs).published


def test_a_second_scorer_must_agree(measured, tmp_path):
    found, vectors = measured[1].found, measured[1].every
    scorer, data = tmp_path / "score.py", Path("figures.zip")
    scorer.write_text(SCORER % (found.mAP * (1 + 5e-5), found.rank(1)))
    assert script.second_opinion(found, vectors, scorer, data)["rank-1"] == found.rank(1)
    scorer.write_text(SCORER % (found.mAP * (1 + 2e-4), found.rank(1)))
    with pytest.raises(SystemExit, match=r"mAP is .*nothing is released"):
        script.second_opinion(found, vectors, scorer, data)


def test_a_network_of_another_architecture_is_refused(best):
    with pytest.raises(WeightsError, match="is not a stmga_resnet50_c4"):
        script.rounded(best, "stmga_resnet50_c4.figures")


def test_the_processor_has_a_name():
    assert script.where()["processor"]
    assert script.where()["threads"] == torch.get_num_threads()


def test_stages_are_those_of_the_record_or_of_the_run_folders(best, tmp_path):
    """A record of a run says them; older runs have them in their folders."""
    logs = []
    starts = ("stmga_resnet18_c4, trunk from trunk.safetensors, the rest random", "stmga_resnet18_c4, after first (x)")
    for name, start in zip(("first", "second"), starts, strict=True):
        asked = {
            "network": dataclasses.replace(TINY, clip_length=1).to_dict(), "started_from": start,
            "data": {"name": "little", "tracklets": 24, "persons": 6}, "train": {"epochs": 9, "seed": 3},
        }  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(asked))
        (tmp_path / name / "log.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
        logs.append(tmp_path / name / "log.jsonl")
    first, second = script.stages_of(best, logs)
    assert first == {
        "network": "stmga_resnet18_c4", "input": "1 x 64 x 32", "data": "little", "tracklets": 24, "persons": 6,
        "epochs": "2 of 9", "seed": 3, "started from": "trunk from trunk.safetensors, the rest random",
    }  # fmt: skip
    assert second == {**first, "started from": "stage 1"}
    with pytest.raises(SystemExit, match="give the log of every stage"):
        script.stages_of(best, logs[1:])
    staged = dataclasses.replace(read_record(best), stages=(second,))  # the first of two runs had no record of stages
    STMGA.from_pretrained(best).save_pretrained(tmp_path / "best", record=staged)
    assert script.stages_of(tmp_path / "best", logs[1:]) == (second,)
    assert script.stages_of(tmp_path / "best", logs) == (first, {**first, "started from": "stage 1"})


# ---- what users ask


def test_frames_are_spread_evenly_and_all_of_them_are_the_test_itself(measured):
    figures, (model, whole) = card_figures, measured
    benchmark = little_benchmark()  # three frames a tracklet
    rows = figures.by_frames(model, benchmark, whole, (1, 2, 4, 8), rates=(0.1,))
    assert [row["frames"] for row in rows] == [1, 2, 3]
    assert rows[2]["mAP"] == round(100 * whole.found.mAP, 2)
    assert rows[2]["thresholds"][0]["similarity"] == whole.calibration.thresholds[0].similarity
    middle = [dataclasses.replace(t, frames=t.frames[1:2]) for t in [*benchmark.query, *benchmark.gallery]]
    found = TrackletEmbedder(model)(middle)
    count = len(benchmark.query)
    alone = evaluate(found.select(range(count)), found.select(range(count, len(found))), benchmark.protocol)
    assert rows[0]["mAP"] == round(100 * alone.mAP, 2)
    threshold = calibrate(found, false_match_rates=[0.1]).thresholds[0]
    assert rows[0]["thresholds"][0] == dataclasses.asdict(threshold)
    files = Tracklet("a", [f"{i}.jpg" for i in range(8)])
    assert [frame.file.name for frame in figures.thinned(files, 2).frames] == ["2.jpg", "6.jpg"]
    assert figures.thinned(files, 8) is files


def test_pairs_of_cameras_are_counted_by_hand():
    """Two persons: a query in camera 1 finds its person in camera 2 behind a stranger, and at once in camera 3."""
    figures = card_figures

    def side(*rows):
        vectors = torch.tensor([vector for *_, vector in rows], dtype=torch.float32)
        items = [{"tracklet": name, "person": name[0], "camera": camera} for name, camera, _ in rows]
        return Embeddings(vectors, items, digest="1f0c")

    query = side(("a1", 1, [1, 0]), ("b3", 3, [0.6, 0.8]))
    gallery = side(
        ("a2", 2, [0.6, 0.8]), ("b2", 2, [0.8, 0.6]), ("a3", 3, [1, 0]), ("a4", None, [1, 0]), ("b10", 10, [0, 1])
    )
    rows = figures.by_camera_pair(query, gallery, Protocol(data="two persons"))
    assert [(r["query camera"], r["gallery camera"], r["queries"], r["rank-1"], r["mAP"]) for r in rows] == [
        ("1", "2", 1, 0.0, 50.0), ("1", "3", 1, 100.0, 100.0), ("3", "2", 1, 0.0, 50.0), ("3", "10", 1, 100.0, 100.0),
    ]  # fmt: skip
    assert {row["protocol"] for row in rows} == {
        f"{Protocol(data='two persons').describe()}; the gallery of one camera at a time; 1 of 7 tracklets are left "
        "out, their camera is undecided; scores in %"
    }
    nowhere = [Embeddings(s.vectors, [{**i, "camera": None} for i in s.items], "1f0c") for s in (query, gallery)]
    assert figures.by_camera_pair(*nowhere, Protocol()) == ()


def test_rows_of_other_places_are_collected_in_a_file(best, tmp_path):
    benchmark = little_benchmark()
    model, file = STMGA.from_pretrained(best), tmp_path / "rows.json"
    with pytest.raises(SystemExit, match="give --trained-on"):
        elsewhere.row(model, benchmark)
    new = elsewhere.row(model, benchmark, "figures alone")
    assert new["mAP"] == round(100 * evaluate(*embed_test(model, benchmark, World()), benchmark.protocol).mAP, 2)
    assert (new["trained on"], new["data"]) == ("figures alone", "little")
    other = {**new, "trained on": "others"}
    for row in (new, other, {**new, "mAP": 1.0}):
        elsewhere.add(file, row)
    assert elsewhere.rows_of(file) == [other, {**new, "mAP": 1.0}]
    file.write_text('[{"mAP": 1}]')
    with pytest.raises(SystemExit, match="a row lacks trained on"):
        elsewhere.rows_of(file)


def test_the_whole_command_makes_a_card_with_all_of_it(best, tmp_path, monkeypatch):
    little = little_benchmark()
    monkeypatch.setattr(script, "load_benchmark", lambda source: little)
    monkeypatch.setattr(script, "stages_of", lambda best, logs: ({"data": "little", "seed": 0},))
    monkeypatch.setattr(script, "speed", lambda model: {"what": "not measured here"})
    monkeypatch.setattr(script.measure, "__kwdefaults__", script.measure.__kwdefaults__ | {"rates": (0.1,)})
    row = {"trained on": "others alone", "data": "little", "mAP": 1.5, "protocol": "cosine"}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    arguments = ["release_weights.py", best, NAME, "--data", "x", "--title", "figures", "--command", "stmga train x",
                 "--elsewhere", tmp_path / "rows.json", "--out", tmp_path]  # fmt: skip
    monkeypatch.setattr("sys.argv", [str(argument) for argument in arguments])
    script.main()
    kept, card = STMGA.from_pretrained(tmp_path / NAME).record, (tmp_path / NAME / "README.md").read_text()
    assert kept.elsewhere == (row,)
    assert kept.stages == ({"data": "little", "seed": 0},)
    assert [frames["frames"] for frames in kept.frames] == [1, 2, 3]
    assert {(pair["query camera"], pair["gallery camera"]) for pair in kept.camera_pairs} == {("0", "1"), ("1", "0")}
    for words in ("## Frames in a tracklet", "## Pairs of cameras", "others alone", "| 1 | little | 0 |"):
        assert words in card
