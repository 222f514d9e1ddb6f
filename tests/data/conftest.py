"""Pictures to pack."""

import pytest

from tests.support.tracklets import noise


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    root = tmp_path_factory.mktemp("crops")
    for person in range(12):
        for i in range(4):
            noise(root / f"{person:02d}" / f"{i}.{'png' if i % 2 else 'jpg'}", seed=10 * person + i, size=(16, 32))
    return root
