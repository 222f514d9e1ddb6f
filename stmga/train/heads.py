"""The heads that training adds to the features and discards at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn


class HeadOutput(NamedTuple):
    """A feature after its BN neck, and the logits of its classifier."""

    feature: Tensor  # (b c)
    logits: Tensor  # (b identities)


class IdentityHeads(nn.Module):
    """one (b c) for each feature -> its :class:`HeadOutput`: a BN neck and a linear classifier for each (D31).

    The neck of the final feature is in the network, since inference needs it; only its classifier is here.

    Args:
        dim: channels c.
        identities: number of persons.
        features: names of the supervised features, such as ``("p_g", "z_f", "z_t", "z_c")``.
        final: the one whose neck the network has.

    Example:
        >>> import torch
        >>> heads = IdentityHeads(16, identities=5, features=("z_f", "z_c"), final="z_c")
        >>> outputs = heads({name: torch.rand(4, 16) for name in ("z_f", "z_c")}, neck=nn.BatchNorm1d(16))
        >>> outputs["z_f"].logits.shape
        torch.Size([4, 5])
    """

    def __init__(self, dim: int, *, identities: int, features: Sequence[str], final: str) -> None:
        super().__init__()
        if identities < 2 or final not in features:
            raise ValueError(f"expected at least 2 identities and {final!r} among {tuple(features)}, got {identities}")
        self.final = final
        self.necks = nn.ModuleDict({name: nn.BatchNorm1d(dim) for name in features if name != final})
        self.classifiers = nn.ModuleDict({name: _classifier(dim, identities) for name in features})

    def forward(self, features: Mapping[str, Tensor], neck: Callable[[Tensor], Tensor]) -> dict[str, HeadOutput]:
        outputs = {}
        for name, classifier in self.classifiers.items():
            feature = neck(features[name]) if name == self.final else self.necks[name](features[name])
            outputs[name] = HeadOutput(feature, classifier(feature))
        return outputs


def _classifier(dim: int, identities: int) -> nn.Linear:
    linear = nn.Linear(dim, identities)
    nn.init.normal_(linear.weight, std=0.001)
    nn.init.zeros_(linear.bias)
    return linear
