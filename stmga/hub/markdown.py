"""Escapes text of a record for Markdown, so that it is never read as markup."""

from __future__ import annotations

import re
import textwrap

_MARKUP = re.compile(r"([\\`*\[\]]|(?<![^\W_])_|_(?![^\W_]))")  # underscores within a word are only underscores
_ENTITY = re.compile(r"&(?=#?\w+;)")
WIDTH = 112  # of a line of prose or of a command
_BLOCK = re.compile(r"^(\d*)([#>+\-=|.):])")  # what begins a heading, quotation, list, table or rule


def inline(text: object) -> str:
    """A text for a paragraph, a list or a heading: one line, with Markdown and HTML escaped.

    >>> inline("a_b <script> [x](y) *z*")
    'a_b &lt;script> \\\\[x\\\\](y) \\\\*z\\\\*'
    >>> inline("# title\\n- item")
    '\\\\# title - item'
    """
    return _BLOCK.sub(r"\1\\\2", _escaped(text))


def wrapped(text: str, bullet: str = "") -> str:
    """Escaped text as a paragraph or a list item of several lines, none of which begins a block of its own.

    Not for text with `code`: a line that begins inside a span of code may still begin a block of HTML.

    >>> print(wrapped("four " * 22 + "in # 1", "- "))
    - four four four four four four four four four four four four four four four four four four four four four four
      in # 1
    >>> print(wrapped("four " * 22 + "in # 1"))
    four four four four four four four four four four four four four four four four four four four four four four in
    \\# 1
    """
    lines = textwrap.wrap(text, WIDTH - len(bullet), break_long_words=False, break_on_hyphens=False)
    return bullet + f"\n{' ' * len(bullet)}".join(_BLOCK.sub(r"\1\\\2", line) for line in lines)


def cell(text: object) -> str:
    """A text for a cell of a table.

    >>> cell("a|b"), cell("-")
    ('a\\\\|b', '-')
    """
    return _escaped(text).replace("|", "\\|")


def code(text: object) -> str:
    """A text as a span of code; backticks inside get a longer fence.

    >>> code("a"), code("a`b")
    ('`a`', '`` a`b ``')
    """
    line = " ".join(str(text).split())
    fence = _fence(line, 1)
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def code_block(text: str, language: str) -> str:
    """Lines as a block of code, with a fence that does not occur in them.

    >>> print(code_block("stmga train", "bash"))
    ```bash
    stmga train
    ```
    """
    fence = _fence(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def _escaped(text: object) -> str:
    line = _MARKUP.sub(r"\\\1", " ".join(str(text).split()))
    return (
        _ENTITY.sub("&amp;", line).replace("<", "&lt;").replace("~", "&#126;")
    )  # a backslash before ~ shows in some renderers


def _fence(text: str, least: int) -> str:
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", text))])
