"""Multi-granularity aggregation: sets of vectors at several scales become one vector (section 3.4 of the paper)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stmga.blocks.ops import at_least_float32, check_input, no_autocast


class MGA(nn.Module):
    """one (b n_s c) for each scale -> (b c): relate the vectors of a scale, then weigh the scales (eq. 9-11).

    The same module serves space (a scale's set is its parts) and time (a scale's set is its frames).

    Args:
        dim: channels c.
        counts: for each scale the number n_s of vectors in its set, or None where it varies (frames). A scale that
            always has one vector gets no relation layers.
        relation_dim: width of the relation layers phi and omega; None is ``dim``, as the paper.
        partwise: relate the vectors of a scale (eq. 9); without it they are averaged.
        scalewise: weigh the scales by attention (eq. 10-11); without it they are averaged. A single scale is returned
            unchanged.
        tau: temperature of both softmaxes.
        reduction: shrink ratio of the scale attention's hidden layer (eta in the paper).

    Example:
        >>> import torch
        >>> mga = MGA(64, counts=(1, 2, 4))
        >>> mga([torch.rand(3, n, 64) for n in (1, 2, 4)]).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        dim: int,
        *,
        counts: Sequence[int | None],
        relation_dim: int | None = None,
        partwise: bool = True,
        scalewise: bool = True,
        tau: float = 0.05,
        reduction: int = 4,
    ) -> None:
        super().__init__()
        if not counts or any(n is not None and n < 1 for n in counts):
            raise ValueError(f"MGA needs one count for each scale, each at least 1 or None, got {tuple(counts)}")
        if tau <= 0 or min(dim, reduction, 1 if relation_dim is None else relation_dim) < 1:
            raise ValueError(
                "MGA needs tau above 0 and dim, relation_dim, reduction of at least 1, "
                f"got {tau}, {dim}, {relation_dim}, {reduction}"
            )
        self.dim, self.counts = dim, tuple(counts)
        width = dim if relation_dim is None else relation_dim
        self.aggregators = nn.ModuleList(
            Partwise(dim, width, related=n != 1, tau=tau) if partwise else SetMean() for n in counts
        )
        self.weigh = ScaleAttention(dim, reduction, tau=tau) if scalewise and len(counts) > 1 else None

    def forward(self, sets: Sequence[Tensor]) -> Tensor:
        if not isinstance(sets, (list, tuple, Tensor)):
            raise TypeError(f"MGA takes a list with a tensor (b, n, c) for each scale, got {type(sets).__name__}")
        if len(sets) != len(self.counts):
            raise ValueError(f"MGA was built for {len(self.counts)} scales, got {len(sets)} sets")
        for x, n in zip(sets, self.counts, strict=True):
            check_input(x, "b n c", "MGA", self.dim)
            if n is not None and x.shape[1] != n:
                raise ValueError(f"MGA was built for a set (b, {n}, {self.dim}), got shape {tuple(x.shape)}")
            if x.shape[0] != sets[0].shape[0]:
                raise ValueError(f"MGA takes sets of one b, got shapes {[tuple(y.shape) for y in sets]}")
        # Contiguous: a linear layer is then one product instead of one per batch element.
        vectors = [aggregate(x.contiguous()) for aggregate, x in zip(self.aggregators, sets, strict=True)]
        y = torch.stack(vectors, dim=1)  # (b s c)
        if self.weigh is None:
            return y.mean(1)
        return (self.weigh(y) * y).sum(1) + y.mean(1)


class Partwise(nn.Module):
    """(b n c) -> (b c): each vector aggregates the related ones; the mean of the results, plus the residual (eq. 9)."""

    def __init__(self, dim: int, width: int, *, related: bool, tau: float) -> None:
        super().__init__()
        self.tau = tau
        self.phi = nn.Linear(dim, width) if related else None
        self.omega = nn.Linear(dim, width) if related else None
        self.psi = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        # mean_i (R psi(x))_i = psi(mean_i (R x)_i), because psi is linear and the rows of R add up to 1: so psi sees
        # one vector instead of n, and only the mean of R's rows matters.
        mean = x.mean(1)
        # A single vector relates to itself alone. In training, phi and omega still need a gradient, if only zero.
        if self.phi is None or (x.shape[1] == 1 and not self.training):
            return self.psi(mean) + mean
        share = self.relation(x).mean(1, keepdim=True).to(x.dtype)  # (b 1 n)
        return self.psi((share @ x).squeeze(1)) + mean

    def relation(self, x: Tensor) -> Tensor:
        """(b n c) -> (b n n), rows that add up to 1: softmax of the cosine between phi(x_i) and omega(x_j) (eq. 9).

        Cosine, not the dot product, which at tau = 0.05 is a hard arg-max from the first step and never learns.
        """
        assert self.phi is not None
        assert self.omega is not None
        query = F.normalize(at_least_float32(self.phi(x)), dim=-1)
        key = F.normalize(at_least_float32(self.omega(x)), dim=-1)
        with no_autocast(x.device.type):  # 1 / tau = 20 would amplify the rounding of a product
            return (query @ key.mT / self.tau).softmax(-1)


class SetMean(nn.Module):
    """(b n c) -> (b c): the plain average, where the partwise aggregator is switched off."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class ScaleAttention(nn.Module):
    """(b s c) -> (b s c), the weight of each scale for each channel; weights add up to 1 over the scales (eq. 10)."""

    def __init__(self, dim: int, reduction: int, *, tau: float) -> None:
        super().__init__()
        self.tau = tau
        hidden = max(1, dim // reduction)
        self.score = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, y: Tensor) -> Tensor:
        # The scores see unit vectors: with raw features at tau = 0.05 one scale wins from the start, for good.
        unit = F.normalize(at_least_float32(y), dim=-1).to(y.dtype)
        return (at_least_float32(self.score(unit)) / self.tau).softmax(1).to(y.dtype)
