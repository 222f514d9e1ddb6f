"""Single-shot scores against every gallery that can be drawn, one after another."""

from itertools import product

import numpy as np
import pytest
import torch

from stmga.embedding.embeddings import Embeddings
from stmga.metrics import NoMatchError, Protocol, Reranking, average_precision, evaluate
from stmga.metrics.matching import CameraCodes, LabelCodes, MatchRules
from stmga.metrics.single_shot import single_shot_scores


def all_draws(similarity, query_persons, gallery_persons, query_cameras, gallery_cameras, ap):
    """mAP, CMC and mINP as the plain mean over all galleries of one entry per person; -1 is nobody."""
    results = []
    for row, person, camera in zip(similarity, query_persons, query_cameras, strict=True):
        entries = {}
        for column, (other, seen) in enumerate(zip(gallery_persons, gallery_cameras, strict=True)):
            if other == -1:
                entries[("nobody", column)] = [column]
            elif not (other == person and seen == camera):
                entries.setdefault(other, []).append(column)
        if person not in entries:
            continue
        draws = []
        for drawn in product(*entries.values()):
            order = sorted(drawn, key=lambda column: (-row[column], column))
            draws.append([gallery_persons[column] for column in order].index(person))
        results.append(draws)
    places = len(gallery_persons)
    cmc = [np.mean([np.mean([rank < k for rank in draws]) for draws in results]) for k in range(1, places + 1)]
    mean_ap = np.mean([np.mean([average_precision([rank], ap=ap) for rank in draws]) for draws in results])
    return mean_ap, cmc, np.mean([np.mean([1 / (rank + 1) for rank in draws]) for draws in results])


@pytest.mark.parametrize("ap", ["hits", "trapezoid"])
@pytest.mark.parametrize("seed", range(6))
def test_the_mean_over_all_draws(seed, ap):
    rng = np.random.default_rng(seed)
    queries, entries = 5, 11
    similarity = rng.integers(0, 6, (queries, entries)) / 8  # with ties
    labels = [rng.integers(0, 4, queries), rng.integers(-1, 4, entries), rng.integers(0, 2, queries)]
    labels.append(rng.integers(0, 2, entries))
    persons, others, cameras, seen = labels
    rules = MatchRules(LabelCodes(persons, CameraCodes(cameras)), LabelCodes(others, CameraCodes(seen)))
    scores = single_shot_scores([similarity[:2], similarity[2:]], rules, ap=ap)
    mean_ap, cmc, penalty = all_draws(similarity, persons, others.tolist(), cameras, seen.tolist(), ap)
    assert scores.mAP == pytest.approx(mean_ap, abs=1e-12)
    assert scores.mINP == pytest.approx(penalty, abs=1e-12)
    assert [scores.rank(k) for k in range(1, entries + 1)] == pytest.approx(cmc, abs=1e-12)
    assert scores.queries + len(scores.unmatched) == queries


def unit(*cosines):
    return torch.tensor([[c, (1 - c * c) ** 0.5] for c in cosines])


def test_evaluate_by_hand():
    """Of the draws (a1 or a2) x (b1 or b2), three have the match first: a2 comes after b1."""
    gallery = [{"tracklet": name, "person": name[0], "camera": 2} for name in ("a1", "a2", "b1", "b2")]
    found = Embeddings(unit(0.9, 0.5, 0.7, 0.1), gallery, digest="1f")
    query = Embeddings(unit(1.0), [{"tracklet": "q", "person": "a", "camera": 1}], digest="1f")
    single = Protocol(shots="single", queries_in_gallery=False)
    result = evaluate(query, found, single)
    assert (result.rank(1), result.rank(2), result.mAP) == pytest.approx((0.75, 1.0, 0.875))
    assert "one gallery tracklet of each person (single-shot), mean over all draws" in str(result)
    assert Protocol.from_dict(result.protocol.to_dict()) == result.protocol
    plain = evaluate(query, found, Protocol(queries_in_gallery=False))
    assert plain.rank(1) == 1.0 and "shots" not in plain.protocol.to_dict()  # older results stay as they were


def test_a_distractor_stays_in_every_gallery():
    items = [{"tracklet": "a", "person": "a", "camera": 2}, *({"tracklet": f"d{i}", "person": 0} for i in range(3))]
    found = Embeddings(unit(0.5, 0.9, 0.8, 0.7), items, digest="1f")
    query = Embeddings(unit(1.0), [{"tracklet": "q", "person": "a", "camera": 1}], digest="1f")
    result = evaluate(query, found, Protocol(shots="single", distractors=(0,), queries_in_gallery=False))
    assert result.mAP == pytest.approx(1 / 4)
    with pytest.raises(NoMatchError, match="none of the 1 queries"):
        evaluate(query, found, Protocol(shots="single", distractors=(0, "a"), queries_in_gallery=False))


def test_rules_that_contradict_each_other():
    with pytest.raises(ValueError, match="shots must be one of 'all', 'single', got 'two'"):
        Protocol(shots="two")
    with pytest.raises(ValueError, match="re-ranking takes one gallery"):
        Protocol(shots="single", reranking=Reranking())
