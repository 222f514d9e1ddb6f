"""Makes results independent of the caller's process-wide settings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def isolated(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function without the caller's ``autocast`` and without its ``torch.set_default_device``.

    The default dtype cannot be set for one thread only, so every tensor that stmga creates has an explicit dtype.

    >>> @isolated
    ... def product(x):
    ...     return (x @ x).dtype
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     product(torch.eye(2))
    torch.float32
    """

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with ExitStack() as stack:
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            return function(*args, **kwargs)

    return inner
