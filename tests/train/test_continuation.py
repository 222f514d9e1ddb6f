"""A second stage: what it takes over from a run, what it begins as, and what it refuses."""

import json
import re
from dataclasses import replace

import pytest
import torch

import stmga
from stmga.blocks.mga import Partwise
from stmga.config import ARCHITECTURES
from stmga.hub.records import WeightsError
from stmga.train import Stage, StoppedError, Trainer, TrainingError, train
from stmga.train.result import weight_record
from stmga.utils.distributed import World
from tests.support.train import QUICK, TINY, assert_same, ended_with, little_benchmark, stop_at, tiny

BASELINE = replace(ARCHITECTURES["stmga_resnet18_c4_baseline"], size=TINY.size, clip_length=1)
ONCE = replace(QUICK, epochs=1, steps=2)


@pytest.fixture(scope="module", name="benchmark")
def benchmark_fixture():
    return replace(little_benchmark(), query=[], gallery=[], terms="For research.")


@pytest.fixture(scope="module", name="first")
def first_fixture(benchmark, tmp_path_factory):
    """A run of the baseline, from weights with terms."""
    model = tiny(config=BASELINE)
    known = dict(terms="Ask first.", licence="CC-BY-NC-4.0", training_data="figures")
    model.record = stmga.WeightRecord(name="", parent="figures.v1", config=BASELINE, sha256="0" * 64, **known)
    folder = tmp_path_factory.mktemp("first") / "trunk"
    train(model, benchmark, ONCE, folder, started_from="mine/best")
    return folder


def second(first, benchmark, folder, config=ONCE, net=TINY, seed=0):
    """The second stage's trainer, before its first step."""
    after, model = Stage.of(first), tiny(seed, net)
    return Trainer(model, benchmark, config, folder, World(), started_from=f"x, after {after.words}", after=after)


@pytest.mark.parametrize("net", [TINY, BASELINE], ids=["the method", "the baseline again"])
def test_trunk_neck_and_classifiers_are_those_of_the_run(first, benchmark, tmp_path, net):
    """And with moved statistics, or zeros and ones would be equal anyhow."""
    had = {name.removeprefix("objective."): t for name, t in ended_with(first).items()}
    assert had["model.neck.running_mean"].abs().min() > 0
    now = second(first, benchmark, tmp_path / "run", net=net).objective.state_dict()
    for name in (name for name in now if name.startswith("model.backbone.")):
        assert torch.equal(now[name], had[name]), name
    features = ["z_f"] if net is BASELINE else ["p_g", "z_f", "z_t", "z_c"]
    necks = ["model.neck", *(f"heads.necks.{feature}" for feature in features[:-1])]
    assert {name.rpartition(".")[0] for name in now if "neck" in name} == set(necks)
    for neck in necks:
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            assert torch.equal(now[f"{neck}.{name}"], had[f"model.neck.{name}"])
    for feature in features:
        for name in ("weight", "bias"):
            assert torch.equal(now[f"heads.classifiers.{feature}.{name}"], had[f"heads.classifiers.z_f.{name}"])


def test_the_classifier_is_that_of_the_final_feature(first, benchmark, tmp_path):
    """A stage after the method itself: Z^C's, not that of Z^F."""
    train(tiny(), benchmark, ONCE, tmp_path / "whole")
    had = ended_with(tmp_path / "whole")
    assert not torch.equal(had["objective.heads.classifiers.z_c.weight"], had["objective.heads.classifiers.z_f.weight"])
    now = second(tmp_path / "whole", benchmark, tmp_path / "run", net=BASELINE).objective
    assert torch.equal(now.heads.classifiers["z_f"].weight, had["objective.heads.classifiers.z_c.weight"])


def test_what_is_added_begins_as_averages(first):
    model, random = tiny(), tiny()
    Stage.of(first).start_network(model)
    blocks = [module for module in model.modules() if isinstance(module, Partwise)]
    assert len(blocks) == 6  # three temporal extents, three scales of parts
    for block in blocks:
        x = torch.randn(2, 1 if block.phi is None else 4, model.dim)
        torch.testing.assert_close(block(x), x.mean(1))
    for name, parameter in random.named_parameters():  # all else is as it was
        if not re.search(r"^backbone\.|^neck\.|\.psi\.", name):
            assert torch.equal(model.get_parameter(name), parameter), name


def test_a_stage_says_what_it_follows_in_run_and_record(first, benchmark, tmp_path, monkeypatch):
    stage = Stage.of(first)
    assert stage.words == "trunk after 1 of 1 epochs (mine/best)"
    monkeypatch.chdir(first)
    assert Stage.of(".").words == stage.words
    trainer = second(first, benchmark, tmp_path / "run", replace(ONCE, steps=1))
    trainer.run()
    words = "x, after trunk after 1 of 1 epochs (mine/best)"
    assert json.loads((tmp_path / "run/run.json").read_text())["started_from"] == words
    record = stmga.STMGA.from_pretrained(tmp_path / "run/last").record
    assert record.terms == "Ask first.; For research."  # of the weights that the first run started from too
    assert (record.licence, record.parent) == ("CC-BY-NC-4.0", "figures.v1")
    assert record.training_data == "little: 24 tracklets of 6 persons; figures"
    row = {"data": "little", "tracklets": 24, "persons": 6, "epochs": "1 of 1", "seed": 0}
    assert record.stages == (
        {"network": "stmga_resnet18_c4_baseline", "input": "1 x 64 x 32", **row,
         "started from": "weights without a name"},
        {"network": "stmga_resnet18_c4", "input": "2 x 64 x 32", **row, "started from": "stage 1"},
    )  # fmt: skip
    for file in ("last/config.json", "last/README.md"):  # no name of a run
        assert not re.search(r"\btrunk\b|mine/best", (tmp_path / "run" / file).read_text().replace("- Trunk:", ""))
    for file in ("run.json", "last/config.json", "last/README.md"):
        assert str(first.parent) not in (tmp_path / "run" / file).read_text()


@pytest.mark.parametrize("start", ["x, random weights", "x, after other-run after 1 of 1 epochs (y)"])
def test_a_run_from_before_records_had_stages_gets_its_own(first, tmp_path, start):
    run, model = tmp_path / "old", stmga.STMGA.from_pretrained(first / "last")
    run.mkdir()
    (run / "checkpoint.safetensors").symlink_to(first / "checkpoint.safetensors")
    (run / "run.json").write_text(json.dumps(json.loads((first / "run.json").read_text()) | {"started_from": start}))
    old = replace(model.record, stages=(), training_data=f"little; started from {start}")
    model.save_pretrained(run / "last", record=old)
    record = Stage.of(run).record
    assert record.training_data == "little: 24 tracklets of 6 persons"
    (stage,) = record.stages
    assert (stage["epochs"], stage["seed"], stage["data"]) == ("1 of 1", 0, "little")
    assert stage["started from"] == ("weights without a name" if "after" in start else start)


def test_a_run_that_started_from_nothing_said_is_named_alone(first, tmp_path):
    (tmp_path / "trunk").mkdir()
    for path in ("checkpoint.safetensors", "last"):
        (tmp_path / "trunk" / path).symlink_to(first / path)
    asked = json.loads((first / "run.json").read_text()) | {"started_from": ""}
    (tmp_path / "trunk/run.json").write_text(json.dumps(asked))
    assert Stage.of(tmp_path / "trunk").words == "trunk after 1 of 1 epochs"


def test_a_second_stage_that_was_stopped_ends_as_if_it_had_not_been(first, benchmark, tmp_path, monkeypatch):
    config = replace(ONCE, trunk_lr=0.3, epochs=2)
    second(first, benchmark, tmp_path / "whole", config).run()
    steps = stop_at(monkeypatch, 1)
    with pytest.raises(StoppedError):
        second(first, benchmark, tmp_path / "run", config).run()
    second(first, benchmark, tmp_path / "run", config, seed=99).run()
    assert steps == [0, 0, 1, 1]
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_another_trunk_is_refused(first):
    for change in ({"stage": "c5"}, {"backbone": "resnet34"}):
        with pytest.raises(TrainingError, match=r"the run has the trunk resnet18 c4, this network .*keeps its trunk"):
            Stage.of(first).start_network(tiny(config=replace(TINY, **change)))


def test_other_persons_are_refused_and_nothing_is_written(first, benchmark, tmp_path):
    first_one, *others = benchmark.train
    renamed = [replace(t, person="new") if t.person == first_one.person else t for t in benchmark.train]
    for people in ([t for t in others if t.person != first_one.person], renamed):
        with pytest.raises(
            TrainingError, match=r"trained on other persons, whom its classifiers know.*--from RUN/last"
        ):
            second(first, replace(benchmark, train=people), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(name="copy")
def copy_fixture(first, tmp_path):
    """The first run's files, to be spoilt."""
    (tmp_path / "trunk").mkdir()
    for name in ("run.json", "checkpoint.safetensors"):
        (tmp_path / "trunk" / name).write_bytes((first / name).read_bytes())
    return tmp_path / "trunk"


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"network": null, "stmga": "0.1.0"}', '{"network": {"x": 1}}'])
def test_a_folder_that_is_no_run_is_refused(copy, text):
    (copy / "run.json").unlink()
    if text is not None:
        (copy / "run.json").write_text(text)
    with pytest.raises(TrainingError, match=r"trunk is not a run folder: run\.json cannot be used"):
        Stage.of(copy)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"nowhere is not a run folder"):
        Stage.of(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [0, 1000, -1], ids=["empty", "1000 bytes", "all but one byte"])
def test_a_damaged_checkpoint_is_named(copy, size):
    file = copy / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(TrainingError, match=r"trunk/checkpoint\.safetensors is damaged or not a checkpoint"):
        Stage.of(copy)


def test_a_run_that_has_learnt_nothing_yet_is_refused(copy, benchmark, tmp_path):
    (copy / "checkpoint.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"trunk has no checkpoint\.safetensors"):
        Stage.of(copy)
    trainer = Trainer(tiny(config=BASELINE), benchmark, ONCE, tmp_path / "begun", World())
    trainer._save()
    with pytest.raises(TrainingError, match="begun has ended no epoch yet"):
        Stage.of(tmp_path / "begun")


def test_a_run_without_its_weights_is_refused(copy):
    with pytest.raises(WeightsError, match=r"trunk/last/config\.json cannot be read"):
        Stage.of(copy)


@pytest.mark.parametrize("share", [1.0, 0.5], ids=["one group", "the trunk in its own"])
def test_adam_goes_on_with_what_it_knows_of_them(first, benchmark, tmp_path, share):
    had = Stage.of(first).moments
    trainer = second(first, benchmark, tmp_path / "run", replace(ONCE, trunk_lr=share))
    state = trainer.optimizer.state
    for name, parameter in trainer.objective.named_parameters():
        source = name
        if name.startswith("heads.classifiers."):
            source = f"heads.classifiers.z_f.{name.rpartition('.')[2]}"
        elif name.startswith("heads.necks."):
            source = f"model.neck.{name.rpartition('.')[2]}"
        if source in had:
            assert had[source].keys() == state[parameter].keys() == {"step", "exp_avg", "exp_avg_sq"}
            assert all(torch.equal(state[parameter][key], had[source][key]) for key in had[source])
        else:
            assert not state.get(parameter), name  # what is new begins anew
    kept = Stage.of(tmp_path / "run") if trainer.run() else None
    assert kept.moments.keys() == {name for name, _ in trainer.objective.named_parameters()}


def test_persons_who_are_not_in_a_batch_are_not_forgotten(first, benchmark, tmp_path):
    """One step at a learning rate that would turn the sign of every weight, were Adam new to it."""
    trainer = second(first, benchmark, tmp_path / "run", replace(ONCE, lr=0.01, persons=2, steps=1, weight_decay=0.1))
    row = trainer.objective.heads.classifiers["z_c"].weight
    before = row.detach().clone()
    trainer.run()
    moved = (row.detach() - before).abs().mean(1)
    fresh = 0.01  # what every entry moves by in Adam's first step
    assert moved.max() < 1.5 * fresh and moved.min() < 0.7 * fresh


def test_the_same_network_goes_on_whole(benchmark, tmp_path):
    """With clips of another length: blocks, every head, and every moment of Adam."""
    train(tiny(), benchmark, ONCE, tmp_path / "whole")
    had = {name.removeprefix("objective."): t for name, t in ended_with(tmp_path / "whole").items()}
    longer = replace(TINY, clip_length=TINY.clip_length + 1)
    trainer = second(tmp_path / "whole", benchmark, tmp_path / "run", net=longer)
    now = trainer.objective.state_dict()
    assert now.keys() <= had.keys()
    for name in now:
        assert torch.equal(now[name], had[name]), name
    state = trainer.optimizer.state
    assert all("exp_avg" in state[p] for p in trainer.objective.parameters())
    trainer.run()


def test_a_teacher_is_named_by_the_stage_that_it_taught(benchmark):
    """Its terms come with it; stages before and after have none."""
    given = tiny(), benchmark, ONCE, 1, None, "random weights"
    record = weight_record(*given, "Ask first.", "larger")
    assert [row["teacher"] for row in record.stages] == ["larger"]
    assert record.terms == "Ask first.; For research."
    assert "teacher" not in weight_record(*given).stages[0]
