"""`stmga train` and `stmga eval` on data, as they are typed."""

import json
from dataclasses import replace

import pytest

from stmga import STMGA
from tests.support.cli import SMALL
from tests.support.train import TINY


def test_a_weight_is_fine_tuned_at_another_size_and_clip_length(run, data, tmp_path):
    code, _, err = run(
        "train", "--data", data / "data/manifest.jsonl", "--from", data / "tiny", "-o", tmp_path, *SMALL,
        "--size", 48, 24, "--clip-length", 3,
    )  # fmt: skip
    assert code == 0, err
    config = STMGA.from_pretrained(tmp_path / "last").config
    assert config == replace(TINY, size=(48, 24), clip_length=3)
    assert config.size != TINY.size
    assert config.clip_length != TINY.clip_length


def test_train_says_what_it_does_and_where_the_weights_are(run, data, tmp_path):
    code, out, err = run(
        "train",
        "--data",
        data / "data/manifest.jsonl",
        "--recipe",
        "cpu",
        "--size",
        64,
        32,
        "-o",
        tmp_path / "run",
        *SMALL,
    )
    assert code == 0, err
    assert "24 tracklets of 6 persons to train on" in out
    assert "test      8 queries, 8 gallery tracklets" in out
    assert "cosine distance" in out
    assert "network   stmga_resnet18_c4, random weights" in out
    assert "best, epoch" in out
    assert f"--model {tmp_path}/run/best" in out
    assert STMGA.from_pretrained(tmp_path / "run/best").config.size == (64, 32)


def test_a_network_is_fine_tuned_on_folders_without_cameras(run, data, tmp_path):
    code, out, err = run(
        "train", "--data", data / "data/train", "--layout", "p{person}_{tracklet}", "--from",
        data / "tiny", "--holdout", 0.3, "-o", tmp_path / "run", *SMALL,
    )  # fmt: skip
    assert code == 0, err
    assert f"network   {data.name}/tiny" in out
    assert "persons held out" in out
    (stage,) = STMGA.from_pretrained(tmp_path / "run/best").record.stages
    assert stage["started from"] == "weights without a name"


def test_terms_licence_and_name_of_the_parent_are_kept(run, data, tmp_path):
    """Over two fine-tunings, in best and last, in records and cards; the folders of the runs are not named."""
    parent = STMGA.from_pretrained(data / "tiny")
    known = dict(licence="CC-BY-NC-4.0", terms="research only", training_data="figures")
    stages = ({"network": "tiny", "data": "figures"},)
    record = replace(parent.record, name="stmga_tiny.figures", stages=stages, **known)
    parent.save_pretrained(tmp_path / "parent", record=record)
    start = tmp_path / "parent"
    for name in ("first-tuning", "second-tuning"):
        code, _, err = run(
            "train", "--data", data / "data/manifest.jsonl", "--from", start, "-o", tmp_path / name, *SMALL,
            "--set", "steps=1",
        )  # fmt: skip
        assert code == 0, err
        start = tmp_path / name / "best"
    for which in ("best", "last"):
        folder = tmp_path / "second-tuning" / which
        found = STMGA.from_pretrained(folder).record
        assert (found.name, found.parent, found.licence) == ("", "stmga_tiny.figures", "CC-BY-NC-4.0")
        assert found.terms.startswith("research only; ")
        assert found.training_data.endswith("; stmga_tiny.figures: figures")
        assert found.training_data.count("walkers medium") == 1
        assert [row["started from"] for row in found.stages[1:]] == ["stage 1", "stage 2"]
        card = (folder / "README.md").read_text()
        assert "license: cc-by-nc-4.0" in card
        assert "Started from `stmga_tiny.figures`, whose terms and licence hold here too." in card
        assert "-tuning" not in card + (folder / "config.json").read_text()


def test_eval_scores_the_network_of_a_run_as_the_run_did(run, data, trained, tmp_path):
    result = tmp_path / "result.json"
    command = "eval", "--data", data / "data/manifest.jsonl", "--model", trained / "last", "-q"
    code, out, err = run(*command, "-o", result)
    assert code == 0, err
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    found = json.loads(result.read_text())
    assert found["mAP"] == pytest.approx(log[-1]["validation"]["mAP"], abs=1e-9)
    assert found["protocol"]["data"].startswith("walkers")
    assert "8 queries" in out
    code, out, _ = run(*command, "--rerank", "--title", "x")
    assert code == 0
    assert "re-ranked (Zhong et al. 2017" in out
    assert "x; cosine" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "papre"], "did you mean 'paper'"),
        (["--set", "persons"], "--set takes KEY=VALUE"),
        (["--set", "margins=1"], "--set has no setting 'margins'; did you mean 'margin'"),
        (["--set", "persons=99"], "needs more: use --set persons=6 or fewer"),
        (["--lr", "0", "--set", "flip=2"], "--lr must be > 0, got 0.0; --set flip must be in 0..1, got 2"),
        (["--from", "stmga_resnet50"], "no trained weights 'stmga_resnet50', and no such folder; `stmga weights`"),
        (["--model", "stmga_resnet18"], "did you mean 'stmga_resnet18_c4'"),
        (["--model", "stmga_resnet18_c4", "--from", "x"], "leave out --model"),
        (["--net", "attend=mask", "--from", "x"], "leave out --net"),
        (["--net", "attend"], "--net takes KEY=VALUE"),
        (["--net", "atend=mask"], "--net has no setting 'atend'; did you mean 'attend'"),
        (["--net", "attend=all"], "--net attend must be one of 'residual', 'scaled', 'mask', got 'all'"),
        (["--net", "t_mga=False"], "--net t_mga must be true or false, got 'False'"),
        (["--net", "tau=hot"], "--net tau must be a finite number, got 'hot'"),
        (["--backbone-missing", "layer4"], "give that file as --backbone-weights"),
        (["--holdout", "0.5"], "has a test of its own"),
    ],
)
def test_mistakes_of_train_are_named(fails, data, tmp_path, arguments, message):
    assert message in fails("train", "--data", data / "data/manifest.jsonl", "-o", tmp_path / "run", "-q", *arguments)
    assert not (tmp_path / "run").exists()
