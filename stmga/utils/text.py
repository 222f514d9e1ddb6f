"""Text for messages: short lists of names, the name that was meant, tables."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["counted", "did_you_mean", "has_effect", "preview", "text_table", "visible"]

_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # reorder the letters around them


def preview(names: Iterable[object], limit: int = 5) -> str:
    """The first ``limit`` names and how many more there are: ``"a, b and 3 more"``."""
    every = [visible(str(name)) for name in names]
    listed = ", ".join(every[:limit])
    return f"{listed} and {len(every) - limit} more" if len(every) > limit else listed


def counted(n: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "person"), counted(3336, "person")
    ('1 person', '3,336 persons')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``"did you mean 'x' or 'y'?"``, or an empty string if no name is similar."""
    near = difflib.get_close_matches(name, list(names))
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def text_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns of text under their names; numbers are right-aligned, ``None`` is a dash.

    >>> print(text_table(["name", "size"], [["a", 10], ["bcd", None]]))
    name  size
    a       10
    bcd      -
    """
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    return (
        "-" if value is None else f"{value:,}" if isinstance(value, int) else visible(str(value)).replace("\n", "\\n")
    )


def visible(text: str) -> str:
    r"""A text of several lines, safe to print: control characters and changes of direction are escaped.

    >>> visible("a\x1b[2J\nb\u00a0c")
    'a\\x1b[2J\nb\xa0c'
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(ascii(letter)[1:-1] if has_effect(letter) else letter for letter in text)


def has_effect(letter: str) -> bool:
    """Whether a terminal acts on a letter: a control character, half a surrogate pair, or a change of direction."""
    return (unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\t\n") or letter in _DIRECTIONS
