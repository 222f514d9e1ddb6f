"""The losses, one function per equation; each computes in float32 and returns a scalar with a gradient."""

import torch
from torch import Tensor
from torch.nn import functional as F

from stmga.blocks.ops import at_least_float32

DISTANCES = ("cosine", "euclidean")


def triplet_loss(
    features: Tensor,
    persons: Tensor,
    *,
    margin: float | None = 0.3,
    distance: str = "cosine",
    others: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """(b c), (b) -> the batch-hard triplet loss (D31).

    Every anchor against the farthest clip p of its own person and the nearest clip n of another:

        mean_a max(0, d(a, p) - d(a, n) + margin)          margin=None: mean_a log(1 + exp(d(a, p) - d(a, n)))

    Anchors without p or without n do not count. If none counts, the loss is 0 and its gradient is 0, not None.

    Args:
        features: one row a clip.
        persons: integers, equal where the person is.
        margin: None for the soft margin.
        distance: ``"cosine"`` is 1 - cos, ``"euclidean"`` the length of the difference.
        others: rows and persons from which p and n are taken, which must contain the anchors: the batch of all
            processes. An anchor's own row is a p at distance 0, which changes nothing. Default: the anchors.

    Raises:
        ValueError: another distance, or persons that are not one for each row.

    >>> triplet_loss(torch.tensor([[1.0, 0], [1, 0], [0, 1]]), torch.tensor([7, 7, 8]))
    tensor(0.)
    >>> triplet_loss(torch.tensor([[1.0, 0], [0, 1], [1, 0]]), torch.tensor([7, 7, 8]))  # d(a, p) = 1, d(a, n) = 0, 1
    tensor(0.8000)
    """
    rows, labels = (features, persons) if others is None else others
    if features.ndim != 2 or persons.shape != features.shape[:1] or labels.shape != rows.shape[:1]:
        raise ValueError(f"expected features (b, c) and b persons, got {tuple(features.shape)}, {tuple(persons.shape)}")
    d = pairwise_distance(features, rows, distance)
    same = persons[:, None] == labels[None, :]
    # An anchor is its own nearest positive, so it is the farthest only if it has no other.
    counts = (same.sum(1) > 1) & (~same).any(1)
    hardest = d.masked_fill(~same, -torch.inf).amax(1) - d.masked_fill(same, torch.inf).amin(1)
    gap = hardest.masked_fill(~counts, 0.0)
    cost = F.softplus(gap) if margin is None else F.relu(gap + margin)
    return cost.masked_fill(~counts, 0.0).sum() / counts.sum().clamp(min=1)


def pairwise_distance(x: Tensor, y: Tensor, kind: str = "cosine") -> Tensor:
    """(b c), (d c) -> (b d) in float32; the gradient between equal rows is 0, not NaN.

    >>> pairwise_distance(torch.tensor([[3.0, 0]]), torch.tensor([[3.0, 0], [0, 4]]), "euclidean")
    tensor([[0., 5.]])
    """
    x, y = at_least_float32(x), at_least_float32(y)
    if kind == "cosine":
        return 1 - F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
    if kind == "euclidean":  # not by |x|^2 + |y|^2 - 2xy, which loses the small distances
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    raise ValueError(f"distance must be one of {', '.join(map(repr, DISTANCES))}, got {kind!r}")


def identity_loss(logits: Tensor, persons: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """(b k), (b) -> cross-entropy -sum_k q_k log softmax(logits)_k, mean over the batch (D32).

    q is 1 - smoothing at the person, plus smoothing / k at each of the k persons.

    >>> identity_loss(torch.zeros(2, 4), torch.tensor([0, 3]))
    tensor(1.3863)
    """
    return F.cross_entropy(at_least_float32(logits), persons, label_smoothing=smoothing)


def part_attention_loss(parts: Tensor, target: Tensor) -> Tensor:
    """(b t n h w), (b t 1 h w) -> L_PA (eq. 4, with 1/K as in D12), mean over frames and batch.

    With K = h w positions, part attentions r^n and their target r^g:

        1/K sum_k |sum_n r^n_k - r^g_k|  +  sum_n 1/K |sum_k r^n_k - 1/n sum_k r^g_k|

    The parts add up to the target at every position, and have equal shares of it. The target is their teacher: it is
    detached (D11).

    >>> target = torch.rand(2, 3, 1, 16, 8)
    >>> part_attention_loss((target / 4).expand(2, 3, 4, 16, 8), target) < 1e-6
    tensor(True)
    """
    parts, target = at_least_float32(parts), at_least_float32(target).detach()
    covered = (parts.sum(2, keepdim=True) - target).abs().mean()
    shares = parts.mean((-2, -1)) - target.mean((-2, -1)) / parts.shape[2]
    return covered + shares.abs().sum(2).mean()


def part_class_loss(logits: Tensor) -> Tensor:
    """(b n n) -> L_PCE (eq. 3): part number i of each clip must be classified as i; mean over the b n parts.

    >>> part_class_loss(100 * torch.eye(4).expand(2, 4, 4))
    tensor(0.)
    """
    b, n, _ = logits.shape
    return F.cross_entropy(
        at_least_float32(logits).flatten(0, 1), torch.arange(n, dtype=torch.int64, device=logits.device).repeat(b)
    )


def memory_loss(features: Tensor, persons: Tensor, memory: Tensor, *, temperature: float = 0.1) -> Tensor:
    """(b c), (b), (k c) -> contrast of each row with the vectors of all k persons, mean over the batch.

    Not in the paper. From Dai et al., Cluster Contrast for Unsupervised Person Re-Identification, ACCV 2022:

        mean_i -log softmax_k(cos(x_i, memory_k) / temperature) at the person of i

    Args:
        features: one row per clip.
        persons: rows of ``memory``.
        memory: one vector per person; it gets no gradient.
        temperature: with a low one, only the most similar persons matter.

    >>> memory_loss(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), temperature=1.0)
    tensor(0.3133)
    """
    cosines = 1 - pairwise_distance(features, memory.detach())
    return F.cross_entropy(cosines / temperature, persons)


def region_loss(parts: Tensor, whole: Tensor, regions: Tensor) -> Tensor:
    """(b t n h w), (b t 1 h w) attentions in 0..1, (b t n h w) shares per pixel -> cross-entropy of each with its own.

    Not in the paper. With pixel labels, part n learns region n, and the global attention all regions together.

    >>> shares = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1)
    >>> region_loss(shares, shares.sum(2, keepdim=True), shares)
    tensor(0.)
    """
    parts, whole, regions = (at_least_float32(x) for x in (parts, whole, regions))
    body = regions.sum(2, keepdim=True).clamp(max=1)
    return F.binary_cross_entropy(parts, regions) + F.binary_cross_entropy(whole, body)
