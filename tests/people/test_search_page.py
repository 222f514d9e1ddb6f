"""The page of a ranked search says what its order and its numbers are."""

import dataclasses

import pytest

from stmga import Embeddings, Gallery
from stmga.calibration import Calibration, Threshold
from stmga.people import TravelTime
from stmga.report import write_search_page
from tests.support.report import data_in
from tests.support.vectors import people

pytest.importorskip("jinja2")
POINTS = [Threshold(false_match_rate=r, similarity=s, true_match_rate=0.5) for r, s in ((1e-2, 0.4), (1e-3, 0.6))]
CALIBRATION = Calibration(
    thresholds=tuple(POINTS), lower=0.2, impostor_pairs=9000, genuine_pairs=90, persons=40, digest="1f0c"
)


@pytest.fixture
def both():
    items = [
        {"tracklet": f"t{i}", "camera": ("door", "hall")[i % 2], "time": 20 * i, "end_time": 20 * i + 5}
        for i in range(40)
    ]
    e = Embeddings(people(40, noise=0.9), items, digest="1f0c", calibration=CALIBRATION)
    return e, Gallery(e)


def page_of(e, found, folder, **options):
    page = write_search_page(e, found, e, folder, pictures=False, **options).path
    return " ".join(page.read_text("utf-8").split()), data_in(page)


def test_a_plain_search(both, tmp_path):
    e, gallery = both
    text, data = page_of(e, gallery.search(e, 5), tmp_path / "page")
    assert "the most similar first." in text
    assert "re-ranking" not in text and "After a plus" not in text
    assert {len(match) for found in data["matches"] for match in found} == {3}


def test_a_reranked_search(both, tmp_path):
    e, gallery = both
    text, data = page_of(e, gallery.search(e, 5, rerank=True), tmp_path / "page", rerank=True)
    assert "in the order of k-reciprocal re-ranking: tracklets that share neighbours with the query come first" in text
    assert "the most similar first." not in text
    assert any(found[0][1] < max(match[1] for match in found) for found in data["matches"])


def test_travel_times(both, tmp_path):
    e, gallery = both
    matches = gallery.search(e, 39, travel=[TravelTime(("door", "hall"), 10, 40)])
    text, data = page_of(e, matches, tmp_path / "page")
    assert "After a plus: what the time between the two cameras adds" in text
    for found, shown in zip(matches, data["matches"], strict=True):
        assert [match[3:] for match in shown] == [[round(m.travel, 4)] if m.travel else [] for m in found]
        assert [match[2] for match in shown] == [CALIBRATION.verdict(m.score) for m in found]
    verdict = CALIBRATION.verdict
    assert any(verdict(m.score) != verdict(m.similarity) for found in matches for m in found)


def test_a_match_scores_by_what_it_is_made_of(both):
    match = both[1].search(both[0][:1], 1)[0][0]
    assert match.score == match.similarity
    assert dataclasses.replace(match, travel=0.25).score == pytest.approx(match.similarity + 0.25)
