"""A writer that is killed leaves a whole gallery. The long form: ``python -m tests.support.gallery_kills FOLDER``."""

from tests.support.gallery_kills import check


def test_a_killed_writer_loses_nothing_and_leaves_nothing_of_what_was_forgotten(tmp_path):
    assert check(tmp_path / "gallery", 3) > 3
