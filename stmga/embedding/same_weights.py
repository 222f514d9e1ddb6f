"""Vectors compare only if the same weights made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class MadeByWeights(Protocol):
    """Vectors of some weights: :class:`stmga.Embeddings`, :class:`stmga.Gallery`."""

    @property
    def model(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def dim(self) -> int: ...


def require_same_weights(
    a: MadeByWeights, b: MadeByWeights, this: str, that: str, *, error: Callable[[str], Exception] = ValueError
) -> None:
    """Raise ``error`` unless the vectors of both can be compared; ``this`` and ``that`` name them, in the plural."""
    if a.digest != b.digest:
        raise error(
            f"{this} were made with {_weights(a)}, {that} with {_weights(b)}: "
            "vectors of different weights cannot be compared; embed both with the same weights"
        )
    if a.dim != b.dim:
        raise error(f"{this} have {a.dim} numbers per vector, {that} {b.dim}")


def _weights(made: MadeByWeights) -> str:
    return f"{made.model or 'an unnamed model'} (digest {made.digest[:12] or 'none'})"
