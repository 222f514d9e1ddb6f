"""A tiny network for the tests of embedding."""

import pytest

from stmga import STMGA
from tests.support.embedder import TINY, build


@pytest.fixture(name="model", scope="module")
def model_fixture() -> STMGA:
    return build(TINY)
