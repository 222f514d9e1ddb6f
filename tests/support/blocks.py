"""What the tests of blocks share."""

import torch
from torch import nn


def randomise(module: nn.Module) -> nn.Module:
    """Random parameters, because zeros and ones would hide faults; in eval mode."""
    torch.manual_seed(0)
    for p in module.parameters():
        nn.init.normal_(p, std=0.3)
    return module.eval()
