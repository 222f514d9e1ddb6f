"""Everything that can go wrong in a run: a clear word, and the last good checkpoint is whole."""

import json
import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from stmga.data.training_set import TrainingSet
from stmga.train import NotFiniteError, Trainer, TrainingError, train
from stmga.train.objective import Objective
from tests.support.train import QUICK, TINY, assert_same, little_benchmark, tiny


@pytest.fixture(name="run")
def run_fixture(benchmark, tmp_path):
    """A finished run of one epoch, which QUICK's two epochs do not go on with."""
    train(tiny(), benchmark, QUICK, tmp_path / "run")
    return tmp_path / "run"


def refused(benchmark, folder, config=QUICK, model=None, **options):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(TrainingError) as caught:
        train(model or tiny(), benchmark, config, folder, **options)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before  # nothing is lost
    return str(caught.value)


def test_another_configuration_does_not_go_on_with_a_run(run, benchmark):
    message = refused(benchmark, run, replace(QUICK, lr=1.0, seed=3))
    assert "train.seed was 0, now 3" in message
    assert "train.lr was 0.001, now 1.0" in message
    assert "--from" in message
    assert "network.size" in refused(benchmark, run, model=tiny(config=replace(TINY, size=(32, 32))))
    assert "data.tracklets was 24, now 20" in refused(little_benchmark(5), run)
    assert "started_from was '', now 'x'" in refused(benchmark, run, started_from="x")
    assert "data.test.digest" in refused(replace(benchmark, query=benchmark.query[1:]), run)


def test_another_number_of_processes_does_not_go_on_with_a_run(run, benchmark):
    asked = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(asked | {"processes": 4}))
    assert "processes was 4, now 1" in refused(benchmark, run)


def test_another_version_of_the_code_does_not_go_on_with_a_run(run, benchmark, monkeypatch):
    asked = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(asked | {"stmga": "0.0.1"}))
    assert "stmga was '0.0.1'" in refused(benchmark, run)
    (run / "run.json").write_text(json.dumps(asked))
    monkeypatch.setattr("stmga.train.checkpoint.__version__", "9.9")
    message = refused(benchmark, run)
    assert "was written by stmga 0.1.0, this is 9.9" in message
    assert "Install stmga 0.1.0" in message


@pytest.mark.parametrize("size", [0, 7, 1000, -1], ids=["empty", "7 bytes", "1000 bytes", "all but one byte"])
def test_a_checkpoint_that_was_cut_short_is_named(run, benchmark, size):
    file = run / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    message = refused(benchmark, run)
    assert "checkpoint.safetensors is damaged or not a checkpoint" in message
    assert "--from RUN/best" in message


def test_a_run_that_trained_other_parameters_is_named(run, benchmark, monkeypatch):
    def spare_a_layer(model):
        next(model.backbone.parameters()).requires_grad_(False)

    monkeypatch.setattr("stmga.train.objective.spare_relations", spare_a_layer)
    message = refused(benchmark, run)
    assert "is of a run that trained other parameters (model.backbone." in message
    assert "--from RUN/last" in message


def test_a_folder_of_something_else_is_left_alone(benchmark, tmp_path):
    (tmp_path / "thesis.txt").write_text("all my work")
    assert "is not the folder of a run and not empty (thesis.txt). Name a new" in refused(benchmark, tmp_path)


def spoilt(after):
    """An objective whose loss is NaN in call number `after`."""
    calls = 0
    real = Objective.forward

    def forward(self, *given):
        nonlocal calls
        calls += 1
        terms = real(self, *given)
        if calls == after:
            terms["ce/z_t"] = terms["ce/z_t"] * float("nan")
            terms["total"] = terms["total"] + terms["ce/z_t"]
        return terms

    return forward


def test_a_loss_of_nan_names_the_batch_and_leaves_the_parameters(benchmark, tmp_path, monkeypatch):
    clean = tmp_path / "clean"
    train(tiny(), benchmark, QUICK, clean)
    real = Objective.forward
    monkeypatch.setattr(Objective, "forward", spoilt(after=5))  # the second step of the second epoch
    with pytest.raises(NotFiniteError, match=r"epoch 2, step 2: .*ce/z_t nan.*tracklets are p000\d_c") as caught:
        train(tiny(), benchmark, QUICK, tmp_path / "run")
    assert "total nan" in str(caught.value)
    assert "the last checkpoint is" in str(caught.value)
    monkeypatch.setattr(Objective, "forward", real)
    train(tiny(), benchmark, QUICK, tmp_path / "run")  # goes on from the good checkpoint
    assert_same(tmp_path / "run", clean)


def test_a_gradient_of_nan_stops_before_it_does_harm(benchmark, tmp_path):
    trainer = Trainer(tiny(), benchmark, QUICK, tmp_path / "run", _world())
    weight = trainer.model.neck.weight
    weight.register_hook(lambda grad: grad * float("nan"))
    before = weight.detach().clone()
    with pytest.raises(NotFiniteError, match="grad_norm nan"):
        trainer.run()
    assert torch.equal(weight.detach(), before)


def test_fp16_does_not_skip_steps_for_ever(benchmark, tmp_path):
    net = replace(TINY, size=(32, 32))  # a CPU is slow at fp16
    config = replace(QUICK, persons=2, precision="fp16", steps=6, epochs=1)
    trainer = Trainer(tiny(config=net), benchmark, config, tmp_path / "run", _world())
    trainer.scaler._init_scale = 4.0  # from 65536 it would take 17 steps
    trainer.model.neck.weight.register_hook(lambda grad: grad * float("nan"))
    batches = list(trainer._batches(0))
    with pytest.raises(NotFiniteError, match="grad_norm nan"):
        [trainer.step(batch, 0) for batch in batches]
    assert trainer.scaler.get_scale() < 1


def test_an_overflow_of_fp16_is_skipped_and_counted(benchmark, tmp_path):
    trainer = Trainer(tiny(), benchmark, replace(QUICK, precision="fp16"), tmp_path / "run", _world())
    trainer.scaler._init_scale = 2.0**120
    before = trainer.model.neck.weight.detach().clone()
    values = trainer.step(next(iter(trainer._batches(0))), 0)
    assert (values["skipped"], values["grad_norm"]) == (1.0, 0.0)
    assert torch.equal(trainer.model.neck.weight.detach(), before)
    assert trainer.scaler.get_scale() < 2.0**120


def test_halves_of_files_that_a_kill_left_are_swept_away(run, benchmark):
    for half in (run / ".checkpoint.safetensors.1f.tmp", run / "last" / ".model.safetensors.2a.tmp"):
        half.write_bytes(b"half")
    train(tiny(), benchmark, QUICK, run)
    assert list(run.rglob("*.tmp")) == []


def test_a_line_of_the_log_that_was_cut_short_is_left_out(run, benchmark):
    log = run / "log.jsonl"
    log.write_text(log.read_text() + '{"epoch": 3, "st')
    assert [row["epoch"] for row in train(tiny(), benchmark, QUICK, run).log] == [1, 2]


def test_the_network_itself_full_of_nan_is_named_in_validation(benchmark, tmp_path):
    trainer = Trainer(tiny(), benchmark, QUICK, tmp_path / "run", _world())
    with torch.no_grad():
        trainer.model.neck.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        trainer._validate(0)


def test_a_full_disk_leaves_the_checkpoint_before(benchmark, tmp_path, monkeypatch):
    import stmga.train.checkpoint as module

    clean = tmp_path / "clean"
    train(tiny(), benchmark, QUICK, clean)
    real, calls = module.save_file, 0

    def full(tensors, path, metadata):
        nonlocal calls
        calls += 1
        if calls == 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(tensors, path, metadata)

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError, match="No space left on device; the file was not written") as caught:
        train(tiny(), benchmark, QUICK, tmp_path / "run")
    assert "checkpoint.safetensors" in str(caught.value)
    assert [p.name for p in (tmp_path / "run").glob(".*")] == [".inputs.jsonl"]
    train(tiny(), benchmark, QUICK, tmp_path / "run")
    assert_same(tmp_path / "run", clean)


class Murderous(TrainingSet):
    """Its worker process is killed when it reads row 5, as the kernel does where memory is short."""

    def __getitem__(self, place):
        if place[0] == 5 and torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(place)


def test_a_killed_worker_is_named_and_nothing_is_lost(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr("stmga.train.inputs.TrainingSet", Murderous)
    with pytest.raises(TrainingError, match=r"worker.*(killed|exited).*fewer workers.*to resume"):
        train(tiny(), benchmark, replace(QUICK, steps=8), tmp_path / "run", workers=1)
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()
    result = train(tiny(), benchmark, replace(QUICK, steps=8), tmp_path / "run")
    assert [row["steps"] for row in result.log] == [8, 8]


def test_a_worker_that_torch_reports_during_the_shutdown_is_named_and_the_checkpoint_is_whole(
    benchmark, tmp_path, monkeypatch
):
    """The signal of a lost worker may come after the error of its last batch."""
    iterator, reports = "torch.utils.data.dataloader._MultiProcessingDataLoaderIter", []
    shutdown = _MultiProcessingDataLoaderIter._shutdown_workers

    def reported(self):
        shutdown(self)
        if not reports:  # torch reports once
            reports.append(1)
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    def broken(self):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(f"{iterator}._shutdown_workers", reported)
    monkeypatch.setattr(f"{iterator}._next_data", broken)
    with pytest.raises(TrainingError, match=r"worker exited.*fewer workers.*to resume"):
        train(tiny(), benchmark, QUICK, tmp_path / "run", workers=1)
    assert reports
    monkeypatch.undo()
    assert train(tiny(), benchmark, QUICK, tmp_path / "run").log[-1]["steps"] == QUICK.steps


def test_a_worker_killed_while_it_hands_a_batch_over_is_named_too(benchmark, tmp_path, monkeypatch):
    def reset(*_):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("stmga.train.processes.collate", reset)
    with pytest.raises(TrainingError, match=r"worker exited.*fewer workers.*to resume"):
        train(tiny(), benchmark, QUICK, tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_frame_is_named_in_a_line(benchmark, tmp_path, workers):
    from stmga import Tracklet

    broken = tmp_path / "broken.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:200])
    people = [*benchmark.train, Tracklet("bad", [broken], person=0)]
    with pytest.raises(TrainingError, match=r'tracklet "bad".*broken.jpg') as caught:
        train(tiny(), replace(benchmark, train=people), replace(QUICK, steps=20), tmp_path / "run", workers=workers)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert multiprocessing.active_children() == []  # one that were left would keep this process from ending


def test_a_fault_of_a_step_ends_the_workers(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        train(tiny(), benchmark, QUICK, tmp_path / "run", workers=2)
    assert multiprocessing.active_children() == []
    assert caught.tb  # and that with the iterator still referred to


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(persons=8), "6 identities.*persons=6"),
        (dict(recompute=("layer9",)), "recompute names layer9; the trunk's stages are conv1"),
    ],
)
def test_what_cannot_be_trained_is_said_at_once(benchmark, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(tiny(), benchmark, replace(QUICK, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _world():
    from stmga.utils.distributed import World

    return World()
