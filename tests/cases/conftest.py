"""The cases of the shared folder: small inputs, each with a note of what should happen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import SHARED


@pytest.fixture(name="case")
def case_fixture() -> Callable[[str], Path]:
    """The folder of a case by its name; the test is skipped where there is none."""

    def folder(name: str) -> Path:
        found = SHARED / "cases" / name
        if not found.is_dir():
            pytest.skip(f"no {name} in {SHARED / 'cases'}; name the shared folder in STMGA_SHARED")
        return found

    return folder
