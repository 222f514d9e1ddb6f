"""Finds the frame number of each image in a folder: the one number in the names that varies."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stmga.tracklets.tracklet import TrackletError
from stmga.utils.text import counted, preview

logger = logging.getLogger(__name__)

ADVICE = "name the images of one camera by their frame number alone, as 000001.jpg, in a folder of their own"


def frame_numbers(folder: Path, names: Sequence[str]) -> dict[int, str]:
    """{number: image} for the images `names` of a folder, in natural order; images with other names are logged.

    If no name has a number, images are numbered from 1 in their order. If two numbers vary, two images have the same
    number, or the names are of several kinds, the numbers are ambiguous: `TrackletError`.

    >>> frame_numbers(Path("."), ["cam1_000005.jpg", "cam1_000010.jpg"])
    {5: 'cam1_000005.jpg', 10: 'cam1_000010.jpg'}
    """
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        parts = re.split(r"([0-9]+)", os.path.splitext(name)[0])
        kinds.setdefault(tuple(parts[::2]), []).append(name)
    numbered = {kind: members for kind, members in kinds.items() if len(kind) > 1}
    if not numbered:
        words = "%s: its images have no numbers in their names: frame 1 is %s, and so on in this order"
        logger.warning(words, folder, names[0])
        return dict(enumerate(names, 1))
    # On a tie, the shorter kind: "000003" before "000003 (1)".
    main = max(numbered, key=lambda kind: (len(numbered[kind]), -len("".join(kind)), -len(kind)))
    images, extra = _one_of_each(folder, numbered[main], _varying(folder, numbered[main]))
    stems = {os.path.splitext(name)[0] for name in images.values()}
    others = [name for kind in numbered if kind != main for name in numbered[kind]]
    rivals = [name for name in others if not _is_copy(name, stems)]
    if 4 * len(rivals) > len(images) or len(images) + len(others) < len(names) - len(images) - len(others):
        raise TrackletError(
            f"{folder}: images of several kinds ({images[min(images)]}, {_first(kinds, main)}): {ADVICE}"
        )
    kept = set(images.values())
    if strays := [name for name in names if name not in kept]:
        words = "%s: %s left out, named otherwise than %s%s: %s"
        why = f" (same numbers in {extra})" if extra else ""
        logger.warning(words, folder, counted(len(strays), "image"), images[min(images)], why, preview(strays))
    return images


def _first(kinds: dict[tuple[str, ...], list[str]], main: tuple[str, ...]) -> str:
    return next(members[0] for kind, members in kinds.items() if kind != main)


def _is_copy(name: str, stems: set[str]) -> bool:
    """Whether a name is that of an image with a suffix: "000003 (1)", "000003_mask"."""
    stem = os.path.splitext(name)[0]
    return any(stem[:end] in stems for end in range(1, len(stem)) if not stem[end].isdigit())


def _varying(folder: Path, names: Sequence[str]) -> list[int]:
    """The frame number in each name."""
    rows = [[int(text) for text in re.findall(r"[0-9]+", os.path.splitext(name)[0])] for name in names]
    columns = list(zip(*rows, strict=True))
    vary = [column for column in columns if len(set(column)) > 1] or columns
    if len(vary) > 1 and len(set(map(tuple, rows))) > 1:
        a, b = next((names[0], name) for row, name in zip(rows, names, strict=True) if row != rows[0])
        raise TrackletError(f"{folder}: {a} and {b} differ in more than one number, or others do: {ADVICE}")
    if len(vary) > 1:
        raise TrackletError(f"{folder}: which number of {names[0]} is the frame? No other image tells; {ADVICE}")
    return list(vary[0])


def _one_of_each(folder: Path, names: Sequence[str], numbers: Sequence[int]) -> tuple[dict[int, str], str]:
    """{number: name}. If several images have the same number, only the one file type that has every number is kept."""
    found = dict(zip(numbers, names, strict=True))
    if len(found) == len(names):
        return found, ""
    types = [os.path.splitext(name)[1].lower() for name in names]
    whole = [kind for kind, count in Counter(types).items() if count == len(found)]
    rest = sorted(set(types) - set(whole))
    if len(whole) == 1 and rest:
        chosen = {n: name for n, name, kind in zip(numbers, names, types, strict=True) if kind == whole[0]}
        if len(chosen) == len(found):
            return chosen, ", ".join(rest)
    number, _ = next((n, c) for n, c in Counter(numbers).most_common(1))
    twice = [name for n, name in zip(numbers, names, strict=True) if n == number]
    raise TrackletError(f"{folder}: frame {number} has {len(twice)} images, {preview(twice)}: keep one of them")
