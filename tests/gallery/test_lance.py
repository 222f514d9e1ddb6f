"""LanceDB: its index, what is filtered there, and whom the gallery refuses."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stmga import Embeddings, Gallery
from stmga.gallery import GalleryError, Where
from stmga.gallery.lance_contents import LanceVectors
from stmga.gallery.lance_index import KINDS
from stmga.gallery.lance_table import LanceTable
from tests.support.gallery import DIGEST, calibration, embeddings
from tests.support.gallery_kills import check
from tests.support.vectors import people

lancedb = pytest.importorskip("lancedb", reason="LanceDB is not installed (the extra `lance`)")
pa = pytest.importorskip("pyarrow")


def crowd(n: int = 600, name: str = "g", seed: int = 0) -> Embeddings:
    items = [
        {"tracklet": f"{name}{i}", "person": f"person{i // 5}", "camera": i % 3, "time": float(i), "end_time": i + 0.5}
        for i in range(n)
    ]
    return Embeddings(people(n, seed=seed), items, DIGEST)


@pytest.fixture(name="place")
def place_fixture(tmp_path) -> Path:
    return tmp_path / "people.lance"


@pytest.fixture(name="gallery")
def gallery_fixture(place):
    with Gallery.open(place) as gallery:
        gallery.add(crowd())
        yield gallery


def queries(n: int = 20) -> Embeddings:
    return Embeddings(
        people(n * 5)[::5] + 0.01, [{"tracklet": f"q{i}", "camera": i % 4 if i % 5 else None} for i in range(n)], DIGEST
    )


WHERES = [
    None, Where(cameras=[1]), Where(persons=["person3", "person99"], cameras=["2", 0]), Where(after=17.2, before=40),
    Where(after=1e9),
]  # fmt: skip


@pytest.mark.parametrize("where", WHERES, ids=str)
@pytest.mark.parametrize("other_camera", [False, True])
@pytest.mark.parametrize("block", [7, 4096])
def test_an_exact_search_is_that_of_a_gallery_in_memory(gallery, where, other_camera, block):
    options = dict(where=where, other_camera=other_camera, block=block, threshold=0.1)
    wanted = Gallery(crowd()).topk(queries(), 9, **options)
    found = gallery.topk(queries(), 9, **options)
    assert torch.equal(found[0], wanted[0]) and torch.equal(found[1], wanted[1])
    ids = [[match.id for match in row] for row in Gallery(crowd()).search(queries(), 9, **options)]
    assert [[match.id for match in row] for row in gallery.search(queries(), 9, **options)] == ids


@pytest.mark.parametrize("where", WHERES, ids=str)
@pytest.mark.parametrize("other_camera", [False, True])
def test_an_index_whose_lists_are_all_searched_is_exact(gallery, where, other_camera):
    gallery.create_index(kind="ivf", lists=4)
    gallery.effort = 4
    asked = Embeddings.concatenate([queries(), crowd()[100:103]])  # three of them are in the gallery themselves
    for some in (asked, asked[-1:]):
        wanted = Gallery(crowd()).topk(some, 9, where=where, other_camera=other_camera)
        found = gallery.topk(some, 9, where=where, other_camera=other_camera)
        assert torch.equal(found[0], wanted[0]) and torch.equal(found[1], wanted[1])


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_finds_most_and_what_is_added_later(gallery, kind):
    gallery.create_index(kind=kind)
    assert gallery.index.kind == kind and kind in repr(gallery)
    gallery.effort = gallery.index.lists
    assert gallery.recall(queries(), 5) > 0.9
    gallery.add(crowd(5, name="late", seed=5))
    late = Embeddings(crowd(5, seed=5).vectors[:1], [{"tracklet": "q"}], DIGEST)
    assert gallery.search(late, 1)[0][0].id == "late0"
    gallery.effort = 1
    few = gallery.recall(queries(), 100)
    gallery.use_index = False
    assert few < 1 and gallery.recall(queries(), 100) == 1
    gallery.drop_index()
    assert gallery.index is None


def test_only_what_a_filter_lets_pass_is_read(gallery, monkeypatch):
    read = []
    rows = LanceVectors.rows
    monkeypatch.setattr(LanceVectors, "rows", lambda self, *args: read.append(len(self)) or rows(self, *args))
    gallery.search(queries(), 3, where=Where(persons=["person7"]))
    assert set(read) == {5}


def files(place: Path) -> bytes:
    return b"".join(file.read_bytes() for file in place.rglob("*") if file.is_file())


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_forget_leaves_nothing_in_any_file(gallery, place, kind):
    if kind:
        gallery.create_index(kind=kind, lists=3)
    gallery.enrol("Zoë Quill", embeddings([{"tracklet": f"zq-{i}", "camera": "c"} for i in range(4)], seed=9, dim=16))
    vectors = [vector.numpy().tobytes() for item, vector in gallery.embeddings if item["person"] == "Zoë Quill"]
    texts = ["Zoë Quill".encode(), b"Zo\\u00eb Quill", b"zq-"]
    assert all(text in files(place) for text in (*vectors, *texts))
    assert gallery.forget("Zoë Quill") == 4
    assert not [text for text in (*vectors, *texts) if text in files(place)]
    assert len(gallery) == 600 and (gallery.index.kind if kind else gallery.index) == kind
    assert torch.equal(gallery.embeddings.vectors, crowd().vectors)


def test_a_killed_writer_loses_nothing_and_leaves_nothing_of_what_was_forgotten(tmp_path):
    assert check(tmp_path / "gallery", 3, name="people.lance") > 3


def test_a_change_that_was_not_finished_is_finished_when_the_gallery_is_opened(gallery, place, monkeypatch, caplog):
    gone = gallery.embeddings[0].vector.numpy().tobytes()
    with monkeypatch.context() as patch:
        patch.setattr(LanceTable, "sweep", lambda *_: None)  # as if killed before it
        gallery.remove(["g0"])
    assert gone in files(place)
    with Gallery.open(place, read_only=True) as other:
        assert len(other) == 599 and gone in files(place)
    with caplog.at_level(logging.WARNING), Gallery.open(place) as other:
        assert "was not finished" in caplog.text
        assert gone not in files(place) and other.embeddings.ids[0] == "g1"


def test_a_gallery_in_a_folder_has_one_writer(gallery, place, monkeypatch):
    monkeypatch.setattr("stmga.gallery.lance_table._WAIT", 0.05)
    code = (
        "import sys, time\nfrom stmga.utils.lock import output_lock\n"
        f"with output_lock({str(place)!r}):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(GalleryError, match="being written by another process"):
            gallery.remove(["g0"])
    finally:
        other.kill()
        other.communicate()
    gallery.remove(["g0"])
    assert len(gallery) == 599


def test_a_gallery_for_reading_is_not_changed(gallery, place):
    before = files(place)
    with Gallery.open(place, read_only=True) as other:
        other.search(queries(), 3)
        for change in (lambda: other.remove(["g0"]), lambda: other.add(crowd(1, "x")), other.create_index):
            with pytest.raises(GalleryError, match="read_only"):
                change()
    assert files(place) == before


def test_names_with_quotes_nul_and_half_characters(place):
    names = ["O'Hara", 'a"b', "x' OR '1'='1", "nul\0", "half\udc80", "Zoë", "-- x", "\\"]
    with Gallery.open(place) as gallery:
        for i, name in enumerate(names):
            gallery.enrol(name, embeddings([{"tracklet": name, "camera": name}], seed=i))
        for i, name in enumerate(names):
            query = embeddings([{"tracklet": "q"}], seed=i)
            plain = name.encode(errors="backslashreplace").decode()
            match = gallery.search(query, 1, where=Where(cameras=[plain], persons=[plain]))[0][0]
            assert (match.id, match.person) == (name, name)
        for name in names:
            assert gallery.forget(name) == 1
        assert len(gallery) == 0 and gallery.persons == {}


def test_a_calibration_that_comes_later_is_kept(place):
    with Gallery.open(place) as gallery:
        gallery.add(embeddings([{"tracklet": "a"}]))
        gallery.add(embeddings([{"tracklet": "b"}], seed=1, calibration=calibration()))
        gallery.add(embeddings([{"tracklet": "c"}], seed=2))
    with Gallery.open(place) as gallery:
        assert gallery.calibration == calibration() and gallery.embeddings.ids == ["a", "b", "c"]
        with pytest.raises(GalleryError, match="another calibration"):
            gallery.add(embeddings([{"tracklet": "d"}], calibration=calibration(0.7)))


def test_many_small_additions_become_one_piece(gallery, place):
    for i in range(5):
        gallery.add(crowd(1, name=f"x{i}-", seed=i))
    before = gallery.embeddings
    gallery.compact()
    assert torch.equal(gallery.embeddings.vectors, before.vectors) and gallery.embeddings.items == before.items
    assert len(list(place.glob("*.lance/data/*.lance"))) == 1


def test_mistakes(gallery, place, tmp_path):
    with pytest.raises(ValueError, match="kind must be one of 'ivf'"):
        gallery.create_index(kind="hnsw")
    with pytest.raises(ValueError, match="lists must be from 1 to 9, one for 64"):
        gallery.create_index(lists=1000)
    with Gallery.open(tmp_path / "few.lance") as few:
        with pytest.raises(GalleryError, match="gallery is empty"):
            few.create_index()
        few.add(crowd(3))
        with pytest.raises(GalleryError, match="at least 256 tracklets, the gallery has 3"):
            few.create_index()
    with pytest.raises(ValueError, match="is a service"):
        Gallery.open("db://people")
    with pytest.raises(GalleryError, match="given twice"):
        gallery.remove(["g0", "g0"])


def test_another_folder_is_refused(tmp_path):
    (tmp_path / "file.lance").write_text("x")
    with pytest.raises(GalleryError, match="is a file"):
        Gallery.open(tmp_path / "file.lance")
    (tmp_path / "other.lance").mkdir()
    (tmp_path / "other.lance" / "notes.txt").write_text("x")
    with pytest.raises(GalleryError, match="is not a gallery"):
        Gallery.open(tmp_path / "other.lance")
    with pytest.raises(GalleryError, match="there is no gallery"):
        Gallery.open(tmp_path / "none.lance", read_only=True)
    assert not (tmp_path / "none.lance").exists()
    lancedb.connect(tmp_path / "theirs.lance").create_table("tracklets", pa.table({"vector": [[1.0, 2.0]]}))
    with pytest.raises(GalleryError, match="is not a gallery"):
        Gallery.open(tmp_path / "theirs.lance")


def rewritten(place: Path, change) -> None:
    """The table as somebody else left it."""
    db = lancedb.connect(place)
    db.create_table("tracklets", change(db.open_table("tracklets").to_arrow()), mode="overwrite", on_bad_vectors="null")


def with_column(name: str, values) -> object:
    return lambda t: t.set_column(
        t.column_names.index(name), t.schema.field(name), pa.array(values, t.schema.field(name).type)
    )


DAMAGE = {
    "rows out of order": with_column("row", list(range(600))[::-1]),
    "rows missing": lambda t: t.filter(pa.compute.not_equal(t["row"], 5)),
    "item is no JSON": with_column("item", ["{"] * 600),
    "item without id": with_column("item", ["{}"] * 600),
    "no vector": with_column("vector", [None] * 600),
    "a NaN": with_column("vector", [[float("nan")] * 16] * 600),
    "a column missing": lambda t: t.drop_columns("item"),
    "newer": lambda t: t.replace_schema_metadata({**t.schema.metadata, b"format_version": b"2"}),
    "version": lambda t: t.replace_schema_metadata({**t.schema.metadata, b"format_version": b"x"}),
    "calibration": lambda t: t.replace_schema_metadata({**t.schema.metadata, b"calibration": b"{}"}),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_an_error_of_the_gallery(gallery, place, name):
    rewritten(place, DAMAGE[name])

    def everything():
        with Gallery.open(place, read_only=True) as other:
            return other.calibration, other.embeddings, other.persons

    with pytest.raises(GalleryError, match=r"damaged|newer stmga|cannot be used"):
        everything()


def test_a_lost_file_is_an_error_of_the_gallery(gallery, place):
    next(place.glob("*.lance/data/*.lance")).unlink()
    with pytest.raises(GalleryError, match="cannot be used"):
        gallery.search(queries(), 3)


def test_without_lancedb_the_extra_is_named(tmp_path):
    code = f"import sys; sys.modules['lancedb'] = None\nimport stmga; stmga.Gallery.open({str(tmp_path / 'x.lance')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: a gallery in LanceDB needs it: pip install 'stmga[lance]'" in done.stderr


def test_files_that_a_killed_writer_had_begun_are_deleted(tmp_path):
    with Gallery.open(tmp_path / "people.lance") as gallery:
        gallery.add(embeddings([{"tracklet": "a"}]))
    begun = tmp_path / "people.lance" / "tracklets.lance" / "data" / ".tmpAbC123"
    begun.write_bytes(b"vectors")
    with Gallery.open(tmp_path / "people.lance", read_only=True) as gallery:
        assert begun.exists() and len(gallery) == 1
    with Gallery.open(tmp_path / "people.lance") as gallery:
        assert not begun.exists() and len(gallery) == 1
