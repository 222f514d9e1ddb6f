"""Rank-k and mAP against a loop that anybody can follow."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga.metrics import RankScores, average_precision, match_ranks, rank_scores


def by_hand(similarity, q_person, g_person, q_camera, g_camera):
    """One query at a time, one gallery entry at a time, no array tricks."""
    precisions, firsts, unmatched = [], [], []
    for i, row in enumerate(similarity):
        ranked = sorted(range(len(row)), key=lambda j: (-row[j], j))
        place, hits, precision, first = 0, 0, [], None
        for j in ranked:
            same_person = q_person[i] is not None and g_person[j] == q_person[i]
            undecided = q_camera[i] is None or g_camera[j] is None
            if same_person and (undecided or q_camera[i] == g_camera[j]):
                continue
            place += 1
            if same_person:
                hits += 1
                precision.append(hits / place)
                first = first or place
        if first is None:
            unmatched.append(i)
        else:
            precisions.append(sum(precision) / hits)
            firsts.append(first)
    return precisions, firsts, unmatched


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), q=st.integers(1, 6), g=st.integers(1, 25), levels=st.integers(1, 30))
def test_agrees_with_the_loop(seed, q, g, levels):
    random = np.random.default_rng(seed)
    similarity = random.integers(0, levels, (q, g)) / levels  # few levels: many ties
    people, cameras = [None, "ann", "bob", "cid"], [None, 1, 2, 3]
    q_person, g_person = ([people[k] for k in random.integers(0, 4, n)] for n in (q, g))
    q_camera, g_camera = ([cameras[k] for k in random.integers(0, 4, n)] for n in (q, g))
    precisions, firsts, unmatched = by_hand(similarity, q_person, g_person, q_camera, g_camera)
    sides = dict(query_cameras=q_camera, gallery_cameras=g_camera)
    if not precisions:
        with pytest.raises(ValueError, match=f"none of the {q} queries"):
            rank_scores(similarity, q_person, g_person, **sides)
        return
    scores = rank_scores(similarity, q_person, g_person, **sides)
    assert scores.mAP == pytest.approx(np.mean(precisions), abs=1e-12)
    assert scores.queries == len(precisions)
    assert list(scores.unmatched) == unmatched
    for k in (1, 2, 5, g, g + 10):
        assert scores.rank(k) == pytest.approx(np.mean([first <= k for first in firsts]), abs=1e-12)


def test_ties_rank_in_gallery_order():
    assert rank_scores([[0.5, 0.5]], ["a"], ["a", "b"]).rank(1) == 1.0
    assert rank_scores([[0.5, 0.5]], ["a"], ["b", "a"]).rank(1) == 0.0


def test_without_cameras_nothing_is_left_out():
    assert rank_scores([[0.9, 0.1]], ["a"], ["a", "a"]).mAP == 1.0


def test_another_persons_tracklet_from_the_same_camera_stays():
    scores = rank_scores([[0.9, 0.5]], ["a"], ["b", "a"], query_cameras=[1], gallery_cameras=[1, 2])
    assert scores.mAP == 0.5


def test_a_query_never_finds_itself():
    similarity = [[1.0, 0.2, 0.6], [0.2, 1.0, 0.6], [0.6, 0.6, 1.0]]
    names, persons = ["x", "y", "z"], ["a", "a", "b"]
    scores = rank_scores(similarity, persons, persons, query_ids=names, gallery_ids=names)
    assert (scores.queries, scores.unmatched, scores.mAP, scores.rank(1)) == (2, (2,), 0.5, 0.0)


def test_distractors_count_as_wrong_answers():
    scores = rank_scores([[0.9, 0.8, 0.1]], ["a"], [None, None, "a"])
    assert scores.mAP == pytest.approx(1 / 3)


def test_rows_may_come_one_by_one_and_from_torch():
    matrix = torch.rand(5, 9, generator=torch.Generator().manual_seed(0))
    q_person, g_person = [0, 1, 2, 0, 1], [0, 1, 2] * 3
    whole = rank_scores(matrix, q_person, g_person)
    assert whole == rank_scores((row for row in matrix.numpy()), q_person, g_person)
    assert whole == rank_scores(matrix.tolist(), np.array(q_person), np.array(g_person))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_tensors_with_a_gradient_in_half_precision_and_on_a_device(device, dtype):
    similarity = torch.tensor([[0.5, 0.25, 0.125], [0.25, 0.5, 1]], dtype=dtype, device=device, requires_grad=True)
    persons = torch.tensor([1, 2], device=device), torch.tensor([2, 1, 2], device=device)
    scores = rank_scores(similarity, *persons)
    assert scores == rank_scores([[0.5, 0.25, 0.125], [0.25, 0.5, 1]], [1, 2], [2, 1, 2])
    assert scores.mAP == (0.5 + (1 + 2 / 3) / 2) / 2
    flags = torch.tensor([0, 1, 1], device=device), torch.tensor([0, 1, 0], device=device)
    assert match_ranks(similarity[0], *flags).tolist() == [1]
    assert average_precision(torch.tensor([0, 2], device=device)) == average_precision([0, 2])


def test_one_and_the_string_one_are_different_persons():
    assert rank_scores([[0.9, 0.1]], [1], ["1", 1]).rank(1) == 0.0


def test_small_pieces():
    assert match_ranks([3, 1, 2], [1, 1, 0], [0, 0, 0]).tolist() == [0, 2]
    assert average_precision([0, 1, 2]) == 1.0
    assert average_precision([1]) == 0.5
    with pytest.raises(ValueError, match="undefined"):
        average_precision([])


def test_says_what_it_is():
    scores = RankScores(mAP=0.5, cmc=(0.25, 0.75), mINP=0.4, queries=4, matches=2.5, unmatched=(2,))
    ranks = "mAP 50.0%, rank-1 25.0%, rank-5 75.0%, rank-10 75.0%, mINP 40.0%"
    assert str(scores) == f"{ranks} (4 queries; 1 without a match do not count)"
    with pytest.raises(ValueError, match="k >= 1"):
        scores.rank(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(similarity=[[0.1, 0.2, 0.3]]), r"expected similarity \(2, 3\).* got 1 rows"),
        (dict(similarity=[[0.1, 0.2]] * 2), r"expected similarity \(2, 3\).* row 0 has shape \(2,\)"),
        (dict(similarity=[[0.1, 0.2, 0.3]] * 3), r"expected similarity \(2, 3\).* row 2"),
        (dict(similarity=[[0.1, 0.2, 0.3], [0.1, float("nan"), 0.3]]), "NaN in row 1"),
        (dict(query_cameras=[1, 2]), "query_cameras and gallery_cameras go together"),
        (dict(query_cameras=[1, 2], gallery_cameras=[1]), "cameras.* got 2 and 1"),
        (dict(query_ids=[1, 2, 3], gallery_ids=[1, 2, 3]), "ids.* got 3 and 3"),
        (dict(query_persons=["x", "y"]), "none of the 2 queries"),
    ],
)
def test_mistakes_are_named(change, message):
    asked = dict(similarity=[[0.1, 0.2, 0.3]] * 2, query_persons=["a", "b"], gallery_persons=["a", "b", "a"]) | change
    with pytest.raises(ValueError, match=message):
        rank_scores(**asked)


def test_cameras_listed_per_frame_are_refused():
    with pytest.raises(TypeError, match="cameras must be plain values"):
        rank_scores([[0.1]], ["a"], ["a"], query_cameras=[[1, 1]], gallery_cameras=[[2]])
