"""Layouts: the meaning of folder and file names, such as "{person}/c{camera}/{tracklet}"."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from stmga.utils.text import did_you_mean

# Other words for person, camera and frame. Any other word is stored in `extra`.
MEANT = {
    "person": [
        "pid",
        "id",
        "person_id",
        "personid",
        "identity",
        "pids",
        "persons",
        "people",
        "identity_id",
        "identities",
        "person_name",
        "subject",
    ],
    "camera": ["cam", "camid", "cam_id", "cid", "camera_id", "cameraid", "cameras"],
    "frame": ["frames", "frame_id", "frameid", "frame_number", "frame_no", "frameno"],
}
HINTS = {
    1: "{tracklet}",
    2: "{person}/{tracklet}",
    3: "{person}/{camera}/{tracklet}",
    4: "{role}/{person}/{camera}/{tracklet}",
}


@dataclass(frozen=True)
class Layout:
    """The patterns of the folder levels, and the pattern of file names if the last level has `{frame}`.

    >>> layout = Layout.parse("{person}/{person}C{camera}T{tracklet}F{frame}")
    >>> len(layout.folders), match(layout.names, "0001C1T0002F003.jpg")
    (1, {'person': '0001', 'camera': '1', 'tracklet': '0002', 'frame': '003'})
    """

    text: str
    folders: tuple[re.Pattern[str], ...]
    names: re.Pattern[str] | None = None

    @classmethod
    def parse(cls, text: str) -> Layout:
        """Read a layout; `ValueError` if a level has no label or a label is probably misspelt."""
        levels = text.strip("/").split("/")
        patterns = [_level(level) for level in levels]
        _check_labels(text)
        if "{frame}" in "/".join(levels[:-1]):
            raise ValueError(f'layout "{text}": {{frame}} is for the last level, the names of files')
        if "{frame}" in levels[-1]:
            return cls(text, tuple(patterns[:-1]), patterns[-1])
        return cls(text, tuple(patterns))


def match(pattern: re.Pattern[str] | None, name: str) -> dict[str, str] | None:
    """The labels in the name of a folder or file (with its ending or without it); None if it does not fit."""
    found = pattern and (pattern.fullmatch(os.path.splitext(name)[0]) or pattern.fullmatch(name))
    return found.groupdict() if found else None


def hint(depth: int) -> str:
    """The usual layout of folders at this depth.

    >>> hint(2), hint(6)
    ('{person}/{tracklet}', '{a}/{b}/{role}/{person}/{camera}/{tracklet}')
    """
    return HINTS.get(depth) or "/".join([*(f"{{{chr(97 + i)}}}" for i in range(min(depth - 4, 20))), HINTS[4]])


def _level(level: str) -> re.Pattern[str]:
    parts = re.split(r"\{([A-Za-z_]+)\}", level)
    if len(parts) == 1 or any(brace in "".join(parts[::2]) for brace in "{}"):
        raise ValueError(f'layout level "{level}" names nothing; write for example "{{person}}/{{tracklet}}"')
    pattern, seen = "", set()
    for i, part in enumerate(parts):
        if i % 2 == 0:
            pattern += re.escape(part)
        elif part == "_":  # anything, not kept
            pattern += ".+?"
        else:
            pattern += f"(?P={part})" if part in seen else f"(?P<{part}>.+?)"
            seen.add(part)
    return re.compile(pattern, re.DOTALL)


def _check_labels(text: str) -> None:
    labels = re.findall(r"\{([A-Za-z_]+)\}", text)
    for label in labels:
        for right, others in MEANT.items():
            near = label != right and (label.lower() in (right, *others) or _is_near(label, right))
            if near and right not in labels:
                raise ValueError(
                    f'layout "{text}": {{{label}}} is not a label of stmga and would be kept as extra; '
                    f"did you mean {{{right}}}?"
                )


def _is_near(label: str, right: str) -> bool:
    return (
        bool(did_you_mean(label.lower(), [right])) and abs(len(label) - len(right)) < 2 and label[0].lower() == right[0]
    )
