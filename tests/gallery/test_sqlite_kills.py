"""A writer that is killed leaves a whole gallery. The long form: ``python -m tests.support.gallery_kills FOLDER``."""

from tests.support.gallery_kills import applied, check, operation, traces


def test_a_killed_writer_loses_nothing_and_leaves_nothing_of_what_was_forgotten(tmp_path):
    assert check(tmp_path / "gallery", 3) > 3


def test_traces_are_found_wherever_they_are(tmp_path):
    """What the kills look for, planted: a part of a vector at an odd place, an id, a person."""
    ever = applied({}, *operation(0, {}))
    names = list(ever)
    assert traces(tmp_path, ever, {}) == []
    (tmp_path / "a").write_bytes(b"x" * 1001 + ever[names[2]][1][70:130] + b"y")
    (tmp_path / "b").write_bytes(b'{"tracklet": "%s"}' % names[0].encode())
    assert traces(tmp_path, ever, {}) == [names[0], names[2]]
    assert traces(tmp_path, ever, {names[2]: ever[names[2]]}) == [names[0]]
    (tmp_path / "c").write_bytes(b'"person000000"')
    assert traces(tmp_path, ever, {names[2]: ever[names[2]]}) == [names[0]]
    assert traces(tmp_path, ever, {}) == ["person000000", names[0], names[2]]
