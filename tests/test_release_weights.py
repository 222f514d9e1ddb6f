"""The maintainer's script that makes a weight: its functions, on an untrained network and a few walkers."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from benchmark_scripts import script
from train_fixtures import little_benchmark, tiny

from stmga import WeightRecord, hub
from stmga.distributed import World
from stmga.metrics import evaluate
from stmga.records import WeightsError
from stmga.train.validation import embed_test

NAME = "stmga_resnet18_c4.figures"
SCORER = """
import sys, numpy
data = numpy.load(sys.argv[2])
assert sys.argv[1] == "figures.zip" and len(data["names"]) == len(data["feats"])
print({"queries": 1, "mAP": %r, "rank-1": %r})
"""


@pytest.fixture(scope="module", name="script")
def script_fixture():
    return script("release_weights")


@pytest.fixture(scope="module", name="best")
def best_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    tiny().save_pretrained(folder / "best")
    (folder / "log.jsonl").write_text('{"epoch": 1}\n')
    return folder / "best"


@pytest.fixture(scope="module", name="measured")
def measured_fixture(script, best):
    """(network, scores, thresholds, vectors) of the rounded file."""
    model = script.rounded(best, NAME)
    return model, *script.measure(model, little_benchmark(), rates=(0.1,))[:3]


def record_of(script, model, found, calibration) -> WeightRecord:
    return WeightRecord(
        name=NAME, config=model.config, sha256=model.record.sha256, metrics=(script.figures(found, "one seed"),),
        calibration=calibration, speed=(script.speed(model, rounds=1, batch=1),), training_data="rendered figures",
        training_command="stmga train ...", log="log.jsonl", licence=script.LICENCE, terms=script.TERMS,
    )  # fmt: skip


def test_what_is_measured_is_the_file_that_ships(script, best, measured, tmp_path):
    model, found, calibration, _ = measured
    kept = script.write(
        model, tmp_path / NAME, record_of(script, model, found, calibration), [best.parent / "log.jsonl"]
    )
    assert sorted(file.name for file in (tmp_path / NAME).iterdir()) == [
        "README.md", "config.json", "log.jsonl", "model.safetensors",
    ]  # fmt: skip
    shipped, benchmark = hub.load(tmp_path / NAME), little_benchmark()
    assert kept == shipped.record
    assert shipped.digest() == found.digest == calibration.digest == kept.calibration.digest
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


def test_it_can_be_run_again_and_worse_weights_do_not_take_the_place(script, best, measured, tmp_path):
    model, found, calibration, _ = measured
    logs = [best.parent / "log.jsonl"] * 2  # of two stages
    record = record_of(script, model, found, calibration)
    script.write(model, tmp_path, dataclasses.replace(record, repo_id="me/figures", revision="1" * 40), logs)
    again = script.write(model, tmp_path, dataclasses.replace(record, terms="others"), logs)
    assert (again.published, again.terms) == (True, "others")
    assert (tmp_path / "log.jsonl").read_text() == '{"epoch": 1}\n' * 2
    other = tiny(seed=1)
    worse = dataclasses.replace(record, sha256="1" * 64, calibration=None)
    with pytest.raises(SystemExit, match="which stay"):
        script.write(other, tmp_path, worse, logs)
    assert hub.load(tmp_path).record == again
    better = dataclasses.replace(worse, metrics=({**worse.metrics[0], "mAP": 100.1},))
    assert not script.write(other, tmp_path, better, logs).published


def test_a_second_scorer_must_agree(script, measured, tmp_path):
    _, found, _, vectors = measured
    scorer, data = tmp_path / "score.py", Path("figures.zip")
    scorer.write_text(SCORER % (found.mAP * (1 + 5e-5), found.rank(1)))
    assert script.second_opinion(found, vectors, scorer, data)["rank-1"] == found.rank(1)
    scorer.write_text(SCORER % (found.mAP * (1 + 2e-4), found.rank(1)))
    with pytest.raises(SystemExit, match=r"mAP is .*nothing is released"):
        script.second_opinion(found, vectors, scorer, data)


def test_a_network_of_another_architecture_is_refused(script, best):
    with pytest.raises(WeightsError, match="is no stmga_resnet50_c4"):
        script.rounded(best, "stmga_resnet50_c4.figures")


def test_the_processor_has_a_name(script):
    assert script.where()["processor"]
    assert script.where()["threads"] == torch.get_num_threads()
