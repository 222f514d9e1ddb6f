"""Several sets side by side: labels that never coincide, one test, and names that distinguish the sets."""

from __future__ import annotations

import pytest
import torch

from stmga.data import Benchmark, TrainingSet, load_benchmark, side_by_side
from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Tracklet
from tests.support.tracklets import manifest, picture


def walk(name="1", person=7, camera: str | int | None = 2, **more):
    return Tracklet(name, torch.zeros(2, 3, 8, 4, dtype=torch.uint8), person, camera, **more)


def of(name, *train, query=(), gallery=(), terms=""):
    return Benchmark(
        name=name, train=list(train), query=list(query), gallery=list(gallery), terms=terms,
        protocol=Protocol(data=name, junk=(-1,)),
    )  # fmt: skip


def test_ids_persons_and_cameras_of_two_sets_never_meet():
    both = side_by_side([of("a", walk(), walk("2", "7", None)), of("b", walk(), walk("2", 8, "door"))])
    assert both.name == "a + b"
    assert [(t.id, t.person, t.camera) for t in both.train] == [
        ("a/1", "a/7", "a/2"), ("a/2", "a/7", None), ("b/1", "b/7", "b/2"), ("b/2", "b/8", "b/door"),
    ]  # fmt: skip
    data = TrainingSet(both.train, length=2, stride=1, size=(8, 4))
    assert data.identities == ["a/7", "b/7", "b/8"] and data.labels == [0, 0, 1, 2]


def test_all_else_of_a_tracklet_stays():
    before = walk(time=3.5, extra={"role": "train"}).as_checked()
    (after,) = side_by_side([of("a", before)]).train
    assert after.frames is before.frames and (after.time, after.extra) == (3.5, {"role": "train"})
    assert after.checked and before.id == "1"
    assert side_by_side([of("a", walk(person=None))]).train[0].person is None


def test_the_test_stays_as_it_is_and_those_of_the_sets_are_left_out():
    a = of("a", walk(), query=[walk("q")], gallery=[walk("g")], terms="Ask a.")
    b = of("b", walk(), terms="Ask b.")
    test = of("c", walk("never"), query=[walk("q")], gallery=[walk("g")], terms="Ask a.")
    made = side_by_side([a, b], test=test)
    assert [t.id for t in made.train] == ["a/1", "b/1"]
    assert (made.query, made.gallery, made.protocol) == (test.query, test.gallery, test.protocol)
    assert made.terms == "Ask a.; Ask b."
    alone = side_by_side([a, b])
    assert (alone.query, alone.gallery, alone.protocol) == ([], [], Protocol(data="a + b"))
    of_its_own = side_by_side([a], test=a)  # a set that keeps its own test
    assert (of_its_own.name, of_its_own.query) == ("a", a.query)


@pytest.mark.parametrize(
    ("names", "message"), [([], "of different names, got none"), (["a", "b", "a"], "of different names, got a, b, a")]
)
def test_sets_must_be_there_and_told_apart(names, message):
    with pytest.raises(ValueError, match=message):
        side_by_side([of(name, walk()) for name in names])


def test_a_test_needs_queries():
    with pytest.raises(ValueError, match="c has no queries, so nothing can be tested on it"):
        side_by_side([of("a", walk())], test=of("c", walk()))


def test_manifests_of_one_file_name_are_named_after_their_folders(tmp_path):
    for folder, file in (("a", "index"), ("b.v2", "manifest"), ("c", "mine")):
        picture(tmp_path / folder / "7/1.png")
        written = manifest(tmp_path / folder, {"tracklet": "1", "person": 7, "frames": ["7/1.png"]})
        written.rename(written.with_name(f"{file}.jsonl"))
    sources = [tmp_path / "a/index.jsonl", tmp_path / "b.v2/manifest.jsonl", tmp_path / "c/mine.jsonl"]
    found = [load_benchmark(source) for source in sources]
    assert [made.name for made in found] == ["a", "b.v2", "mine"]
    assert found[0].protocol.data == "a"
    assert load_benchmark(tmp_path / "b.v2", layout="{person}").name == "b.v2"
    assert [t.person for t in side_by_side(found).train] == ["a/7", "b.v2/7", "mine/7"]
