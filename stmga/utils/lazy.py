"""Names of a package whose modules are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def imported_later(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package: ``modules`` has the module of each of these names.

    >>> later = imported_later("stmga.data", {"Fraction": "fractions"})
    >>> later("Fraction")(1, 2)
    Fraction(1, 2)
    >>> later("other")
    Traceback (most recent call last):
    AttributeError: module 'stmga.data' has no attribute 'other'
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    return get
