"""A small network and the members of its exported file, for the tests of hostile files."""

from __future__ import annotations

import zipfile

import pytest

from stmga import STMGA
from stmga.deploy.export import export
from tests.support.exported import CONFIG, untrained


@pytest.fixture(scope="module")
def model() -> STMGA:
    return untrained(CONFIG)


@pytest.fixture(scope="module")
def members(model, tmp_path_factory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("exported") / "good.pt2"
    export(model, path)
    with zipfile.ZipFile(path) as archive:
        return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}
