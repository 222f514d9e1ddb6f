"""The engine: what a run leaves, that it learns, and that it comes to the same end however it was interrupted."""

import json
import signal
from dataclasses import replace

import pytest
import torch

import stmga
from stmga.train import StoppedError, Trainer, train
from stmga.utils.distributed import World
from tests.support.train import QUICK, TINY, assert_same, ended_with, stop_at, tiny


@pytest.fixture(scope="module", name="whole")
def whole_fixture(benchmark, tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(tiny(), benchmark, QUICK, folder), folder


def test_a_run_leaves_its_log_checkpoint_and_weights(whole):
    result, folder = whole
    assert sorted(p.name for p in folder.iterdir()) == [
        ".inputs.jsonl",
        "best",
        "checkpoint.safetensors",
        "last",
        "log.jsonl",
        "run.json",
    ]
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert rows == result.log
    assert [row["epoch"] for row in rows] == [1, 2]
    assert set(rows[0]["loss"]) == {
        "total", "pa", "pce", *(f"{kind}/{z}" for kind in ("ce", "triplet") for z in ("p_g", "z_f", "z_t", "z_c")),
    }  # fmt: skip
    assert {"mAP", "rank-1", "rank-20", "mINP"} <= set(rows[1]["validation"])
    assert result.best["mAP"] == max(row["validation"]["mAP"] for row in rows)
    table = result.table()
    assert "triplet/z_c" in table
    assert "rank-1" in table


def test_the_weights_of_a_run_load_and_are_those_that_scored(whole, benchmark):
    result, folder = whole
    model = stmga.STMGA.from_pretrained(folder / "last")
    trained = {n.removeprefix("objective.model."): t for n, t in ended_with(folder).items()}
    assert all(torch.equal(tensor, trained[name]) for name, tensor in model.state_dict().items())
    assert model.record.metrics[0]["mAP"] == pytest.approx(100 * result.log[-1]["validation"]["mAP"], abs=0.01)
    assert "little: 24 tracklets of 6 persons" in model.record.training_data
    from stmga.metrics import evaluate

    embed = stmga.TrackletEmbedder(model)
    again = evaluate(embed(benchmark.query), embed(benchmark.gallery), benchmark.protocol)
    assert again.mAP == pytest.approx(result.log[-1]["validation"]["mAP"], abs=1e-9)


def test_it_learns(benchmark, tmp_path):
    result = train(tiny(), benchmark, replace(QUICK, epochs=6, eval_every=0), tmp_path / "run")
    first, last = result.log[0]["loss"], result.log[-1]["loss"]
    assert last["total"] < first["total"] - 1
    assert last["ce/z_c"] < first["ce/z_c"]
    assert len([row for row in result.log if "validation" in row]) == 1  # after the last only


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(whole, benchmark, tmp_path, monkeypatch, after):
    """After any step: in the middle of an epoch, after its last step, in a later epoch."""
    folder = tmp_path / "run"
    stop_at(monkeypatch, after)
    with pytest.raises(StoppedError, match="run the same command to resume") as stopped:
        train(tiny(), benchmark, QUICK, folder)
    assert stopped.value.signum == signal.SIGTERM
    result = train(tiny(seed=99), benchmark, QUICK, folder)  # where it starts from does not matter any more
    assert_same(folder, whole[1])
    kept = ("loss", "grad_norm", "lr", "validation")
    assert [[row[k] for k in kept] for row in result.log] == [[row[k] for k in kept] for row in whole[0].log]


def test_a_finished_run_is_not_trained_again(whole, benchmark, monkeypatch):
    def never(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "step", never)
    assert train(tiny(), benchmark, QUICK, whole[1]).log == whole[0].log


def test_the_same_seed_gives_the_same_run_with_worker_processes_too(whole, benchmark, tmp_path):
    train(tiny(), benchmark, QUICK, tmp_path / "run", workers=1)
    assert_same(tmp_path / "run", whole[1])


def test_another_seed_gives_another_run(whole, benchmark, tmp_path):
    other = train(tiny(), benchmark, replace(QUICK, seed=1), tmp_path / "run")
    assert other.log[0]["loss"] != whole[0].log[0]["loss"]


def test_recomputing_changes_no_bit_of_a_run(whole, benchmark, tmp_path):
    train(tiny(), benchmark, replace(QUICK, recompute=("layer1", "layer2")), tmp_path / "run")
    assert_same(tmp_path / "run", whole[1])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains(whole, benchmark, tmp_path, precision):
    config = replace(QUICK, precision=precision, epochs=1, steps=2)  # a CPU is slow at it
    result = train(tiny(), replace(benchmark, query=[], gallery=[]), config, tmp_path / "run")
    assert result.log[0]["loss"]["total"] == pytest.approx(whole[0].log[0]["loss"]["total"], rel=0.05)
    tensors = ended_with(tmp_path / "run")
    assert {t.dtype for t in tensors.values()} <= {torch.float32, torch.int64}
    assert all(torch.isfinite(t).all() for t in tensors.values())


def test_the_scale_of_fp16_is_kept_when_a_run_goes_on(benchmark, tmp_path, monkeypatch):
    config = replace(QUICK, precision="fp16", epochs=1)
    trainer = Trainer(tiny(), benchmark, config, tmp_path / "run", World())
    trainer.scaler._scale = torch.tensor(64.0)
    trainer._save()
    other = Trainer(tiny(), benchmark, config, tmp_path / "run", World())
    other._resume()
    assert other.scaler.get_scale() == 64.0


def test_a_compiled_run_is_the_eager_one_up_to_rounding(benchmark, tmp_path, monkeypatch):
    """With the compiler's graphs but without its code generator, which takes minutes on a CPU."""
    real, graphs = torch.nn.Module.compile, []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: (graphs.append(self), real(self, backend="aot_eager"))[1]
    )
    config = replace(QUICK, epochs=1, steps=2, eval_every=0)
    eager = train(tiny(), benchmark, config, tmp_path / "eager").log[0]["loss"]
    assert graphs == []
    compiled = train(tiny(), benchmark, replace(config, compile=True), tmp_path / "compiled").log[0]["loss"]
    assert len(graphs) == 1
    assert compiled == pytest.approx(eager, rel=1e-3, abs=1e-4)


def test_without_a_test_there_is_no_best(benchmark, tmp_path):
    result = train(tiny(), replace(benchmark, query=[], gallery=[]), QUICK, tmp_path / "run")
    assert result.best == {}
    assert not (tmp_path / "run" / "best").exists()
    assert stmga.STMGA.from_pretrained(tmp_path / "run" / "last").record.metrics == ()
    assert "validation" not in result.table()


def test_frozen_parameters_stay(benchmark, tmp_path):
    model = tiny()
    model.backbone.conv1.requires_grad_(False)
    before = model.backbone.conv1.weight.clone()
    train(model, benchmark, replace(QUICK, epochs=1), tmp_path / "run")
    assert torch.equal(model.backbone.conv1.weight, before)


@pytest.mark.parametrize("length", [1, 2])
def test_relations_between_frames_learn_from_several_and_do_not_decay_on_single_ones(benchmark, tmp_path, length):
    model = tiny(config=replace(TINY, clip_length=length))
    before = {name: p.detach().clone() for name, p in model.t_mga.named_parameters()}
    train(model, replace(benchmark, query=[], gallery=[]), replace(QUICK, weight_decay=0.1), tmp_path / "run")
    stayed = {name for name, p in model.t_mga.named_parameters() if torch.equal(p, before[name])}
    relations = {name for name in before if "phi" in name or "omega" in name}
    assert relations
    assert stayed == (relations if length == 1 else set())


def trunk_and_rest(model):
    """Copies of the parameters."""
    found = {name: p.detach().clone() for name, p in model.named_parameters()}
    trunk = {name: found.pop(name) for name in list(found) if name.startswith("backbone.")}
    return trunk, found


def test_a_trunk_whose_lr_is_nothing_stays_bit_for_bit(benchmark, tmp_path):
    model = tiny()
    trunk, rest = trunk_and_rest(model)
    statistics = model.backbone.bn1.running_mean.clone()
    train(model, replace(benchmark, query=[], gallery=[]), replace(QUICK, trunk_lr=0.0), tmp_path / "run")
    now, others = trunk_and_rest(model)
    assert all(torch.equal(now[name], before) for name, before in trunk.items())
    assert not any(torch.equal(others[name], before) for name, before in rest.items())
    assert not torch.equal(model.backbone.bn1.running_mean, statistics)


def test_the_share_of_the_trunk_is_in_its_steps_alone(benchmark, tmp_path):
    """The first step of Adam is in proportion to its lr, so half the lr is half the step."""
    before, _ = trunk_and_rest(tiny())
    steps, others = {}, {}
    for share in (1.0, 0.5):
        trainer = Trainer(tiny(), benchmark, replace(QUICK, trunk_lr=share), tmp_path / str(share), World())
        assert len(trainer.optimizer.param_groups) == (1 if share == 1 else 2)
        trainer.objective.train()
        trainer.step(next(trainer._batches(0)), 0)
        trunk, others[share] = trunk_and_rest(trainer.model)
        steps[share] = {name: trunk[name] - before[name] for name in before}
    for name, whole in steps[1.0].items():
        torch.testing.assert_close(steps[0.5][name], whole / 2, rtol=0, atol=1e-7)
    assert all(torch.equal(others[0.5][name], value) for name, value in others[1.0].items())


def test_an_equal_trunk_is_in_the_one_group_of_all(benchmark, tmp_path):
    trainer = Trainer(tiny(), benchmark, QUICK, tmp_path / "run", World())
    (group,) = trainer.optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in trainer.objective.parameters()]


def test_a_run_with_two_groups_and_imitated_video_goes_on_too(benchmark, tmp_path, monkeypatch):
    config = replace(QUICK, trunk_lr=0.3, drift=0.1, passing=0.5, blur=1.0, light=0.2, epochs=1)
    benchmark = replace(benchmark, query=[], gallery=[])
    train(tiny(), benchmark, config, tmp_path / "whole")
    steps = stop_at(monkeypatch, 2)
    with pytest.raises(StoppedError):
        train(tiny(), benchmark, config, tmp_path / "run")
    train(tiny(seed=99), benchmark, config, tmp_path / "run")
    assert len(steps) == 3
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_the_record_says_what_it_was_scored_on_and_all_terms(benchmark, tmp_path):
    """The test may be another set's, and terms of the weights that a run starts from hold for what comes out."""
    model, config = tiny(), replace(QUICK, epochs=1, steps=1)
    known = dict(terms="Ask first.", licence="MIT", training_data="figures")
    model.record = stmga.WeightRecord(name="a.figures", config=model.config, sha256="0" * 64, **known)
    data = replace(benchmark, name="others", terms="For research.")
    train(model, data, config, tmp_path / "run")
    record = stmga.STMGA.from_pretrained(tmp_path / "run/last").record
    assert record.terms == "Ask first.; For research."
    assert record.metrics[0]["data"] == "little" and record.training_data.startswith("others: 24 tracklets")
    assert record.training_data.endswith("; a.figures: figures")
    assert (record.licence, record.parent, record.name) == ("MIT", "a.figures", "")
    assert [row["started from"] for row in record.stages] == ["a.figures"]


def test_the_curves_for_tensorboard(benchmark, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    train(tiny(), benchmark, replace(QUICK, epochs=1), tmp_path / "run", tensorboard=True)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


@pytest.mark.parametrize("row", ["table8/baseline", "table8/t-mga", "table8/s-mga"])
def test_the_rows_of_the_paper_train_and_score(row, benchmark, tmp_path):
    net = replace(stmga.paper_config(row), backbone="resnet18", stage="c4", size=TINY.size, clip_length=2)
    result = train(tiny(config=net), benchmark, replace(QUICK, epochs=1, steps=2), tmp_path / "run")
    assert 0 < result.best["mAP"] <= 1


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_it_trains_on_a_gpu(benchmark, tmp_path, precision):
    result = train(tiny(), benchmark, replace(QUICK, precision=precision), tmp_path / "run", device="cuda")
    assert result.log[-1]["loss"]["total"] < result.log[0]["loss"]["total"]
    assert result.log[-1]["peak_memory_gb"] > 0


def test_denormal_numbers_are_zero_while_training_and_only_then(benchmark, tmp_path, monkeypatch):
    from stmga.utils.cpu import denormals_are_flushed

    seen, step = [], Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda *given: (seen.append(denormals_are_flushed()), step(*given))[1])
    before = denormals_are_flushed()
    train(tiny(), benchmark, replace(QUICK, epochs=1, steps=1, eval_every=0), tmp_path / "run")
    assert seen == [True]
    assert denormals_are_flushed() == before
