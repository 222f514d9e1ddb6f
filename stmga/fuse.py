"""Batch norms folded into the convolutions before them: the same network with less to do, for inference only."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from stmga.model import STMGA


def fused(model: STMGA, *, half: torch.dtype | None = None, digest: str = "") -> STMGA:
    """A copy in eval mode with batch norms folded into convolutions. The given network stays unchanged.

    Its maps are channels last, the fastest format for convolutions on CPUs and GPUs. Its embeddings agree to 1e-5, and
    :meth:`STMGA.digest` returns the digest of the original network, so their embeddings can be compared. It can neither
    be trained nor saved, because it no longer has the original parameters.

    Args:
        model: a network in eval mode.
        half: the autocast type, if the copy is only used under autocast. Weights of convolutions and linear layers are
            stored in it. The results are the same bits, since autocast would round them for every batch.
        digest: of the network, if it is known.

    Raises:
        ValueError: the network is in training mode, where a batch norm has no fixed value.

    Example:
        >>> import torch
        >>> from stmga import STMGA, STMGAConfig
        >>> model = STMGA(STMGAConfig(backbone="resnet18", stage="c4")).eval()
        >>> clips = torch.rand(1, 2, 3, 64, 32)
        >>> torch.allclose(fused(model)(clips), model(clips), atol=1e-5)
        True
    """
    if any(module.training for module in model.modules()):
        raise ValueError("the network is in training mode, where batch norms follow each batch; call model.eval()")
    digest = digest or model.digest()
    model = copy.deepcopy(model)
    for parent, conv, norm in list(conv_norm_pairs(model)):
        a, b = getattr(parent, conv), getattr(parent, norm)
        setattr(parent, conv, fuse_conv_bn_eval(a, b))
        setattr(parent, norm, nn.Identity())
    model.fused_from = digest
    model.backbone.to(memory_format=torch.channels_last)
    if half is not None:  # CPA's attentions have the precision of its weights, so it keeps float32
        for part in (model.backbone, model.lsta, model.t_mga, model.s_mga):
            for module in part.modules() if part is not None else ():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    module.to(half)
    return model.eval().requires_grad_(False)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside. Afterwards each module is in its mode from before, frozen parts included."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def conv_norm_pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Every convolution and the batch norm right after it, as (parent, name, name)."""
    for parent in model.modules():
        children = list(parent.named_children())
        # torchvision names the layers of its residual blocks in the order in which they run: conv1 bn1 conv2 bn2 ... A
        # shared ReLU may come last. Sequential runs in its order by definition.
        for (conv, a), (norm, b) in pairwise(children):
            if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d):
                yield parent, conv, norm
