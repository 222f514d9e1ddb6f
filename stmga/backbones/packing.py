"""ResNet trunks that only compute, on an x86 CPU: a convolution, its ReLU and the sum after it are one operation."""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn

from stmga.backbones.staged import Trunk


def can_pack() -> bool:
    """Whether torch has the operations of oneDNN that torch.compile uses here; they are not public."""
    known = hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight") and torch.backends.mkldnn.is_available()
    return known and platform.machine().lower() in ("x86_64", "amd64")


def pack(trunk: Trunk) -> None:
    """Replace the convolutions and blocks of a ResNet of :func:`build_resnet` whose batch norms are folded, in float32.

    Its maps are the same bits or, where oneDNN takes another kernel, the same to 1e-5. The trunk then has no weights to
    save, move or export.
    """
    trunk.conv1, trunk.relu = PackedConv2d(trunk.conv1, relu=True), nn.Identity()  # type: ignore[arg-type]
    for stage in trunk:
        if isinstance(stage, nn.Sequential):
            for place, block in list(stage.named_children()):
                setattr(stage, place, PackedBlock(block))


class PackedConv2d(nn.Module):
    """A convolution in float32, with its weights in oneDNN's order, and perhaps a ReLU.

    oneDNN otherwise copies them into that order at every call, which for one frame takes up to a third of the time.
    Those of one pixel are matrix products, which packed weights make up to twenty times as slow: they stay as they are.
    """

    def __init__(self, conv: nn.Conv2d, *, relu: bool = False) -> None:
        super().__init__()
        self.how: list[Any] = [conv.padding, conv.stride, conv.dilation, conv.groups]
        self.after: list[Any] = ["relu" if relu else "none", [], ""]
        self.bias = conv.bias
        weights = conv.weight.detach()
        if conv.kernel_size != (1, 1):
            weights = torch._C._nn.mkldnn_reorder_conv2d_weight(weights.to_mkldnn(), *self.how)
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weights, self.bias, *self.how, *self.after)
        return found

    def added_to(self, other: Tensor, x: Tensor) -> Tensor:
        """The convolution of ``x`` plus ``other``, then the ReLU."""
        add = torch.ops.mkldnn._convolution_pointwise.binary
        found: Tensor = add(x, other, self.weights, self.bias, *self.how, "add", 1.0, *self.after)
        return found


class PackedBlock(nn.Module):
    """(b c h w) -> (b c' h' w'), a residual block of torchvision; norms that were not folded stay."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")][: 3 if hasattr(block, "conv3") else 2]
        *first, last = [(getattr(block, conv), getattr(block, norm)) for conv, norm in pairs]
        self.first = nn.Sequential(*(
            PackedConv2d(conv, relu=True) if isinstance(norm, nn.Identity) else nn.Sequential(conv, norm, nn.ReLU())
            for conv, norm in first
        ))  # fmt: skip
        self.last = PackedConv2d(last[0], relu=True)
        self.shortcut = None if block.downsample is None else PackedConv2d(block.downsample[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.last.added_to(x if self.shortcut is None else self.shortcut(x), self.first(x))
