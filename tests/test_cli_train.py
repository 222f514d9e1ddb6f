"""`stmga train`, `stmga ablate` and `stmga eval` on data, as they are typed; and a run that is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from cli_fixtures import fails_fixture, run_fixture  # noqa: F401
from train_fixtures import TINY, assert_same

from stmga import STMGA
from stmga.data.walkers.generate import write_benchmark

SMALL = ["--set", "persons=4", "--set", "clips=2", "--set", "stride=1", "--set", "steps=3", "--epochs", "2", "-q"]


@pytest.fixture(scope="module", name="data")
def data_fixture(tmp_path_factory):
    """A benchmark of walkers on disk, and a network to start from."""
    folder = tmp_path_factory.mktemp("walkers")
    write_benchmark(folder / "data", 6, 4, cameras=2, tracklets=2, frames=3, size=(64, 32))
    write_benchmark(folder / "more", 5, 0, cameras=2, tracklets=2, frames=3, size=(64, 32), seed=1)
    torch.manual_seed(0)
    STMGA(TINY).save_pretrained(folder / "tiny")
    return folder


@pytest.fixture(scope="module", name="trained")
def trained_fixture(data):
    from stmga.cli.main import main

    arguments = ["train", "--data", data / "data/manifest.jsonl", "--from", data / "tiny", "-o", data / "run", *SMALL]
    assert main([str(a) for a in arguments]) == 0
    return data / "run"


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

    def peek(trunk, weights, *, name, missing):
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


def test_eval_scores_the_network_of_a_run_as_the_run_did(run, data, trained, tmp_path):
    result = tmp_path / "result.json"
    code, out, err = run("eval", data / "data/manifest.jsonl", "--model", trained / "last", "-q", "-o", result)
    assert code == 0, err
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    found = json.loads(result.read_text())
    assert found["mAP"] == pytest.approx(log[-1]["validation"]["mAP"], abs=1e-9)
    assert found["protocol"]["data"].startswith("walkers")
    assert "8 queries" in out
    code, out, _ = run(
        "eval", data / "data/manifest.jsonl", "--model", trained / "last", "-q", "--rerank", "--title", "x"
    )
    assert code == 0
    assert "re-ranked (Zhong et al. 2017" in out
    assert "x; cosine" in out


@pytest.fixture(scope="module", name="teacher")
def teacher_fixture(data, trained):
    from stmga.cli.main import main

    file = data / "teacher.safetensors"
    arguments = ["teacher", trained / "best", "--data", data / "data/manifest.jsonl", "-o", file, "-q"]
    assert main([str(a) for a in arguments]) == 0
    return file


def test_a_student_learns_from_a_teachers_file(run, data, trained, teacher, tmp_path):
    source = data / "data/manifest.jsonl"
    arguments = ["train", "--data", source, "--recipe", "cpu", "--model", "stmga_resnet18_c4_baseline", "--size", 64,
                 32, "-o", tmp_path / "run", *SMALL]  # fmt: skip
    code, out, err = run(*arguments, "--teacher", teacher)
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines() if line.startswith("teacher")] == ["teacher"]  # of the table
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert all(row["loss"]["teacher"] > 0 for row in log)
    record = STMGA.from_pretrained(tmp_path / "run/best").record
    assert record.stages[-1]["teacher"] == "run/best"
    code, _, err = run(*arguments)
    assert code == 1
    assert "teacher was {'weights': 'run/best'" in err
    assert "now None" in err
    code, _, err = run(*arguments, "--teacher", teacher)  # the same command resumes, and there is nothing left
    assert code == 0, err


def test_the_teacher_says_what_it_does(run, data, trained, teacher, tmp_path):
    source = data / "data/manifest.jsonl"
    code, out, err = run("teacher", trained / "last", "--data", source, "-o", tmp_path / "t.safetensors", "-q")
    assert code == 0, err
    assert "teacher   run/last, 64 x 32\n" in out
    assert "24 tracklets of 6 persons to train on" in out
    assert "72 frames, plain and mirrored, 256 numbers each" in out
    assert "embed" not in err  # no bar
    code, _, err = run("teacher", trained / "last", "--data", source, "-o", tmp_path / "t.safetensors")
    assert code == 0, err
    assert "144/144" in err


def test_mistakes_with_a_teacher_are_named(fails, data, teacher, tmp_path):
    def error(*arguments, source="data"):
        return fails("train", "--data", data / source / "manifest.jsonl", "--teacher", *arguments, "-o",
                     tmp_path / "run", *SMALL)  # fmt: skip

    assert "vectors of other tracklets than those to train on: 24 tracklets" in error(teacher, source="more")
    assert "is damaged or not a teacher's file" in error(data / "tiny/model.safetensors")
    assert "there is no teacher's file" in error(tmp_path / "nothing.safetensors")
    source = ["--data", data / "data/manifest.jsonl", "-o", tmp_path / "t.safetensors"]
    assert "stmga_resnet50" in fails("teacher", "stmga_resnet50", *source)  # it has no trained weights
    assert "create it first" in fails("teacher", data / "tiny", *source[:2], "-o", tmp_path / "no/t.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_ablate_shows_the_table_beside_the_papers_and_goes_on(run, data, tmp_path, monkeypatch):
    arguments = [
        "ablate", "table8", "--rows", "baseline", "s-mga", "--seeds", 2, "--data", data / "data/manifest.jsonl",
        "--backbone", "resnet18", "--stage", "c4", "--size", 64, 32, "-o", tmp_path / "t8", *SMALL, "--epochs", 1,
        "--set", "eval_every=0",
    ]  # fmt: skip
    code, out, err = run(*arguments)
    assert code == 0, err
    (line,) = [line for line in out.splitlines() if line.startswith("s-mga")]
    assert line.split()[1] == "2"
    assert line.split()[-4:] == ["86.9", "90.9", "97.2", "98.1"]
    table = json.loads((tmp_path / "t8/table8.json").read_text())
    assert [len(row["scores"]) for row in table["rows"]] == [2, 2]
    assert (tmp_path / "t8/s-mga/seed-1/last/model.safetensors").is_file()

    from stmga.train import Trainer

    monkeypatch.setattr(Trainer, "step", None)  # all of it is there already
    code, again, err = run(*arguments)
    assert code == 0, err
    assert again.splitlines()[-6:] == out.splitlines()[-6:]
    code, _, err = run(*arguments, "--clip-length", 3)  # and is not taken for what it is not
    assert code == 1
    assert "network.clip_length was 8, now 3" in err


def test_the_rows_of_table_4_begin_where_their_losses_want_them(data, tmp_path, monkeypatch):
    from stmga.data import load_benchmark
    from stmga.train import TrainConfig, paper_tables
    from stmga.train.objective import build_objective

    starts = {}

    def peek(model, benchmark, config, place, **options):
        build_objective(model, 2, config)
        starts[place.parent.name] = float(model.cpa.part_heads[-1].bias[0].sigmoid()) if model.cpa else None
        raise StopIteration

    monkeypatch.setattr(paper_tables, "train", peek)
    benchmark, trunk = load_benchmark(data / "data/manifest.jsonl"), {"backbone": "resnet18", "stage": "c4"}
    for row in ("baseline", "no-loss", "pce", "pce+pa", "pce+pa+res"):
        with pytest.raises(StopIteration):
            paper_tables.run_table("table4", benchmark, TrainConfig(), tmp_path, build=STMGA, trunk=trunk, rows=[row])
    assert starts == pytest.approx({"baseline": None, "no-loss": 0.5, "pce": 0.5, "pce+pa": 0.125, "pce+pa+res": 0.1})


def test_the_rows_of_table_4_differ_in_their_losses():
    from stmga.config import PAPER_CONFIGS
    from stmga.train import TrainConfig
    from stmga.train.paper_tables import PAPER, TRAINING

    assert set(PAPER) == set(PAPER_CONFIGS)
    configs = [
        replace(TrainConfig(), **TRAINING.get(f"table4/{row}", {}))
        for row in ("no-loss", "pce", "pce+pa", "pce+pa+res")
    ]
    assert [(c.lambda_pce > 0, c.weight_pa > 0, c.residual == "direct") for c in configs] == [
        (False, False, True), (True, False, True), (True, True, False), (True, True, True),
    ]  # fmt: skip


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


def test_mistakes_of_ablate_are_named(fails, data, tmp_path):
    base = ["--data", data / "data/manifest.jsonl", "-o", tmp_path / "t"]
    assert "there is no 'table9'" in fails("ablate", "table9", *base)
    assert "table8 has no row 'smga'; did you mean 's-mga'" in fails("ablate", "table8", "--rows", "smga", *base)


def command(data, folder, steps=6):
    return [
        sys.executable, "-m", "stmga", "train", "--data", str(data / "data/manifest.jsonl"), "--from",
        str(data / "tiny"), "-o", str(folder), *SMALL, "--epochs", "4",
        "--set", f"steps={steps}", "--set", "eval_every=0",
    ]  # fmt: skip


ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module", name="undisturbed")
def undisturbed_fixture(data):
    subprocess.run(command(data, data / "undisturbed"), check=True, env=ONE_THREAD, capture_output=True)
    return data / "undisturbed"


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_parameters(data, undisturbed, tmp_path):
    """SIGKILL three times, while it validates, saves or trains; then it may end."""
    folder, dice = tmp_path / "run", random.Random(4)
    for _ in range(3):
        process = subprocess.Popen(
            command(data, folder), env=ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        log, deadline = folder / "log.jsonl", time.monotonic() + 120
        before = log.stat().st_mtime_ns if log.exists() else 0
        while not (log.exists() and log.stat().st_mtime_ns > before):  # it goes on: the log is rewound, or grows
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    last = subprocess.run(command(data, folder), env=ONE_THREAD, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert_same(folder, undisturbed)
    rows, expected = (
        [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (folder, undisturbed)
    )
    assert [(row["epoch"], row["loss"]) for row in rows] == [(row["epoch"], row["loss"]) for row in expected]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_and_a_word(data, undisturbed, tmp_path, number):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(data, folder), env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = folder / "log.jsonl"
    while not (log.exists() and log.read_text()):  # one epoch is done
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "stopped at epoch" in errors
    assert "run the same command to resume" in errors
    assert "Traceback" not in errors
    subprocess.run(command(data, folder), check=True, env=ONE_THREAD, capture_output=True)
    assert_same(folder, undisturbed)
