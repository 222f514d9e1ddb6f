"""Each loss against a literal loop over its equation; the triplet also against pytorch-metric-learning."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga.train.losses import (
    identity_loss,
    pairwise_distance,
    part_attention_loss,
    part_class_loss,
    triplet_loss,
)


def literal_triplet(features, persons, margin, distance):
    """Equation by equation, anchor by anchor; None where no anchor counts."""

    def d(x, y):
        return float(1 - torch.cosine_similarity(x, y, dim=0)) if distance == "cosine" else float((x - y).norm())

    costs = []
    for a, anchor in enumerate(features):
        positives = [d(anchor, x) for i, x in enumerate(features) if persons[i] == persons[a] and i != a]
        negatives = [d(anchor, x) for i, x in enumerate(features) if persons[i] != persons[a]]
        if positives and negatives:
            gap = max(positives) - min(negatives)
            costs.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin))
    return sum(costs) / len(costs) if costs else None


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("margin", [0.3, 0.0, None])
@settings(max_examples=25, deadline=None)
@given(persons=st.lists(st.integers(0, 3), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_triplet_is_its_literal_loop(distance, margin, persons, seed):
    features = torch.randn(len(persons), 5, generator=torch.Generator().manual_seed(seed))
    loss = triplet_loss(features, torch.tensor(persons), margin=margin, distance=distance)
    expected = literal_triplet(features, persons, margin, distance)
    assert float(loss) == pytest.approx(expected or 0.0, abs=1e-5)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("margin", [0.3, None])
def test_triplet_and_its_gradient_are_those_of_pytorch_metric_learning(distance, margin):
    pytest.importorskip("pytorch_metric_learning", reason="pytorch-metric-learning is not installed")
    from pytorch_metric_learning import distances, losses, miners, reducers

    metric = distances.CosineSimilarity() if distance == "cosine" else distances.LpDistance(normalize_embeddings=False)
    miner = miners.BatchHardMiner(distance=metric)
    smooth = {"margin": 0.0, "smooth_loss": True} if margin is None else {"margin": margin}
    theirs = losses.TripletMarginLoss(distance=metric, reducer=reducers.MeanReducer(), **smooth)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(16, 8, generator=generator, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        persons = torch.randint(0, 5, (16,), generator=generator)
        ours = triplet_loss(x, persons, margin=margin, distance=distance)
        other = theirs(y, persons, miner(y, persons))
        ours.backward()
        other.backward()
        torch.testing.assert_close(ours, other)
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("persons", [[0, 1, 2], [4, 4, 4], [5]], ids=["no positive", "no negative", "one clip"])
@pytest.mark.parametrize("margin", [0.3, None])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_a_batch_without_a_triplet_keeps_the_graph(persons, margin, distance):
    features = torch.randn(len(persons), 4, requires_grad=True)
    loss = triplet_loss(features, torch.tensor(persons), margin=margin, distance=distance)
    (loss + features.sum()).backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.ones_like(features))  # and nothing that is not finite from the triplet


def test_an_anchor_without_positive_does_not_count():
    features = torch.tensor([[0.0, 1], [1, 0], [1, 0.1]])
    with_single = triplet_loss(features, torch.tensor([0, 1, 1]))
    assert with_single == pytest.approx(literal_triplet(features, [0, 1, 1], 0.3, "cosine"), abs=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_equal_rows_have_a_finite_gradient(distance):
    features = torch.ones(4, 3, requires_grad=True)
    loss = triplet_loss(features, torch.tensor([0, 0, 1, 1]), distance=distance)
    loss.backward()
    assert float(loss) == pytest.approx(0.3)
    assert torch.isfinite(features.grad).all()


def test_a_broken_feature_breaks_the_loss():
    """Otherwise nobody would stop."""
    features = torch.randn(4, 3)
    features[2, 1] = torch.nan
    assert torch.isnan(triplet_loss(features, torch.tensor([0, 0, 1, 1])))


def test_triplet_in_half_precision_is_computed_in_full():
    features = 100 * torch.randn(8, 512)
    persons = torch.arange(8) // 2
    half = triplet_loss(features.half(), persons, distance="euclidean")
    assert half.dtype == torch.float32
    assert torch.allclose(half, triplet_loss(features.half().float(), persons, distance="euclidean"))


def test_anchors_against_the_batch_of_all_processes():
    features, persons = torch.randn(8, 4), torch.arange(8) // 2 % 2
    halves = [triplet_loss(features[i : i + 4], persons[i : i + 4], others=(features, persons)) for i in (0, 4)]
    assert sum(halves) / 2 == pytest.approx(float(triplet_loss(features, persons)), abs=1e-6)


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="cosine"):
        pairwise_distance(torch.rand(2, 2), torch.rand(2, 2), "manhattan")
    with pytest.raises(ValueError, match="b persons"):
        triplet_loss(torch.rand(3, 2), torch.tensor([1, 2]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_identity_loss_is_its_literal_loop(smoothing):
    logits, persons = torch.randn(6, 5), torch.randint(0, 5, (6,))
    total = 0.0
    for row, person in zip(logits.tolist(), persons.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(v) for v in row))
        for k, v in enumerate(row):
            q = smoothing / 5 + (1 - smoothing) * (k == person)
            total -= q * (v - log_sum) / 6
    assert float(identity_loss(logits, persons, smoothing=smoothing)) == pytest.approx(total, abs=1e-5)


def literal_part_attention(parts, target):
    b, t, n, h, w = parts.shape
    total = 0.0
    for i in range(b):
        for j in range(t):
            places = [(y, x) for y in range(h) for x in range(w)]
            for y, x in places:
                total += abs(sum(float(parts[i, j, k, y, x]) for k in range(n)) - float(target[i, j, 0, y, x])) / (
                    h * w
                )
            whole = sum(float(target[i, j, 0, y, x]) for y, x in places)
            for k in range(n):
                total += abs(sum(float(parts[i, j, k, y, x]) for y, x in places) - whole / n) / (h * w)
    return total / (b * t)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_part_attention_loss_is_its_literal_loop(n):
    parts, target = torch.rand(2, 3, n, 4, 3), torch.rand(2, 3, 1, 4, 3)
    assert float(part_attention_loss(parts, target)) == pytest.approx(literal_part_attention(parts, target), rel=1e-5)


def test_part_attention_loss_has_the_invariants_of_the_method():
    target = torch.rand(2, 3, 1, 16, 8, requires_grad=True)
    equal = (target.detach() / 4).expand(2, 3, 4, 16, 8)
    assert float(part_attention_loss(equal, target)) == pytest.approx(0, abs=1e-6)
    parts = torch.rand(2, 3, 4, 16, 8, requires_grad=True)
    loss = part_attention_loss(parts, target)
    torch.testing.assert_close(loss, part_attention_loss(parts[:, :, [2, 0, 3, 1]], target))
    loss.backward()
    assert target.grad is None  # the teacher is not taught (D11)
    assert parts.grad.abs().sum() > 0
    assert float(part_attention_loss(torch.full((1, 1, 4, 16, 8), 0.5), torch.full((1, 1, 1, 16, 8), 0.4))) == (
        pytest.approx(1.6 + 4 * 0.4)  # |4 x 0.5 - 0.4|, and four times |0.5 - 0.1|
    )


def test_part_class_loss_is_its_literal_loop():
    logits = torch.randn(3, 4, 4)
    total = 0.0
    for clip in logits.tolist():
        for part, row in enumerate(clip):
            total -= (row[part] - math.log(sum(math.exp(v) for v in row))) / 12
    assert float(part_class_loss(logits)) == pytest.approx(total, abs=1e-5)
