"""Embeddings as a sequence: rows by number and by id, slices, loops, several joined to one; and how they print."""

import logging
import pickle

import numpy as np
import pytest
import torch

from stmga import Embeddings, Gallery
from stmga.calibration import Calibration, Threshold
from stmga.embedding.embeddings import Embedding

WEIGHTS = "a" * 64


def embeddings(*ids: str, **entries) -> Embeddings:
    """Vectors that count up; camera and person of each are its row number, the last has neither."""
    items = [{"tracklet": name, "person": i, "camera": f"c{i % 2}"} for i, name in enumerate(ids)]
    if items:
        items[-1] |= {"person": None, "camera": None}
    vectors = torch.arange(3.0 * len(ids)).view(-1, 3)
    return Embeddings(vectors, items, **{"digest": WEIGHTS, "model": "net.tag", **entries})


def calibration(similarity: float) -> Calibration:
    point = Threshold(false_match_rate=1e-3, similarity=similarity, true_match_rate=0.5)
    return Calibration(thresholds=(point,), lower=0.2, impostor_pairs=9, genuine_pairs=4, persons=4, digest=WEIGHTS)


# ---- one row


@pytest.mark.parametrize("which", [1, -3, "b", np.int64(1), torch.tensor(1), np.str_("b")])
def test_a_row_by_number_and_by_id(which):
    every = embeddings("a", "b", "c", "d")
    item, vector = every[which]
    assert item is every.items[1]
    assert torch.equal(vector, torch.tensor([3.0, 4.0, 5.0]))
    assert every[which].vector.data_ptr() == every.vectors[1].data_ptr()


@pytest.mark.parametrize("row", [4, -5])
def test_a_row_that_is_not_there(row):
    with pytest.raises(IndexError, match=rf"row {row} of Embeddings\(4 x 3"):
        embeddings("a", "b", "c", "d")[row]


def test_an_id_that_is_not_there():
    with pytest.raises(KeyError, match=r"no tracklet 'walker2' in Embeddings\(1 x 3.*did you mean 'walker1'\?"):
        embeddings("walker1")["walker2"]
    with pytest.raises(KeyError, match=r"net\.tag\)"):
        embeddings("a")["zzzz"]


def test_an_id_changed_in_its_item_is_found_by_its_new_name():
    every = embeddings("a", "b")
    assert every["b"].vector[0] == 3
    every.items[1]["tracklet"] = "camera 2/b"
    assert every["camera 2/b"].vector[0] == 3
    assert "b" not in every


@pytest.mark.parametrize("which", [1.0, None, [0, 1], torch.tensor([True, False]), (0, 1)])
def test_what_is_no_index_names_select(which):
    with pytest.raises(TypeError, match="a row number, an id or a slice; for a mask or a list of rows use select"):
        embeddings("a", "b")[which]


# ---- slices and loops


@pytest.mark.parametrize("which", [slice(1, 3), slice(None, None, -1), slice(-2, None), slice(5, 9), slice(None)])
def test_a_slice_is_embeddings(which):
    known = calibration(0.5)
    every = embeddings("a", "b", "c", "d", calibration=known)
    some = every[which]
    assert some.ids == every.ids[which]
    assert some.vectors.tolist() == every.vectors.tolist()[which]
    assert (some.digest, some.model, some.calibration) == (WEIGHTS, "net.tag", known)


def test_a_loop_gives_every_row_in_order():
    every = embeddings("a", "b", "c")
    rows = list(every)
    assert [row.item for row in rows] == every.items
    assert torch.equal(torch.stack([vector for _, vector in every]), every.vectors)
    assert all(isinstance(row, Embedding) for row in rows)
    assert list(embeddings()) == []


def test_in_looks_for_an_id():
    every = embeddings("a", "b")
    assert "a" in every
    assert "c" not in every
    assert every[0] not in every  # a row is no id; comparing its tensor would raise


# ---- several


def test_concatenated_rows_stay_in_order():
    parts = [
        embeddings("a", "b", skipped=[{"tracklet": "x", "reason": "gone"}]),
        embeddings("c", model=""),
        embeddings(),
    ]
    every = Embeddings.concatenate(part for part in parts)
    assert every.ids == ["a", "b", "c"]
    assert torch.equal(every.vectors, torch.cat([part.vectors for part in parts]))
    assert (every.digest, every.model) == (WEIGHTS, "net.tag")
    assert [skip["tracklet"] for skip in every.skipped] == ["x"]
    assert Embeddings.concatenate([parts[0]]).ids == ["a", "b"]
    assert Embeddings.concatenate([every[:1], every[1:]]).ids == every.ids


def test_vectors_of_different_weights_are_refused_by_name():
    other = embeddings("c", digest="b" * 64, model="other.tag")
    words = r"embeddings 1 were made with net\.tag \(digest a{12}\), embeddings 3 with other\.tag \(digest b{12}\)"
    with pytest.raises(ValueError, match=words):
        Embeddings.concatenate([embeddings("a"), embeddings("b"), other])


def test_an_id_in_two_parts_and_no_part_are_refused():
    with pytest.raises(ValueError, match="1 tracklet ids occur more than once: b"):
        Embeddings.concatenate([embeddings("a", "b"), embeddings("b")])
    with pytest.raises(ValueError, match="nothing to concatenate"):
        Embeddings.concatenate([])


def test_a_calibration_stays_where_all_agree(caplog):
    one, two = calibration(0.5), calibration(0.6)
    parts = [embeddings("a", calibration=one), embeddings("b"), embeddings("c", calibration=one)]
    assert Embeddings.concatenate(parts).calibration == one
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert Embeddings.concatenate([*parts, embeddings("d", calibration=two)]).calibration is None
    assert "2 different calibrations" in caplog.text


# ---- how they print


def test_embeddings_print_their_size_and_whom_they_are_of():
    assert repr(embeddings("a", "b", "c")) == "Embeddings(3 x 3, net.tag, 2 persons, 2 cameras)"
    assert repr(embeddings("a", model="")) == "Embeddings(1 x 3, unnamed weights)"
    skipped = [{"tracklet": "x", "reason": "gone"}]
    assert repr(embeddings("a", "b", skipped=skipped)) == "Embeddings(2 x 3, net.tag, 1 person, 1 camera, 1 skipped)"
    many = Embeddings(torch.zeros(3336, 2), [{"tracklet": str(i)} for i in range(3336)], digest="")
    assert repr(many) == "Embeddings(3,336 x 2, unnamed weights)"
    assert repr(pickle.loads(pickle.dumps(many))) == repr(many)


def test_a_gallery_prints_as_its_embeddings_and_how_it_keeps_them():
    gallery = Gallery(storage="int8")
    assert repr(gallery) == "Gallery(empty, int8, cpu)"
    gallery.add(embeddings("a", "b", "c"))
    assert repr(gallery) == "Gallery(3 x 3, net.tag, 2 persons, 2 cameras, int8, cpu)"


def test_an_index_prints_its_kind_and_effort():
    pytest.importorskip("faiss")
    from stmga.gallery import GalleryIndex

    items = [{"tracklet": str(i)} for i in range(100)]
    gallery = Gallery(Embeddings(torch.randn(100, 8), items, digest=WEIGHTS, model="net.tag"))
    assert repr(GalleryIndex(gallery, kind="hnsw", effort=40)) == "GalleryIndex(100 x 8, net.tag, hnsw, effort=40)"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("door.mp4", r"the tracks in the video first: `stmga embed TRACKS --mot-frames .*door\.mp4 -o"),
        ("a.jpg", r"embed it first: `stmga embed .*a\.jpg -o"),
        ("all.jsonl", r"embed it first: `stmga embed .*all\.jsonl -o"),
        ("crops", r"got a folder; embed it first: `stmga embed .*crops -o"),
    ],
)
def test_what_embeddings_are_made_of_says_how_to_embed_it(tmp_path, name, advice):
    path = tmp_path / name
    path.mkdir() if name == "crops" else path.write_bytes(b"\0\0\0\x18ftypisom" * 9)
    for load in (Embeddings.load, Gallery.load):
        with pytest.raises(ValueError, match=rf"is not an embeddings file; .*{advice}"):
            load(path)


@pytest.mark.parametrize("given", [torch.rand(1, 4), torch.nn.Linear(2, 2), np.zeros((1, 4)), "x", None])
def test_a_gallery_takes_embeddings(given):
    gallery = Gallery(Embeddings(torch.eye(4), [{"tracklet": str(i)} for i in range(4)], digest="1f0c"))
    for call in (gallery.search, gallery.topk, gallery.add, *([Gallery] if given is not None else [])):
        with pytest.raises(TypeError, match=rf"takes Embeddings, got {type(given).__name__}: embed tracklets with"):
            call(given)
