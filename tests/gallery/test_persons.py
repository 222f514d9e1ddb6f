"""Galleries of persons: enrolled, searched, assigned, forgotten."""

import logging

import pytest
import torch

from stmga import Embeddings, Gallery
from stmga.gallery import GalleryError, GalleryIndex, Where
from tests.support.gallery import DIGEST, calibration, embeddings, person_scores

PEOPLE = [
    {"tracklet": f"t{i}", "person": person, "camera": camera, "time": 10.0 * i, "end_time": 10.0 * i + 5}
    for i, (person, camera) in enumerate(
        [("ann", 1), ("ben", 1), ("ann", 2), (7, "2"), (None, 3), ("ann", 3), ("7", 1), ("ben", None), ("ann", 1)]
    )
]
QUERIES = [{"tracklet": f"q{i}", "camera": camera} for i, camera in enumerate((1, 2, None, 9))]


@pytest.fixture(name="gallery", params=["memory", "sqlite", "lance"])
def gallery_fixture(request, tmp_path):
    if request.param == "lance":
        pytest.importorskip("lancedb", reason="LanceDB is not installed (the extra `lance`)")
    name = {"memory": "", "sqlite": "people.db", "lance": "people.lance"}[request.param]
    gallery = Gallery.open(tmp_path / name) if name else Gallery()
    gallery.add(embeddings(PEOPLE, calibration=calibration()))
    yield gallery
    gallery.close()


def expected(gallery: Gallery, queries: Embeddings, how: str, *, other_camera: bool = False, keep=lambda item: True):
    """By a loop over all tracklets."""
    answers = []
    for item, vector in queries:
        rows = [
            (str(other["person"]), there)
            for other, there in gallery.embeddings
            if other["person"] is not None
            and other["tracklet"] != item["tracklet"]
            and keep(other)
            and not (other_camera and item["camera"] is not None and str(other["camera"]) == str(item["camera"]))
        ]
        scores = person_scores(vector, rows, how)
        answers.append(sorted(scores.items(), key=lambda one: -one[1]))
    return answers


@pytest.mark.parametrize("how", ["best", "mean", "robust"])
@pytest.mark.parametrize("other_camera", [False, True])
@pytest.mark.parametrize("block", [1, 2, 4096])
def test_persons_are_ranked_as_a_loop_ranks_them(gallery, how, other_camera, block):
    queries = embeddings([*QUERIES, {"tracklet": "t2", "camera": 2}], seed=1)
    found = gallery.search_persons(queries, 5, how=how, other_camera=other_camera, block=block)
    for matches, wanted in zip(found, expected(gallery, queries, how, other_camera=other_camera), strict=True):
        assert [match.person for match in matches] == [person for person, _ in wanted]
        assert [match.similarity for match in matches] == pytest.approx([score for _, score in wanted], abs=1e-5)
        assert [match.rank for match in matches] == [1, 2, 3][: len(matches)]


def test_a_person_match_says_how_many_tracklets_and_which_is_the_best(gallery):
    query = Embeddings(gallery.embeddings["t5"].vector[None], [{"tracklet": "q"}], DIGEST)
    match = gallery.search_persons(query, 1)[0][0]
    assert (match.person, match.tracklets, match.best) == ("ann", 4, "t5")
    assert match.similarity == pytest.approx(1.0, abs=1e-6)


def test_persons_are_counted_by_their_names_as_text(gallery):
    assert gallery.persons == {"7": 2, "ann": 4, "ben": 2}
    assert list(gallery.persons) == ["7", "ann", "ben"]


@pytest.mark.parametrize(
    ("where", "keep"),
    [
        (Where(cameras=[1]), lambda item: str(item["camera"]) == "1"),
        (Where(cameras=["2", 3]), lambda item: str(item["camera"]) in ("2", "3")),
        (Where(persons="ann"), lambda item: item["person"] == "ann"),
        (Where(persons=[7]), lambda item: str(item["person"]) == "7"),
        (Where(after=25, before=41), lambda item: item["end_time"] >= 25 and item["time"] <= 41),
        (Where(cameras=1, after=60), lambda item: str(item["camera"]) == "1" and item["end_time"] >= 60),
    ],
)
def test_a_part_of_the_gallery_is_searched(gallery, where, keep):
    queries = embeddings(QUERIES, seed=2)
    kept = Gallery(gallery.embeddings.select([keep(item) for item in gallery.embeddings.items]))
    part, alone = gallery.search(queries, 9, where=where), kept.search(queries, 9)
    assert [[m.id for m in found] for found in part] == [[m.id for m in found] for found in alone]
    people = gallery.search_persons(queries, 9, where=where)
    wanted = expected(gallery, queries, "best", keep=keep)
    assert [[m.person for m in found] for found in people] == [[person for person, _ in found] for found in wanted]


def test_tracklets_without_times_are_left_out_by_a_time_and_that_is_said(gallery, caplog):
    gallery.add(embeddings([{"tracklet": "timeless"}], seed=3))
    with caplog.at_level(logging.WARNING):
        found = gallery.search(embeddings(QUERIES[:1]), 20, where=Where(after=0))
    assert "timeless" not in {match.id for match in found[0]}
    assert "1 tracklets have no times" in caplog.text


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (dict(cameras=["dor"]), "the gallery has no camera dor; it has 1, 2, 3"),
        (dict(persons=["ann", "zoe"]), "the gallery has no person zoe; it has ann, ben, 7"),
    ],
)
def test_a_name_that_the_gallery_does_not_have_is_refused(gallery, where, said):
    with pytest.raises(ValueError, match=said):
        gallery.search(embeddings(QUERIES), 1, where=Where(**where))


def test_times_of_a_filter_are_checked():
    with pytest.raises(ValueError, match="after=5 is later than before=4"):
        Where(after=5, before=4)
    with pytest.raises(ValueError, match="before is a time in seconds, got nan"):
        Where(before=float("nan"))


def test_tracklets_are_assigned_by_the_calibrated_thresholds(gallery):
    anchor = gallery.embeddings["t1"].vector
    other = torch.linalg.qr(torch.stack([anchor, torch.randn(8, generator=torch.Generator().manual_seed(5))]).T)[0].T[1]
    cosines = (0.95, 0.6, 0.1)
    vectors = torch.stack([c * anchor + (1 - c * c) ** 0.5 * other for c in cosines])
    queries = Embeddings(vectors, [{"tracklet": f"q{i}"} for i in range(3)], DIGEST)
    alone = Gallery(Embeddings(anchor[None], [{"tracklet": "t1", "person": "ben"}], DIGEST, calibration=calibration()))
    found = alone.assign(queries)
    assert [(a.tracklet, a.person, a.verdict) for a in found] == [
        ("q0", "ben", "known"), ("q1", "ben", "unsure"), ("q2", None, "new"),
    ]  # fmt: skip
    assert [a.similarity for a in found] == pytest.approx(cosines, abs=1e-5)
    assert {(a.known_from, a.new_below) for a in found} == {(0.8, 0.4)}
    assert [a.verdict for a in alone.assign(queries, thresholds=(0.97, 0.05))] == ["unsure"] * 3


def test_without_calibration_thresholds_are_asked_for():
    gallery = Gallery(embeddings(PEOPLE))
    with pytest.raises(ValueError, match=r"pass thresholds=\(known, new\), or calibrate"):
        gallery.assign(embeddings(QUERIES))
    with pytest.raises(ValueError, match="known must begin where new ends or above"):
        gallery.assign(embeddings(QUERIES), thresholds=(0.3, 0.5))


def test_in_an_empty_gallery_everybody_is_new():
    found = Gallery().assign(embeddings(QUERIES), thresholds=(0.5, 0.3))
    assert [(a.verdict, a.person, a.similarity) for a in found] == [("new", None, None)] * 4


def test_people_are_enrolled_and_forgotten(gallery):
    more = embeddings([{"tracklet": "z1", "person": "somebody"}, {"tracklet": "z2"}], seed=9)
    gallery.enrol("zoe", more)
    assert gallery.persons["zoe"] == 2
    assert gallery.forget("zoe") == 2
    assert "zoe" not in gallery.persons
    assert [item["tracklet"] for item in gallery.embeddings.items] == [item["tracklet"] for item in PEOPLE]
    assert gallery.forget("7") == 2  # 7 and "7"
    with pytest.raises(GalleryError, match="the gallery has no person 'anne'; did you mean 'ann'"):
        gallery.forget("anne")


@pytest.mark.parametrize("name", ["", "  ", None])
def test_a_person_needs_a_name_and_a_tracklet(gallery, name):
    with pytest.raises(GalleryError, match="a person needs a name"):
        gallery.enrol(name, embeddings(QUERIES))
    with pytest.raises(GalleryError, match="there is no tracklet to enrol 'ann' with"):
        gallery.enrol("ann", embeddings(QUERIES).select([]))


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_removing_and_replacing_keeps_the_others_as_they_are(storage):
    gallery = Gallery(storage=storage)
    for i in range(0, 9, 3):
        gallery.add(embeddings(PEOPLE[i : i + 3], seed=i))
    before = {item["tracklet"]: vector for item, vector in gallery.embeddings}
    gallery.remove(["t4", "t0", "t8"])
    assert [item["tracklet"] for item in gallery.embeddings.items] == ["t1", "t2", "t3", "t5", "t6", "t7"]
    new = embeddings([{"tracklet": "t6", "person": "new name"}], seed=77)
    gallery.update(new)
    after = {item["tracklet"]: vector for item, vector in gallery.embeddings}
    assert all(torch.equal(after[name], before[name]) for name in after if name != "t6")
    assert torch.allclose(after["t6"], new.vectors[0], atol=0.02)
    assert gallery.embeddings["t6"].item["person"] == "new name"


def test_nothing_changes_when_an_id_is_unknown(gallery):
    before = gallery.embeddings
    with pytest.raises(GalleryError, match="no tracklet t99"):
        gallery.remove(["t1", "t99"])
    with pytest.raises(GalleryError, match="no tracklet q0"):
        gallery.update(embeddings([PEOPLE[0], QUERIES[0]]))
    assert torch.equal(gallery.embeddings.vectors, before.vectors)
    assert gallery.embeddings.items == before.items


def test_a_search_continues_with_the_contents_it_began_with():
    gallery = Gallery(embeddings(PEOPLE))
    with gallery.reading() as before:
        gallery.add(embeddings([{"tracklet": "later", "person": "zoe"}], seed=4))
        assert before.rows_of(["later", "t8"]) == [-1, 8]
        gallery.remove(["t8"])
        assert len(before) == len(PEOPLE) and before.rows_of(["t8"]) == [8]
    with gallery.reading() as after:
        assert after.rows_of(["later", "t8"]) == [8, -1]


def test_an_index_of_a_gallery_that_lost_tracklets_is_out_of_date():
    pytest.importorskip("faiss")
    gallery = Gallery(embeddings(PEOPLE))
    index = GalleryIndex(gallery, kind="hnsw")
    index.search(embeddings(QUERIES), 1)
    gallery.remove(["t0"])
    with pytest.raises(GalleryError, match="build it again"):
        index.search(embeddings(QUERIES), 1)
