"""Run folders of strangers for a second stage: each fault is a TrainingError or WeightsError, at once."""

import json
import pickle
import shutil
import struct
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from stmga.config import ARCHITECTURES
from stmga.hub.records import WeightsError
from stmga.train import Stage, Trainer, TrainingError, train
from stmga.train.run_folder import RunFolder
from stmga.utils.distributed import World
from tests.support.files import irregular
from tests.support.train import QUICK, TINY, little_benchmark, tiny

BASELINE = replace(ARCHITECTURES["stmga_resnet18_c4_baseline"], size=TINY.size, clip_length=1)
ONCE = replace(QUICK, epochs=1, steps=1)
CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture(scope="module", name="benchmark")
def benchmark_fixture():
    return replace(little_benchmark(), query=[], gallery=[])


@pytest.fixture(scope="module", name="good")
def good_fixture(benchmark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "run"
    train(tiny(config=BASELINE), benchmark, ONCE, folder)
    return folder


@pytest.fixture(name="run")
def run_fixture(good, tmp_path):
    shutil.copytree(good, tmp_path / "run")
    return tmp_path / "run"


def start(run, benchmark, net=TINY):
    """What `stmga train --after RUN` does before its first step."""
    after, model = Stage.of(run), tiny(config=net)
    after.start_network(model)
    return Trainer(model, benchmark, ONCE, run.parent / f"second {net.parts}", World(), started_from="x", after=after)


def refused(run, benchmark, net=TINY):
    with pytest.raises((TrainingError, WeightsError)) as caught:
        start(run, benchmark, net)
    text = str(caught.value)
    assert len(text) < 900 + 2 * len(str(run)) and "\x1b" not in text


def rewrite(run, about=None, tensors=None):
    """The checkpoint with other words or other tensors."""
    with safe_open(run / CHECKPOINT, framework="pt") as file:
        words = json.loads(file.metadata()["stmga-training"])
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    words = (about(words) or words) if about else words
    held = (tensors(held) or held) if tensors else held
    text = words if isinstance(words, str) else json.dumps(words)
    save_file(held, run / CHECKPOINT, {"stmga-training": text})


def progress(**entries):
    return lambda words: words["progress"].update(entries)


WORDS = {
    "no JSON": lambda words: "{",
    "deep": lambda words: "[" * 10**5,
    "a list": lambda words: "[]",
    "null": lambda words: "null",
    "no progress": lambda words: words.pop("progress") and None,
    "an unknown key": progress(evil=1),
    "progress of a number": lambda words: words.update(progress=5),
    "epoch of text": progress(epoch="x"),
    "epoch of a fraction": progress(epoch=1.5),
    "epoch true": progress(epoch=True),
    "epoch -1": progress(epoch=-1),
    "epoch 10^30": progress(epoch=10**30),
    "sums of a list": progress(sums=[]),
    "seconds of text": progress(seconds="x"),
    "no epoch yet": progress(epoch=0),
    "parameters of a number": lambda words: words.update(parameters=5),
    "parameters of numbers": lambda words: words.update(parameters=[1]),
    "a parameter twice": lambda words: words.update(parameters=[words["parameters"][0]] * len(words["parameters"])),
    "no parameters": lambda words: words.update(parameters=[]),
    "another version": lambda words: words.update(stmga="\x1b[2J"),
    "another format": lambda words: words.update(format=None),
    "no version": lambda words: words.pop("stmga") and None,
    "a file of words": lambda words: json.dumps("x" * 10**6),
}


@pytest.mark.parametrize("name", WORDS)
def test_what_a_checkpoint_says_of_itself(run, benchmark, name):
    rewrite(run, about=WORDS[name])
    refused(run, benchmark)


TRUNK = "objective.model.backbone.conv1.weight"
TENSORS = {
    "a missing one": lambda held: held.pop(TRUNK) is None,
    "another shape": lambda held: held.update({TRUNK: torch.zeros(3)}),
    "NaN": lambda held: held[TRUNK].fill_(float("nan")) is None,
    "another type": lambda held: held.update({TRUNK: held[TRUNK].to(torch.complex64)}),
    "whole numbers": lambda held: held.update({TRUNK: held[TRUNK].to(torch.int8)}),
    "a moment of nothing": lambda held: held.update({"optimizer.99999.exp_avg": torch.zeros(1)}),
    "a moment of a huge number": lambda held: held.update({"optimizer.99999999999999999999.exp_avg": torch.zeros(1)}),
    "a moment before all": lambda held: held.update({"optimizer.-1.exp_avg": torch.zeros(1)}),
    "a moment of text": lambda held: held.update({"optimizer.x.exp_avg": torch.zeros(1)}),
    "a moment of two parts": lambda held: held.update({"optimizer.1": torch.zeros(1)}),
    "a moment with an escape": lambda held: held.update({"optimizer.\x1b[2J": torch.zeros(1)}),
    "moments of another shape": lambda held: held.update(
        {name: torch.zeros(7) for name in held if name.endswith("exp_avg")}
    ),
    "nothing": lambda held: {"x": torch.zeros(1)},
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("net", [TINY, BASELINE], ids=["another network", "the same network"])
def test_tensors_of_a_checkpoint(run, benchmark, name, net):
    rewrite(run, tensors=lambda held: found if isinstance(found := TENSORS[name](held), dict) else held)
    refused(run, benchmark, net)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 8, b"\xff" * 100, struct.pack("<Q", 10**12), pickle.dumps({"a": 1}), b"PK\x03\x04", b"<html>"],
    ids=range(7),
)
def test_a_checkpoint_that_is_none(run, benchmark, data):
    (run / CHECKPOINT).write_bytes(data)
    refused(run, benchmark)


def asked(**entries):
    return lambda text: json.dumps(json.loads(text) | entries)


RUNS = {
    "empty": lambda text: "",
    "deep": lambda text: "[" * 10**6,
    "a list": lambda text: "[]",
    "null": lambda text: "null",
    "huge": lambda text: text + " " * (5 << 20),
    "a network of nothing": asked(network={"size": [10**9, 10**9]}),
    "a network of a list": asked(network=[1]),
    "no data": asked(data=None),
    "data of text": asked(data="x"),
    "train of a number": asked(train=5),
    "start with an escape": asked(started_from="\x1b[2J"),
    "start of a number": asked(started_from=5),
    "a version of a list": asked(stmga=["\x1b"], network={"evil": 1}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_none(run, benchmark, name):
    path = run / "run.json"
    path.write_text(RUNS[name](path.read_text()))
    refused(run, benchmark)


@pytest.mark.parametrize("name", ["run.json", CHECKPOINT, "last/config.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_is_no_regular_file(run, benchmark, name, kind):
    irregular(run / name, kind)
    refused(run, benchmark)


def test_the_folder_itself_is_a_good_one(run, benchmark):
    start(run, benchmark)
    start(run, benchmark, BASELINE)


@pytest.mark.parametrize("data", [{}, {"name": 5}, {"name": "x", "tracklets": "x", "persons": 1}, {"name": "\x1b"}])
def test_a_run_from_before_records_had_stages_whose_data_are_none(run, benchmark, data):
    record = json.loads((run / "last/config.json").read_text()) | {"stages": []}
    (run / "last/config.json").write_text(json.dumps(record))
    words = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(words | {"data": {"identities": words["data"]["identities"]} | data}))
    refused(run, benchmark)


def test_lines_of_a_log_that_are_damaged_are_left_out(good, run, caplog):
    asked = json.loads((run / "run.json").read_text())
    whole = (good / "log.jsonl").read_bytes()
    bad = [
        b"[" * 10**5,
        b"[1]",
        b"{}",
        b'{"epoch": "1"}',
        b'{"epoch": true}',
        b"\xb2\x1b[2J",
        b'{"epoch": 1, "a": ' + b"[" * 40 + b"]" * 40 + b"}",
    ]
    (run / "log.jsonl").write_bytes(b"\n".join([*bad, whole]))
    with RunFolder(run, asked) as folder:
        assert [row["epoch"] for row in folder.lines()] == [1]
        assert sum("is left out" in record.message for record in caplog.records) == len(bad)
        assert "\x1b" not in caplog.text
        folder.rewind(1)
    assert (run / "log.jsonl").read_bytes() == whole
