"""Modules that a user might bring as a trunk."""

import torch
from torch import Tensor, nn

from stmga import STMGAConfig, TokenMap

SMALL = STMGAConfig(
    backbone="resnet18", stage="c4", size=(64, 32), clip_length=2, part_scales=(1, 2), temporal_scales=(1, 3),
    relation_dim=16,
)  # fmt: skip
PLAIN = STMGAConfig(
    backbone="resnet18", stage="c4", size=(64, 32), clip_length=2, parts="none", part_scales=(1,), temporal_scales=(),
    t_mga=False, s_mga=False,
)  # fmt: skip


def plain(channels: int = 48, stride: int = 16) -> nn.Module:
    """A few convolutions with batch norms, as a user writes them."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 5, stride=4, padding=2, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, channels, 3, stride=stride // 4, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
    )  # fmt: skip


class Vit(nn.Module):
    """(n 3 h w) -> (n l c): a transformer of one layer, with a class token in front."""

    def __init__(self, size: tuple[int, int] = (64, 32), width: int = 32) -> None:
        super().__init__()
        self.size = size
        patches = size[0] * size[1] // 256
        self.patches = nn.Conv2d(3, width, 16, stride=16)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, patches + 1, width))
        self.layer = nn.TransformerEncoderLayer(width, 2, 64, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_token.expand(x.shape[0], -1, -1), tokens), dim=1)
        return self.layer(tokens + self.positions)


def vit_map() -> nn.Module:
    return TokenMap(Vit(), grid=(4, 2))


def shaken(model: nn.Module) -> nn.Module:
    """The same module, with batch norms that do something."""
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
    return model
