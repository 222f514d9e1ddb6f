"""Walkers with their embeddings, for the tests of commands."""

import pytest
import torch

from stmga import STMGA
from stmga.cli.main import main
from stmga.data.walkers.render import write_walkers
from tests.support.cli import TINY


@pytest.fixture(scope="module", name="place")
def place_fixture(tmp_path_factory):
    """A manifest of 5 walkers before 2 cameras, a saved tiny network, and the embeddings that the command made."""
    folder = tmp_path_factory.mktemp("cli")
    write_walkers(folder / "crops", 5, frames=4, size=(64, 32))
    torch.manual_seed(1)
    STMGA(TINY).save_pretrained(folder / "tiny")
    out = folder / "all.safetensors"
    code = main(["embed", str(folder / "crops/manifest.jsonl"), "-o", str(out), "--model", str(folder / "tiny"), "-q"])
    assert code == 0
    return folder
