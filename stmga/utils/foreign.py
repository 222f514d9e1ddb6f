"""Untrusted files and texts: read without hanging, in bounded memory, and printed without effect on a terminal."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from stmga.utils.text import has_effect

__all__ = [
    "MB",
    "check_depth",
    "check_regular",
    "escaped",
    "fast_json",
    "inside",
    "open_regular",
    "parse_json",
    "read_regular",
    "reason_of",
    "shown",
    "unprintable",
]

MB = 1 << 20
DEPTH = 32  # of nested lists and objects; json and repr, which write them again, are recursive


def open_regular(path: str | os.PathLike[str], limit: int | None = None) -> BinaryIO:
    """Open a regular file for reading; a pipe or a device could hang or never end.

    Raises:
        OSError: it cannot be opened, is something else, or has more than ``limit`` bytes; ``strerror`` says what.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer would block here

    check_regular(path)  # opening some devices has effects
    file = open(path, "rb", opener=opener)  # noqa: SIM115 - the caller closes it
    try:
        found = os.fstat(file.fileno())
        _check_kind(found, path)
        if limit is not None and found.st_size > limit:
            raise _too_large(found.st_size, limit, path)
    except OSError:
        file.close()
        raise
    return file


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise OSError for a path that is not a regular file, as :func:`open_regular` does, without opening it.

    To close a file gives up the locks that this process has on it by other descriptors.
    """
    try:
        found = os.stat(path)
    except ValueError as error:  # a NUL or a lone surrogate in the name
        raise OSError(errno.EINVAL, f"the name is not one of a file: {error}", repr(os.fspath(path))) from error
    _check_kind(found, path)


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; a larger one is not read.

    Raises:
        OSError: as :func:`open_regular`, and for a file that is too large.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = os.read(file.fileno(), size + 1) if size <= limit else b""  # buffering would double the time
        while size <= limit and len(data) != size and len(data) <= limit and (more := os.read(file.fileno(), MB)):
            data += more
        if max(size, len(data)) > limit:  # it may grow while it is read
            raise _too_large(max(size, len(data)), limit, path)
    return data


def parse_json(text: str | bytes) -> Any:
    """``json.loads`` for untrusted text.

    Raises:
        ValueError: not JSON, lists nested too deeply, numbers that are not finite, or a duplicate key.

    >>> parse_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> parse_json('{"a": NaN}')
    Traceback (most recent call last):
    ...
    ValueError: it holds NaN, which is not a number of JSON
    """
    value = fast_json(text, parse_constant=_not_finite, parse_float=_finite, object_pairs_hook=_each_key_once)
    check_depth(value)
    return value


def fast_json(text: str | bytes, **options: Any) -> Any:
    """``json.loads`` for files of millions of lines, ten times as fast as :func:`parse_json`; ``options`` are its own.

    It lets NaN and repeated keys pass, and what it returns may be nested more deeply than can be written again: see
    :func:`check_depth`.

    Raises:
        ValueError: not JSON, or lists nested too deeply to be read.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("its lists and objects are nested too deeply") from None


def shown(value: object, limit: int = 80) -> str:
    """An untrusted value in a message: its ``repr``, which escapes control characters, cut to ``limit`` characters.

    >>> shown("a\\x1b[2Jb"), shown("x" * 100, 10)
    ("'a\\\\x1b[2Jb'", "'xxxx...'")
    """
    text = repr(value[:limit] + "..." if isinstance(value, str) and len(value) > limit else value)
    return text if len(text) <= limit else f"{text[: limit - 5]}...{text[-1]}"


def escaped(text: str, limit: int = 400) -> str:
    r"""An untrusted text, safe to print: characters that a terminal acts on are escaped, and long text is cut.

    >>> escaped("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    safe = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[: limit + 1])
    return safe if len(safe) <= limit else f"{safe[:limit]}..."


def reason_of(error: BaseException, limit: int = 300, *, lines: int = 1) -> str:
    """What a foreign library says went wrong, safe to print: the first lines of its message, or its type.

    >>> reason_of(ValueError("no such node\\nat line 3")), reason_of(KeyError())
    ('no such node', 'KeyError')
    """
    text = " ".join(line.strip() for line in str(error).strip().split("\n")[:lines])
    return escaped(text, limit) or type(error).__name__


def unprintable(text: str) -> str:
    """The first character that does not belong in text, escaped; "" if there is none.

    These are control characters except tab and newline, halves of surrogate pairs, and characters that change the
    direction of writing.

    >>> unprintable("two\\nlines"), unprintable("\\x1b[31mred")
    ('', '\\\\x1b')
    """
    for letter in text if not text.isascii() or not text.isprintable() else "":
        if has_effect(letter):
            return ascii(letter)[1:-1]
    return ""


def _too_large(size: int, limit: int, path: str | os.PathLike[str]) -> OSError:
    return OSError(errno.EFBIG, f"it has {size:,} bytes, and at most {limit:,} are expected", os.fspath(path))


def _check_kind(found: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a regular file", os.fspath(path))


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(shown(text, 30))


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return found


def check_depth(value: Any) -> None:
    """Raise ValueError for lists and objects that are nested more than 32 deep.

    >>> check_depth({"a": [1, 2]})
    """
    level = [value]
    for _ in range(DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, (Mapping, list))
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
        ]
        if not level:
            return
    raise ValueError(f"its lists and objects are nested more than {DEPTH} deep")


def inside(folder: str | os.PathLike[str], name: str) -> bool:
    """Whether ``folder/name`` is a file in that folder, and not a link out of it.

    >>> inside(".", "no such file")
    True
    """
    return (Path(folder) / name).resolve().is_relative_to(Path(folder).resolve())
