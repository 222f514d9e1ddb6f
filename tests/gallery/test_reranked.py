"""Search in the order of k-reciprocal re-ranking: that of `rerank`, with exclusions that change nothing else."""

import pytest
import torch

from stmga import Embeddings
from stmga.calibration import Calibration, Threshold
from stmga.gallery import Gallery, Where
from stmga.metrics import rerank
from stmga.people import TravelTime
from tests.support.vectors import people

POINTS = [Threshold(false_match_rate=r, similarity=s, true_match_rate=0.5) for r, s in ((1e-2, 0.4), (1e-3, 0.6))]
CALIBRATION = Calibration(
    thresholds=tuple(POINTS), lower=0.2, impostor_pairs=9000, genuine_pairs=90, persons=40, digest="1f0c"
)
TRAVEL = [TravelTime(("door", "hall"), 10, 60)]


def embeddings(vectors, name="g"):
    """Tracklets of three cameras, a second apart."""
    items = [
        {"tracklet": f"{name}{i}", "camera": ("door", "hall", None)[i % 3], "time": i, "end_time": i + 2}
        for i in range(len(vectors))
    ]
    return Embeddings(vectors, items, digest="1f0c", calibration=CALIBRATION)


@pytest.fixture(scope="module")
def both():
    x = people(140, noise=0.9)[torch.randperm(140, generator=torch.Generator().manual_seed(0))]
    return embeddings(x[:20], "q"), embeddings(x[20:])


def ids(answers):
    return [[match.id for match in found] for found in answers]


def literal(queries, gallery, keep):
    """The order by the distances of `rerank`, without the pairs that ``keep`` refuses."""
    distance = torch.cat(list(rerank(queries.vectors, gallery.vectors, distance="cosine")))
    cosine = (queries.vectors.double() @ gallery.vectors.double().T).float()
    return [
        [gallery.ids[g] for g in row.argsort(stable=True).tolist() if keep(q, g, float(cosine[q, g]))]
        for q, row in enumerate(distance)
    ]


def test_the_order_is_that_of_reranking_and_similarities_stay_cosines(both):
    queries, gallery = both
    found = Gallery(gallery).search(queries, 120, rerank=True)
    assert ids(found) == literal(queries, gallery, lambda q, g, s: True)
    plain = Gallery(gallery).search(queries, 120)
    assert ids(found) != ids(plain)
    for some, others in zip(found, plain, strict=True):
        assert [match.rank for match in some] == list(range(1, 121))
        assert {m.id: m.similarity for m in some} == {m.id: m.similarity for m in others}
    values, rows = Gallery(gallery).topk(queries, 7, rerank=True)
    assert ids([row[:7] for row in found]) == [[gallery.ids[g] for g in row] for row in rows.tolist()]
    assert values.tolist() == [[match.similarity for match in row[:7]] for row in found]


def test_what_is_dropped_changes_nothing_else(both):
    queries, gallery = both
    mine, theirs = queries.cameras, gallery.cameras
    found = Gallery(gallery).search(queries, 120, rerank=True, other_camera=True, threshold=0.1)
    wanted = literal(queries, gallery, lambda q, g, s: s >= 0.1 and (mine[q] != theirs[g] or not mine[q]))
    assert ids(found) == wanted
    assert {len(row) for row in wanted} != {120}
    short = Gallery(gallery).search(queries, 5, rerank=True, other_camera=True, threshold=0.1)
    assert ids(short) == [row[:5] for row in wanted]


def test_travel_times_exclude_and_count_for_the_threshold(both):
    queries, gallery = both
    plain = Gallery(gallery).search(queries, 120, travel=TRAVEL, threshold=0.3)
    found = Gallery(gallery).search(queries, 120, travel=TRAVEL, threshold=0.3, rerank=True)
    kept = [set(row) for row in ids(plain)]
    assert ids(found) == literal(queries, gallery, lambda q, g, s: gallery.ids[g] in kept[q])
    assert {m.id: m.travel for row in found for m in row} == {m.id: m.travel for row in plain for m in row}
    assert any(m.similarity < 0.3 <= m.score for row in found for m in row)


def test_the_block_and_the_storage_of_parts_do_not_change_the_order(both):
    queries, gallery = both
    parts = Gallery()
    for start in range(0, 120, 50):
        parts.add(gallery[start : start + 50])
    whole = Gallery(gallery).search(queries, 9, rerank=True, threshold=0.1)
    assert parts.search(queries, 9, rerank=True, threshold=0.1, block=7) == whole


def test_a_query_never_finds_itself(both):
    _, gallery = both
    for name, found in zip(gallery.ids, Gallery(gallery).search(gallery, 120, rerank=True), strict=True):
        assert len(found) == 119
        assert name not in {match.id for match in found}


def test_a_small_gallery_and_no_queries(both):
    queries, gallery = both
    assert ids(Gallery(gallery[:1]).search(queries[:1], 5, rerank=True)) == [["g0"]]
    assert Gallery(gallery).search(queries[:0], 5, rerank=True) == []


def test_a_gallery_in_a_file_and_one_with_gaps_give_the_same(both, tmp_path):
    """Rows that were removed from a file are no neighbours."""
    queries, gallery = both
    gone = gallery.ids[5:60:3]
    kept = gallery.select([name not in gone for name in gallery.ids])
    rules = {"rerank": True, "other_camera": True, "travel": TRAVEL, "where": Where(cameras=["door", "hall"], after=20)}
    wanted = Gallery(kept).search(queries, 40, **rules)
    with Gallery.open(tmp_path / "people.db") as file:
        file.add(gallery)
        file.remove(gone)
        found = file.search(queries, 40, **rules)
        plain = file.search(queries, 40, travel=TRAVEL)
    assert ids(found) == ids(wanted)
    scores = [[match.score for row in answer for match in row] for answer in (found, wanted)]
    assert scores[0] == pytest.approx(scores[1])
    assert ids(plain) == ids(Gallery(kept).search(queries, 40, travel=TRAVEL))


def test_filters_change_nothing_else(both):
    queries, gallery = both
    found = Gallery(gallery).search(queries, 120, rerank=True, where=Where(cameras=["hall"], before=80))
    inside = [c == "hall" and t <= 80 for c, t in zip(gallery.cameras, range(120), strict=True)]
    assert ids(found) == literal(queries, gallery, lambda q, g, s: inside[g])
