"""Walkers with their embeddings, and a benchmark of walkers with a run, for the tests of commands."""

import pytest
import torch

from stmga import STMGA
from stmga.cli.main import main
from stmga.data.walkers.generate import write_benchmark
from stmga.data.walkers.render import write_walkers
from tests.support.cli import SMALL, TINY
from tests.support.train import tiny


@pytest.fixture(scope="module", name="place")
def place_fixture(tmp_path_factory):
    """A manifest of 5 walkers seen by 2 cameras, a saved tiny network, and the embeddings that the command made."""
    folder = tmp_path_factory.mktemp("cli")
    write_walkers(folder / "crops", 5, frames=4, size=(64, 32))
    torch.manual_seed(1)
    STMGA(TINY).save_pretrained(folder / "tiny")
    out = folder / "all.safetensors"
    code = main(["embed", str(folder / "crops/manifest.jsonl"), "-o", str(out), "--model", str(folder / "tiny"), "-q"])
    assert code == 0
    return folder


@pytest.fixture(scope="module", name="data")
def data_fixture(tmp_path_factory):
    """A benchmark of walkers on disk, and a network to start from."""
    folder = tmp_path_factory.mktemp("walkers")
    write_benchmark(folder / "data", 6, 4, cameras=2, tracklets=2, frames=3, size=(64, 32))
    write_benchmark(folder / "more", 5, 0, cameras=2, tracklets=2, frames=3, size=(64, 32), seed=1)
    tiny(seed=0).save_pretrained(folder / "tiny")
    return folder


@pytest.fixture(scope="module", name="trained")
def trained_fixture(data):
    arguments = ["train", "--data", data / "data/manifest.jsonl", "--from", data / "tiny", "-o", data / "run", *SMALL]
    assert main([str(a) for a in arguments]) == 0
    return data / "run"
