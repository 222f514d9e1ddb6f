"""Griffe extension: examples (``>>>``) in docstrings become code blocks, and Sphinx roles become plain code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"^( *)(>>> .*(?:\n(?! *$).*)*)", re.MULTILINE)  # from the prompt to the next empty line
ROLE = re.compile(r":(?:func|class|meth|mod|attr|data):`~?([^`]+)`")


def markdown(text: str) -> str:
    """The docstring as Markdown that renders as it was meant."""
    return EXAMPLE.sub(r"\1```pycon\n\1\2\n\1```", ROLE.sub(r"`\1`", text))


class DocstringExamples(Extension):
    """Rewrites every docstring once it is read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
