"""Any array or tensor as a numpy array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
