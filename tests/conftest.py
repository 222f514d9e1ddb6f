"""Fixtures of all tests: one thread, the command line in this process, a loopback Hub, and the marker `cuda`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from stmga.cli.main import main
from tests.support.fake_hub import FakeHub
from tests.support.hub import use


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """A second thread costs tiny tensors more than it saves, and pytest runs a process per core."""
    torch.set_num_threads(1)


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


@pytest.fixture(name="hub")
def hub_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A loopback Hub that is this process's Hub, with a cache and a token store of its own."""
    with FakeHub() as fake:
        use(monkeypatch, fake.url, tmp_path)
        yield fake
