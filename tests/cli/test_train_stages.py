"""`stmga train` after another run, and on several sets."""

import json

import pytest
import torch

from stmga import STMGA
from tests.support.cli import SMALL


def test_two_sets_train_crops_and_then_clips_and_are_tested_on_one(run, data, tmp_path):
    """Groups of still crops first, then video from the trunk that they gave."""
    sources = ["--data", data / "more/manifest.jsonl", data / "data/manifest.jsonl"]
    test = ["--test", data / "data/manifest.jsonl", "--size", 64, 32, *SMALL]
    code, out, err = run("train", *sources, *test, "--recipe", "crops", "-o", tmp_path / "run")
    assert code == 0, err
    assert "data      walkers medium seed 1 + walkers medium seed 0: 44 tracklets of 11 persons to train on" in out
    assert "test      8 queries, 8 gallery tracklets" in out
    crops = STMGA.from_pretrained(tmp_path / "run/best")
    assert crops.config.clip_length == 1
    assert crops.record.training_data.startswith("walkers medium seed 1 + walkers medium seed 0: 44 tracklets")
    assert crops.record.metrics[0]["data"].startswith("walkers medium seed 0: 4 persons")
    file = tmp_path / "run/last/model.safetensors"
    code, out, err = run(
        "train", *sources, *test, "--recipe", "clips", "--set", "trunk_lr=0", "--backbone-weights", file,
        "-o", tmp_path / "clips",
    )  # fmt: skip
    assert code == 0, err
    assert f"network   stmga_resnet18_c4, trunk of a saved network, sha256 {crops.record.sha256[:12]}, the rest" in out
    clips = STMGA.from_pretrained(tmp_path / "clips/last")
    assert clips.config.clip_length == 4
    assert [row["started from"] for row in clips.record.stages] == ["random weights", "stage 1"]
    trunk = STMGA.from_pretrained(tmp_path / "run/last").backbone
    for ours, theirs in zip(clips.backbone.parameters(), trunk.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.fixture(scope="module", name="trunk")
def trunk_fixture(data):
    """The first of two stages: still crops on the baseline's network."""
    from stmga.cli.main import main

    arguments = ["train", "--data", data / "more/manifest.jsonl", "--model", "stmga_resnet18_c4_baseline", "--recipe",
                 "crops", "--size", 64, 32, "-o", data / "trunk", *SMALL]  # fmt: skip
    assert main([str(a) for a in arguments]) == 0
    return data / "trunk"


def test_a_second_stage_goes_on_from_a_run_with_a_network_as_asked(run, data, trunk, tmp_path):
    arguments = [
        "train", "--data", data / "more/manifest.jsonl", "--after", trunk, "--net", "attend=mask", "--net", "tau=0.1",
        "--recipe", "clips", "--set", "trunk_lr=0", "--size", 64, 32, "-o", tmp_path / "heads", *SMALL,
    ]  # fmt: skip
    code, out, err = run(*arguments)
    assert code == 0, err
    words = "stmga_resnet18_c4, after trunk after 2 of 2 epochs (stmga_resnet18_c4_baseline, random weights)"
    assert f"network   {words}\n" in out
    model, first = STMGA.from_pretrained(tmp_path / "heads/last"), STMGA.from_pretrained(trunk / "last")
    assert (model.config.attend, model.config.tau, model.config.clip_length) == ("mask", 0.1, 4)
    for ours, theirs in zip(model.backbone.parameters(), first.backbone.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert [row["started from"] for row in model.record.stages] == ["random weights", "stage 1"]
    assert json.loads((tmp_path / "heads/run.json").read_text())["started_from"] == words
    log = [
        [json.loads(line) for line in (r / "log.jsonl").read_text().splitlines()] for r in (trunk, tmp_path / "heads")
    ]
    assert log[1][0]["loss"]["ce/z_c"] < log[0][0]["loss"]["ce/z_f"]  # it knows the persons already

    code, _, err = run(*arguments)  # run the same command to resume, and there is nothing left
    assert code == 0, err
    code, _, err = run(*arguments, "--net", "attend=scaled")  # the last one counts
    assert code == 1
    assert "network.attend was 'mask', now 'scaled'" in err


def test_mistakes_with_a_second_stage_are_named(fails, data, trunk, tmp_path):
    def error(*arguments, source="more"):
        return fails("train", "--data", data / source / "manifest.jsonl", "-o", tmp_path / "run", "-q", *arguments)

    assert "--from brings its own network: leave out --after" in error("--after", trunk, "--from", data / "tiny")
    assert "--after brings its own trunk: leave out --backbone-weights" in error(
        "--after", trunk, "--backbone-weights", tmp_path / "nothing.safetensors"
    )
    assert "last is not a run folder" in error("--after", trunk / "last")
    small = ["--set", "persons=4", "--size", 64, 32]
    assert "trained on other persons" in error("--after", trunk, *small, source="data")
    assert "the run has the trunk resnet18 c4, this network resnet50 c4" in error(
        "--after", trunk, *small, "--model", "stmga_resnet50_c4"
    )
    assert not (tmp_path / "run").exists()


def test_a_run_from_a_folder_of_this_machine_names_its_end_alone(run, data, trunk, tmp_path):
    code, out, err = run(
        "train", "--data", data / "more/manifest.jsonl", "--from", trunk / "last", "-o", tmp_path / "run", *SMALL,
        "--epochs", 1, "--set", "steps=1",
    )  # fmt: skip
    assert code == 0, err
    assert "network   trunk/last\n" in out
    for file in ("run.json", "last/config.json", "last/README.md"):
        assert str(data) not in (tmp_path / "run" / file).read_text()


def test_the_trunk_of_a_changed_network_is_loaded_by_its_own_name(fails, data, tmp_path, monkeypatch):
    seen = {}

    def peek(trunk, weights, *, name, **others):
        seen["name"] = name
        raise ValueError("enough")

    monkeypatch.setattr("stmga.train.network.load_backbone", peek)
    fails("train", "--data", data / "data/manifest.jsonl", "--net", "backbone=resnet34", "--backbone-weights",
          "imagenet", "-o", tmp_path / "run")  # fmt: skip
    assert seen == {"name": "resnet34"}


def test_mistakes_with_several_sets_are_named(fails, data, tmp_path):
    def error(*arguments):
        return fails("train", "-o", tmp_path / "run", "-q", "--data", *arguments)

    one, other = data / "data/manifest.jsonl", data / "more/manifest.jsonl"
    assert "of different names, got walkers medium seed 0, walkers medium seed 0" in error(one, one)
    assert "walkers medium seed 1 has no queries" in error(one, "--test", other)
    for more in ([other], ["--test", one]):
        assert "name what to test on as --test" in error(other, *more, "--holdout", 0.3)
    assert not (tmp_path / "run").exists()


def test_several_sets_without_a_test_are_not_validated(run, data, tmp_path):
    sources = [data / "more/manifest.jsonl", data / "data/manifest.jsonl"]
    code, out, err = run("train", "--data", *sources, "--from", data / "tiny", "-o", tmp_path / "run", *SMALL)
    assert code == 0, err
    assert "there was no test, so nothing was validated; --test names one" in out
    assert not (tmp_path / "run/best").exists()
