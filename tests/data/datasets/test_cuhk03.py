"""CUHK03: its file, the crops that are unpacked from it, both protocols, and the ways they go wrong."""

from __future__ import annotations

import shutil
import struct
import sys

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy import io

from stmga.cli.main import main
from stmga.data import DATASETS, DataSetError, load_benchmark, read_cuhk03, unpack_cuhk03
from stmga.data.datasets import cuhk03_file
from stmga.data.datasets.cells import read_texts
from stmga.data.load import guess
from stmga.tracklets.tracklet import TrackletError
from tests.support.cuhk03 import pixels_of, write_cuhk03, write_new_protocol
from tests.support.datasets import Pictures
from tests.support.tracklets import faults_of

EMPTY = (("labeled", 1, 1, 5), ("detected", 2, 2, 6), *(("labeled", 2, 1, n) for n in range(6, 11)))
TESTSETS = [[[1, 1], [2, 1]], [[1, 3], [2, 2]]]
LIST = "cuhk03_new_protocol_config_labeled.mat"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Five persons in two pairs of cameras, unpacked, and a list of the new protocol."""
    root = tmp_path_factory.mktemp("cuhk03")
    write_cuhk03(root / "cuhk03_release/cuhk-03.mat", (3, 2), TESTSETS, EMPTY)
    assert main(["unpack", str(root), "-q"]) == 0
    names = sorted(file.name for file in (root / "images_labeled").iterdir())
    labels = [{"1_001": 7, "1_002": 8, "1_003": 9, "2_001": 10, "2_002": 11}[name[:5]] for name in names]
    tested = [n for n, label in enumerate(labels, 1) if label in (8, 11)]
    rows = {"train_idx": [n for n in range(1, len(names) + 1) if n not in tested]}
    write_new_protocol(root / LIST, names, labels, **rows, query_idx=tested[::5], gallery_idx=[
        n for n in tested if n not in tested[::5]])  # fmt: skip
    return root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "cuhk03")


def test_the_crops_are_those_of_the_file(made, capsys, monkeypatch):
    assert len(list((made / "images_labeled").iterdir())) == 50 - 6
    assert not (made / "images_labeled/1_001_1_05.png").exists()
    for name, place in {"1_003_1_02.png": ("labeled", 1, 3, 2), "2_002_2_07.png": ("detected", 2, 2, 7)}.items():
        pixels = np.asarray(Image.open(made / f"images_{place[0]}" / name))
        np.testing.assert_array_equal(pixels, pixels_of(*place))
    monkeypatch.setattr(cuhk03_file, "atomic_write", None)  # again: nothing is written
    assert unpack_cuhk03(made) == {"labeled": 44, "detected": 49}


def test_classic_splits(made):
    made_of = read_cuhk03(made, classic=True, split=1, complete=False)
    assert made_of.name == "cuhk03-classic-labeled"
    assert {t.person for t in made_of.query} == {1003, 2002} == {t.person for t in made_of.gallery}
    assert {t.person for t in made_of.train} == {1001, 1002, 2001}
    assert ({t.camera for t in made_of.query}, {t.camera for t in made_of.gallery}) == ({1}, {2})
    assert made_of.query[0].extra == {"pair": 1, "role": "query"} and made_of.query[0].id == "images_labeled/1_003_1_01"
    rules = made_of.protocol
    assert rules.shots == "single" and not rules.queries_in_gallery
    assert rules.data == "CUHK03 labeled, classic split 1, queries from camera 1"
    first = read_cuhk03(made, classic=True, complete=False)
    assert {t.person for t in first.gallery} == {1001}  # nobody saw person 1 of pair 2 in camera 2
    with pytest.raises(ValueError, match="split is one of 20, 0 to 19, got 20"):
        read_cuhk03(made, classic=True, split=20)


def test_the_new_protocol(made):
    found = read_cuhk03(made, complete=False)
    assert found.name == "cuhk03-labeled" and found.protocol.data == "CUHK03 labeled, new protocol (767/700)"
    assert {t.person for t in found.train} == {7, 9, 10} and {t.person for t in found.gallery} == {8, 11}
    assert [(t.id, t.person, t.camera) for t in found.query] == [
        ("images_labeled/1_002_1_01", 8, 1), ("images_labeled/1_002_2_06", 8, 2),
        ("images_labeled/2_002_1_01", 11, 1), ("images_labeled/2_002_2_06", 11, 2),
    ]  # fmt: skip
    assert found.query[0].load()[0].shape == (3, 11, 5)
    assert found.protocol.shots == "all" and found.protocol.same_camera == "remove"
    faults = faults_of(read_cuhk03, made)
    assert len(faults) == 6 and "CUHK03 has 7,368 labeled crops in train_idx, found 24" in faults[0]
    with pytest.raises(ValueError, match="has no splits"):
        read_cuhk03(made, split=3)


@pytest.mark.parametrize(("boxes", "counts"), [("labeled", (7368, 1400, 5328)), ("detected", (7365, 1400, 5332))])
def test_the_official_counts_of_the_new_protocol(tmp_path, boxes, counts):
    people = [np.arange(n) % (767 if role == 0 else 700) + 1000 * (role > 0) for role, n in enumerate(counts)]
    labels = np.concatenate(people).tolist()
    names = [f"1_{n // 20:03d}_{n % 2 + 1}_{n % 20:02d}.png" for n in range(len(labels))]
    ends = np.cumsum((0, *counts))
    rows = {
        f"{role}_idx": list(range(ends[i] + 1, ends[i + 1] + 1)) for i, role in enumerate(("train", "query", "gallery"))
    }
    write_new_protocol(tmp_path / f"cuhk03_new_protocol_config_{boxes}.mat", names, labels, **rows)
    (tmp_path / f"images_{boxes}").mkdir()
    found = load_benchmark(tmp_path, dataset=f"cuhk03-{boxes}", check_files=False)
    assert (len(found.train), len(found.query), len(found.gallery)) == counts


def test_the_official_counts_of_the_classic_protocol(tmp_path):
    places = [(pair, n) for pair, people in enumerate((843, 440, 77, 58, 49), 1) for n in range(1, people + 1)]
    testsets = [places[i : i + 100] for i in range(20)]
    write_cuhk03(tmp_path / "cuhk-03.mat", (), testsets)
    pictures = Pictures(tmp_path)
    for n in range(14097):
        (pair, person), number = places[n % 1467], n // 1467 + 1
        pictures.put(tmp_path / f"images_detected/{pair}_{person:03d}_{1 if number < 6 else 2}_{number:02d}.png")
    found = load_benchmark(tmp_path, dataset="cuhk03-classic-detected", split=19, check_files=False)
    assert len(found.train) + len(found.query) + len(found.gallery) == 14097
    assert (len({t.person for t in found.train}), len({t.person for t in found.query})) == (1367, 100)
    [fault] = faults_of(load_benchmark, tmp_path, dataset="cuhk03-classic-labeled")
    assert "images_labeled does not exist; the crops are in cuhk-03.mat: write them once, by `stmga unpack" in fault


def test_which_test_is_asked_for(made):
    for name, known in DATASETS.items():
        if name.startswith("cuhk03"):
            assert known.splits == (20 if "classic" in name else 0)
    [fault] = faults_of(guess, made)
    assert "is CUHK03, which has 4 tests (cuhk03-labeled, cuhk03-detected, cuhk03-classic-labeled" in fault
    assert fault.endswith("choose one, as dataset=cuhk03-labeled")


def test_what_is_missing_is_named(root):
    with pytest.raises(DataSetError, match=r"config_detected\.mat does not exist(.|\n)*zhunzhong07"):
        read_cuhk03(root, boxes="detected")
    (root / "images_labeled/1_003_1_02.png").rename(root / "images_labeled/1_3_1_2.png")
    [fault] = faults_of(read_cuhk03, root, complete=False)
    assert "1_003_1_02.png does not exist" in fault
    [fault] = faults_of(read_cuhk03, root, classic=True, complete=False)
    assert fault == 'images_labeled: "1_3_1_2.png" is not named like 1_001_1_01.png'
    for file in (root / "images_labeled").glob("1_003*"):
        file.unlink()
    (root / "images_labeled/1_3_1_2.png").unlink()
    [fault] = faults_of(read_cuhk03, root, classic=True, split=1, complete=False)
    assert fault.startswith("images_labeled has no crop of person 3 of pair 1, whom split 1 tests (1 such persons)")
    (root / "cuhk03_release/cuhk-03.mat").unlink()
    assert "there is no cuhk-03.mat in" in faults_of(read_cuhk03, root, classic=True)[0]


def test_a_wrong_list_of_the_new_protocol(root):
    names = ["1_001_1_01.png", "../1_001_1_02.png"]
    write_new_protocol(root / LIST, names, [1, 2], train_idx=[1, 2], query_idx=[1], gallery_idx=[3])
    assert "gallery_idx names row 3 (or 3) of 2" in faults_of(read_cuhk03, root)[0]
    write_new_protocol(root / LIST, names, [1, 2, 3], train_idx=[1, 2], query_idx=[1], gallery_idx=[1])
    assert "has 2 names, 3 labels and 2 cameras: it is damaged" in faults_of(read_cuhk03, root)[0]
    write_new_protocol(root / LIST, names, [1, 2], train_idx=[2], query_idx=[1], gallery_idx=[])
    faults = faults_of(read_cuhk03, root, complete=False)
    assert faults == [f'{LIST}, row 2: "../1_001_1_02.png" is not named like 1_001_1_01.png']
    (root / LIST).write_bytes(b"MATLAB 7.3".ljust(124) + b"\x00\x02IM" + bytes(2000))
    [fault] = faults_of(read_cuhk03, root)
    assert 'the list "filelist" cannot be read' in fault


def test_texts_of_cells(tmp_path):
    names = ["1_001_1_01.png", "é", "x" * 300]
    for compressed in (True, False):
        write_new_protocol(tmp_path / "a.mat", ["0_0_1"] * 3, [1, 2, 3], compressed)
        assert read_texts(tmp_path / "a.mat", "filelist") == ["0_0_1"] * 3
        cells = np.empty((3, 1), dtype=object)
        cells[:, 0] = names
        io.savemat(tmp_path / "a.mat", {"other": np.eye(2), "filelist": cells}, do_compression=compressed)
        assert read_texts(tmp_path / "a.mat", "filelist") == names
        with pytest.raises(TrackletError, match='the list "names" cannot be read: the file has other, filelist'):
            read_texts(tmp_path / "a.mat", "names")
        with pytest.raises(TrackletError, match="it is not a cell array"):
            read_texts(tmp_path / "a.mat", "other")
    cells[1, 0] = np.eye(2)
    io.savemat(tmp_path / "a.mat", {"filelist": cells})
    with pytest.raises(TrackletError, match="it has a cell that is not text"):
        read_texts(tmp_path / "a.mat", "filelist")


def test_every_cut_and_deep_cells_are_an_error(tmp_path):
    whole = write_new_protocol(tmp_path / "a.mat", ["1_001_1_01.png"] * 3, [1, 2, 3], False).read_bytes()
    end = whole.index(b"labels")
    for cut in range(0, end - 60, 7):
        (tmp_path / "a.mat").write_bytes(whole[:cut])
        with pytest.raises(TrackletError, match=r'a\.mat: the list "filelist" cannot be read'):
            read_texts(tmp_path / "a.mat", "filelist")
    body = b""
    for _ in range(5000):  # cells in cells
        flags = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1)
        inner = flags + struct.pack("<II", 1, 8) + b"filelist" + body
        body = struct.pack("<II", 14, len(inner)) + inner
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + body)
    with pytest.raises(TrackletError, match="it has a cell that is not text"):
        read_texts(tmp_path / "a.mat", "filelist")


def test_a_damaged_or_another_file(tmp_path, monkeypatch):
    file = write_cuhk03(tmp_path / "cuhk-03.mat", (2,), TESTSETS)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrackletError, match=r"cuhk-03\.mat is not the file of CUHK03, or is damaged: "):
        unpack_cuhk03(tmp_path)
    file.write_bytes(whole)
    with h5py.File(file, "r+") as open_file:
        del open_file["detected"]
        open_file["detected"] = h5py.ExternalLink("/etc/passwd", "x")
    with pytest.raises(TrackletError, match='it has no "detected"; it has #refs#, detected, labeled, testsets'):
        unpack_cuhk03(tmp_path)
    with h5py.File(file, "r+") as open_file:
        del open_file["labeled"]
        open_file["labeled"] = np.zeros((1, 2))
    with pytest.raises(TrackletError, match="/labeled is not a cell array"):
        unpack_cuhk03(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'needs h5py: pip install "stmga\[mat\]"'):
        unpack_cuhk03(tmp_path)
    assert main(["unpack", str(tmp_path / "none")]) == 1
