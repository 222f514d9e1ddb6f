"""`stmga whiten`: what it writes and says, and what it refuses."""

import pytest

from stmga import STMGA
from stmga.data.walkers.generate import write_benchmark


@pytest.fixture(scope="module", name="yard")
def yard_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yard")
    write_benchmark(folder, 32, 2, cameras=2, tracklets=1, frames=2, size=(64, 32))
    return folder / "manifest.jsonl"


def test_it_writes_weights_with_the_layer(run, yard, place, tmp_path):
    arguments = ["whiten", "--data", yard, "--from", place / "tiny", "-q"]
    code, out, err = run(*arguments, "-o", tmp_path / "white")
    assert code == 0, err
    assert out.splitlines()[-1] == (
        f"wrote     {tmp_path / 'white'}: embed the gallery again with it, and calibrate again"
    )
    found, start = (STMGA.from_pretrained(one) for one in (tmp_path / "white", place / "tiny"))
    assert found.config.whitening
    assert found.record.stages[-1]["whitening"] == "solved, shrinkage 3"
    assert found.record.stages[-1]["persons"] == 32
    code, _, err = run("eval", "--data", yard, "--model", tmp_path / "white", "-q")
    assert code == 0, err
    code, _, err = run(*arguments, "-o", tmp_path / "weaker", "--shrinkage", "30")
    assert code == 0, err
    weaker = STMGA.from_pretrained(tmp_path / "weaker")
    assert (weaker.whitening.weight.diag() - 1).abs().mean() < (found.whitening.weight.diag() - 1).abs().mean()
    assert not start.config.whitening


def test_too_few_persons_are_refused_before_anything_is_embedded(run, data, place, tmp_path):
    arguments = ["whiten", "--data", data / "data/manifest.jsonl", "--from", place / "tiny", "-o", tmp_path / "white"]
    code, _, err = run(*arguments)
    assert code == 1
    assert "6 of 6 persons have two tracklets or more, and at least 30 are needed" in err
    assert not (tmp_path / "white").exists()
    code, _, err = run(*arguments, "--shrinkage", "0")
    assert code == 1
    assert "--shrinkage must be > 0, got 0" in err
