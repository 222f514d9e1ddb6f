"""Embeddings as a file, and search against a brute-force loop, ties included."""

import errno
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from stmga.embedding.embeddings import Embeddings
from stmga.gallery import Gallery, GalleryError, Match
from stmga.gallery.topk import from_keys, to_keys


def embeddings(
    vectors: object, *, names: str = "g", digest: str = "d" * 64, model: str = "m.x", **columns
) -> Embeddings:
    vectors = torch.as_tensor(vectors, dtype=torch.float32)
    columns.setdefault("tracklet", [f"{names}{i}" for i in range(len(vectors))])
    items = [{key: column[i] for key, column in columns.items()} for i in range(len(vectors))]
    return Embeddings(vectors, items, digest, model)


def brute_force(queries: Embeddings, gallery: Embeddings, k: int, threshold: float | None, other_camera: bool):
    """Every pair, one at a time, in Python's own floats; then a stable sort."""
    answers = []
    for q, query in enumerate(queries.items):
        found = []
        for g, item in enumerate(gallery.items):
            a, b = queries.vectors[q].tolist(), gallery.vectors[g].tolist()
            length = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
            similarity = float(np.float32(sum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0))
            cameras = {str(query["camera"]), str(item["camera"])} if query["camera"] and item["camera"] else {"a", "b"}
            if query["tracklet"] == item["tracklet"] or (other_camera and len(cameras) == 1):
                continue
            if threshold is None or similarity >= threshold:
                found.append((similarity, g))
        answers.append(sorted(found, key=lambda pair: -pair[0])[:k])
    return answers


camera = st.sampled_from([None, 1, "1", "2", "door"])
# Few distinct small vectors of exact length, so that many similarities are equal, zero and minus zero among them.
vector = st.sampled_from([(1, 0, 0, 0), (0, 1, 0, 0), (-1, 0, 0, 0), (0.5, 0.5, 0.5, 0.5), (0, 0, 2, 0), (0, 0, 0, 0)])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_search_equals_brute_force(data) -> None:
    both = data.draw(st.lists(st.tuples(vector, camera), min_size=2, max_size=24))
    cut = data.draw(st.integers(1, len(both) - 1))
    shared = data.draw(st.booleans())  # do the queries carry ids of the gallery?
    vectors, cameras = [v for v, _ in both], [c for _, c in both]
    queries = embeddings(vectors[:cut], names="g" if shared else "q", camera=cameras[:cut])
    gallery = embeddings(vectors[cut:], camera=cameras[cut:])
    k, block = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 7))
    threshold = data.draw(st.sampled_from([None, -1.0, 0.0, 0.5, 1.0]))
    other = data.draw(st.booleans())
    got = Gallery(gallery).search(queries, k, threshold=threshold, other_camera=other, block=block)
    expected = brute_force(queries, gallery, k, threshold, other)
    assert [[(match.similarity, match.row) for match in matches] for matches in got] == expected
    for matches in got:
        assert [match.rank for match in matches] == list(range(1, len(matches) + 1))
        assert [match.id for match in matches] == [gallery.ids[match.row] for match in matches]


@pytest.mark.parametrize("block", [1, 3, 64, 1000])
def test_ties_do_not_depend_on_the_block(block: int) -> None:
    """Real vectors, each five times in shuffled rows: gallery order decides, bit for bit, at any block size."""
    torch.manual_seed(0)
    order = random.Random(0).sample(range(200), 200)
    gallery = embeddings(torch.randn(40, 67).repeat(5, 1)[order])
    queries = embeddings(torch.randn(11, 67), names="q")
    similarities, rows = Gallery(gallery).topk(queries, 60, block=block)
    unit = [torch.nn.functional.normalize(e.vectors.double()) for e in (queries, gallery)]
    exact = (unit[0] @ unit[1].T).float()
    expected = torch.sort(exact, dim=1, descending=True, stable=True)
    assert torch.equal(rows, expected.indices[:, :60])
    assert torch.equal(similarities, expected.values[:, :60])
    for row in rows.tolist():
        for first in range(0, 60, 5):  # the five copies are adjacent, in gallery order
            assert row[first : first + 5] == sorted(row[first : first + 5])


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20))
def test_keys_keep_order_and_value(values: list[float]) -> None:
    similarity = torch.tensor([values])
    keys = to_keys(similarity, torch.arange(5, 5 + len(values)))
    assert len(set(keys[0].tolist())) == len(values)
    back, rows = from_keys(keys)
    assert torch.equal(back, similarity)
    assert rows.tolist() == [list(range(5, 5 + len(values)))]
    by_key = sorted(range(len(values)), key=lambda i: -keys[0, i].item())
    assert by_key == sorted(range(len(values)), key=lambda i: -values[i])


def test_a_match_says_who_it_is() -> None:
    gallery = Gallery(embeddings([[1, 0], [0.8, 0.6]], person=["ann", None], camera=[1, "door"]))
    query = embeddings([[1, 0]], names="q")
    assert gallery.search(query) == [
        [Match("g0", 1.0, 1, "ann", 1, 0), Match("g1", pytest.approx(0.8), 2, None, "door", 1)]
    ]


def test_topk_marks_missing_answers() -> None:
    similarities, rows = Gallery(embeddings([[1, 0], [0, 1]])).topk(embeddings([[1, 0]], names="q"), 5, threshold=0.5)
    assert rows.tolist() == [[0, -1]]
    assert similarities.tolist() == [[1.0, -math.inf]]


def test_one_id_for_two_tracklets_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    gallery = Gallery(embeddings([[1, 0], [0.6, 0.8]]))
    assert [match.id for match in gallery.search(embeddings([[1, 0], [0.6, 0.8]]))[0]] == ["g1"]
    assert caplog.text == ""  # a set searched in itself is no reason to warn
    gallery.search(embeddings([[1, 0], [0.8, 0.6]]))
    assert "1 queries have the id of a gallery tracklet that looks different" in caplog.text
    assert "first: g1" in caplog.text


def test_no_queries_no_answers() -> None:
    assert Gallery(embeddings([[1, 0]])).search(embeddings(torch.empty(0, 2), names="q")) == []


def test_adding_keeps_order_and_refuses_what_does_not_belong() -> None:
    gallery = Gallery(embeddings([[1, 0]]))
    more = embeddings([[0, 1]], names="h")
    gallery.add(more)
    assert gallery.embeddings.ids == ["g0", "h0"]
    assert torch.equal(gallery.embeddings.vectors, torch.eye(2))
    for wrong, words in (
        (embeddings([[0, 1]], names="h"), "1 of the ids to add are in the gallery already: h0"),
        (embeddings([[0, 1]], names="i", digest="e" * 64, model="n.y"), "made with m.x .*embeddings to add with n.y"),
        (embeddings([[0, 1, 0]], names="i"), "2 numbers.* 3"),
    ):
        with pytest.raises(GalleryError, match=words):
            gallery.add(wrong)
        assert len(gallery) == 2
    assert len(more) == 1  # and its own embeddings are not touched
    assert gallery.search(embeddings([[0, 1]], names="q"), k=1)[0][0].id == "h0"


def test_ids_that_are_there_are_listed_up_to_ten() -> None:
    gallery = Gallery(embeddings(torch.eye(12)))
    with pytest.raises(GalleryError, match=r"12 of the ids .*: g0, g1, .*g9 and 2 more$"):
        gallery.add(embeddings(torch.eye(12)))


def test_other_weights_cannot_be_compared() -> None:
    gallery = Gallery(embeddings([[1, 0]], digest="a" * 64, model="stmga_resnet50.mars"))
    queries = embeddings([[1, 0]], names="q", digest="b" * 64, model="")
    with pytest.raises(GalleryError, match=r"stmga_resnet50.mars \(digest a{12}\).*unnamed model \(digest b{12}\)"):
        gallery.search(queries)


@pytest.mark.parametrize("bad", [{"k": 0}, {"threshold": 1.5}, {"threshold": math.nan}, {"block": 0}])
def test_bad_search_arguments(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Gallery(embeddings([[1, 0]])).search(embeddings([[1, 0]], names="q"), **bad)


@pytest.mark.parametrize("gallery", [Gallery(), Gallery(embeddings(torch.empty(0, 2)))])
def test_an_empty_gallery_says_so(gallery: Gallery) -> None:
    with pytest.raises(GalleryError, match=r"empty.*gallery.add"):
        gallery.search(embeddings([[1, 0]], names="q"))


# ---- the file


def test_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = Embeddings(
        torch.randn(3, 5),
        [
            {
                "tracklet": "日本/1",
                "person": 7,
                "camera": "door",
                "role": "query",
                "cover": {"file": "a.jpg", "index": 3},
            },
            {"tracklet": "b", "person": np.int64(3), "camera": None, "file": Path("x/y")},
            {"tracklet": "c", "person": None, "camera": 2},
        ],
        digest="abc",
        model="stmga_resnet50.mars",
        skipped=[{"tracklet": "z", "reason": "cannot read z/1.jpg"}],
    )
    assert before.save(tmp_path / "e.safetensors") == tmp_path / "e.safetensors"
    after = Embeddings.load(str(tmp_path / "e.safetensors"))
    assert torch.equal(after.vectors, before.vectors)
    assert after.items[0] == before.items[0]
    assert after.items[1] == {"tracklet": "b", "person": 3, "camera": None, "file": "x/y"}
    assert (after.digest, after.model, after.skipped) == (before.digest, before.model, before.skipped)
    assert after.persons == [7, 3, None]
    assert after.cameras == ["door", None, 2]
    gallery = Gallery.load(tmp_path / "e.safetensors")
    gallery.save(tmp_path / "g.safetensors")
    assert Embeddings.load(tmp_path / "g.safetensors").items == after.items


def test_what_is_no_embeddings_file(tmp_path: Path) -> None:
    good = embeddings(torch.eye(4)).save(tmp_path / "good.safetensors")
    data = good.read_bytes()
    expected = "expected one written by Embeddings.save or `stmga embed`"
    for length in (0, 5, 100, len(data) - 1):
        (tmp_path / "short").write_bytes(data[:length])
        with pytest.raises(ValueError, match=f"short is not an embeddings file; {expected}, got a damaged"):
            Embeddings.load(tmp_path / "short")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff" * 1000)
    with pytest.raises(ValueError, match=expected):
        Embeddings.load(tmp_path / "photo.jpg")
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"{expected}, got a safetensors file with conv1.weight"):
        Embeddings.load(tmp_path / "model.safetensors")
    save_file({"vectors": torch.zeros(2)}, tmp_path / "odd", {"format": "stmga-embeddings", "format_version": "1"})
    with pytest.raises(ValueError, match=expected):
        Embeddings.load(tmp_path / "odd")
    newer = {"format": "stmga-embeddings", "format_version": "3", "stmga": "9.1"}
    save_file({"vectors": torch.zeros(2)}, tmp_path / "newer", newer)
    with pytest.raises(ValueError, match=r"newer stmga 9\.1"):
        Embeddings.load(tmp_path / "newer")
    with pytest.raises(ValueError, match="got a folder"):
        Embeddings.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        Embeddings.load(tmp_path / "nowhere.safetensors")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = embeddings(torch.eye(2)).save(tmp_path / "e.safetensors")
    old = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        embeddings(torch.eye(3)).save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_an_item_that_json_cannot_keep_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="JSON cannot keep"):
        embeddings(torch.eye(1), camera=[{1, 2}]).save(tmp_path / "e")
    assert not list(tmp_path.iterdir())


# ---- in memory


def test_select() -> None:
    all_of_them = embeddings(torch.eye(3), role=["query", "gallery", "query"])
    assert all_of_them.select([True, False, True]).ids == ["g0", "g2"]
    assert all_of_them.select(np.array([2, 0])).ids == ["g2", "g0"]
    assert torch.equal(all_of_them.select(torch.tensor([2, 0])).vectors, torch.eye(3)[[2, 0]])
    assert len(all_of_them.select([])) == 0
    assert all_of_them.select([-1]).digest == all_of_them.digest
    with pytest.raises(ValueError, match=r"mask of shape \(2,\), expected \(3,\)"):
        all_of_them.select([True, False])
    with pytest.raises(TypeError, match="row numbers"):
        all_of_them.select([0.5])
    with pytest.raises(IndexError, match="3 embeddings"):
        all_of_them.select([3])


@pytest.mark.parametrize(
    ("vectors", "items", "words"),
    [
        (torch.eye(2), [{"tracklet": "a"}], "2 vectors but 1 items"),
        (torch.eye(2), [{"tracklet": "a"}, {"tracklet": "a"}], "1 tracklet ids occur more than once: a"),
        (torch.eye(2), [{"tracklet": "a"}, {"id": "b"}], r"without the key 'tracklet'.*rows 1$"),
        (torch.tensor([[1.0], [math.nan]]), [{"tracklet": "a"}, {"tracklet": "b"}], "not finite: b"),
        (torch.zeros(2), [], r"float tensor \(n, c\), got \(2,\)"),
        ([[1.0]], [{"tracklet": "a"}], "got list"),
    ],
)
def test_inconsistent_embeddings_are_refused(vectors, items, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Embeddings(vectors, items, digest="d")
