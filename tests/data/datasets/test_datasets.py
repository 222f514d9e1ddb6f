"""DukeMTMC-VideoReID, LS-VID, iLIDS-VID and PRID-2011 on whole trees in their layouts, and the ways they go wrong."""

from __future__ import annotations

import json
from shutil import copy, rmtree

import numpy as np
import pytest

from stmga.data import DATASETS, DataSetError, load_benchmark, read_duke, read_ilids, read_lsvid, read_prid
from stmga.data.datasets.matrices import read_mat
from stmga.data.load import guess
from tests.support.datasets import Pictures, write_mat
from tests.support.paths import DATA
from tests.support.tracklets import faults_of

LIST = DATA / "protocol-info" / "info_test.mat"

# ---- DukeMTMC-VideoReID: 2,196 tracklets of 702, 702 queries, a gallery of 2,636 with 408 distractors


def duke_tree(root, frames=1):
    pictures = Pictures(root)

    def put(part, person, track, camera):
        for i in range(frames):
            name = f"{person:04d}_C{camera}_F{i + 2:04d}_X{30000 + i}.jpg"
            name = name.replace("_", "") if track % 2 else name  # both forms of names are in use
            pictures.put(root / part / f"{person:04d}" / f"{track:04d}" / name)

    for n in range(2196):
        put("train", 1 + n % 702, n, 1 + n % 8)
    for n in range(702):
        put("query", 1000 + n, n, 1 + n % 8)
    for n in range(2636):
        put("gallery", 1000 + n % 1110, n, 1 + (n + 1) % 8)
    return root


@pytest.fixture(scope="module")
def duke(tmp_path_factory):
    return duke_tree(tmp_path_factory.mktemp("d") / "DukeMTMC-VideoReID")


def test_duke_counts_labels_and_protocol(duke):
    made = read_duke(duke, check_files=False)
    assert (len(made.train), len(made.query), len(made.gallery)) == (2196, 702, 2636)
    assert len({t.person for t in made.train}) == 702
    others = {t.person for t in made.gallery} - {t.person for t in made.query}
    assert len(others) == 408
    assert made.query[1].row() | {"cover": 0} == {
        "tracklet": "query/1001/0001", "person": 1001, "camera": 2, "role": "query", "cover": 0
    }  # fmt: skip
    assert not made.protocol.queries_in_gallery and made.protocol.same_camera == "remove"
    assert "withdrawn" in made.terms and "Withdrawn" in read_duke.__doc__
    assert guess(duke) == "duke" and guess(duke.parent) == "duke"
    assert len(load_benchmark(duke.parent, check_files=False).train) == 2196


def test_duke_orders_frames_by_their_place_in_the_tracklet(tmp_path):
    pictures = Pictures(tmp_path)
    for part in ("train", "query", "gallery"):
        for place, video in ((10, 7), (2, 9), (1, 8)):
            pictures.put(tmp_path / part / "0001" / "0003" / f"0001C6F{place:04d}X{video}.jpg")
    [tracklet] = read_duke(tmp_path, complete=False).train
    assert [f.file.name for f in tracklet.frames] == ["0001C6F0001X8.jpg", "0001C6F0002X9.jpg", "0001C6F0010X7.jpg"]


def test_duke_faults_together(tmp_path):
    root = duke_tree(tmp_path / "d", frames=2)
    rmtree(root / "train" / "0005")
    (root / "query/1000/0000/1000_C1_F0003_X30001.jpg").rename(root / "query/1000/0000/1000_C2_F0003_X30001.jpg")
    (root / "query/1001/0001/1001C2F0003X30001.jpg").rename(root / "query/1001/0001/1002C2F0003X30001.jpg")
    (root / "query/1002/0002/1002_C3_F0003_X30001.jpg").rename(root / "query/1002/0002/1.jpg")
    faults = faults_of(read_duke, root, check_files=False)
    assert len(faults) == 3  # counts are checked once the files are in order
    assert "two cameras in one tracklet: [1, 2]" in faults[0]
    assert "has files of person [1001, 1002], the folder says 1001" in faults[1]
    assert "1.jpg is not named like 0001C6F0099X30823.jpg" in faults[2]
    rmtree(root / "query")
    [fault] = faults_of(read_duke, root)
    assert fault == f"{root}/query does not exist"
    root = duke_tree(tmp_path / "e")
    rmtree(root / "train" / "0005")
    with pytest.raises(DataSetError) as caught:
        read_duke(root, check_files=False)
    assert [f.split(":")[0] for f in caught.value.faults] == [
        "DukeMTMC-VideoReID has 2,196 tracklets in train, found 2,192",
        "DukeMTMC-VideoReID has 702 persons in train, found 701",
    ]
    assert str(caught.value).endswith("where to ask for it: nowhere: its authors no longer give it out")


# ---- LS-VID: 2,831 tracklets of 842, a test list of 11,333 with 3,504 queries


def lsvid_tree(root, rows, queries, train, frames=None):
    """`frames` of each tracklet, or as many as its row says."""
    pictures = Pictures(root)
    lists = {"train": [], "test": []}
    write_mat(
        root / "test/data/info_test.mat", info_test=rows.astype(float), query=queries.astype(float).reshape(-1, 1)
    )
    for part, part_rows in (("train", train), ("test", rows)):
        for n, (first, last, person, camera) in enumerate(part_rows.tolist()):
            path = f"tracklet_{part}/{person:04d}/{person:04d}_{n % 12}_{camera:02d}_{n}"
            lists[part].append(f"{path} {person}\n")
            for i in range(frames or last - first + 1):
                pictures.put(root / f"{path}_{i:05d}.jpg")
        (root / "list_sequence").mkdir(exist_ok=True)
        (root / f"list_sequence/list_seq_{part}.txt").write_text("".join(lists[part]))
    return root


@pytest.mark.skipif(not LIST.is_file(), reason="the official lists are not part of the project")
def test_lsvid_official_counts(tmp_path):
    found = read_mat(LIST, "info_test", "query")
    n = np.arange(2831)
    train = np.stack([n + 1, n + 1, n % 842, n % 15 + 1], axis=1)
    root = lsvid_tree(tmp_path, found["info_test"].astype(int), found["query"].astype(int), train, frames=1)
    copy(LIST, root / "test/data/info_test.mat")  # the file itself, in HDF5
    made = load_benchmark(root, check_files=False)
    assert (made.name, len(made.train), len(made.query), len(made.gallery)) == ("lsvid", 2831, 3504, 11333 - 3504)
    assert len({t.person for t in made.train}) == 842
    assert len({t.person for t in made.query}) == 2730
    assert {t.camera for t in made.query + made.gallery} == set(range(1, 16))
    assert [made.query[0].person, made.query[0].camera] == found["info_test"][
        int(found["query"][0, 0]) - 1, 2:
    ].tolist()
    assert made.protocol.queries_in_gallery
    faults = faults_of(read_lsvid, root)  # with one frame each: counted against the list
    assert len(faults) == 11333 and "359 frames by row 1 of test/data/info_test.mat, found 1" in faults[0]


@pytest.fixture
def lsvid(tmp_path):
    rows = np.array([[1, 3, 0, 1], [4, 5, 0, 7], [6, 6, 1, 15], [7, 9, 1, 2]])
    return lsvid_tree(tmp_path / "LS-VID", rows, np.array([1, 4]), rows + np.array([0, 0, 5, 0]))


def test_lsvid_small(lsvid):
    made = read_lsvid(lsvid, complete=False, queries_in_gallery=False)
    assert [t.id for t in made.query] == ["tracklet_test/0000/0000_0_01_0", "tracklet_test/0001/0001_3_02_3"]
    assert [(t.person, t.camera, len(t)) for t in made.gallery] == [(0, 7, 2), (1, 15, 1)]
    assert [(t.person, t.camera) for t in made.train] == [(5, 1), (5, 7), (6, 15), (6, 2)]
    assert not made.protocol.queries_in_gallery
    assert len(faults_of(read_lsvid, lsvid)) == 5  # counts


def test_lsvid_prefix_of_another_tracklet(lsvid):
    """`..._1` and `..._10` are two tracklets though one name begins with the other."""
    Pictures(lsvid).put(lsvid / "tracklet_test/0000/0000_1_07_10_00000.jpg")
    made = read_lsvid(lsvid, complete=False)
    assert [len(t) for t in made.gallery] == [2, 1]


def test_lsvid_faults_together(lsvid):
    (lsvid / "tracklet_test/0000/0000_0_01_0_00001.jpg").unlink()
    (lsvid / "tracklet_test/0001/0001_2_15_2_00000.jpg").rename(lsvid / "tracklet_test/0001/0001_2_14_2_00000.jpg")
    rmtree(lsvid / "tracklet_train/0005")
    text = (lsvid / "list_sequence/list_seq_test.txt").read_text()
    (lsvid / "list_sequence/list_seq_test.txt").write_text(text.replace("02_3 1", "02_3 0"))
    with (lsvid / "list_sequence/list_seq_train.txt").open("a") as file:
        file.write("tracklet_train\n")
    faults = faults_of(read_lsvid, lsvid, complete=False)
    for words in (
        'tracklet "tracklet_test/0000/0000_0_01_0": 3 frames by row 1 of test/data/info_test.mat, found 2',
        "no image begins with",
        "tracklet_train/0005 cannot be read: No such file",
        "person and camera (0, 2), row 4 of test/data/info_test.mat has (1, 2)",
        'list_seq_train.txt:5: expected "PATH PERSON", got "tracklet_train "',
    ):
        assert any(words in fault for fault in faults), (words, faults)
    assert len(faults) == 5
    (lsvid / "test/data/info_test.mat").unlink()
    with pytest.raises(DataSetError, match="on request by mail"):
        read_lsvid(lsvid)


# ---- iLIDS-VID: 300 persons with gaps in their numbers, two cameras, ten splits


@pytest.fixture(scope="module")
def ilids(tmp_path_factory):
    root = tmp_path_factory.mktemp("ilids-vid")
    pictures = Pictures(root)
    numbers = [n for n in range(1, 320) if n % 16]
    assert len(numbers) == 300
    for person in numbers:
        for camera in (1, 2):
            folder = root / f"i-LIDS-VID/sequences/cam{camera}/person{person:03d}"
            for i in (9, 10):
                pictures.put(folder / f"cam{camera}_person{person:03d}_{i:05d}.png")
    orders = np.stack([np.random.default_rng(i).permutation(300) + 1 for i in range(10)]).astype(np.uint16)
    write_mat(root / "train-test people splits/train_test_splits_ilidsvid.mat", ls_set=orders)
    return root, numbers, orders


def test_ilids_splits(ilids):
    root, numbers, orders = ilids
    made = read_ilids(root, split=3)
    assert (len(made.train), len(made.query), len(made.gallery)) == (300, 150, 150)
    test = sorted(numbers[position - 1] for position in orders[3][:150])  # the first half of a row is the test
    assert [t.person for t in made.query] == [t.person for t in made.gallery] == test
    assert {t.person for t in made.train} == set(numbers) - set(test)
    assert {t.camera for t in made.query} == {1} and {t.camera for t in made.gallery} == {2}
    assert not made.protocol.queries_in_gallery and made.protocol.data == "iLIDS-VID, split 3"
    again = load_benchmark(root, split=3, check_files=False)
    assert again.name == "ilids" and [t.id for t in again.query] == [t.id for t in made.query]
    with pytest.raises(ValueError, match="split is one of 10"):
        read_ilids(root, split=10)


def test_ilids_faults(tmp_path, ilids):
    _, _, orders = ilids
    pictures = Pictures(tmp_path)
    for name in ("cam1/person001", "cam2/person001", "cam1/person002", "cam2/personx"):
        pictures.put(tmp_path / "i-LIDS-VID/sequences" / name / "1.png")
    [fault] = faults_of(read_ilids, tmp_path)
    assert fault == f"{tmp_path}/train-test people splits/train_test_splits_ilidsvid.mat does not exist"
    write_mat(tmp_path / "train-test people splits/train_test_splits_ilidsvid.mat", ls_set=orders)
    faults = faults_of(read_ilids, tmp_path)
    assert len(faults) == 3
    assert "cam2/personx is not the folder of a person" in faults[0]
    assert "iLIDS-VID has 300 persons, found 1: folders are missing" in faults[1]
    assert "must hold 10 orders of the numbers 1 to 1 (one for each person), got shape (10, 300)" in faults[2]


# ---- PRID-2011: 178 persons who count


@pytest.fixture(scope="module")
def prid(tmp_path_factory):
    """385 and 749 persons as in the set; of the 200 in both cameras 22 have too few frames in one."""
    root = tmp_path_factory.mktemp("prid2011")
    pictures = Pictures(root)
    for camera, persons in (("a", 385), ("b", 749)):
        for person in range(1, persons + 1):
            short = person <= 22 and (person % 2 == (camera == "a"))
            for i in range(21 if short else 22):
                pictures.put(root / f"prid_2011/multi_shot/cam_{camera}/person_{person:04d}/{i + 1:04d}.png")
    return root


def test_prid_with_and_without_the_list_of_splits(prid):
    drawn = read_prid(prid, check_files=False)
    assert (len(drawn.train), len(drawn.query), len(drawn.gallery)) == (178, 89, 89)
    assert {t.person for t in drawn.train + drawn.query} == set(range(23, 201))
    assert drawn.protocol.data == "PRID-2011, halves drawn with seed 0 (no splits_prid2011.json)"
    other = read_prid(prid, split=1, check_files=False)
    assert {t.person for t in other.query} != {t.person for t in drawn.query}
    names = [f"person_{n:04d}" for n in range(23, 201)]
    splits = [{"train": names[i::2], "test": names[1 - i :: 2]} for i in (0, 1)] * 5
    (prid / "splits_prid2011.json").write_text(json.dumps(splits))
    listed = load_benchmark(prid, split=1, check_files=False)
    assert listed.protocol.data == "PRID-2011, split 1 of splits_prid2011.json"
    assert [t.person for t in listed.query] == list(range(23, 201, 2))
    assert (listed.query[0].camera, listed.gallery[0].camera) == (1, 2)
    assert guess(prid / "prid_2011") == "prid"
    splits[1]["test"][0] = "person_0001"
    (prid / "splits_prid2011.json").write_text(json.dumps(splits))
    assert "persons [1] do not fit the folders" in faults_of(read_prid, prid, split=1)[0]
    (prid / "splits_prid2011.json").write_text("[]")
    assert 'expected 10 objects {"train"' in faults_of(read_prid, prid)[0]
    (prid / "splits_prid2011.json").unlink()


def test_prid_faults(tmp_path, prid):
    [a, b] = faults_of(read_prid, tmp_path)
    assert a.endswith("multi_shot/cam_a does not exist") and b.endswith("multi_shot/cam_b does not exist")
    (tmp_path / "cam_a").mkdir()
    with pytest.raises(DataSetError, match=r"prid_2011/multi_shot/cam_a/person_0001/\*\.png.*\nit seems to be in"):
        read_prid(prid.parent)
    pictures = Pictures(tmp_path)
    for camera in "ab":
        for i in range(30):
            pictures.put(tmp_path / f"multi_shot/cam_{camera}/person_0001/{i}.png")
    [fault] = faults_of(read_prid, tmp_path)
    assert fault.startswith("PRID-2011 has 178 persons, found 1: persons with more than 21 frames in both cameras")


def test_every_set_says_its_terms_and_refuses_an_empty_folder(tmp_path):
    for name, known in DATASETS.items():
        assert known.info.name == name and "people" in known.terms and "Where to ask for it: " in known.terms
        with pytest.raises(DataSetError, match="does not exist") as caught:
            load_benchmark(tmp_path, dataset=name)
        assert known.info.ask in str(caught.value)
        with pytest.raises(ValueError, match="has a test of its own"):
            load_benchmark(tmp_path, dataset=name, holdout=0.5)
        if not known.splits:
            with pytest.raises(ValueError, match="has no splits"):
                load_benchmark(tmp_path, dataset=name, split=1)
