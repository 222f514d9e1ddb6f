"""MARS: the official lists in full, a small tree with files, every way in which it can be wrong; MATLAB files."""

from __future__ import annotations

import pickle
import sys
from collections import Counter
from shutil import copy, rmtree

import h5py
import numpy as np
import pytest
from scipy import io

from stmga.data import DATASETS, DataSetError, load_benchmark, read_mars
from stmga.data.datasets.matrices import read_mat
from stmga.tracklets.tracklet import TrackletError
from tests.support.datasets import SMALL_QUERIES, SMALL_TEST, SMALL_TRAIN, mars_names, mars_tree, write_mat
from tests.support.paths import DATA
from tests.support.tracklets import faults_of

LISTS = DATA / "protocol-info"
needs_lists = pytest.mark.skipif(not LISTS.is_dir(), reason="the official lists are not part of the project")

# ---- MATLAB files


def test_numeric_matrices_come_back_and_nothing_else(tmp_path):
    rng = np.random.default_rng(0)
    matrices = {
        f"m{i}": rng.integers(0, 100, (i % 4 + 1, 3 * i + 1)).astype(kind)
        for i, kind in enumerate(["u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8"])
    }
    extra = {"words": "not numeric", "cells": np.array([1, "a"], dtype=object), "z": np.array([[1 + 2j]])}
    for compressed in (True, False):
        io.savemat(tmp_path / "a.mat", matrices | extra, do_compression=compressed)
        found = read_mat(tmp_path / "a.mat")
        assert found.keys() == matrices.keys()
        for key, values in matrices.items():
            np.testing.assert_array_equal(found[key], values)


def test_version_7_3_has_its_axes_the_other_way_round(tmp_path):
    rows = np.arange(12.0).reshape(3, 4)
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["rows"] = rows.T
        file["none"] = np.array([0, 4], np.uint64)  # MATLAB writes the shape of an empty matrix
        file["none"].attrs["MATLAB_empty"] = 1
        file["words"] = np.frombuffer("a name".encode("utf-16-le"), np.uint16)
        file["words"].attrs["MATLAB_class"] = np.bytes_("char")
        file["z"] = np.array([[1 + 2j]])
        file.create_group("structure")["inside"] = rows
    with (tmp_path / "a.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    found = read_mat(tmp_path / "a.mat", "rows")
    assert found.keys() == {"rows", "none"}
    np.testing.assert_array_equal(found["rows"], rows)
    assert found["none"].shape == (0, 4)


@pytest.mark.parametrize("module", ["scipy.io", "h5py"])
def test_the_extra_is_named_where_it_is_not_installed(tmp_path, monkeypatch, module):
    write_mat(tmp_path / "a.mat", a=np.ones((2, 2)))
    if module == "h5py":
        (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3".ljust(124) + b"\x00\x02IM" + bytes(2000))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'a\.mat needs {module}: pip install "stmga\[mat\]"'):
        read_mat(tmp_path / "a.mat")


@needs_lists
def test_the_hdf5_list_of_ls_vid_holds_what_is_known_of_it():
    found = read_mat(LISTS / "info_test.mat", "info_test", "query")
    rows, queries = found["info_test"], found["query"]
    assert rows.shape == (11333, 4) and queries.shape == (3504, 1)
    assert (rows[1:, 0] == rows[:-1, 1] + 1).all()  # every tracklet begins where the one before ends
    assert set(rows[:, 2]) == set(range(2730)) and set(rows[:, 3]) == set(range(1, 16))
    assert len(set(queries.ravel())) == 3504


def test_damaged_matlab_files_are_named(tmp_path):
    file = tmp_path / "a.mat"
    write_mat(file, a=np.arange(300, dtype=np.int32).reshape(100, 3))
    whole = file.read_bytes()
    np.testing.assert_array_equal(read_mat(file)["a"], np.arange(300).reshape(100, 3))
    with pytest.raises(TrackletError, match='has no matrix "b"; it has a'):
        read_mat(file, "a", "b")
    for cut in (0, 50, 130, 140, 200, len(whole) - 8):
        file.write_bytes(whole[:cut])
        with pytest.raises(TrackletError, match=r"is damaged|has no matrix"):
            read_mat(file, "a")
    file.write_bytes(b"MATLAB 7.3".ljust(124) + b"\x00\x02IM" + bytes(2000))
    with pytest.raises(TrackletError, match=r"is damaged: .*file signature not found"):
        read_mat(file)
    with pytest.raises(TrackletError, match="cannot be read: No such file"):
        read_mat(tmp_path / "none.mat")


@needs_lists
@pytest.mark.parametrize("cut", [600, 3000, 60000, 90000])
def test_a_cut_hdf5_list_is_an_error(tmp_path, cut):
    (tmp_path / "a.mat").write_bytes((LISTS / "info_test.mat").read_bytes()[:cut])
    with pytest.raises(TrackletError, match="is damaged"):
        read_mat(tmp_path / "a.mat", "info_test", "query")


# ---- the official lists


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The lists as they are published, and names made to fit them; no pictures."""
    if not LISTS.is_dir():
        pytest.skip("the official lists are not part of the project")
    root = tmp_path_factory.mktemp("MARS")
    (root / "info").mkdir()
    for name in ("tracks_train_info", "tracks_test_info", "query_IDX"):
        copy(LISTS / f"{name}.mat", root / "info")
    for part in ("train", "test"):
        rows = read_mat(root / f"info/tracks_{part}_info.mat")[f"track_{part}_info"].tolist()
        (root / f"info/{part}_name.txt").write_text("\n".join(mars_names(rows)) + "\n")
    return root


@pytest.fixture(scope="module")
def mars(official):
    return read_mars(official, check_files=False)


def test_official_counts(mars, official):
    assert (len(mars.train), len(mars.query), len(mars.gallery)) == (8298, 1980, 12180 - 1980)
    persons = Counter(t.person for t in mars.gallery)
    assert (persons[-1], persons[0]) == (870, 3248)
    assert len(mars.query + mars.gallery) - persons[-1] == 11310
    assert len({t.person for t in mars.train}) == 625 and len({t.person for t in mars.query}) == 626
    assert sum(map(len, mars.train)) == 509914 and sum(map(len, mars.query + mars.gallery)) == 681089
    assert {t.camera for t in mars.train} == set(range(1, 7))
    assert mars.query[0].row() | {"cover": 0} == {
        "tracklet": mars.query[0].id, "person": 2, "camera": 1, "role": "query", "cover": 0
    }  # fmt: skip
    assert mars.train[0].frames[0].file == official / "bbox_train/0001/0001C1T0001F001.jpg"
    assert next(t for t in mars.gallery if t.person == -1).frames[0].file.parent == official / "bbox_test/00-1"
    rules = mars.protocol
    assert (rules.junk, rules.distractors, rules.queries_in_gallery) == ((-1,), (0,), True)
    assert rules.same_camera == "remove"
    assert "research" in mars.terms and "Liang Zheng" in DATASETS["mars"].terms


def test_queries_have_the_matches_that_are_published(mars):
    """With the queries in the gallery a query has 11.0 matches; without them 140 queries have none."""

    def matches(gallery):
        table = Counter((t.person, t.camera) for t in gallery)
        total = Counter(t.person for t in gallery)
        return np.array([total[q.person] - table[q.person, q.camera] for q in mars.query])

    inside, outside = matches(mars.query + mars.gallery), matches(mars.gallery)
    assert (inside > 0).all() and round(inside.mean(), 1) == 11.0
    assert (outside == 0).sum() == 140


@pytest.mark.slow
def test_missing_pictures_of_the_whole_set_are_said_by_folder(official):
    with pytest.raises(DataSetError) as caught:
        read_mars(official)
    faults, message = caught.value.faults, str(caught.value)
    assert len(faults) == 625 + 636  # persons of the two parts, each a folder
    assert f"{official / 'bbox_test' / '00-1'} does not exist: " in "\n".join(faults)
    assert message.startswith("1,261 faults") and "and 1,241 more" in message and "where to ask for it: " in message
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.faults) == (DataSetError, message, faults)


@pytest.mark.slow
def test_a_short_list_misses_the_counts(official, tmp_path):
    (tmp_path / "info").mkdir()
    for file in (official / "info").iterdir():
        copy(file, tmp_path / "info")
    queries = read_mat(tmp_path / "info/query_IDX.mat")["query_IDX"]
    write_mat(tmp_path / "info/query_IDX.mat", query_IDX=queries[:, :-30])
    [fault] = faults_of(read_mars, tmp_path, check_files=False)
    assert fault.startswith("MARS has 1,980 queries, found 1,950: info/query_IDX.mat is cut short")


# ---- a small tree with files


@pytest.fixture
def small(tmp_path):
    mars_tree(tmp_path / "MARS", SMALL_TRAIN, SMALL_TEST, SMALL_QUERIES, files=True)
    return tmp_path / "MARS"


def test_small_tree_with_files(small):
    mars = read_mars(small, complete=False)
    assert [t.id for t in mars.train] == ["0001C1T0001", "0001C2T0001", "0003C1T0001"]
    assert [t.id for t in mars.query] == ["0002C1T0001", "0002C3T0001", "0004C6T0001"]
    assert [t.id for t in mars.gallery] == ["00-1C1T0001", "0000C2T0001", "0002C3T0002"]
    assert [len(t) for t in mars.query] == [3, 2, 2]
    assert mars.query[0].load()[2].shape == (3, 8, 4)
    assert {t.extra["role"] for t in mars.gallery} == {"gallery"}


def test_a_part_is_no_whole_set(small):
    faults = faults_of(load_benchmark, small)
    assert len(faults) == 6
    assert "MARS has 8,298 training tracklets, found 3: the lists in info/ are cut short: take them again" in faults[0]


def test_all_faults_of_files_come_together(small):
    rmtree(small / "bbox_test/0002")
    (small / "bbox_train/0001/0001C2T0001F002.jpg").rename(small / "bbox_train/0001/renamed.jpg")
    (small / "bbox_train/0003/0003C1T0001F001.jpg").unlink()
    (small / "bbox_train/0003/0003C1T0001F001.jpg").write_bytes(b"")
    (small / "bbox_test/0000/0000C2T0001F001.jpg").unlink()
    (small / "bbox_test/0000/0000C2T0001F001.jpg").write_text("no picture")
    faults = faults_of(read_mars, small, complete=False)
    assert len(faults) == 4
    for words in (
        f"{small}/bbox_test/0002 does not exist: 6 files should be in it",
        f'tracklet "0001C2T0001": {small}/bbox_train/0001/0001C2T0001F002.jpg does not exist',
        "0003C1T0001F001.jpg is empty (0 bytes)",
        "0000C2T0001F001.jpg cannot be opened as an image",
    ):
        assert any(words in fault for fault in faults), words
    assert len(read_mars(small, check_files=False, complete=False).train) == 3


def test_lists_that_do_not_fit_each_other(small):
    names = (small / "info/test_name.txt").read_text().splitlines()
    names[3] = "0003C1T0001F001.jpg"
    (small / "info/test_name.txt").write_text("\n".join(names))
    write_mat(small / "info/query_IDX.mat", query_IDX=np.array([[3, 9]], np.uint16))
    faults = faults_of(read_mars, small, complete=False, check_files=False)
    assert faults == [
        "info/tracks_test_info.mat, row 3: person 2, camera 1, but the name is 0003C1T0001F001.jpg",
        "info/query_IDX.mat names row 9 of info/tracks_test_info.mat, which has 6",
    ]
    (small / "info/test_name.txt").write_text("\n".join(names[:-1]))
    assert "has 10 names, info/tracks_test_info.mat needs 11" in faults_of(read_mars, small, complete=False)[0]


def test_wrong_layouts_say_what_is_expected_and_where_to_ask(small, tmp_path):
    with pytest.raises(DataSetError) as caught:
        read_mars(tmp_path)
    message = str(caught.value)
    assert len(caught.value.faults) == 5 and f"{tmp_path}/info/train_name.txt does not exist" in message
    assert f"it seems to be in {small}: give that folder instead" in message
    assert "MARS is expected as bbox_train/PERSON/*.jpg" in message and "repository MARS-evaluation" in message
    (small / "info/query_IDX.mat").write_text("<html>404</html>")
    with pytest.raises(DataSetError, match=r"query_IDX\.mat is not a MATLAB file of version 5 or later"):
        read_mars(small, complete=False)
    (small / "info/query_IDX.mat").unlink()
    assert faults_of(read_mars, small) == [f"{small}/info/query_IDX.mat does not exist"]
