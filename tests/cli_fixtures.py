"""What the tests of the command line share: walkers with their embeddings, and two ways to run a command."""

import pytest
import torch

from stmga import STMGA, STMGAConfig
from stmga.cli.main import main
from stmga.data.walkers.render import write_walkers

TINY = STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=4)


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


@pytest.fixture(name="run")
def run_fixture(capsys):
    def run(*argv):
        code = main([str(arg) for arg in argv])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return run


@pytest.fixture(name="fails")
def fails_fixture(run):
    """A user's mistake: exit code 1, one message, nothing else."""

    def fails(*argv):
        code, out, err = run(*argv)
        assert code == 1, out + err
        assert "stmga: error: " in err
        assert "Traceback" not in err
        return err

    return fails
