"""Benchmarks from folders, manifests and tracklets: roles, and persons held out for a test."""

from __future__ import annotations

import json
import logging
import random

import pytest

from stmga.data import benchmark_from, load_benchmark
from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Tracklet, TrackletError
from tests.support.tracklets import faults_of, manifest, picture


def walks(persons=20, cameras=("door", "yard"), each=2):
    return [Tracklet(f"{p}/{c}/{i}", (f"{p}.jpg",), p, c) for p in range(persons) for c in cameras for i in range(each)]


def ids(tracklets):
    return [t.id for t in tracklets]


def test_roles_are_kept_in_order():
    roles = ["gallery", "query", "train", "gallery", "query"]
    made = benchmark_from(
        [Tracklet(str(i), ("1.jpg",), 7, extra={"role": role}) for i, role in enumerate(roles)], name="mine"
    )
    assert (ids(made.train), ids(made.query), ids(made.gallery)) == (["2"], ["1", "4"], ["0", "3"])
    assert made.protocol == Protocol(data="mine")
    assert made.protocol.queries_in_gallery and made.protocol.unknown_camera == "remove"
    rules = Protocol(data="other", junk=(9,))
    assert benchmark_from([Tracklet("a", (), extra={"role": "query"})], name="mine", protocol=rules).protocol is rules


def test_wrong_roles_come_together():
    mixed = [Tracklet("a", (), extra={"role": "probe"}), Tracklet("b", ()), Tracklet("c", (), extra={"role": "train"})]
    one, two = faults_of(benchmark_from, mixed, name="mine")
    assert one == "tracklet \"a\": role 'probe' is none of train, query, gallery"
    assert two.startswith("1 of 3 tracklets have no role and the others do: b")


def test_all_are_to_train_on_without_roles():
    made = benchmark_from(walks(), name="mine")
    assert len(made.train) == 80 and not made.query and not made.gallery


def test_holdout_depends_on_persons_and_seed_alone():
    tracklets = walks()
    made = benchmark_from(tracklets, name="mine", holdout=0.25, seed=3)
    held = {t.person for t in made.query}
    assert len(held) == 5 and not held & {t.person for t in made.train}
    assert {t.person for t in made.query + made.gallery} == held
    assert sorted(ids(made.train + made.query + made.gallery)) == sorted(ids(tracklets))
    shuffled = random.Random(0).sample(tracklets, len(tracklets))
    again = benchmark_from(shuffled, name="mine", holdout=0.25, seed=3)
    assert sorted(ids(again.query)) == sorted(ids(made.query))
    assert sorted(ids(again.train)) == sorted(ids(made.train))
    assert {t.person for t in benchmark_from(tracklets, name="mine", holdout=0.25, seed=4).query} != held
    larger = benchmark_from(walks(21), name="mine", holdout=0.25, seed=3)
    assert len({t.person for t in larger.query} ^ held) <= 2  # one more person hardly changes who is held out
    assert made.protocol.data == "mine, 25 % of its persons held out with seed 3"
    assert not benchmark_from(tracklets, name="mine", holdout=1.0).train


def test_one_query_for_each_person_and_camera():
    made = benchmark_from(walks(each=3), name="mine", holdout=0.5)
    assert len(made.query) == 20 and len(made.gallery) == 40
    assert len({(t.person, t.camera) for t in made.query}) == 20
    assert all(t.id.endswith("/0") for t in made.query)  # the first by natural order


def test_those_who_cannot_be_found_do_not_ask(caplog):
    tracklets = [t for t in walks() if t.person not in (3, 4) or t.camera == "door"]
    tracklets = [t for t in tracklets if t.person != 5 or t.id == "5/door/0"]
    tracklets += [Tracklet("6/?/0", (), 6, None), Tracklet("nobody", (), None, "door")]
    with caplog.at_level(logging.WARNING):
        made = benchmark_from(tracklets, name="mine", holdout=1.0)
    assert "3 of 20 persons held out were seen by one camera only and cannot be queries" in caplog.text
    assert caplog.text.rstrip().endswith("3, 4, 5")
    assert not {3, 4, 5} & {t.person for t in made.query} and {3, 4, 5} < {t.person for t in made.gallery}
    assert "6/?/0" in ids(made.gallery) and ids(made.train) == ["nobody"]


def test_without_cameras_the_first_tracklet_asks(caplog):
    tracklets = [Tracklet(f"{p}/{i}", (), p) for p in range(6) for i in (10, 9, 2) if p or i == 9]
    with caplog.at_level(logging.WARNING):
        made = benchmark_from(tracklets, name="mine", holdout=1.0)
    assert sorted(ids(made.query)) == [f"{p}/2" for p in range(1, 6)]
    assert len(made.gallery) == 11 and "1 of 6 persons held out have one tracklet only" in caplog.text


def test_holdouts_that_make_no_test():
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="holdout is a share of the persons, 0 to 1"):
            benchmark_from(walks(), name="mine", holdout=share)
    with pytest.raises(ValueError, match=r"needs at least 2 persons, the set has 0: read the data with a layout"):
        benchmark_from([Tracklet("a", ()), Tracklet("b", ())], name="mine", holdout=0.5)
    half = [
        t for t in walks() if t.camera == "door" or t.person == 3
    ]  # person 3, whom seed 0 does not take, was in two
    with pytest.raises(ValueError, match=r"nobody among the 1 persons .* is seen by two cameras.*hold out more"):
        benchmark_from(half, name="mine", holdout=0.05)
    single = [Tracklet(str(p), (), p) for p in range(4)]
    with pytest.raises(ValueError, match=r"nobody among the 1 persons .* is with two tracklets.*hold out more"):
        benchmark_from([*single, Tracklet("again", (), 3)], name="mine", holdout=0.1, seed=1)
    with pytest.raises(ValueError, match=r"mine has a test of its own \(1 tracklets\): leave holdout at 0"):
        benchmark_from([Tracklet("a", (), extra={"role": "query"})], name="mine", holdout=0.5)


def test_one_camera_is_named_and_testing_within_it_proposed():
    """No share and no seed helps if no person of the set could give a query."""
    with pytest.raises(ValueError, match=r"names one camera only \(door\).*\{person\}/\{place\}/\{tracklet\}") as one:
        benchmark_from(walks(cameras=("door",)), name="mine", holdout=0.4)
    apart = [t for t in walks() if (t.camera == "door") == (t.person % 2 == 0)]
    with pytest.raises(ValueError, match=r"seen by two of its 2 cameras \(door, yard\).*\{place\}") as none:
        benchmark_from(apart, name="mine", holdout=0.4)
    with pytest.raises(ValueError, match="no person of the set has two tracklets") as few:
        benchmark_from([Tracklet(str(p), (), p) for p in range(4)], name="mine", holdout=0.5)
    with pytest.raises(ValueError, match="no person of the set has two tracklets"):  # here {place} could not help
        benchmark_from([Tracklet(str(p), (), p, "door") for p in range(4)], name="mine", holdout=0.5)
    assert not any("seed" in str(error.value) for error in (one, none, few))


# ---- from disk


def test_folders_of_one_camera_are_tested_within_it(tmp_path):
    for person in range(6):
        for number in range(2):
            picture(tmp_path / f"{person}/c1/{number}/1.png")
    with pytest.raises(ValueError, match=r"names one camera only \(c1\)"):
        load_benchmark(tmp_path, layout="{person}/{camera}/{tracklet}", holdout=0.4)
    made = load_benchmark(tmp_path, layout="{person}/{place}/{tracklet}", holdout=0.4)
    assert len(made.query) == len(made.gallery) == 2


def test_folders_with_and_without_cameras(tmp_path):
    for person in "123":
        for camera in "ab":
            picture(tmp_path / "crops" / person / camera / "1.jpg")
    plain = load_benchmark(tmp_path / "crops")
    assert (plain.name, len(plain.train), plain.train[0].camera) == ("crops", 6, None)
    made = load_benchmark(tmp_path / "crops", layout="{person}/{camera}", holdout=0.34)
    assert (len(made.train), len(made.query), len(made.gallery)) == (4, 2, 0)
    with pytest.raises(TrackletError, match="layout is"):
        load_benchmark(tmp_path / "crops", layout="{person}")


def test_folders_of_roles_named_like_those_of_duke(tmp_path):
    for role in ("train", "query", "gallery"):
        picture(tmp_path / role / "0001" / "c3" / "1.jpg")
    made = load_benchmark(tmp_path, layout="{role}/{person}/c{camera}")
    assert [len(part) for part in (made.train, made.query, made.gallery)] == [1, 1, 1]
    assert (made.query[0].person, made.query[0].camera) == ("0001", "3")


def test_manifests(tmp_path):
    picture(tmp_path / "1.jpg")
    rows = [{"tracklet": str(i), "person": i % 2, "frames": ["1.jpg"], "role": "query"} for i in range(4)]
    path = manifest(tmp_path, *rows)
    made = load_benchmark(path)
    assert (made.name, len(made.query), made.train) == (tmp_path.name, 4, [])  # the folder's name instead of "index"
    rows[1]["frames"] = ["gone.jpg"]
    with pytest.raises(TrackletError, match=r"gone\.jpg does not exist"):
        load_benchmark(manifest(tmp_path, *rows))
    assert len(load_benchmark(path, check_files=False).query) == 4
    with pytest.raises(TrackletError, match=r"is not a pack: give the \.jsonl manifest itself"):
        load_benchmark(tmp_path, dataset="manifest")
    with pytest.raises(ValueError, match="manifest has no splits"):
        load_benchmark(path, split=1)
    (tmp_path / "notes.txt").write_text(json.dumps(rows))
    with pytest.raises(TrackletError, match=r"is neither a folder nor a \.jsonl manifest"):
        load_benchmark(tmp_path / "notes.txt")
    with pytest.raises(TrackletError, match="does not exist"):
        load_benchmark(tmp_path / "none")
