"""Market-1501 and MSMT17 on whole trees in their official layouts, and the ways they go wrong."""

from __future__ import annotations

from shutil import rmtree

import pytest
import torch

from stmga.data import DATASETS, DataSetError, load_benchmark, read_market, read_msmt17
from stmga.data.load import guess
from stmga.embedding.embeddings import Embeddings
from stmga.metrics import evaluate
from tests.support.datasets import Pictures
from tests.support.tracklets import faults_of

# ---- Market-1501


def market_tree(root, train=12936, query=3368, gallery=19732, junk=3819, distractors=2798, persons=(751, 750)):
    """As many crops as asked for, persons in turn; the last of the gallery are junk and distractors."""
    pictures = Pictures(root)

    def put(folder, person, number):
        name = "-1" if person == -1 else f"{person:04d}"
        pictures.put(root / folder / f"{name}_c{number % 6 + 1}s{number % 3 + 1}_{number:06d}_{number % 9:02d}.jpg")

    for n in range(train):
        put("bounding_box_train", 2 + n % persons[0], n)
    for n in range(query):
        put("query", 1000 + n % persons[1], n)
    for n in range(gallery - junk - distractors):
        put("bounding_box_test", 1000 + n % persons[1], n)
    for n in range(junk):
        put("bounding_box_test", -1, 30_000 + n)
    for n in range(distractors):
        put("bounding_box_test", 0, 40_000 + n)
    return root


SMALL = dict(train=4, query=3, gallery=9, junk=2, distractors=1, persons=(2, 3))


@pytest.fixture
def market(tmp_path):
    root = market_tree(tmp_path / "Market-1501-v15.09.15", **SMALL)
    (root / "bounding_box_test" / "Thumbs.db").write_bytes(b"as in the official archive")
    return root


def test_market_official_counts(tmp_path):
    root = market_tree(tmp_path / "Market-1501-v15.09.15")
    made = load_benchmark(tmp_path, check_files=False)
    assert (made.name, len(made.train), len(made.query), len(made.gallery)) == ("market", 12936, 3368, 19732)
    assert len({t.person for t in made.train}) == 751 and len({t.person for t in made.query}) == 750
    assert sum(t.person != -1 for t in made.gallery) == 15913
    rmtree(root / "query")
    assert faults_of(read_market, root) == [f"{root}/query does not exist"]


def test_market_labels_order_and_protocol(market):
    made = read_market(market, complete=False)
    assert guess(market) == guess(market.parent) == "market"
    assert [(t.id, t.person, t.camera, len(t)) for t in made.query] == [
        ("query/1000_c1s1_000000_00", 1000, 1, 1),
        ("query/1001_c2s2_000001_01", 1001, 2, 1),
        ("query/1002_c3s3_000002_02", 1002, 3, 1),
    ]
    assert made.query[1].extra == {"sequence": 2, "frame": 1, "role": "query"}
    assert made.query[1].load()[0].shape == (3, 8, 4)
    one = [t.extra["frame"] for t in made.gallery if t.person == 1000]
    assert one == sorted(one) and len(one) == 2
    assert [t.person for t in made.gallery].count(-1) == 2 and [t.person for t in made.gallery].count(0) == 1
    rules = made.protocol
    assert (rules.junk, rules.distractors, rules.same_camera) == ((-1,), (0,), "remove")
    assert not rules.queries_in_gallery and "research" in made.terms


def test_market_counts_junk_and_distractors_as_its_protocol_says(market):
    """Junk with the query's own vector does not push the match down; a distractor with it does."""
    made = read_market(market, complete=False)
    axis = {1000: 0, 1001: 1, 1002: 2}

    def embedded(tracklets, like):
        rows = torch.stack([torch.eye(5)[axis.get(like.get(t.person, t.person), 4)] for t in tracklets])
        return Embeddings(rows, [t.row() for t in tracklets], digest="1f")

    for like, expected in (({-1: 1000}, 1.0), ({0: 1000}, 2 / 3 + 1 / 3 * 0.5)):
        gallery = sorted(made.gallery, key=lambda t: t.person)  # equal similarities keep this order
        result = evaluate(embedded(made.query, {}), embedded(gallery, like), made.protocol)
        assert result.mAP == pytest.approx(expected)
        assert (result.junk, result.distractors, result.gallery, result.queries) == (2, 1, 7, 3)


def test_market_faults_together(market):
    (market / "query" / "1000_c1s1_000000_00.jpg").rename(market / "query" / "1000_c1_000000.jpg")
    (market / "bounding_box_train" / "0002_c1s1_000000_00.jpg").rename(market / "bounding_box_train" / "1.jpg")
    faults = faults_of(read_market, market)
    assert [fault.split("/")[-1] for fault in faults] == [
        "1.jpg is not named like 0002_c1s1_000451_03.jpg",
        "1000_c1_000000.jpg is not named like 0002_c1s1_000451_03.jpg",
    ]  # counts are checked once the names are in order
    (market / "query" / "1000_c1_000000.jpg").unlink()
    (market / "bounding_box_train" / "1.jpg").unlink()
    faults = faults_of(read_market, market)
    assert "Market-1501 has 12,936 crops in bounding_box_train, found 3: bounding_box_train/ is not whole" in faults[0]
    assert len(faults) == 7 and "complete=False reads" in faults[0]
    (market / "query" / "1001_c2s2_000001_01.jpg").unlink()
    (market / "query" / "1001_c2s2_000001_01.jpg").write_bytes(b"no picture")
    assert any("1001_c2s2_000001_01" in fault for fault in faults_of(read_market, market, complete=False))


def test_other_sets_in_folders_of_these_names_are_not_market(tmp_path):
    for folder in ("bounding_box_train", "bounding_box_test", "query"):
        Pictures(tmp_path).put(tmp_path / folder / "0001_c2_f0046182.jpg")  # DukeMTMC-reID
    assert guess(tmp_path) == "folders"
    assert len(faults_of(read_market, tmp_path, complete=False)) == 3


# ---- MSMT17


def msmt17_tree(root, version="V1", counts=(30248, 2373, 11659, 82161), persons=(1041, 3060), files=True):
    pictures = Pictures(root)
    train, test = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}[version]
    (root / train).mkdir()
    (root / test).mkdir()
    starts = {"train": 0, "val": counts[0], "query": 0, "gallery": counts[2]}
    for name, count in zip(starts, counts, strict=True):
        folder, people = (train, persons[0]) if name in ("train", "val") else (test, persons[1])
        lines = []
        for n in range(starts[name], starts[name] + count):
            path = f"{n % people:04d}/{n % people:04d}_{n:03d}_{n % 15 + 1:02d}_0303morning_{n:04d}_0.jpg"
            lines.append(f"{path} {n % people}\n")
            if files:
                pictures.put(root / folder / path)
        (root / f"list_{name}.txt").write_text("".join(lines))
    return root


FEW = dict(counts=(4, 2, 3, 6), persons=(2, 3))


def test_msmt17_official_counts(tmp_path):
    msmt17_tree(tmp_path / "MSMT17_V2", "V2", files=False)
    made = load_benchmark(tmp_path, check_files=False)
    assert (made.name, len(made.train), len(made.query), len(made.gallery)) == ("msmt17", 32621, 11659, 82161)
    assert made.protocol.data == "MSMT17 V2 test, official lists"
    assert {t.camera for t in made.gallery} == set(range(1, 16))


def test_msmt17_small(tmp_path):
    root = msmt17_tree(tmp_path / "msmt17", **FEW)
    made = read_msmt17(root, complete=False)
    assert guess(root) == "msmt17"
    assert [(t.person, t.camera) for t in made.train] == [(0, 1), (1, 2), (0, 3), (1, 4), (0, 5), (1, 6)]
    assert made.query[1].id == "test/0001/0001_001_02_0303morning_0001_0.jpg"
    assert len(made.gallery) == 6 and len(made.gallery[0]) == 1 and not made.protocol.queries_in_gallery
    assert len(read_msmt17(root, with_val=False, complete=False).train) == 4
    faults = faults_of(read_msmt17, root)
    assert len(faults) == 6  # four lists, two numbers of persons
    assert faults[1].startswith("MSMT17 has 2,373 crops in list_val.txt, found 2: it is cut short: take it again")


def test_msmt17_faults_together(tmp_path):
    root = msmt17_tree(tmp_path / "msmt17", **FEW)
    with (root / "list_gallery.txt").open("a") as file:
        file.write("0000/0000_000_01_0303morning_0008_0.jpg\n0000/0000_1.jpg 0\n../../0000_000_01_0303_0.jpg 0\n")
    faults = faults_of(read_msmt17, root, complete=False)
    assert [fault.split(":")[:2] for fault in faults] == [["list_gallery.txt", str(n)] for n in (7, 8, 9)]
    assert 'expected a line like "0000/0000_000_01_0303morning_0008_0.jpg 0", got "0000/0000_1.jpg 0"' in faults[1]
    root = msmt17_tree(tmp_path / "again", **FEW)
    (root / "test/0001/0001_001_02_0303morning_0001_0.jpg").unlink()
    [fault] = faults_of(read_msmt17, root, complete=False)
    assert "0001_001_02_0303morning_0001_0.jpg does not exist" in fault
    (root / "list_query.txt").unlink()
    with pytest.raises(DataSetError, match=r"list_query\.txt does not exist(.|\n)*signed agreement"):
        read_msmt17(root)


def test_msmt17_versions_are_not_mixed(tmp_path):
    for version in ("V1", "V2"):
        msmt17_tree(tmp_path / f"MSMT17_{version}", version, **FEW)
    assert "has both versions, V1 and V2: give the folder of one of them" in faults_of(read_msmt17, tmp_path)[0]
    assert read_msmt17(tmp_path / "MSMT17_V2", complete=False).protocol.data == "MSMT17 V2 test, official lists"
    rmtree(tmp_path / "MSMT17_V2")
    assert len(read_msmt17(tmp_path, complete=False).query) == 3
    rmtree(tmp_path / "MSMT17_V1/test")
    [fault] = faults_of(read_msmt17, tmp_path)
    assert fault.endswith("must have either train/ and test/ or mask_train_v2/ and mask_test_v2/, and has neither")
    assert "blurred" in read_msmt17.__doc__ and "agreement" in DATASETS["msmt17"].terms
