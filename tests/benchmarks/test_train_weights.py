"""The script that trains a weight again by its plan: stages, stops, rehearsals, and weights in pieces."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.tools import pieces
from benchmarks.tools import train_weights as script
from benchmarks.tools import training_plan as plans
from stmga import STMGA
from stmga.data.walkers.generate import write_benchmark
from stmga.hub.state import to_bytes
from tests.support.paths import ROOT
from tests.support.train import assert_same, stop_at, tiny

SET = {"persons": 2, "clips": 2, "steps": 2, "eval_every": 1}
TWO = {
    "about": "two stages on walkers",
    "data": ["people"],
    "test": "walkers",
    "common": {"recipe": "cpu", "size": [64, 32], "seed": 0, "set": SET},
    "stages": [
        {"name": "trunk", "model": "stmga_resnet18_c4_baseline", "clip_length": 1, "epochs": 1},
        {"name": "heads", "after": "trunk", "model": "stmga_resnet18_c4", "clip_length": 2, "epochs": 2},
    ],
}


@pytest.fixture(scope="module", name="data")
def data_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    manifest = write_benchmark(folder / "walkers", 2, 2, cameras=2, frames=2, size=(64, 32))
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if k != "role"} for row in rows if row["role"] == "train"]
    for row in rows:
        row["frames"] = [f"../walkers/{frame}" for frame in row["frames"]]
    (folder / "people").mkdir()
    (folder / "people" / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def written(folder: Path, **changes: object) -> Path:
    file = folder / "two.json"
    file.write_text(json.dumps(TWO | changes))
    return file


def started(monkeypatch, *words: object) -> None:
    monkeypatch.setenv("STMGA_KEEP_MEMORY", "0")  # this process's memory is pytest's
    monkeypatch.setattr(sys, "argv", ["train_weights.py", *map(str, words), "--device", "cpu"])
    script.main()


@pytest.fixture(scope="module", name="whole")
def whole_fixture(data, tmp_path_factory):
    """The runs of both stages, never stopped, and the pieces of their last weights."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        started(patch, written(folder), "--data", data, "-o", folder, "--pieces", folder / "pieces")
    return folder


def test_every_plan_of_the_repository_can_be_read():
    found = {file.stem: plans.read_plan(file.stem) for file in (ROOT / "benchmarks" / "tools" / "plans").glob("*.json")}
    assert {"small_192", "flagship_256"} <= found.keys()
    for plan in found.values():
        assert set(plan.data) <= {"market1501-867", "cuhk03-1367", "walkers300"}  # nobody of the held-out
        assert all(stage.pixels() for stage in plan.stages)


def test_a_stage_is_a_command(tmp_path):
    for name in ("market1501-867", "cuhk03-1367", "mars8-dev"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.jsonl").touch()
    plan = plans.read_plan("small_192")
    first, last = (plan.command(plan.stages[i], tmp_path, Path("runs"), Path("runs/x")) for i in (0, -1))
    assert first[first.index("--backbone-weights") + 1] == f"{tmp_path}/resnet18-imagenet-to-layer3.safetensors"
    args = plans.build_parser().parse_args(last)
    assert (args.after, args.out, args.size, args.clip_length) == ("runs/x/larger", "runs/x/clips", [192, 96], 8)
    assert 'frozen=["conv1", "bn1", "layer1", "layer2", "layer3"]' in args.changes
    assert args.changes[:2] == ["erase=0.4", "eval_every=0"]  # common to all stages
    with pytest.raises(FileNotFoundError, match=r"nobody has no index\.jsonl"):
        replace(plan, data=["nobody"]).command(plan.stages[0], tmp_path, tmp_path, tmp_path)


def test_everything_wrong_with_a_plan_is_named(tmp_path):
    heads, trunk = TWO["stages"][1], TWO["stages"][0]
    stages = [
        trunk | {"epoch": 3},
        heads | {"after": "trunc"},
        heads | {"name": "third", "set": {"persns": 3}},
        heads | {"name": "trunk", "from": "trunk"},
        {"name": "last", "recipe": "cpu"},
    ]
    with pytest.raises(ValueError) as caught:
        plans.read_plan(written(tmp_path, stages=stages, test_on="x"))
    message = str(caught.value)
    for words in (
        "the plan has an unknown key 'test_on'", "stage trunk has an unknown key 'epoch'; did you mean 'epochs'?",
        "stage heads starts after 'trunc', which is not a stage before it (trunk)", "'persns'",
        "stage trunk comes twice", "stage trunk has both after and from", "stage last lacks clip_length",
    ):  # fmt: skip
        assert words in message
    with pytest.raises(ValueError, match="stages must be a list with at least one entry, got None"):
        plans.read_plan(written(tmp_path, stages=None))
    (tmp_path / "none.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"none\.json is not a plan"):
        plans.read_plan(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="no plan smal_192; did you mean 'small_192'"):
        plans.read_plan("smal_192")


def test_stages_run_one_after_another(whole):
    runs = [whole / "two" / name for name in ("trunk", "heads")]
    assert [len(script.rows_of(run)) for run in runs] == [1, 2]
    assert all(row["validation"] for run in runs for row in script.rows_of(run))
    asked = json.loads((runs[1] / "run.json").read_text())
    assert "after trunk after 1 of 1 epochs" in asked["started_from"]
    assert (asked["network"]["clip_length"], asked["train"]["steps"]) == (2, 2)


def test_a_plan_that_was_stopped_resumes(whole, data, tmp_path, monkeypatch, capsys):
    """Stopped in the second epoch of the second stage: both stages end with the same bits as without a stop."""
    words = [written(tmp_path), "--data", data, "-o", tmp_path]
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(SystemExit) as caught:
            started(patch, *words)
    assert caught.value.code == 128 + 15
    assert not script.finished(tmp_path / "two" / "heads", script.read_plan(words[0]).stages[1])
    steps = stop_at(monkeypatch, 0)
    started(monkeypatch, *words)
    assert len(steps) == 1
    assert "trunk: finished" in capsys.readouterr().out
    for stage in ("trunk", "heads"):
        assert_same(whole / "two" / stage, tmp_path / "two" / stage)
    started(monkeypatch, *words)
    assert len(steps) == 1
    assert "heads: finished" in capsys.readouterr().out


def test_a_plan_that_changed_is_refused(whole, data, tmp_path, monkeypatch):
    stages = [TWO["stages"][0] | {"epochs": 2}, TWO["stages"][1]]
    with pytest.raises(SystemExit, match=r"trunk was begun with other settings: epochs was 1, now 2\. Undo"):
        started(monkeypatch, written(tmp_path, stages=stages), "--data", data, "-o", whole)


def test_the_last_weights_come_back_from_their_pieces(whole, monkeypatch, capsys):
    last, folder = whole / "two" / "heads" / "last", whole / "pieces" / "two" / "heads"
    monkeypatch.setattr(sys, "argv", ["pieces.py", "join", str(folder), "-o", str(whole / "joined")])
    pieces.main()
    joined, trained = STMGA.from_pretrained(whole / "joined"), STMGA.from_pretrained(last)
    assert joined.record.sha256 in capsys.readouterr().out
    assert (whole / "joined" / "model.safetensors").read_bytes() == to_bytes(trained, half=True)
    assert (joined.config, joined.record.training_data) == (trained.config, trained.record.training_data)
    assert trained.record.metrics
    assert not joined.record.metrics  # they were of the weights before rounding


def test_training_resumes_from_weights_alone(whole, data, tmp_path, monkeypatch):
    model = pieces.join(whole / "pieces" / "two" / "heads")
    model.save_pretrained(tmp_path / "joined")
    begin = ["--data", data, "-o", tmp_path, "--begin"]
    started(monkeypatch, written(tmp_path), *begin, "heads", tmp_path / "joined")
    assert [run.name for run in (tmp_path / "two").iterdir() if run.is_dir()] == ["heads"]
    asked = json.loads((tmp_path / "two" / "heads" / "run.json").read_text())
    assert asked["network"] == json.loads((whole / "two" / "heads" / "run.json").read_text())["network"]
    with pytest.raises(SystemExit, match=r"joined is not the network of stage trunk, which trains .*_baseline"):
        started(monkeypatch, written(tmp_path), *begin, "trunk", tmp_path / "joined")
    with pytest.raises(SystemExit, match="has no stage 'tail' to begin with; it has trunk, heads"):
        started(monkeypatch, written(tmp_path), *begin, "tail", tmp_path / "joined")


def test_a_rehearsal_runs_each_stage_for_a_few_batches(data, tmp_path, monkeypatch, capsys):
    steps = stop_at(monkeypatch, 0)
    words = ["--data", data, "-o", tmp_path, "--rehearse", 3, "--pieces", tmp_path / "pieces"]
    started(monkeypatch, written(tmp_path), *words)
    assert steps == [0] * 6
    assert [run.name for run in (tmp_path / "two").glob("*")] == []  # the real runs are not begun
    for stage in ("trunk", "heads"):
        assert "validation" not in script.rows_of(tmp_path / "rehearsal" / "two" / stage)[0]
        assert (tmp_path / "pieces" / "rehearsal" / "two" / stage / "index.json").is_file()
    printed = capsys.readouterr().out
    assert "the stage: 4 batches" in printed
    assert "all stages: about" in printed
    started(monkeypatch, written(tmp_path), *words)
    assert steps == [0] * 12


def test_pieces_are_written_while_a_stage_trains(tmp_path, monkeypatch, capsys):
    """By the thread beside it, as often as asked, and only after an epoch that has ended."""
    monkeypatch.setattr(script, "POLL", 0.02)
    run, stage = (
        tmp_path / "run",
        script.Stage("heads", {"recipe": "cpu", "epochs": 3, "size": [64, 32], "clip_length": 2}),
    )
    index = tmp_path / "pieces" / "index.json"
    with script.Watch(run, stage, [], tmp_path / "pieces", every=0) as watch:
        for epoch in (1, 2):
            tiny(epoch).save_pretrained(run / "last")
            with open(run / "log.jsonl", "a") as log:
                log.write(json.dumps({"epoch": epoch, "seconds": 60}) + "\n")
            digest = json.loads((run / "last" / "config.json").read_text())["sha256"]
            for _ in range(500):
                if watch.written == digest:
                    break
                watch.over.wait(0.02)
            assert index.is_file()
            assert watch.written == digest
    printed = capsys.readouterr().out
    assert printed.count("heads: pieces after") == 2
    assert "heads: epoch 2 of 3, about 1 min left\n" in printed


def test_the_remaining_time_counts_the_stages_to_come():
    def stage(**words):
        base = {"recipe": "crops", "size": [64, 32], "clip_length": 1, "epochs": 10}
        return script.Stage("a", {**base, **words})

    rows = [{"epoch": epoch, "seconds": 600} for epoch in (1, 2, 3, 4)]
    assert script.remaining(rows, stage(), []) == "a: epoch 4 of 10, about 1 h 0 min left"
    later = [stage(size=[128, 64]), stage(epochs=5)]  # four times, and half of the stage's 100 minutes
    assert script.remaining(rows, stage(), later).endswith("left, 8 h 30 min with the later stages")
    assert script.remaining(rows, stage(), [stage(recipe="paper")]) == script.remaining(rows, stage(), [])
