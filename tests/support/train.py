"""What the tests of training share: a few walkers, a tiny network, and how to compare what two runs ended with."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stmga import STMGA, STMGAConfig
from stmga.data.benchmark import Benchmark
from stmga.data.walkers.render import render_walkers
from stmga.metrics.protocol import Protocol
from stmga.train import TrainConfig, Trainer

TINY = STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=2)
BASELINE = replace(TINY, parts="none", part_scales=(1,), t_mga=False, temporal_scales=(), s_mga=False)  # the quickest
TEACHER = replace(BASELINE, stage="c5", size=(80, 40))  # 512 features, where a student has 256; another size
QUICK = TrainConfig(persons=4, clips=2, stride=1, epochs=2, steps=3, schedule="cosine", lr=1e-3, eval_every=1)


def tiny(seed: int = 0, config: STMGAConfig = TINY) -> STMGA:
    torch.manual_seed(seed)
    return STMGA(config)


def little_benchmark(persons: int = 6) -> Benchmark:
    """Walkers to train on, and the same again as a test: only whether it runs is looked at."""
    people = render_walkers(persons, cameras=2, tracklets=2, frames=3, size=(64, 32))
    query = [t for t in people if t.id.endswith("_t0")]
    gallery = [t for t in people if t.id.endswith("_t1")]
    return Benchmark(name="little", train=people, query=query, gallery=gallery, protocol=Protocol(data="little"))


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """SIGTERM at the beginning of this step of all that come; the epochs of the steps, as they come."""
    epochs, real = [], Trainer.step

    def stopping(self, batch, epoch, request=None):
        epochs.append(epoch)
        if len(epochs) == number:
            signal.raise_signal(signal.SIGTERM)
        return real(self, batch, epoch, request)

    monkeypatch.setattr(Trainer, "step", stopping)
    return epochs


def ended_with(run: Path) -> dict[str, torch.Tensor]:
    """Every parameter, buffer and moment of the optimiser in a run's checkpoint."""
    return load_file(run / "checkpoint.safetensors")


def assert_same(a: Path, b: Path) -> None:
    """To the bit."""
    ours, theirs = ended_with(a), ended_with(b)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
