"""The small scene on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmga.data import write_scenes
from stmga.data.walkers.truth import read_sightings
from tests.support.scenes import SMALL, Truth


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"), **SMALL).parent


@pytest.fixture(scope="session")
def truth(scenes: Path) -> Truth:
    return {file.stem: list(read_sightings(file)) for file in sorted(scenes.glob("cam*.txt"))}
