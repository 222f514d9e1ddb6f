"""The moving average of the weights: its values, what a run saves and scores, and that it resumes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import stmga
from stmga.train import StoppedError, TrainConfig, train
from stmga.train.averaging import weight_average
from stmga.train.continuation import Stage
from tests.support.train import QUICK, assert_same, ended_with, stop_at, tiny

CONFIG = replace(QUICK, average=0.5)


@pytest.fixture(scope="module", name="whole")
def whole_fixture(benchmark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("average") / "run"
    return train(tiny(), benchmark, CONFIG, folder), folder


def test_it_follows_the_weights_by_the_rule_that_is_stated():
    model = nn.BatchNorm1d(1)
    average = weight_average(model, 0.9)
    expected = 0.0
    for step, value in enumerate((1.0, 4.0, -2.0, 8.0)):
        nn.init.constant_(model.weight, value)
        model.running_mean.fill_(2 * value)
        model.num_batches_tracked.fill_(step + 1)
        average.update_parameters(model)
        share = 1.0 if step == 0 else 1 - min(0.9, (1 + step) / (10 + step))
        expected += share * (value - expected)
        assert average.module.weight.item() == pytest.approx(expected)
        assert average.module.running_mean.item() == pytest.approx(2 * expected)
        assert average.module.num_batches_tracked.item() == step + 1
    assert not average.training
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_a_run_scores_and_saves_the_average(whole, benchmark):
    result, folder = whole
    held = ended_with(folder)
    saved = stmga.STMGA.from_pretrained(folder / "last").state_dict()
    assert all(torch.equal(tensor, held[f"average.module.{name}"]) for name, tensor in saved.items())
    assert any(not torch.equal(tensor, held[f"objective.model.{name}"]) for name, tensor in saved.items())
    from stmga.metrics import evaluate

    embed = stmga.TrackletEmbedder(stmga.STMGA.from_pretrained(folder / "last"))
    again = evaluate(embed(benchmark.query), embed(benchmark.gallery), benchmark.protocol)
    assert again.mAP == pytest.approx(result.log[-1]["validation"]["mAP"], abs=1e-9)


def test_the_trained_weights_are_those_of_a_run_without_an_average(whole, benchmark, tmp_path):
    train(tiny(), benchmark, QUICK, tmp_path / "run")
    plain, averaged = ended_with(tmp_path / "run"), ended_with(whole[1])
    assert all(torch.equal(tensor, averaged[name]) for name, tensor in plain.items())


@pytest.mark.parametrize("after", [1, 4])
def test_a_run_that_was_stopped_ends_with_the_same_average(whole, benchmark, tmp_path, monkeypatch, after):
    stop_at(monkeypatch, after)
    with pytest.raises(StoppedError):
        train(tiny(), benchmark, CONFIG, tmp_path / "run")
    train(tiny(seed=9), benchmark, CONFIG, tmp_path / "run")
    assert_same(tmp_path / "run", whole[1])


def test_the_next_stage_starts_from_the_average(whole):
    model = tiny(seed=5)
    Stage.of(whole[1]).start_network(model)
    saved = stmga.STMGA.from_pretrained(whole[1] / "last").state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_its_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"average must be in 0\.\.1, and less than 1, got "):
        TrainConfig(average=decay)
