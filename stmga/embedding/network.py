"""What an embedder computes with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Network(NamedTuple):
    """The two halves of a network: clips to features, whose mean over a tracklet's clips goes through the head."""

    encode: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
