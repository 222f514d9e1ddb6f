"""The average of a network and its start: its values, its record, and refused pairs."""

import dataclasses
import sys

import pytest
import torch

from benchmarks.tools import average_weights as script
from stmga import STMGA
from stmga.train.network import with_input
from tests.support.train import tiny

STAGE = {"network": "stmga_resnet18_c4", "input": "2 x 64 x 32", "data": "figures", "started from": "random weights"}


def saved(folder, model: STMGA, *stages: dict) -> STMGA:
    model.save_pretrained(folder)
    found = STMGA.from_pretrained(folder)
    found.save_pretrained(folder, record=dataclasses.replace(found.record, stages=stages))
    return STMGA.from_pretrained(folder)


@pytest.fixture(scope="module", name="pair")
def pair_fixture(tmp_path_factory):
    """(start, the network trained from it, their folder)."""
    folder = tmp_path_factory.mktemp("pair")
    before, after = tiny(), tiny()
    with torch.no_grad():
        for value in after.parameters():
            value.add_(1.0)
    more = STAGE | {"started from": "stage 1"}
    return saved(folder / "start", before, STAGE), saved(folder / "trained", after, STAGE, more), folder


def test_every_value_lies_between_the_two_by_the_share(pair, monkeypatch):
    start, trained, folder = pair
    words = [str(folder / "start"), str(folder / "trained"), "--share", "0.25", "-o", str(folder / "out")]
    monkeypatch.setattr(sys, "argv", ["average_weights.py", *words])
    script.main()
    found = STMGA.from_pretrained(folder / "out")
    for x, a, b in zip(found.parameters(), start.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(x, 0.25 * a + 0.75 * b)
    assert found.record.stages[:2] == trained.record.stages
    assert found.record.stages[2] == {
        "network": "stmga_resnet18_c4", "input": "2 x 64 x 32",
        "started from": "no training: 0.75 x the weights of stage 2 + 0.25 x those of stage 1",
    }  # fmt: skip
    assert found.record.calibration is None


def test_a_network_that_was_not_trained_from_the_first_is_refused(pair, tmp_path):
    start, trained, _ = pair
    other = saved(tmp_path / "other", tiny(), STAGE | {"data": "others"})
    for a, b in ((other, trained), (trained, start), (start, start)):
        with pytest.raises(ValueError, match="was not trained from the first"):
            script.average(a, b, 0.5)


def test_the_average_takes_the_input_of_the_network_as_its_record_says(pair, tmp_path):
    start, trained, _ = pair
    longer = with_input(trained, clip_length=4)
    longer.record = dataclasses.replace(trained.record, stages=(STAGE, STAGE | {"input": "4 x 64 x 32"}))
    found = script.average(start, longer, 0.5)
    assert (start.config.clip_length, found.config.clip_length) == (2, 4)
    assert found.record.stages[-1]["input"] == "4 x 64 x 32"


def test_a_share_of_all_or_nothing_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["average_weights.py", "a", "b", "--share", "1", "-o", "out"])
    with pytest.raises(SystemExit):
        script.main()
    assert "--share must be more than 0 and less than 1" in capsys.readouterr().err
