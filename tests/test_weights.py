"""Every weight of the package loads by name, offline and fast; its record, card, log and bytes agree."""

import json
import re
import shutil
import socket
import time
from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard

from stmga import STMGA, TrackletEmbedder, create_model, list_weights
from stmga.config import ARCHITECTURES
from stmga.data.walkers.render import render_walkers
from stmga.hub.card import model_card
from stmga.hub.records import CARD_FILE, CONFIG_FILE, WeightsError, bundled_records, read_record
from stmga.zoo import DEFAULT_TAGS
from tests.support.hub import flip

RECORDS = bundled_records()
HERE = {name: record for name, record in RECORDS.items() if (record.folder / record.file).is_file()}
LARGEST = {"resnet18": 16e6, "resnet50": 90e6}  # bytes
PEOPLE = ("market", "cuhk", "mars", "duke", "ls-vid", "ilids", "prid")  # data sets of real people
A_PLACE = re.compile(r"(?<![\w.])/(home|root|tmp|work|Users|mnt)/")  # of somebody's machine


def each(records):
    """Test every one of them, or say that there is none."""
    none = pytest.param(None, marks=pytest.mark.skip(reason="no such weights in this package"))
    return pytest.mark.parametrize("record", list(records.values()) or [none], ids=lambda r: r.name if r else "none")


@pytest.fixture
def no_network(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", never)


@each(RECORDS)
def test_the_record_says_all_that_people_must_know(record):
    assert record.folder.name == record.name
    assert record.arch in ARCHITECTURES
    assert record.tag
    for key in ("training_data", "training_command", "licence", "terms", "metrics", "speed", "calibration", "log"):
        assert getattr(record, key), f"{record.name} has no {key}"
    assert "started from" not in record.training_data
    assert record.stages
    averages = [stage for stage in record.stages if stage["started from"].startswith("no training: ")]
    for i, stage in enumerate(record.stages):
        if stage in averages:
            assert {int(n) for n in re.findall(r"stage (\d+)", stage["started from"])} <= set(range(1, i + 1))
        else:
            assert {"network", "data", "epochs", "seed"} <= stage.keys()
            assert stage["started from"] == f"stage {i}" or i == 0
    commands = record.training_command.splitlines()
    assert len(record.stages) - len(averages) == sum(command.startswith("stmga train ") for command in commands)
    assert len(averages) == sum("benchmarks.tools.average_weights" in command for command in commands)
    taught_by = {stage["teacher"] for stage in record.stages if "teacher" in stage}
    assert taught_by == {command.split()[2] for command in commands if command.startswith("stmga teacher ")}
    if any(name in record.training_data.lower() for name in PEOPLE):
        assert "research only" in record.terms
    for row in record.metrics:
        assert {"data", "protocol", "mAP", "rank-1"} <= row.keys()
        if "mars8" in row["data"]:
            assert "not MARS" in row["data"]
    rates = [point.false_match_rate for point in record.calibration.thresholds]
    assert rates == [1e-2, 1e-3, 1e-4]


@each(RECORDS)
def test_the_card_says_what_the_record_says(record):
    card = (record.folder / CARD_FILE).read_text()
    assert record.sha256 in card
    cells = {cell.strip() for line in card.splitlines() if line.startswith("|") for cell in line.split("|")}
    told = [
        value for row in (*record.metrics, *record.speed) for value in row.values() if isinstance(value, int | float)
    ]
    told += [f"{point.similarity:.4f}" for point in record.calibration.thresholds]
    assert {str(value) for value in told} <= cells
    prose = " ".join(card.replace("\\\n", " ").split())
    shown = [row[key] for row in record.metrics for key in ("protocol", "data")]
    for words in (record.training_data, record.terms, record.log, record.training_command, *shown):
        assert " ".join(words.split()) in prose
    assert [line for line in card.splitlines() if len(line) > 160 and not line.startswith("|")] == []
    shown = ModelCard.load(record.folder / CARD_FILE).data
    assert shown.model_name == record.name
    assert [(r.dataset_name, r.metric_type, r.metric_value) for r in shown.eval_results] == [
        (row["data"], figure, row[figure]) for row in record.metrics for figure in ("mAP", "rank-1")
    ]


@each(RECORDS)
def test_the_card_is_what_this_version_writes(record):
    """But for the line that names the version; a card that differs is written again from its record."""
    version = re.compile(r"Written by stmga \S+")
    card = (record.folder / CARD_FILE).read_text(encoding="utf-8")
    assert version.sub("", card) == version.sub("", model_card(record))


@each(RECORDS)
def test_the_log_is_there_and_no_file_names_a_machine(record):
    rows = [json.loads(line) for line in (record.folder / record.log).read_text().splitlines()]
    assert all({"epoch", "loss"} <= row.keys() for row in rows)
    assert rows
    for name in (record.log, CARD_FILE, CONFIG_FILE):
        assert not A_PLACE.search((record.folder / name).read_text()), name


@each(HERE)
def test_the_file_is_small(record):
    size = (record.folder / record.file).stat().st_size
    assert size == record.file_size <= LARGEST[record.config.backbone]


@each(HERE)
def test_it_loads_by_name_at_once_and_without_a_network(record, no_network):
    create_model(record.arch)  # what an import costs is no part of it
    seconds = []
    for _ in range(3):  # the best of them: others may use this machine
        start = time.perf_counter()
        model = create_model(record.name)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1, seconds
    assert not model.training
    assert model.record == record
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@each(HERE)
def test_one_wrong_byte_is_refused(record, tmp_path):
    shutil.copytree(record.folder, tmp_path / "copy")
    file = tmp_path / "copy" / record.file
    data = file.read_bytes()
    for place in (0, len(data) // 2, -1):
        file.write_bytes(flip(data, place))
        with pytest.raises(WeightsError, match=record.sha256):
            STMGA.from_pretrained(tmp_path / "copy")


@each(HERE)
def test_saving_it_again_gives_the_same_bytes(record, tmp_path):
    create_model(record.name).save_pretrained(tmp_path)
    assert (tmp_path / record.file).read_bytes() == (record.folder / record.file).read_bytes()
    assert replace(read_record(tmp_path), folder=record.folder) == record


@each(HERE)
def test_its_thresholds_are_of_these_weights_and_go_with_the_vectors(record):
    found = TrackletEmbedder(create_model(record.name))(render_walkers(2, cameras=2, frames=2, size=(64, 32)))
    assert found.calibration == record.calibration
    assert found.calibration.digest == found.digest


def test_a_default_is_one_of_the_weights():
    assert {f"{arch}.{tag}" for arch, tag in DEFAULT_TAGS.items()} <= set(list_weights())
    several = {
        record.arch for record in RECORDS.values() if len([r for r in RECORDS.values() if r.arch == record.arch]) > 1
    }
    assert several <= DEFAULT_TAGS.keys()
