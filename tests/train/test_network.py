"""What the command and Python users start a run from: another input, a trained trunk, a training process."""

import argparse
import json

import pytest
import torch

import stmga
from stmga.cli import ablate as ablate_command
from stmga.cli import train as train_command
from stmga.train import TrainConfig, start_trunk, train, training_process, with_input
from stmga.utils.cpu import denormals_are_flushed
from stmga.utils.distributed import process_group
from tests.support.train import QUICK, TINY, little_benchmark, tiny


def test_another_input_shares_weights_and_leaves_the_configuration_of_the_first():
    model = tiny()
    other = with_input(model, size=(48, 24), clip_length=3)
    assert (other.config.size, other.config.clip_length) == ((48, 24), 3)
    assert model.config == TINY
    assert all(a is b for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert with_input(model).config == TINY
    with pytest.raises(ValueError, match=r"clip_length must be from 1 to 1024, got 0"):
        with_input(model, clip_length=0)


def test_a_run_at_another_input_is_recorded_as_such(tmp_path):
    model = with_input(tiny(), size=(48, 24), clip_length=3)
    train(model, little_benchmark(), TrainConfig(**(QUICK.to_dict() | {"epochs": 1, "steps": 1})), tmp_path / "run")
    network = json.loads((tmp_path / "run/run.json").read_text())["network"]
    assert (network["size"], network["clip_length"]) == ([48, 24], 3)


def test_the_trunk_of_a_saved_network_brings_its_record(tmp_path):
    saved = tiny(1)
    saved.record = stmga.WeightRecord(name="", config=TINY, sha256="0" * 64, terms="Ask first.", licence="CC-BY-4.0")
    saved.save_pretrained(tmp_path, record=saved.record)
    model = tiny(2)
    start_trunk(model, tmp_path / "model.safetensors")
    assert (model.record.terms, model.record.licence) == ("Ask first.", "CC-BY-4.0")
    assert torch.equal(model.backbone.conv1.weight, saved.backbone.conv1.weight)
    before = dict(tiny(2).named_parameters())  # the rest is as it was
    rest = {name: p for name, p in model.named_parameters() if not name.startswith("backbone.")}
    assert [name for name, p in rest.items() if not torch.equal(p, before[name])] == []


def test_a_training_process_takes_denormals_for_zero_and_may_be_entered_again():
    before = denormals_are_flushed()
    with training_process("cpu") as outer, training_process("cpu") as inner, process_group("cpu") as group:
        assert denormals_are_flushed()
        assert outer == inner == group
    assert denormals_are_flushed() == before


@pytest.mark.parametrize("command", [train_command, ablate_command], ids=["train", "ablate"])
def test_the_commands_enter_it_before_anything_else(monkeypatch, command):
    """Threads of torch that are there already would keep their denormal numbers."""
    seen = []
    monkeypatch.setattr(command, "recipe_of", lambda args: seen.append(denormals_are_flushed()) or 1 / 0)
    (run,) = command.COMMANDS.values()
    with pytest.raises(ZeroDivisionError):
        run(argparse.Namespace(device="cpu"))
    assert seen == [True]
