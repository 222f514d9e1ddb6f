"""Two processes under torchrun: the same order of data, and the end that docs/train/training.md promises."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stmga.data import PKSampler, TrainingSet, collate
from stmga.data.augment import ClipAugment
from stmga.train.losses import identity_loss, part_attention_loss, part_class_loss, triplet_loss
from stmga.train.objective import build_objective, features_of
from stmga.utils.cpu import flushed_denormals
from tests.support.paths import ROOT
from tests.support.train import QUICK, assert_same, ended_with, little_benchmark, tiny

# A small learning rate: Adam turns rounding in a gradient near 0 into a whole step of either sign.
CONFIG = replace(QUICK, lr=1e-6, epochs=4, eval_every=0)
# Few steps: after five, rounding moves a maximum to another position of a map, and with it a hundredth of a gradient.
SHORT = replace(CONFIG, epochs=2, steps=2)
SCRIPT = """
import sys, torch
from tests.support.train import little_benchmark, tiny
from tests.train import test_processes
from stmga.train import train
torch.set_num_threads(1)
train(tiny(), little_benchmark(), getattr(test_processes, sys.argv[2]), sys.argv[1])
"""

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed package here")


def torchrun(folder: Path, config: str = "CONFIG") -> subprocess.Popen:
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    command += [folder, config]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module", name="pair")
def pair_fixture(tmp_path_factory):
    """The run of two processes that nothing interrupted."""
    folder = tmp_path_factory.mktemp("pair") / "run"
    process = torchrun(folder)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return folder


def literal_run(config) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """What two processes are to end with, in one: each half of a batch normalises itself, triplets see both halves,
    the losses are averaged, and running statistics are those of the first half."""
    benchmark, model = little_benchmark(), tiny()
    net = model.config
    data = TrainingSet(benchmark.train, length=net.clip_length, stride=config.stride, size=net.size)
    augment = ClipAugment(flip=config.flip, erase=config.erase)
    model.backbone.to(memory_format=torch.channels_last)  # as in training: other kernels round differently
    objective = build_objective(model, len(data.identities), config).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    halves = [
        PKSampler(data.persons, p=config.persons, k=config.clips, rank=rank, world=2, steps=config.steps)
        for rank in (0, 1)
    ]
    for epoch in range(config.epochs):
        for half in halves:
            half.set_epoch(epoch)
        for step, pairs in enumerate(zip(*halves, strict=True)):
            optimizer.param_groups[0]["lr"] = config.lr_at(epoch + step / config.steps)
            batches = [collate([data[index] for index in half]) for half in pairs]
            optimizer.zero_grad()
            literal_loss(objective, augment, batches, config).backward()
            optimizer.step()
    return objective, optimizer


def literal_loss(objective, augment, batches, config):
    norms = [module for module in objective.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    seen = []
    for batch in reversed(batches):  # the first half last: its statistics stay
        for norm, buffers in zip(norms, before, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer.clone())  # a new one: backward still needs the old
        found = objective.model.forward_features(augment(batch["clip"], batch["draw"]))
        outputs = objective.heads(features_of(found), objective.model.neck)
        seen.insert(0, (found, outputs, batch["label"]))
    labels = torch.cat([label for _, _, label in seen])
    loss = 0.0
    for found, outputs, label in seen:
        for name, (feature, logits) in outputs.items():
            everybody = torch.cat([other[name].feature for _, other, _ in seen])
            loss = loss + identity_loss(logits, label) + triplet_loss(feature, label, others=(everybody, labels))
        loss = loss + part_attention_loss(found.cpa.part_attention, found.cpa.residual)
        loss = loss + config.lambda_pce * part_class_loss(objective.part_classifier(found.cpa.pooled_parts))
    return loss / len(seen)


def gradients(tensors):
    """Adam's running mean of every parameter's gradient."""
    return {name: tensor for name, tensor in tensors.items() if name.endswith("exp_avg")}


def test_two_processes_end_where_the_documentation_says(tmp_path):
    process = torchrun(tmp_path / "run", "SHORT")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two have: more of them round differently
    with flushed_denormals():
        objective, optimizer = literal_run(SHORT)
    torch.set_num_threads(threads)
    tensors = ended_with(tmp_path / "run")
    state = optimizer.state_dict()["state"]
    assert len(gradients(tensors)) == len(state)
    wrong = [
        number
        for number, moments in state.items()
        if (moments["exp_avg"] - tensors[f"optimizer.{number}.exp_avg"]).norm() > 5e-3 * moments["exp_avg"].norm()
    ]
    assert wrong == []
    for name, tensor in objective.state_dict().items():  # running statistics too
        torch.testing.assert_close(tensors[f"objective.{name}"], tensor, rtol=1e-3, atol=2e-5)


def test_what_two_processes_scored_is_what_they_saved(pair):
    from stmga import STMGA, TrackletEmbedder
    from stmga.metrics import evaluate

    benchmark, embed = little_benchmark(), TrackletEmbedder(STMGA.from_pretrained(pair / "last"))
    found = evaluate(embed(benchmark.query), embed(benchmark.gallery), benchmark.protocol)
    logged = json.loads((pair / "log.jsonl").read_text().splitlines()[-1])["validation"]
    assert found.mAP == pytest.approx(logged["mAP"], abs=1e-9)


def test_two_processes_are_not_one(pair, tmp_path):
    """So that the test above could fail: one process normalises over the whole batch."""
    from stmga.train import train

    train(tiny(), little_benchmark(), CONFIG, tmp_path / "run")
    one, two = (gradients(ended_with(folder)) for folder in (tmp_path / "run", pair))
    unlike = [name for name in one if (one[name] - two[name]).norm() > 0.05 * one[name].norm()]
    assert len(unlike) > len(one) / 2


def test_two_processes_that_were_stopped_end_as_if_they_had_not_been(pair, tmp_path):
    folder = tmp_path / "run"
    process = torchrun(folder)
    deadline = time.monotonic() + 200
    log = folder / "log.jsonl"
    while not (log.exists() and log.read_text()):  # one epoch is done
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # torchrun passes it on
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "stopped at epoch" in errors
    assert len(log.read_text().splitlines()) < CONFIG.epochs
    again = torchrun(folder)
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    assert_same(folder, pair)
