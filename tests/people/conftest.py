"""A short video of two people who cross the picture, and where they are."""

import pytest

from tests.support.street import two_people
from tests.support.videos import filmed


@pytest.fixture(scope="session")
def crossing(tmp_path_factory):
    """The file, and the boxes of each frame."""
    pytest.importorskip("trackers")
    pictures, boxes = two_people()
    return filmed(tmp_path_factory.mktemp("street") / "street.mp4", pictures), boxes
