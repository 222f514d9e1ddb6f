"""Torchvision's ResNets as trunks, whole or cut after layer3, and their IBN-a variants."""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from stmga.backbones.staged import Trunk
from stmga.config import IBN

STAGES = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc")


class IBN_a(nn.Module):  # noqa: N801 - the paper's name
    """(b c h w) -> (b c h w): instance norm on the first half of the channels, batch norm on the rest.

    Of IBN-Net (Pan et al., ECCV 2018), variant a. Instance norm removes the look of a single camera, such as contrast
    and tint, which batch norm keeps. Names of parameters are those of the authors' code, ``IN`` and ``BN``.

    >>> IBN_a(64)(torch.rand(2, 64, 8, 4)).shape
    torch.Size([2, 64, 8, 4])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = channels // 2
        self.IN = nn.InstanceNorm2d(self.split, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.split)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.IN(x[:, : self.split]), self.BN(x[:, self.split :])), dim=1)


def build_resnet(name: str, stage: str) -> Trunk:
    """An untrained ResNet trunk: (b 3 h w) -> (b c h/16 w/16); its parameters have torchvision's names.

    ``stage="c5"`` is the whole network with the stride of layer4 removed, ``"c4"`` ends after layer3. A name that ends
    in ``_ibn`` has :class:`IBN_a` in place of the first norm of each block of layer1 to layer3.
    """
    import torchvision

    net = getattr(torchvision.models, name.removesuffix(IBN))(weights=None)
    children = OrderedDict(net.named_children())
    for head in ("avgpool", "fc", *(["layer4"] if stage == "c4" else [])):
        del children[head]
    if name.endswith(IBN):
        for block in (block for layer in ("layer1", "layer2", "layer3") for block in children[layer]):
            block.bn1 = IBN_a(block.bn1.num_features)
    if stage == "c5":  # the last stage keeps the 16 x 8 map of the stage before it
        first = children["layer4"][0]
        (first.conv2 if hasattr(first, "conv3") else first.conv1).stride = (1, 1)
        first.downsample[0].stride = (1, 1)
    trunk = Trunk(children)
    last: Any = children["layer3" if stage == "c4" else "layer4"][-1]
    trunk.dim = (last.conv3 if hasattr(last, "conv3") else last.conv2).out_channels
    return trunk
