"""Travel times in search: what nobody could have reached is excluded, and a fitting time counts as in `stmga.link`."""

import itertools
import logging

import pytest
import torch

from stmga import Embeddings
from stmga.calibration import Calibration, Threshold
from stmga.gallery import Gallery
from stmga.gallery.columns import Columns
from stmga.gallery.travel import TravelPrior
from stmga.people import TravelTime
from stmga.people.constraints import NoOverlap
from stmga.tracklets.times import clock_spans
from tests.support.vectors import people

POINTS = [Threshold(false_match_rate=r, similarity=s, true_match_rate=0.5) for r, s in ((1e-2, 0.4), (1e-3, 0.6))]
CALIBRATION = Calibration(
    thresholds=tuple(POINTS), lower=0.2, impostor_pairs=9000, genuine_pairs=90, persons=40, digest="1f0c"
)
TRAVEL = [TravelTime(("a", "b"), 10, 30), TravelTime(("b", "c"), 0, 20), TravelTime(("2", "a"), 40, 400)]


def seen(count, seed):
    """Items of four cameras and one that no travel time names, at random whole seconds; some have no times."""
    draw = torch.Generator().manual_seed(seed)
    items = []
    for i in range(count):
        camera = ["a", "b", "c", 2, "other", None][int(torch.randint(6, (), generator=draw))]
        start, length = (int(torch.randint(high, (), generator=draw)) for high in (120, 15))
        times = {"time": start, "end_time": start + length} if i % 7 else {}
        items.append({"tracklet": f"{seed}/{i}", "camera": camera, **times})
    return items


def prior_of(queries, gallery, travel=TRAVEL, calibration=CALIBRATION):
    return TravelPrior.of(Columns.of(queries), Columns.of(gallery), travel, calibration)


def literal(query, gallery):
    """What the travel times add to each gallery item, by a plain loop."""
    found = []
    for item in gallery:
        route = [t for t in TRAVEL if {str(query["camera"]), str(item["camera"])} == set(t.cameras)]
        if not route or "time" not in query or "time" not in item:
            found.append(0.0)
            continue
        there = [one for one in gallery if str(one["camera"]) == str(item["camera"]) and "time" in one]
        fitting = sum(fits(query, one, route[0]) for one in there)
        cameras = dict.fromkeys(itertools.permutations((query["camera"], item["camera"])), route[0].least)
        if not NoOverlap(clock_spans([query, item]), cameras).allows(0, 1):
            found.append(-torch.inf)
        elif fits(query, item, route[0]):
            found.append(0.6 - CALIBRATION.similarity_at(min(0.1, 1e-3 * len(there) / fitting)))
        else:
            found.append(0.0)
    return found


def fits(query, item, one):
    gap = max(item["time"] - query["end_time"], query["time"] - item["end_time"])
    return one.least <= gap <= one.most and gap > 0


def test_the_prior_is_that_of_a_plain_loop():
    queries, gallery = seen(60, 1), seen(200, 2)
    found = prior_of(queries, gallery)(torch.arange(60), torch.arange(200))
    wanted = torch.tensor([literal(query, gallery) for query in queries])
    assert torch.allclose(found, wanted, atol=1e-6)
    assert (wanted == -torch.inf).sum() > 50
    assert (wanted > 0).sum() > 50
    assert wanted[wanted > 0].unique().numel() > 3


def test_some_rows_of_each_query_are_those_of_all_rows():
    prior = prior_of(seen(20, 1), seen(90, 2))
    every = prior(torch.arange(20), torch.arange(90))
    rows = torch.randint(90, (5, 7), generator=torch.Generator().manual_seed(0))
    queries = torch.tensor([3, 19, 4, 0, 11])
    assert torch.equal(prior(queries, rows), every[queries].gather(1, rows))
    assert torch.equal(prior(queries, torch.arange(30, 60)), every[queries, 30:60])


def test_one_query_gets_the_same_as_among_others():
    queries, gallery = seen(20, 1), seen(90, 2)
    every = prior_of(queries, gallery)(torch.arange(20), torch.arange(90))
    alone = [prior_of([query], gallery)(torch.tensor([0]), torch.arange(90)) for query in queries]
    assert torch.equal(torch.cat(alone), every)


def test_without_a_calibration_travel_times_only_exclude():
    queries, gallery = seen(20, 1), seen(90, 2)
    plain = prior_of(queries, gallery, calibration=None)(torch.arange(20), torch.arange(90))
    assert set(plain.unique().tolist()) == {-torch.inf, 0.0}
    assert torch.equal(
        plain == -torch.inf, prior_of(queries, gallery)(torch.arange(20), torch.arange(90)) == -torch.inf
    )


def test_a_rarer_fit_counts_more():
    one = [TravelTime(("a", "b"), 10, 30)]
    query = [{"tracklet": "q", "camera": "a", "time": 0, "end_time": 5}]
    gallery = [{"tracklet": i, "camera": "b", "time": 20 + 1000 * i, "end_time": 25 + 1000 * i} for i in range(20)]
    few = float(prior_of(query, gallery[:2], one)(torch.tensor([0]), torch.tensor([0])))
    many = float(prior_of(query, gallery, one)(torch.tensor([0]), torch.tensor([0])))
    assert 0 < few < many
    assert many == pytest.approx(0.6 - CALIBRATION.similarity_at(0.02))


def embedded(items, vectors):
    return Embeddings(vectors, items, digest="1f0c", calibration=CALIBRATION)


@pytest.mark.parametrize("threshold", [None, 0.2])
@pytest.mark.parametrize("block", [4096, 13])
def test_search_ranks_by_cosine_and_travel_times(threshold, block):
    queries, gallery = seen(30, 1), seen(150, 2)
    vectors = people(180, noise=0.9)[torch.randperm(180, generator=torch.Generator().manual_seed(0))]
    vectors[40:60] = vectors[40]  # ties, more than there are candidates
    mine, theirs = vectors[:30], vectors[30:]
    cosine = (mine.double() @ theirs.double().T).float()
    prior = prior_of(queries, gallery)(torch.arange(30), torch.arange(150))
    score = cosine + prior
    answers = Gallery(embedded(gallery, theirs)).search(
        embedded(queries, mine), 9, travel=TRAVEL, threshold=threshold, block=block
    )
    for q, found in enumerate(answers):
        order = score[q].argsort(descending=True, stable=True).tolist()
        kept = [g for g in order if score[q, g] >= (-9 if threshold is None else threshold)][:9]
        assert [match.row for match in found] == kept
        assert [match.travel for match in found] == prior[q, kept].tolist()
        assert [match.similarity for match in found] == pytest.approx(cosine[q, kept].tolist(), abs=1e-6)
        assert [match.score for match in found] == pytest.approx(score[q, kept].tolist(), abs=1e-6)
    assert any(match.travel for found in answers for match in found)


@pytest.mark.parametrize(
    ("travel", "words"),
    [
        (TravelTime(("a", "dor"), 1, 2), "'dor': the cameras are a, b"),
        (TravelTime(("a", "b"), 1, 2), "'b': its tracklets have no time and end_time"),
    ],
)
def test_a_travel_time_needs_cameras_with_times(travel, words):
    items = [{"tracklet": 1, "camera": "a", "time": 0, "end_time": 1}, {"tracklet": 2, "camera": "b"}]
    with pytest.raises(ValueError, match=words):
        prior_of(items, items, [travel])


def test_a_pair_of_cameras_has_one_travel_time():
    travel = [TravelTime(("a", "b"), 1, 2), TravelTime(("b", "a"), 3, 4)]
    with pytest.raises(ValueError, match=r"two travel times between 'a' and 'b': 1\.\.2 and 3\.\.4; give one"):
        prior_of([], [], travel)


def test_tracklets_without_times_are_counted(caplog):
    with caplog.at_level(logging.WARNING):
        prior_of(seen(20, 1), seen(200, 2))
    assert "3 of 20 queries and 29 of 200 gallery tracklets have no times" in caplog.text
