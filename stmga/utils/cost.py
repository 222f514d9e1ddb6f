"""What a network costs to compute: its multiply-accumulates, by torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def gmac(run: Callable[..., Any], *args: Any) -> float:
    """Multiply-accumulates of one call of ``run``, in units of 10^9.

    torch counts the operations of convolutions, matrix products and attention; half of them are multiplications. It
    counts no element-wise operation, norm or pooling.

    >>> gmac(nn.Conv2d(3, 64, 7, stride=2, padding=3), torch.zeros(1, 3, 224, 224))
    0.118013952
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        # attention as matrix products: torch's counter does not know its operators for a CPU
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            run(*args)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() / 2e9


def parameters(module: nn.Module) -> int:
    """How many numbers its parameters have.

    >>> parameters(nn.Linear(10, 5))
    55
    """
    return sum(parameter.numel() for parameter in module.parameters())


def megabytes(module: nn.Module) -> float:
    """Of its parameters and buffers, as they are in memory; 10^6 bytes.

    >>> megabytes(nn.Linear(10, 5))
    0.00022
    """
    return sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()]) / 1e6
