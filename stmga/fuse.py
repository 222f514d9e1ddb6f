"""Batch norms folded into the convolutions before them: the same network with less to do, for inference only."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stmga.backbones import ModuleTrunk
from stmga.backbones.folding import after_norm, watched_pairs
from stmga.backbones.packing import can_pack, pack
from stmga.backbones.staged import Trunk

if TYPE_CHECKING:
    from stmga.model import STMGA


def fused(model: STMGA, *, half: torch.dtype | None = None, digest: str = "") -> STMGA:
    """A copy in eval mode with batch norms folded into convolutions. The given network stays unchanged.

    Its maps are channels last, the fastest format for convolutions on CPUs and GPUs. Its embeddings agree to 1e-5, and
    :meth:`STMGA.digest` returns the digest of the original network, so their embeddings can be compared. It can neither
    be trained nor saved, because it no longer has the original parameters. In a trunk that is not a ResNet of stmga,
    norms are folded where one run shows that a convolution's map goes to that norm alone.

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
    foreign = isinstance(model.backbone, ModuleTrunk)
    for parent, conv, holder, norm in list(foldable_pairs(model)):
        a, b = getattr(parent, conv), getattr(holder, norm)
        setattr(parent, conv, fuse_conv_bn_eval(a, b))
        setattr(holder, norm, after_norm(b))
    model.fused_from = digest
    model.backbone.to(memory_format=model.backbone.memory_format)
    if half is not None:  # CPA's attentions have the precision of its weights, so it keeps float32
        # a module of another library may compute with its weights outside of autocast
        for part in (None if foreign else model.backbone, model.lsta, model.t_mga, model.s_mga):
            for module in part.modules() if part is not None else ():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    module.to(half)
    return model.eval().requires_grad_(False)


def packed(model: STMGA) -> STMGA:
    """The given network, a fused one on a CPU, with its ResNet packed: see :mod:`stmga.backbones.packing`.

    On other processors than x86, and in trunks of other libraries, whose weights they may read, nothing changes.
    """
    if isinstance(model.backbone, Trunk) and can_pack():
        pack(model.backbone)
    return model


def foldable_pairs(model: STMGA) -> Iterator[tuple[nn.Module, str, nn.Module, str]]:
    """Every convolution with the batch norm that alone gets its map, as (parent, name, parent, name)."""
    if not isinstance(model.backbone, ModuleTrunk):
        yield from ((parent, conv, parent, norm) for parent, conv, norm in conv_norm_pairs(model))
        return
    yield from watched_pairs(model.backbone)
    for part in (child for child in model.children() if child is not model.backbone):
        yield from ((parent, conv, parent, norm) for parent, conv, norm in conv_norm_pairs(part))


def conv_norm_pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Every convolution and the batch norm right after it by name, in our own modules and in torchvision's ResNets."""
    for parent in model.modules():
        children = list(parent.named_children())
        # torchvision names the layers of its residual blocks in the order in which they run: conv1 bn1 conv2 bn2 ... A
        # shared ReLU may come last. Sequential runs in its order by definition.
        for (conv, a), (norm, b) in pairwise(children):
            if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d):
                yield parent, conv, norm
