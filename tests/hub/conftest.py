"""A tiny network and its files, for the tests of the Hub."""

from __future__ import annotations

import pytest

from stmga.hub import store as library
from stmga.model import STMGA
from tests.support.hub import tiny


@pytest.fixture(name="model", scope="session")
def model_fixture() -> STMGA:
    return tiny()


@pytest.fixture(name="files", scope="session")
def files_fixture(model: STMGA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What save_pretrained writes for ``model``, by name."""
    folder = tmp_path_factory.mktemp("saved")
    library.save(model, folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}
