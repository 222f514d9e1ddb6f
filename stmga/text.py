"""Names in messages: a short list of them, and the ones a wrong name may have meant."""

import difflib
from collections.abc import Iterable

__all__ = ["closest", "some"]


def some(names: Iterable[object], limit: int = 5) -> str:
    """The first ``limit`` names and how many more there are: ``"a, b and 3 more"``."""
    every = [str(name) for name in names]
    listed = ", ".join(every[:limit])
    return f"{listed} and {len(every) - limit} more" if len(every) > limit else listed


def closest(name: str, names: Iterable[str]) -> str:
    """``"did you mean 'x' or 'y'?"``, or an empty string where nothing is near ``name``."""
    near = difflib.get_close_matches(name, list(names))
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""
