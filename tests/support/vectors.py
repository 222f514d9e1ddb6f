"""Vectors of made-up persons."""

import torch


def people(n, c=16, each=5, noise=0.5, seed=0):
    """Unit vectors around centres, each of which has ``each`` of them."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(-(-n // each), c, generator=g, dtype=torch.float32)
    x = centres[torch.arange(n) // each] + noise * torch.randn(n, c, generator=g, dtype=torch.float32)
    return torch.nn.functional.normalize(x, dim=1)
