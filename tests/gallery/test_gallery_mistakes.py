"""Arguments that are mixed up or of a wrong kind are named, by every gallery."""

import numpy as np
import pytest

from stmga import Gallery
from stmga.gallery import GalleryError, GalleryIndex
from tests.support.gallery import embeddings

ITEMS = [{"tracklet": str(i), "person": "ann"} for i in range(9)]


@pytest.fixture(name="gallery", params=["memory", "sqlite"])
def gallery_fixture(request, tmp_path):
    with Gallery() if request.param == "memory" else Gallery.open(tmp_path / "people.db") as gallery:
        gallery.add(embeddings(ITEMS))
        yield gallery


def test_one_text_is_no_list_of_ids(gallery):
    with pytest.raises(TypeError, match=r"ids are a list of texts, got '12'; for one id give \['12'\]"):
        gallery.remove("12")
    with pytest.raises(TypeError, match=r"got 7; for one id give \['7'\]"):
        gallery.remove(7)
    assert len(gallery) == 9


def test_ids_are_compared_as_text_and_given_once(gallery):
    with pytest.raises(GalleryError, match="2 ids given twice: 1, 2"):
        gallery.remove(["1", "2", 1, "2", "3"])
    gallery.remove([7, "8"])
    assert gallery.embeddings.ids == ["0", "1", "2", "3", "4", "5", "6"]


def test_arguments_of_enrol_in_the_wrong_order(gallery):
    more = embeddings([{"tracklet": "x"}])
    with pytest.raises(TypeError, match="a person is a text or a whole number, got Embeddings"):
        gallery.enrol(more, "ann")
    with pytest.raises(TypeError, match="a person is a text or a whole number, got bool"):
        gallery.enrol(True, more)
    with pytest.raises(TypeError, match=r"enrol\(\) takes Embeddings, got list"):
        gallery.enrol("ann", [more])


def test_a_person_may_be_a_number_of_numpy(gallery):
    gallery.enrol(np.int64(7), embeddings([{"tracklet": "x"}]))
    gallery.enrol("7", embeddings([{"tracklet": "y"}], seed=1))
    assert gallery.persons == {"7": 2, "ann": 9}


def test_an_index_is_built_for_a_gallery_in_memory(tmp_path):
    pytest.importorskip("faiss")
    with Gallery.open(tmp_path / "people.db") as gallery:
        gallery.add(embeddings(ITEMS))
        for call in (GalleryIndex, lambda gallery: GalleryIndex.load(tmp_path / "index", gallery)):
            with pytest.raises(TypeError, match=r"got SqliteGallery; Gallery\(gallery\.embeddings\) reads"):
                call(gallery)
        assert len(GalleryIndex(Gallery(gallery.embeddings), kind="hnsw")) == 9


def test_assign_takes_embeddings_also_when_nobody_is_enrolled():
    with pytest.raises(TypeError, match=r"assign\(\) takes Embeddings, got list"):
        Gallery().assign([], thresholds=(0.5, 0.3))
