"""Any array or tensor as a numpy array, and tensors as the bytes of a digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def to_numpy(values: Any) -> NDArray[Any]:
    """An array from anything that ``np.asarray`` takes, or from a tensor on any device and of any precision.

    >>> to_numpy([1, 2])
    array([1, 2])
    """
    if hasattr(values, "detach"):  # a tensor, without importing torch
        values = values.detach().cpu()
        if values.is_floating_point() and values.element_size() < 4:
            values = values.float()  # numpy has no bfloat16
    return np.asarray(values)


def hash_weights(total: Any, state: Mapping[str, Tensor]) -> None:
    """Add the tensors of a ``state_dict`` to a hash of ``hashlib``: names, types, shapes and bytes, sorted by name."""
    import torch

    for name, tensor in sorted(state.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
