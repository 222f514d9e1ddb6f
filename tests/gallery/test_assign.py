"""`assign` by the most similar tracklet and `search_persons` name the same person, with the same similarity."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga import Gallery
from tests.support.gallery import embeddings

person = st.sampled_from(["ann", "ben", 7, "7", None])


@settings(max_examples=40, deadline=None)
@given(
    people=st.lists(person, min_size=1, max_size=30), gone=st.integers(0, 5), own=st.booleans(), in_file=st.booleans()
)
def test_the_person_of_the_most_similar_tracklet(people, gone, own, in_file):
    items = [{"tracklet": f"t{i}", "person": name} for i, name in enumerate(people)]
    queries = embeddings([{"tracklet": f"{'t' if own else 'q'}{i}"} for i in range(6)], seed=1, dim=4)
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery.open(Path(folder) / "people.db") if in_file else Gallery() as gallery,
    ):
        gallery.add(embeddings(items, dim=4))
        gallery.remove([f"t{i}" for i in range(min(gone, len(items)))])
        found = gallery.assign(queries, thresholds=(-1, -1))
        wanted = gallery.search_persons(queries, 1) if len(gallery) else [[]] * 6
    for one, matches in zip(found, wanted, strict=True):
        assert one.person == (matches[0].person if matches else None)
        assert one.similarity == (pytest.approx(matches[0].similarity, abs=1e-6) if matches else None)
        assert one.verdict == ("known" if matches else "new")


@pytest.mark.parametrize("how", ["best", "mean", "robust"])
def test_where_nobody_has_a_name_everybody_is_new(tmp_path, how):
    for gallery in (Gallery(), Gallery.open(tmp_path / "people.db")):
        with gallery:
            gallery.add(embeddings([{"tracklet": "a"}, {"tracklet": "b", "person": None}]))
            assert gallery.assign(embeddings([{"tracklet": "q"}]), thresholds=(0.0, -1.0), how=how)[0].verdict == "new"
